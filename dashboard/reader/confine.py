"""Takes rights from this process for good: what it may write, start and use up. What it may open: `storage.landlock`.

Knows Linux: resource limits and prctl(2), through ctypes. Knows nothing of SQL.

prctl holds for the calling thread and those it starts later: call this before there is another one.
RLIMIT_AS is not among them: DuckDB's allocator reserves addresses it never uses. RLIMIT_DATA counts what can be written.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from contextlib import suppress
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)

# prctl(2)
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38

OPEN_FILES = 1024


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
