from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click
import pytest

from ropo.cli.since import Since, moment_of

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "text, moment",
    [
        ("90m", NOW - timedelta(minutes=90)),
        ("24h", NOW - timedelta(hours=24)),
        (" 7d ", NOW - timedelta(days=7)),
        ("2026-11-22T10:00:00Z", NOW),
        ("2026-11-22 11:00+01:00", NOW),
    ],
)
def test_a_moment_is_said_as_one_says_it(text: str, moment: datetime) -> None:
    assert moment_of(text, now=NOW) == moment


def test_without_an_offset_it_is_the_time_of_this_machine() -> None:
    assert moment_of("2026-11-22T10:00", now=NOW) == datetime(2026, 11, 22, 10).astimezone()


@pytest.mark.parametrize("text", ["", "soon", "24", "h", "-1h", "2026-13-01", "9999999d", "999999d"])
def test_what_is_no_moment_is_refused_with_what_would_be(text: str) -> None:
    with pytest.raises(click.BadParameter, match="say 90m, 24h, 7d"):
        Since().convert(text, None, None)
