"""Time as text, and identifiers that sort by time.

Knows how a moment is written in the log and how a UUIDv7 is laid out (RFC 9562 section 5.7).
"""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from hashlib import blake2b

_second, _prefix = -1, ""
_read = ("", 0)


def text_of(unix_us: int) -> str:
    """A moment in Unix microseconds as `YYYY-MM-DD HH:MM:SS.ffffff`, UTC."""
    global _second, _prefix
    second, micros = divmod(unix_us, 1_000_000)
    if second != _second:
        # Most calls fall into the same second as the one before: formatting it once is 3 times cheaper.
        _second, _prefix = second, time.strftime("%Y-%m-%d %H:%M:%S.", time.gmtime(second))
    return f"{_prefix}{micros:06d}"


def now_text() -> str:
    """This moment, as `text_of` writes it."""
    return text_of(time.time_ns() // 1000)


def parse(text: str) -> datetime:
    """The moment that `text_of` wrote, timezone-aware."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def micros_of(text: str) -> int:
    """The Unix microseconds that `text_of` wrote. ValueError if this is not such a text, to the letter."""
    global _read
    micros = text[20:]
    if len(micros) != 6 or not (micros.isascii() and micros.isdigit()):
        raise ValueError("not a time as the log writes it")
    prefix, unix_us = _read
    if text[:20] != prefix:
        # Rows come sorted: most share their second with the one before.
        if text[10:11] != " " or text[19:20] != ".":
            raise ValueError("not a time as the log writes it")
        unix_us = int(datetime.fromisoformat(text[:19]).replace(tzinfo=UTC).timestamp()) * 1_000_000
        _read = (text[:20], unix_us)
    return unix_us + int(micros)


def new_id(unix_us: int | None = None) -> str:
    """A fresh UUIDv7 in text."""
    if unix_us is None:
        unix_us = time.time_ns() // 1000
    return _uuid7(unix_us // 1000, os.urandom(10))


def derived_id(unix_us: int, *parts: object) -> str:
    """A UUIDv7 that is the same for the same moment and parts.

    Reading a spool file a second time then gives the rows the same identifiers.
    """
    return _uuid7(unix_us // 1000, blake2b("\0".join(map(str, parts)).encode(), digest_size=10).digest())


def _uuid7(unix_ms: int, random: bytes) -> str:
    # 48 bits of milliseconds, version 7, 12 random bits, variant 0b10, 62 random bits
    value = (unix_ms & 0xFFFFFFFFFFFF) << 80 | int.from_bytes(random)
    value = value & ~(0xF << 76) | 7 << 76
    value = value & ~(3 << 62) | 2 << 62
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
