"""Moments for people: local time with its zone on a terminal, UTC where nobody knows who reads.

Knows the document's RFC 3339 text and datetimes. Knows nothing of what happened then.
"""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo


class Moments:
    """`zone` None is this machine's own."""

    def __init__(self, zone: tzinfo | None = None) -> None:
        self._zone = zone

    def of(self, moment: datetime | str | None) -> datetime | None:
        if isinstance(moment, str):
            moment = datetime.fromisoformat(moment)
        if moment is None:
            return None
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(self._zone)

    def full(self, moment: datetime | str | None) -> str:
        """`Sun 22 Nov 2026 11:00:00 CET`."""
        at = self.of(moment)
        return f"{at:%a} {at.day} {at:%b %Y %H:%M:%S %Z}" if at else ""

    def short(self, moment: datetime | str | None) -> str:
        """`2026-11-22 11:00:00 CET`: sorts, and is as long in every line."""
        at = self.of(moment)
        return f"{at:%Y-%m-%d %H:%M:%S %Z}" if at else ""

    def minute(self, moment: datetime | str | None) -> str:
        """`2026-11-22 11:00 CET`."""
        at = self.of(moment)
        return f"{at:%Y-%m-%d %H:%M %Z}" if at else ""

    def clock(self, moment: datetime | str | None) -> str:
        at = self.of(moment)
        return f"{at:%H:%M:%S}" if at else ""


def for_terminal(is_terminal: bool) -> Moments:
    return Moments() if is_terminal else Moments(UTC)
