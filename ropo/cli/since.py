"""A moment in the past as a person types it: `90m`, `24h`, `7d`, `2026-11-22`, `2026-11-22T10:00`.

Knows this machine's zone: a time without an offset is local, as the person's clock is.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import click

_AGO = re.compile(r"(\d{1,6})([mhd])")
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


def moment_of(text: str, *, now: datetime) -> datetime:
    """The moment in UTC. `now` is aware. Raises ValueError."""
    if ago := _AGO.fullmatch(text.strip()):
        return (now - int(ago[1]) * _UNITS[ago[2]]).astimezone(UTC)
    return datetime.fromisoformat(text.strip()).astimezone(UTC)


class Since(click.ParamType):
    name = "when"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            return moment_of(value, now=datetime.now(UTC))
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is no moment; say 90m, 24h, 7d, 2026-11-22 or 2026-11-22T10:00", param, ctx)
