from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.reading import at, moment, number
from tests.support.statuses import NOW


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-11-22 10:00:00.000000", NOW),
        ("2026-11-22T10:00:00Z", NOW),
        ("2026-11-22T11:00:00+01:00", NOW),
        (NOW.timestamp(), NOW),
        (int(NOW.timestamp()) * 10**9, NOW),
        (NOW, NOW),
        (datetime(2026, 11, 22, 10), NOW),
        ("soon", None),
        (True, None),
        (None, None),
        (float("inf"), None),
        (float("nan"), None),
    ],
)
def test_a_moment_is_read_in_every_form_it_is_written(value, expected):
    assert moment(value) == expected
    if expected:
        assert moment(value).tzinfo is UTC


@given(st.one_of(st.floats(), st.integers(), st.text(), st.none(), st.booleans(), st.lists(st.integers())))
def test_whatever_stands_there_is_a_number_or_nothing(value):
    assert -(2**63) <= number(value) < 2**63


def test_a_path_that_leads_nowhere_ends_in_nothing():
    assert at({"a": {"b": 1}}, "a", "b") == 1
    assert at({"a": [1]}, "a", "b", "c") is None
