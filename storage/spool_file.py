"""A spool file's name, its birth and its lock. Knows nothing of what stands in it.

<worker>-<epoch, 20 digits>-<number, 6 digits>.open      being written; its writer holds a lock on it
<worker>-<epoch, 20 digits>-<number, 6 digits>.ndjson    sealed: complete, never changed again
<worker>-<epoch, 20 digits>-<number, 6 digits>.part      a file that is dropped in whole, not whole yet
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

OPEN, SEALED, PART = ".open", ".ndjson", ".part"

_WORKER = re.compile(r"[A-Za-z0-9_-]{1,64}")
_STEM = re.compile(r"(?P<worker>[A-Za-z0-9_-]{1,64})-(?P<epoch>\d{20})-(?P<number>\d{6,})")


class SpoolName(NamedTuple):
    worker: str
    epoch: int
    number: int

    @property
    def stem(self) -> str:
        return f"{self.worker}-{self.epoch:020d}-{self.number:06d}"


def parse(stem: str) -> SpoolName | None:
    """The parts of a file name without its ending; None if it is not a spool file's."""
    match = _STEM.fullmatch(stem)
    return SpoolName(match["worker"], int(match["epoch"]), int(match["number"])) if match else None


def check_worker(worker: str) -> str:
    """The name of a writer, if a file can be named so. Raises ValueError."""
    if not _WORKER.fullmatch(worker):
        raise ValueError(f"spool: {worker!r} cannot name a writer; use letters, digits, _ and -")
    return worker


def create(path: str | Path) -> int:
    """Makes the file, takes its lock, and returns its descriptor for appending.

    FileExistsError if there is one of that name, or if recovery came between and took it for a dead writer's.
    """
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        if not take(fd) or os.fstat(fd).st_nlink == 0:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    except OSError:
        os.close(fd)
        raise
    return fd


def take(fd: int) -> bool:
    """Takes the lock of an open file, if nobody has it. It goes with its holder, however that one ends (flock(2))."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        # A file system without locks: then the supervisor's word that a writer is dead must do.
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
    return True


def reserve(fd: int, size: int) -> bool:
    """Sets room for `size` bytes aside without changing the file's length. False if there is none, or no way to do it.

    A write that needs no new blocks does not wait for an fdatasync that runs on the same file. On ext4 that took the
    slowest hundredth of such writes from 8 ms to 0.05 ms; benchmarks/spool_append.py --rate shows it as p99.
    """
    return _fallocate is not None and _fallocate(fd, _FALLOC_FL_KEEP_SIZE, 0, size) == 0


# What a file takes that says no more than what was lost.
LAST_ROOM_BYTES = 64 * 1024


def keep_room(path: Path | None) -> None:
    """Takes room that `give_room` gives back. A disk that has none is not complained of: that is told elsewhere."""
    if path is not None:
        with suppress(OSError), open(path, "wb") as file:
            file.write(b"\0" * LAST_ROOM_BYTES)


def give_room(path: Path | None) -> None:
    if path is not None:
        with suppress(OSError):
            path.unlink()


# fallocate(2), linux/falloc.h; os.posix_fallocate would change the length. Elsewhere than on Linux there is none.
_FALLOC_FL_KEEP_SIZE = 1
_fallocate = getattr(ctypes.CDLL(None), "fallocate", None)
if _fallocate is not None:
    _fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]


def sync_folder(folder: str | Path) -> None:
    """Makes what was created, renamed or removed in a folder survive a power cut (fsync(2))."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
