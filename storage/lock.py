"""One ropo per storage path. Knows the lock file, and who holds it."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from types import TracebackType

from storage.layout import Layout


class BlockedError(Exception):
    """This storage path cannot be held. `pid` is the other ropo that holds it, or None if there is none to be named."""

    def __init__(self, message: str, pid: int | None = None) -> None:
        super().__init__(message)
        self.pid = pid


class Hold:
    """The lock, held until `release` or the end of the process, however it ends."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def release(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Hold:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()


def hold(layout: Layout) -> Hold:
    """Takes the lock of this storage path at once, or raises `BlockedError`. The path must exist.

    The lock is the kernel's (flock(2)): it goes when its process goes, so a kill -9 leaves nothing to clear up. The
    file stays; only the lock on it counts. Children do not inherit it.
    """
    try:
        fd = os.open(layout.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise _refused(layout, error) from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = _holder(fd)
        os.close(fd)
        who = f"process {pid}" if pid else "a process that has not said its number yet"
        raise BlockedError(
            f"storage.path {layout.root} is in use by another ropo ({who}); stop it, or choose another storage.path",
            pid,
        ) from None
    except OSError as error:
        os.close(fd)
        raise _refused(layout, error) from None
    # The number only helps the operator; a full disk must not keep ropo from starting.
    with suppress(OSError):
        os.ftruncate(fd, 0)
        os.pwrite(fd, b"%d\n" % os.getpid(), 0)
    return Hold(fd)


def _refused(layout: Layout, error: OSError) -> BlockedError:
    return BlockedError(
        f"storage.path: cannot lock {layout.lock} ({error.strerror}); it must lie on a local disk, writable for this user"
    )


def _holder(fd: int) -> int | None:
    text = os.pread(fd, 32, 0).strip()
    return int(text) if text.isdigit() else None
