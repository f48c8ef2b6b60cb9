"""Copies work.duckdb to where readers look. Knows files, nothing of what is in them.

The copy gets its name only when it is whole, by rename: a reader has the old image or the new one, and DuckDB's
read_duckdb() opens, reads and closes it within one query.
"""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from storage.crash import crash_point

_CHUNK = 1 << 30
# copy_file_range(2): other file system (EXDEV since Linux 5.19), not offered by it, or by the kernel.
_CANNOT_COPY = {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM}


def publish_image(source: Path, target: Path) -> None:
    """Puts a copy of `source`, which nobody writes meanwhile, in place of `target`. Raises OSError; the old one stays."""
    target.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    fresh = target.with_name(target.name + ".tmp")
    fresh.unlink(missing_ok=True)
    try:
        with open(source, "rb") as image, open(_create(fresh), "wb", buffering=0) as copy:
            _copy(image.fileno(), copy.fileno(), os.fstat(image.fileno()).st_size)
            # Nobody has business writing to it, whatever the umask.
            os.fchmod(copy.fileno(), 0o444)
        crash_point("image-copied")
        os.replace(fresh, target)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise


def room_at(folder: Path) -> int:
    """Bytes that may still be written there."""
    return shutil.disk_usage(folder).free


def _create(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)


def _copy(source: int, target: int, size: int) -> None:
    at = 0
    try:
        while at < size:
            copied = os.copy_file_range(source, target, min(size - at, _CHUNK), at, at)
            if not copied:
                break
            at += copied
    except OSError as error:
        if error.errno not in _CANNOT_COPY:
            raise
    while at < size:
        chunk = os.pread(source, 1 << 20, at)
        if not chunk:
            raise OSError(errno.EIO, "the file became shorter while it was copied")
        at += _write(target, chunk, at)


def _write(target: int, chunk: bytes, at: int) -> int:
    done = 0
    while done < len(chunk):
        done += os.pwrite(target, chunk[done:], at + done)
    return done
