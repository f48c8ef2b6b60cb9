import pytest
from hypothesis import given
from hypothesis import strategies as st

from export.connector import Delivered, Later, Never, Parked
from export.http_answer import outcome_of, retry_after_secs

NOON = 1_795_348_800.0  # Sun, 22 Nov 2026 12:00:00 GMT


@pytest.mark.parametrize(
    ("kind", "statuses"),
    [
        (Delivered, [200, 201, 202, 204, 206, 299]),
        (Parked, [300, 301, 302, 303, 304, 307, 308, 401, 403, 407, 410]),
        (Later, [408, 425, 429, 500, 501, 502, 503, 504, 520, 599]),
        (Never, [400, 402, 404, 405, 406, 409, 411, 413, 414, 415, 418, 422, 451, 499]),
    ],
)
def test_each_status_has_its_meaning(kind, statuses):
    for status in statuses:
        assert type(outcome_of(status, now=NOON)) is kind, status


@given(st.integers(100, 999))
def test_every_status_has_an_outcome_and_names_itself_if_it_is_not_success(status):
    outcome = outcome_of(status, now=NOON)
    assert isinstance(outcome, Delivered) or str(status) in outcome.reason


@pytest.mark.parametrize(
    ("value", "secs"),
    [
        ("120", 120),
        (" 0 ", 0),
        ("Sun, 22 Nov 2026 12:01:30 GMT", 90),
        ("Sunday, 22-Nov-26 12:01:30 GMT", 90),
        ("Sun, 22 Nov 2026 11:00:00 GMT", 0),
        ("999999999999999999999", 999_999_999_999),
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("١٢", None),
        ("Sun, 99 Nov 2026 99:99:99 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_else_nothing(value, secs):
    assert retry_after_secs(value, now=NOON) == secs


@given(st.text(max_size=60))
def test_no_retry_after_breaks_the_reading_of_an_answer(value):
    secs = retry_after_secs(value, now=NOON)
    assert secs is None or secs >= 0


def test_retry_after_counts_for_answers_that_may_change():
    assert outcome_of(429, retry_after="7", now=NOON).after_secs == 7
    assert outcome_of(503, retry_after="7", now=NOON).after_secs == 7
    assert outcome_of(503, now=NOON).after_secs is None
