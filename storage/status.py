"""What each process says of itself once per second, for the dashboard and /metrics.

Knows small JSON files, one per process, replaced whole. Knows nothing of what the states mean.
"""

from __future__ import annotations

import errno
import logging
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from storage.layout import Layout
from tracker import clock

logger = logging.getLogger(__name__)

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_STARTED_AT = clock.now_text()

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


def write(layout: Layout, name: str, state: dict[str, Any]) -> None:
    """Replaces the state of the process `name`.

    `pid`, `started_at` and `updated_at` are put in if `state` lacks them. Raises OSError when the disk refuses; the
    last state then stays. Not synced: it is out of date a second later. On a full disk it is written over the last one,
    in the room that one has: just then somebody wants to read it.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"status: {name!r} cannot be a file name; use letters, digits, _ and -")
    whole = {"pid": os.getpid(), "started_at": _STARTED_AT, "updated_at": clock.now_text(), **state}
    path = layout.status / f"{name}.json"
    fresh = layout.status / f".{name}.{os.getpid()}.tmp"
    text = _encode(whole)
    try:
        fresh.write_bytes(text)
        os.replace(fresh, path)
    except OSError as error:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        _write_over(path, text)


def _write_over(path: Path, text: bytes) -> None:
    """In one call, so that who reads meanwhile hardly ever meets half of it; and blanks behind JSON mean nothing."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        text = text.ljust(os.fstat(fd).st_size)
        if os.pwrite(fd, text, 0) != len(text):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    finally:
        os.close(fd)


def remove(layout: Layout, name: str) -> None:
    """Forgets a process that stopped in order."""
    (layout.status / f"{name}.json").unlink(missing_ok=True)


def read_all(layout: Layout) -> dict[str, dict[str, Any]]:
    """The last state of every process, by name. A process that was killed leaves its state: mind `updated_at`."""
    states = {}
    for path in sorted(layout.status.glob("*.json")):
        try:
            states[path.stem] = _decode(path.read_bytes())
        except FileNotFoundError:
            continue  # removed while we looked
        except (OSError, ValueError) as error:
            # A power cut can leave an empty file; its process writes it again within a second.
            logger.warning("status file=%s error=%r", path, str(error))
    return states
