"""Keeps processes running: starts them, starts them again when they die, and ends them with patience.

Knows processes, signals and how long to wait. Knows nothing of what they do, nor of which are needed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import msgspec

from ropo.child import RETIRE

log = logging.getLogger(__name__)

# After a process died young the next try waits, twice as long each time, so that a broken one does not eat the machine.
FIRST_WAIT_SECS, LONGEST_WAIT_SECS, LIVED_LONG_SECS = 0.1, 10.0, 5.0


@dataclass(eq=False)
class Child:
    """One process to be kept running. `arguments` follow the Python interpreter, `orders` go to its stdin.

    `says_ready`: its orders get a key `ready`, the descriptor of a pipe in which it says that it works.
    """

    name: str
    arguments: list[str]
    orders: dict[str, Any] = field(repr=False)
    pass_fds: tuple[int, ...] = ()
    says_ready: bool = False
    process: asyncio.subprocess.Process | None = None
    ready: bool = False
    deaths: int = 0
    leave: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.returncode is None

    def tell(self, number: signal.Signals) -> None:
        if self.runs:
            with suppress(ProcessLookupError):
                self.process.send_signal(number)


class Children:
    """All that run. `restarts` counts by name, and goes on counting when a name is given to another."""

    def __init__(self) -> None:
        self.restarts: Counter[str] = Counter()
        self._tasks: dict[Child, asyncio.Task[None]] = {}

    def start(self, child: Child) -> None:
        """Runs it until it is told to end."""
        self.restarts[child.name] += 0
        self._tasks[child] = asyncio.create_task(self._keep(child))

    async def end(
        self,
        children: Iterable[Child],
        *,
        patience_secs: float,
        hurry: asyncio.Event,
        number: signal.Signals = signal.SIGTERM,
    ) -> None:
        """Sends them the signal and waits; SIGKILL when the patience ends, or when there is a `hurry`.

        Returns when none of them runs. May be called while another call waits for the same ones.
        """
        leaving = [child for child in children if child in self._tasks]
        for child in leaving:
            child.leave.set()
            child.tell(number)
        if not leaving:
            return
        ended = asyncio.gather(*(asyncio.shield(self._tasks[child]) for child in leaving))
        hurried = asyncio.create_task(hurry.wait())
        await asyncio.wait({ended, hurried}, timeout=patience_secs, return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()
        for child in leaving:
            if child.runs:
                log.error("event=killed name=%s after_secs=%.0f", child.name, patience_secs)
                child.tell(signal.SIGKILL)
        await ended

    async def _keep(self, child: Child) -> None:
        try:
            wait = FIRST_WAIT_SECS
            while not child.leave.is_set():
                began = time.monotonic()
                try:
                    await self._spawn(child)
                    code = await child.process.wait()
                except OSError as error:
                    code = f"not started: {error.strerror}"
                if child.leave.is_set():
                    if code not in (0, -signal.SIGTERM, -RETIRE):  # it may not have listened to signals yet
                        log.error("event=process_died name=%s exit=%s while=leaving", child.name, code)
                    return
                child.ready = False
                child.deaths += 1
                self.restarts[child.name] += 1
                lived_long = time.monotonic() - began > LIVED_LONG_SECS
                wait = FIRST_WAIT_SECS if lived_long else min(wait * 2, LONGEST_WAIT_SECS)
                log.error("event=process_died name=%s exit=%s restart_in_secs=%.1f", child.name, code, wait)
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await child.leave.wait()
        finally:
            del self._tasks[child]

    async def _spawn(self, child: Child) -> None:
        orders, fds, told, tell = child.orders, child.pass_fds, -1, -1
        if child.says_ready:
            told, tell = os.pipe()
            orders, fds = {**orders, "ready": tell}, (*fds, tell)
        try:
            child.process = process = await asyncio.create_subprocess_exec(
                sys.executable,
                *child.arguments,
                stdin=asyncio.subprocess.PIPE,
                pass_fds=fds,
                # Ctrl-C on a terminal goes to a whole process group; the order of stopping is ours to keep.
                process_group=0,
            )
        except OSError:
            if child.says_ready:
                os.close(told)
            raise
        finally:
            if child.says_ready:
                os.close(tell)
        if child.says_ready:
            asyncio.get_running_loop().add_reader(told, _hear, child, process, told)
        if child.leave.is_set():  # told so while it was being started
            child.tell(signal.SIGTERM)
        process.stdin.write(msgspec.json.encode(orders) + b"\n")
        with suppress(ConnectionError):
            await process.stdin.drain()


def _hear(child: Child, process: asyncio.subprocess.Process, told: int) -> None:
    """It has said that it works, or it is gone."""
    asyncio.get_running_loop().remove_reader(told)
    said = os.read(told, 1)
    os.close(told)
    if said and child.process is process:
        child.ready = True
