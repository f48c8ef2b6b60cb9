import unicodedata
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard import text
from tests.support.statuses import NOW


@given(st.text(max_size=300), st.integers(min_value=1, max_value=80))
def test_foreign_text_is_short_and_has_no_invisible_characters(foreign, length):
    shown = text.cut(foreign, length)
    assert len(shown) <= length
    assert not [one for one in shown if unicodedata.category(one) in {"Cc", "Cf", "Cs", "Zl", "Zp"}]


def test_short_clean_text_is_shown_as_it_is():
    assert text.cut("Grüße aus Neckarsulm") == "Grüße aus Neckarsulm"
    assert text.cut(None) == ""
    assert text.cut(12) == "12"


def test_text_that_turns_the_reading_direction_is_disarmed():
    assert text.cut("photo\u202egpj.exe") == "photo\ufffdgpj.exe"


def test_a_path_is_shown_without_what_a_visitor_may_have_typed():
    assert text.path("https://site.example/contact?email=a@b.example#x") == "https://site.example/contact"
    assert text.path(None) == ""


@pytest.mark.parametrize(
    ("secs", "shown"),
    [(None, "–"), (-3, "0.0 s"), (0.44, "0.4 s"), (12, "12 s"), (185, "3 min"), (7300, "2 h"), (260_000, "3 days")],
)
def test_a_span_is_told_in_its_largest_unit(secs, shown):
    assert text.span(secs) == shown


@pytest.mark.parametrize(
    ("octets", "shown"),
    [
        (None, "–"),
        (0, "0 B"),
        (999, "999 B"),
        (1500, "1.5 kB"),
        (250_000, "250 kB"),
        (7.1e9, "7.1 GB"),
        (9e15, "9000 TB"),
    ],
)
def test_bytes_are_told_in_a_fitting_unit(octets, shown):
    assert text.size(octets) == shown


def test_numbers_times_and_their_absence_are_readable():
    assert text.count(1_234_567) == "1\u202f234\u202f567"
    assert text.count(None) == "–"
    assert text.ago(NOW - timedelta(seconds=30), NOW) == "30 s ago"
    assert text.ago(None, NOW) == "–"
    assert text.moment(NOW) == "2026-11-22 10:00:00 UTC"
    assert text.moment(None) == ""
