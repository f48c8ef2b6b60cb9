"""How numbers, times and foreign text are shown. Knows nothing of where they come from."""

from __future__ import annotations

import unicodedata
from datetime import datetime


def cut(text: object, length: int = 60) -> str:
    """At most `length` characters of `text`, on one line, without characters that are invisible or turn the direction.

    A referrer is written by a stranger: U+202E would show `gpj.exe` as `exe.jpg` (Unicode TR36 section 2.10).
    """
    if text is None:
        return ""
    # Cut first: a target may be megabytes long, and each character is looked up.
    shown = "".join("\ufffd" if _is_hidden(character) else character for character in str(text)[: length + 1])
    return shown if len(shown) <= length else shown[: length - 1] + "…"


def _is_hidden(character: str) -> bool:
    return unicodedata.category(character) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def path(url: object, length: int = 60) -> str:
    """A URL or target without its query, which may hold what a visitor typed."""
    return cut(str(url).partition("#")[0].partition("?")[0], length) if url else ""


def count(number: float | None) -> str:
    """A number with its thousands apart by a narrow space; a dash if there is none."""
    return "–" if number is None else f"{int(number):,}".replace(",", "\u202f")


def size(octets: float | None) -> str:
    """Bytes in the unit that leaves one to three digits before the point."""
    if octets is None:
        return "–"
    value, units = float(octets), iter(("kB", "MB", "GB", "TB"))
    unit = "B"
    while value >= 1000 and (larger := next(units, None)):
        value, unit = value / 1000, larger
    return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"


def span(secs: float | None) -> str:
    """A span of time in its largest unit: `0.4 s`, `12 s`, `3 min`, `5 h`, `2 days`."""
    if secs is None:
        return "–"
    secs = max(secs, 0.0)
    if secs < 10:
        return f"{secs:.1f} s"
    for length, unit in ((60, "s"), (3600, "min"), (172_800, "h")):
        if secs < length:
            return f"{secs / {'s': 1, 'min': 60, 'h': 3600}[unit]:.0f} {unit}"
    return f"{secs / 86_400:.0f} days"


def ago(then: datetime | None, now: datetime) -> str:
    """How long ago it was, or a dash if it never was."""
    return "–" if then is None else f"{span((now - then).total_seconds())} ago"


def moment(then: datetime | None) -> str:
    """A moment in UTC, to the second."""
    return "" if then is None else then.strftime("%Y-%m-%d %H:%M:%S UTC")
