"""Takes rights from this process for good: what it may write, start, open and use up.

Knows Linux: resource limits, prctl(2) and Landlock (landlock(7)), through ctypes. Knows nothing of SQL.

Landlock and prctl hold for the calling thread and those it starts later: call this before there is another one.
RLIMIT_AS is not among them: DuckDB's allocator reserves addresses it never uses. RLIMIT_DATA counts what can be written.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)

# prctl(2)
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38

# landlock(7). The numbers of the three calls are the same on every architecture.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH = 1
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
# How many rights to files each version of the ABI knows. All of them are taken, whatever they are called.
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
# Since 4: bind and connect TCP. Since 6: abstract Unix sockets, and signals to others.
_NETWORK_SINCE, _NETWORK_RIGHTS = 4, 0b11
_SCOPES_SINCE, _SCOPES = 6, 0b11

OPEN_FILES = 1024


class _Ruleset(ctypes.Structure):
    _fields_ = [("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scopes", ctypes.c_uint64)]


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("rights", ctypes.c_uint64), ("fd", ctypes.c_int32)]


def landlock_version() -> int:
    """The version of Landlock's ABI here; 0 without it."""
    return max(0, _libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_CREATE_RULESET_VERSION)))


def read_only(paths: Iterable[Path]) -> bool:
    """From now on files may be read that are one of `paths` or lie below it; nothing else may be done to any file.

    Files that are open stay so. TCP is closed as well where the kernel can (6.7). A path that is not there is left out.
    False: this kernel has no Landlock. Raises OSError if it has, and refuses.
    """
    version = landlock_version()
    if not version:
        return False
    known = _FILE_RIGHTS[min(version, max(_FILE_RIGHTS))]
    rules = _Ruleset(
        files=(1 << known) - 1,
        network=_NETWORK_RIGHTS if version >= _NETWORK_SINCE else 0,
        scopes=_SCOPES if version >= _SCOPES_SINCE else 0,
    )
    size = 8 if version < _NETWORK_SINCE else 16 if version < _SCOPES_SINCE else 24
    fd = _called(_libc.syscall(_CREATE_RULESET, ctypes.byref(rules), ctypes.c_size_t(size), ctypes.c_uint32(0)))
    try:
        for path in paths:
            with suppress(FileNotFoundError):
                _allow(fd, path)
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)
        _called(_libc.syscall(_RESTRICT_SELF, fd, ctypes.c_uint32(0)))
    finally:
        os.close(fd)
    return True


def _allow(ruleset: int, path: Path) -> None:
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rights = _READ_FILE | _READ_DIR if path.is_dir() else _READ_FILE
        rule = _Beneath(rights, fd)
        _called(_libc.syscall(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, ctypes.byref(rule), ctypes.c_uint32(0)))
    finally:
        os.close(fd)


def write_nothing() -> None:
    """No file of this process ever gets a byte: not even one whose name it is allowed to make. Pipes and sockets do.

    It leaves no core, shows its memory to nobody, and gets no rights from a program it starts.
    """
    # EFBIG instead of the signal's end (setrlimit(2)): DuckDB can then say what was wrong.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_CORE, 0)
    _prctl(_PR_SET_DUMPABLE, 0)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def use_at_most(*, memory_bytes: int, cpu_secs: int) -> None:
    """Memory beyond it is refused, processor time beyond it ends the process."""
    _limit(resource.RLIMIT_DATA, memory_bytes)
    _limit(resource.RLIMIT_CPU, cpu_secs)
    _limit(resource.RLIMIT_NOFILE, OPEN_FILES)


def start_nothing() -> None:
    """No more processes or threads. It binds users without privileges only (getrlimit(2)); for root it does nothing."""
    _limit(resource.RLIMIT_NPROC, 0)


def step_back() -> None:
    """Everybody else goes first: a page is waited for, an analyst has time. SCHED_BATCH: see sched(7).

    And when memory is short, the kernel takes this one first. To be called before `write_nothing`.
    """
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    with suppress(OSError):
        os.nice(15 - os.nice(0))
    with suppress(OSError, AttributeError):  # not on every system
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def end_with(parent: int) -> None:
    """This process is killed when the one that made it is gone. Exits at once if that is so already."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _limit(kind: int, most: int) -> None:
    _, hard = resource.getrlimit(kind)
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(kind, (most, most))


def _prctl(option: int, value: int) -> None:
    zero = ctypes.c_ulong(0)
    _called(_libc.prctl(option, ctypes.c_ulong(value), zero, zero, zero))


def _called(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
