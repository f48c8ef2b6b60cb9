"""A value from DuckDB as text for people, as JSON and as CSV for machines. Knows Python's types, nothing of the log.

Machines get moments with a zone as RFC 3339 in UTC (`2026-11-22T10:00:00.000000Z`); people get them in the session's
zone. A moment without a zone stays without one: nobody knows which it was.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from math import isfinite
from typing import Any
from uuid import UUID

import msgspec

_NUMBERS = (int, float, Decimal)

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def is_number(value: Any) -> bool:
    return isinstance(value, _NUMBERS) and not isinstance(value, bool)


def as_text(value: Any) -> str | None:
    """For a table. None is a missing value."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, dict | list | tuple):
        return _encode(as_json(value)).decode()
    return str(as_json(value)) if isinstance(value, bytes) else str(value)


def as_csv(value: Any) -> str:
    """For a field of RFC 4180; what is missing is empty."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return str(as_json(value))
    return as_text(value) or ""


def as_json(value: Any, type_: str = "") -> Any:
    """Plain JSON data. `type_` is DuckDB's name of the column's type: a column of JSON is data, not text of it."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _parsed(value) if type_ == "JSON" else value
    if isinstance(value, int):
        # HUGEINT does not fit into the 64 bits that JSON readers and msgspec agree on; its digits do.
        return value if -(2**63) <= value < 2**64 else msgspec.Raw(str(value).encode())
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, Decimal):
        # Digit for digit: 10.50 EUR must not become 10.5 on its way through a float.
        return msgspec.Raw(f"{value:f}".encode()) if value.is_finite() else None
    if isinstance(value, datetime):
        if value.tzinfo is None:
            return value.isoformat(timespec="microseconds")
        return value.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
    if isinstance(value, bytes):
        # As DuckDB itself writes a BLOB as text.
        return "".join(chr(b) if 32 <= b < 127 and b != 92 else f"\\x{b:02X}" for b in value)
    if isinstance(value, dict):
        return {_key(key): as_json(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(part) for part in value]
    if isinstance(value, date | time | timedelta | UUID):
        return str(value)
    return str(value)


def to_json(value: Any) -> str:
    """One line of JSON of what `as_json` returned."""
    return _encode(value).decode()


def _key(key: Any) -> str:
    return key if isinstance(key, str) else as_text(key) or "null"


def _parsed(text: str) -> Any:
    try:
        _decode(text)
    except (msgspec.DecodeError, RecursionError):
        return text
    return msgspec.Raw(text.encode())
