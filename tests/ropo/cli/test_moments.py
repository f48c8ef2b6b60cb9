from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from ropo.cli.moments import Moments, for_terminal

MOMENT = "2026-07-01T22:30:05.123456Z"


def test_moments_in_utc_where_nobody_knows_who_reads():
    moments = for_terminal(False)
    assert moments.full(MOMENT) == "Wed 1 Jul 2026 22:30:05 UTC"
    assert moments.short(datetime(2026, 7, 1, 22, 30, 5, tzinfo=UTC)) == "2026-07-01 22:30:05 UTC"
    assert moments.minute(MOMENT) == "2026-07-01 22:30 UTC"
    assert moments.clock(MOMENT) == "22:30:05"


def test_moments_on_a_terminal_are_local_with_their_zone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        assert for_terminal(True).full(MOMENT) == "Thu 2 Jul 2026 00:30:05 CEST"
        assert for_terminal(True).short("2026-11-22T10:00:00Z") == "2026-11-22 11:00:00 CET"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_moment_without_a_zone_is_utc_as_the_log_has_it():
    assert Moments(UTC).short(datetime(2026, 7, 1)) == "2026-07-01 00:00:00 UTC"


def test_no_moment_is_no_text():
    assert [Moments(UTC).full(None), Moments(UTC).short(None), Moments(UTC).minute(None), Moments().clock(None)] == [
        ""
    ] * 4
