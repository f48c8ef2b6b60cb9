"""Lines that could not be read, kept for whoever wants to know why. Appends only; nothing of ropo reads them.

One NDJSON file per day, `<YYYY-MM-DD>.ndjson`, for its owner alone: {"occurred_at", "reason", "source", "line"}.
`line` is text; bytes that are not UTF-8 stand in it as \\xNN.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from storage.crash import crash_point
from storage.layout import Layout
from storage.spool_file import sync_folder

_encode = msgspec.json.Encoder().encode


def put(
    layout: Layout, source: str, broken: Iterable[tuple[bytes, str]], *, now: datetime | None = None
) -> Path | None:
    """Appends the lines of the spool file named `source` with their reasons, synced. The path, or None without lines.

    Raises OSError when the disk refuses, and has then kept none of them. A file that is read twice, because the
    collector was killed before its commit, has its lines here twice.
    """
    moment = (now or datetime.now(UTC)).astimezone(UTC)
    rows = [
        {
            "occurred_at": moment.strftime("%Y-%m-%d %H:%M:%S.%f"),
            "reason": reason,
            "source": source,
            "line": line.decode("utf-8", "backslashreplace"),
        }
        for line, reason in broken
    ]
    if not rows:
        return None
    path = layout.quarantine / f"{moment:%Y-%m-%d}.ndjson"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(fd).st_size
        # A kill can have left part of a line; the next one must not be glued to it.
        torn = size > 0 and os.pread(fd, 1, size - 1) != b"\n"
        text = b"\n" * torn + b"".join(_encode(row) + b"\n" for row in rows)
        try:
            while text:
                text = text[os.write(fd, text) :]
            os.fdatasync(fd)
            if not size:
                sync_folder(layout.quarantine)
        except OSError:
            os.ftruncate(fd, size)
            raise
    finally:
        os.close(fd)
    crash_point("lines-quarantined")
    return path


def prune(layout: Layout, *, days: int, now: datetime | None = None) -> int:
    """Removes the files of days that are more than `days` ago; their number."""
    oldest = f"{(now or datetime.now(UTC)).astimezone(UTC) - timedelta(days=days):%Y-%m-%d}"
    old = [path for path in layout.quarantine.glob("????-??-??.ndjson") if path.stem < oldest]
    for path in old:
        path.unlink(missing_ok=True)
    return len(old)
