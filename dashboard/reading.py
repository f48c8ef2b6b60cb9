"""Numbers and moments as status files and the log write them, whatever an older or a broken one holds instead.

Knows how to look, and says nothing where nothing sensible stands. Knows nothing of what the fields mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any


def at(value: Any, *path: str) -> Any:
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def is_number(value: Any) -> bool:
    # Neither true and false, nor what no counter reaches: infinity, or an integer beyond any machine's.
    return isinstance(value, int | float) and not isinstance(value, bool) and -(2**63) <= value < 2**64


def number(value: Any) -> float:
    return value if is_number(value) else 0


def moment(value: Any) -> datetime | None:
    """A moment as status files and the log write it: Unix seconds or nanoseconds, text, or a datetime. Else None."""
    try:
        if is_number(value):
            # Unix nanoseconds since 1970-01-12 are above 10^15, seconds will be in 30 million years.
            return datetime.fromtimestamp(value / 1e9 if value > 1e15 else value, UTC)
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        if isinstance(value, datetime):
            return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return None
