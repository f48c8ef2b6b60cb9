"""A thread that gives up rights to files and to the network for good: Landlock, Linux's way for a program to do so.

Knows the three system calls (landlock(7), Linux 5.13 and later) and which right came with which version. Knows nothing of
what is read. The rights are gone for the calling thread and for all that it begins from then on, threads and processes;
threads that are there already keep theirs, and so do files that are open.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from contextlib import nullcontext, suppress
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)

# The same numbers on every architecture that Linux has (uapi/asm-generic/unistd.h).
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38

# uapi/linux/landlock.h. How many rights to files each version knows, and those among them that have a name here.
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 1, 1 << 2, 1 << 3
_REMOVE, _MAKE, _REFER_SINCE_2, _TRUNCATE_SINCE_3 = 1 << 4 | 1 << 5, 0b1111111 << 6, 1 << 13, 1 << 14
_WRITING = _WRITE_FILE | _REMOVE | _MAKE | _REFER_SINCE_2 | _TRUNCATE_SINCE_3
# Of directories only are all others; a rule for a file takes none of them.
_OF_FILES = _WRITE_FILE | _READ_FILE | _TRUNCATE_SINCE_3
# Since 4: bind and connect TCP. Since 6: abstract Unix sockets, and signals to others.
_NETWORK_SINCE, _NETWORK = 4, 0b11
_SCOPES_SINCE, _SCOPES = 6, 0b11


class _Ruleset(ctypes.Structure):
    _fields_ = [("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scopes", ctypes.c_uint64)]


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("rights", ctypes.c_uint64), ("fd", ctypes.c_int32)]


def version() -> int:
    """Which Landlock this kernel has; 0: none."""
    return max(0, _libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_CREATE_RULESET_VERSION)))


def write_nothing_but(folders: Iterable[Path] = ()) -> bool:
    """From here on this thread writes files only below `folders`, which must be there, and opens no TCP connections.

    False: this kernel has no Landlock, and nothing has changed. Raises OSError.
    """
    known = version()
    if not known:
        return False
    allowed = [*folders, Path(os.devnull)]
    _give_up(_WRITING & _known_rights(known), [(place, _WRITING) for place in allowed], known, scopes=0)
    return True


def read_only(paths: Iterable[Path]) -> bool:
    """From now on files may be read that are one of `paths` or lie below it; nothing else may be done to any file.

    TCP is closed as well where the kernel can (6.7). A path that is not there is left out. False: this kernel has no
    Landlock. Raises OSError if it has, and refuses.
    """
    known = version()
    if not known:
        return False
    read = _READ_FILE | _READ_DIR
    _give_up(_known_rights(known), [(path, read) for path in paths], known, scopes=_SCOPES, may_miss=True)
    return True


def _known_rights(known: int) -> int:
    return (1 << _FILE_RIGHTS[min(known, max(_FILE_RIGHTS))]) - 1


def _give_up(
    files: int, allowed: Iterable[tuple[Path, int]], known: int, *, scopes: int, may_miss: bool = False
) -> None:
    """Takes the rights `files` but for those `allowed` at a place and below it, and what `known` can take besides.

    `may_miss`: a place that is not there is left out.
    """
    rules = _Ruleset(
        files=files,
        network=_NETWORK if known >= _NETWORK_SINCE else 0,
        scopes=scopes if known >= _SCOPES_SINCE else 0,
    )
    size = 8 if known < _NETWORK_SINCE else 16 if known < _SCOPES_SINCE else 24
    fd = _called(_libc.syscall(_CREATE_RULESET, ctypes.byref(rules), ctypes.c_size_t(size), ctypes.c_uint32(0)))
    try:
        for place, rights in allowed:
            with suppress(FileNotFoundError) if may_miss else nullcontext():
                _allow(fd, place, rights & files)
        # Without it only root may restrict itself: a restricted set-user-ID program could be fooled.
        zero = ctypes.c_ulong(0)
        _called(_libc.prctl(_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), zero, zero, zero))
        _called(_libc.syscall(_RESTRICT_SELF, fd, ctypes.c_uint32(0)))
    finally:
        os.close(fd)


def _allow(ruleset: int, place: Path, rights: int) -> None:
    fd = os.open(place, os.O_PATH | os.O_CLOEXEC)
    try:
        rule = _Beneath(rights if place.is_dir() else rights & _OF_FILES, fd)
        _called(_libc.syscall(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, ctypes.byref(rule), ctypes.c_uint32(0)))
    finally:
        os.close(fd)


def _called(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
