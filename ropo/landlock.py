"""A thread that may read files and write none: Landlock, Linux's way for a program to give up rights of its own.

Knows the three system calls (landlock(7), Linux 5.13 and later) and which rights are about writing. Knows nothing of what is
read. The rights are gone for the calling thread and for all that it begins from then on, threads and processes, and do
not come back; threads that are there already keep theirs.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable
from pathlib import Path

# The same numbers on every architecture that Linux has (uapi/asm-generic/unistd.h).
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38

# uapi/linux/landlock.h. Rights about files, by the version of Landlock that brought them.
_WRITE_FILE, _REMOVE, _MAKE = 1 << 1, 1 << 4 | 1 << 5, 0b1111111 << 6
_REFER_SINCE_2, _TRUNCATE_SINCE_3 = 1 << 13, 1 << 14
# Of directories only; a rule for a file takes none of them.
_OF_FILES = _WRITE_FILE | _TRUNCATE_SINCE_3
_BIND_AND_CONNECT_TCP_SINCE_4 = 0b11


def version() -> int:
    """Which Landlock this kernel has; 0: none."""
    return max(_libc().syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _CREATE_RULESET_VERSION), 0)


def write_nothing_but(folders: Iterable[Path] = ()) -> bool:
    """From here on this thread writes files only below `folders`, which must be there, and opens no TCP connections.

    What is open already stays so. False: this kernel has no Landlock, and nothing has changed. Raises OSError.
    """
    known = version()
    if not known:
        return False
    files = _WRITE_FILE | _REMOVE | _MAKE
    files |= _REFER_SINCE_2 if known >= 2 else 0
    files |= _TRUNCATE_SINCE_3 if known >= 3 else 0
    attributes = struct.pack("=QQ", files, _BIND_AND_CONNECT_TCP_SINCE_4) if known >= 4 else struct.pack("=Q", files)
    rules = _checked(_libc().syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0))
    try:
        for folder in folders:
            _allow(rules, folder, files)
        _allow(rules, Path(os.devnull), files & _OF_FILES)
        # Without it only root may restrict itself: a restricted set-user-ID program could be fooled.
        _checked(_libc().prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        _checked(_libc().syscall(_RESTRICT_SELF, rules, 0))
    finally:
        os.close(rules)
    return True


def _allow(rules: int, place: Path, rights: int) -> None:
    at = os.open(place, os.O_PATH | os.O_CLOEXEC)
    try:
        # struct landlock_path_beneath_attr is packed: a u64 and an s32.
        beneath = struct.pack("=Qi", rights, at)
        _checked(_libc().syscall(_ADD_RULE, rules, _RULE_PATH_BENEATH, beneath, 0))
    finally:
        os.close(at)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
