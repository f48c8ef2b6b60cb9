"""Shelves: the folders through which the views of a door reach the parts.

Knows how the tree of parts can be exchanged for another with the same rows while sessions are open. A session keeps to the
door it opened, a door to its shelf, and a shelf always holds each row once: that is the whole argument.

    cold/                      the tree that is written and looked after
    shelves/0001               a link to ../cold; the present door reads through it
    shelves/0001.parts/        later: hard links of the parts as they were; shelf 0001 leads here, and cold/ may change
    shelves/0001-<inode>.door  a hard link of each door that reads through shelf 0001

New parts are linked into every shelf that was set apart. Such a shelf goes when nobody has a door of it open any more:
DuckDB holds a read lock (fcntl(2)) on a database for as long as it is open, and the kernel tells of it.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import logging
import os
import shutil
import struct
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

logger = logging.getLogger(__name__)

TREE, DOOR = ".parts", ".door"
_HERE = "../cold"
# Doors from before there were shelves read cold/ itself.
_NONE = "0000"


@contextmanager
def moving(cold: Path) -> Iterator[None]:
    """Held by whoever puts parts into `cold`, moves them, or takes them away; others wait."""
    fd = os.open(cold.with_name("cold.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def current(cold: Path) -> Path:
    """The shelf that leads to `cold`. Made if there is none: the last one was set apart."""
    return _leading(cold) or _made(cold)


def _leading(cold: Path) -> Path | None:
    return next((shelf for shelf in reversed(_shelves(cold)) if os.readlink(shelf) == _HERE), None)


def _made(cold: Path) -> Path:
    with moving(cold):
        return _leading(cold) or make(cold)


def known(cold: Path) -> bool:
    """Whether the present door reads through a shelf, as far as the folder tells."""
    return bool(_shelves(cold))


def make(cold: Path) -> Path:
    """A new shelf that leads to `cold`. The caller holds `moving`."""
    folder = _folder(cold)
    folder.mkdir(mode=0o750, exist_ok=True)
    numbers = [int(name[:4]) for name in os.listdir(folder) if name[:4].isdigit()]
    shelf = folder / f"{max(numbers, default=0) + 1:04d}"
    os.symlink(_HERE, shelf)
    _sync(folder)
    _sync(cold.parent)
    return shelf


def set_apart(cold: Path) -> None:
    """The present shelf keeps the parts as they are now, whatever happens to `cold`. The caller holds `moving`.

    Who is reading through it notices nothing: each path leads to the same file before and after.
    """
    shelf = _leading(cold)
    if shelf is None:
        return
    tree = shelf.with_name(shelf.name + TREE)
    # Left by somebody who was interrupted; parts may have gone since.
    shutil.rmtree(tree, ignore_errors=True)
    link_tree(cold, tree)
    fresh = shelf.with_name(shelf.name + ".tmp")
    fresh.unlink(missing_ok=True)
    os.symlink(tree.name, fresh)
    os.replace(fresh, shelf)
    _sync(shelf.parent)


def set_again(cold: Path, tree: Path) -> None:
    """A shelf that was set apart gets the parts as `cold` has them now, in one step. The caller holds `moving`.

    For what must be nowhere any more. A query that is under way on it fails if it comes to a file that is gone.
    """
    shelf = next(shelf for shelf in _shelves(cold) if os.readlink(shelf) == tree.name)
    number = 1
    while (fresh := shelf.with_name(f"{shelf.name}-{number}{TREE}")).exists() and fresh == tree:
        number += 1
    shutil.rmtree(fresh, ignore_errors=True)
    link_tree(cold, fresh)
    link = shelf.with_name(shelf.name + ".tmp")
    link.unlink(missing_ok=True)
    os.symlink(fresh.name, link)
    os.replace(link, shelf)
    _sync(shelf.parent)
    shutil.rmtree(tree, ignore_errors=True)


def trees(cold: Path) -> list[Path]:
    """The folders of the shelves that were set apart. What is erased from `cold` has to be erased there as well."""
    return [shelf.with_name(os.readlink(shelf)) for shelf in _shelves(cold) if os.readlink(shelf) != _HERE]


def share(cold: Path, *paths: Path) -> None:
    """Links files of `cold` into every shelf that was set apart. Repeating it is harmless. The caller holds `moving`."""
    for tree in trees(cold):
        for path in paths:
            place = tree / path.relative_to(cold)
            place.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            with suppress(FileExistsError):
                os.link(path, place)
            _sync(place.parent)


def link_tree(source: Path, target: Path, *, leave: frozenset[Path] = frozenset()) -> None:
    """Hard links of every file below `source`, but for those in `leave`, under `target`. Synced."""
    for folder, _, names in os.walk(source):
        place = target / Path(folder).relative_to(source)
        place.mkdir(mode=0o750, parents=True, exist_ok=True)
        for name in names:
            path = Path(folder, name)
            if path not in leave and not name.endswith(".tmp"):
                os.link(path, place / name)
        _sync(place)
    _sync(target.parent)


def note_door(shelf: Path, door: Path) -> None:
    """Remembers a door that reads through `shelf`. Call it before anybody can open the door."""
    os.link(door, shelf.with_name(f"{shelf.name}-{door.stat().st_ino}{DOOR}"))


def note_former_door(cold: Path, door: Path) -> None:
    """Remembers a door that is about to be replaced, if nobody did: it reads `cold` itself."""
    with suppress(FileNotFoundError):
        number = door.stat().st_ino
        if not list(_folder(cold).glob(f"*-{number}{DOOR}")):
            os.link(door, _folder(cold) / f"{_NONE}-{number}{DOOR}")


def is_open(door: Path) -> bool:
    """Whether any other process has this database open.

    A process that asks must not have it open itself: its own locks do not show, and asking would end them (fcntl(2)).
    """
    fd = os.open(door, os.O_RDONLY | os.O_CLOEXEC)
    try:
        asked = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        return struct.unpack("hhqqi4x", fcntl.fcntl(fd, fcntl.F_GETLK, asked))[0] != fcntl.F_UNLCK
    finally:
        os.close(fd)


def open_former_doors(cold: Path) -> list[Path]:
    """Doors of before there were shelves that somebody still has open."""
    return [door for door in _folder(cold).glob(f"{_NONE}-*{DOOR}") if is_open(door)]


def sweep(cold: Path, door: Path, *, grace_secs: float, now: float | None = None) -> int:
    """Takes away the shelves that nobody reads any more. Returns the bytes that were nowhere else.

    `door` is the one that is shown now; a door that it replaced is left alone for `grace_secs`, in case somebody is
    just opening it.
    """
    with moving(cold):
        return _sweep(cold, door, grace_secs, time.time() if now is None else now)


def _sweep(cold: Path, door: Path, grace_secs: float, now: float) -> int:
    used = {_NONE}
    for kept in sorted(_folder(cold).glob(f"*{DOOR}")):
        stat = kept.stat()
        shown = door.exists() and os.path.samestat(stat, door.stat())
        # rename(2) took a name from the old door, and set its change time by that.
        if shown or now - stat.st_ctime < grace_secs or is_open(kept):
            used.add(kept.name[:4])
        else:
            kept.unlink()
    for shelf in _shelves(cold):
        if os.readlink(shelf) != _HERE and shelf.name not in used:
            shelf.unlink()
            _sync(shelf.parent)
    freed = 0
    for tree in set(_folder(cold).glob(f"*{TREE}")) - set(trees(cold)):
        stats = [path.stat() for path in tree.rglob("*") if path.is_file()]
        freed += sum(stat.st_size for stat in stats if stat.st_nlink == 1)
        shutil.rmtree(tree, ignore_errors=True)
        logger.info("shelf removed path=%s files=%d", tree, len(stats))
    return freed


def exchange(one: Path, other: Path) -> None:
    """Each gets the other's name, in one step. Raises OSError where the system or the file system cannot."""
    if _renameat2 is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), str(one))
    if _renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(one), None, str(other))
    _sync(one.parent)


def can_exchange(folder: Path) -> bool:
    """Whether two names below `folder` can be exchanged, and a file have two: tried on empty ones."""
    with tempfile.TemporaryDirectory(prefix=".try-", dir=folder) as place:
        one, other = Path(place, "one"), Path(place, "other")
        one.mkdir()
        other.mkdir()
        (one / "file").touch()
        try:
            os.link(one / "file", one / "again")
            exchange(one, other)
        except OSError:
            return False
        return (other / "again").exists()


# renameat2(2), linux/fs.h.
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
_renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
if _renameat2 is not None:
    _renameat2.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]


def _folder(cold: Path) -> Path:
    return cold.with_name("shelves")


def _shelves(cold: Path) -> list[Path]:
    folder = _folder(cold)
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    return sorted(folder / name for name in names if len(name) == 4 and name.isdigit())


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
