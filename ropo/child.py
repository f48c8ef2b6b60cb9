"""What every process below the supervisor has in common: its orders, its end, and its state once per second.

Knows the pipe to the supervisor: one line of JSON on stdin, then nothing; its end means that the supervisor is gone.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import msgspec

from storage import status
from storage.layout import Layout

log = logging.getLogger(__name__)

T = TypeVar("T")

# "Another is there in your place: finish what you have and go." HAProxy's word for a soft stop, too.
RETIRE = signal.SIGUSR1
# How long an idle connection of a retired worker may still bring a request: as long as Apache keeps an idle connection
# by default (KeepAliveTimeout), so whoever uses an older one must be ready to find it closed. Longer would be kinder to
# them and worse for the operator, who wants the old settings, such as the old upstream, out of use.
IDLE_GRACE_SECS = 5.0


def read_orders(kind: type[T]) -> T:
    """The line of settings the supervisor wrote. Exits with 2 if it is none: then nobody but a person started us."""
    line = bytearray()
    # Octet by octet: what comes after the line is for `stop_event`, not for a buffer.
    while not line.endswith(b"\n") and (octet := os.read(0, 1)):
        line += octet
    try:
        return msgspec.json.decode(bytes(line), type=kind)
    except msgspec.DecodeError as error:
        print(f"stdin is no line of settings ({error}); this process is started by `ropo serve`", file=sys.stderr)
        sys.exit(2)


def step_back(nice: int) -> None:
    """Lets the workers go first when processors are short: a page is waited for, a row in the log is not.

    SCHED_BATCH (sched(7)) also keeps this process from interrupting a worker each time it wakes up.
    """
    os.nice(nice)
    with suppress(OSError, AttributeError):  # not on every system
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def log_to_stderr(name: str) -> None:
    """One line per noteworthy fact, with the name of the process in front."""
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format=f"%(asctime)s %(levelname)s {name} %(name)s: %(message)s"
    )


def stop_event(loop: asyncio.AbstractEventLoop) -> asyncio.Event:
    """Set by SIGTERM, SIGINT, or the end of the supervisor."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    stop_at_end_of_stdin(loop, stop)
    return stop


def stop_at_end_of_stdin(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """Sets `stop` when whoever started us closes the pipe, or is gone."""

    def readable() -> None:
        with suppress(OSError):
            if os.read(0, 4096):
                return
        loop.remove_reader(0)
        stop.set()

    # epoll takes no plain files: they have no end to wait for.
    with suppress(PermissionError):
        loop.add_reader(0, readable)


async def first_of(*events: asyncio.Event, secs: float | None = None) -> None:
    """Returns when one of the events is set, or `secs` have passed."""
    waiting = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, timeout=secs, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


def say_ready(fd: int | None) -> None:
    """Tells the supervisor, once, through the pipe it gave us."""
    if fd is None:
        return
    with suppress(OSError):
        os.write(fd, b"1")
    with suppress(OSError):
        os.close(fd)


def raise_open_files(needed: int) -> None:
    """Takes as many descriptors as the system lets us have. Warns if that is less than `needed`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    if soft != resource.RLIM_INFINITY and soft < needed:
        log.warning(
            'event=few_open_files limit=%d needed=%d next="raise it (LimitNOFILE= in the unit, ulimit -n in a shell), '
            'or lower proxy.max_connections"',
            soft, needed,
        )  # fmt: skip


class StatusWriter:
    """Writes `state()` to the status file of `name` at most once per second. A disk that refuses is told once."""

    def __init__(self, layout: Layout, name: str, state: Callable[[], dict[str, Any]]) -> None:
        self._layout = layout
        self._name = name
        self._state = state
        self._refused = False

    def write(self) -> None:
        try:
            status.write(self._layout, self._name, self._state())
        except OSError as error:
            if not self._refused:
                log.warning("event=status_refused folder=%s error=%r", self._layout.status, error.strerror)
            self._refused = True
        else:
            self._refused = False

    def remove(self) -> None:
        with suppress(OSError):
            status.remove(self._layout, self._name)

    async def run(self, stop: asyncio.Event, *, every_secs: float = 1.0) -> None:
        """Until `stop`."""
        while not stop.is_set():
            self.write()
            with suppress(TimeoutError):
                async with asyncio.timeout(every_secs):
                    await stop.wait()
