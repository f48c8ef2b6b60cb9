"""Whether a ropo serves a storage path at this moment. Knows the lock that `ropo serve` holds, and disturbs it not."""

from __future__ import annotations

import fcntl
import os

from storage.layout import Layout


def holder(layout: Layout) -> int | None:
    """The process that serves this storage path; 0 if one does and its number could not be told; None: nobody."""
    try:
        fd = os.open(layout.lock, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        # Shared, so that two who ask at once do not take each other for the server.
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.pread(fd, 32, 0).strip()
        return int(text) if text.isdigit() else 0
    except OSError:
        return None
    finally:
        os.close(fd)
    return None
