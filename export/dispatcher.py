"""Brings what is owed to its sinks. Knows the outbox and the sinks by name; each sink's work is in its own lane.

Keeps nothing of its own: at the start, and whenever it is woken, it asks the outbox what is owed. So a restart, a new
lead, a sink added to the configuration and an operator's retry are one and the same thing.
"""

from __future__ import annotations

import asyncio
import logging
import random as dice
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from export.connector import Connector
from export.fact_writer import GATHER_SECS, FactWriter
from export.lane import Lane
from export.outbox import Outbox, PendingDelivery
from export.settings import ExportSettings

log = logging.getLogger(__name__)

# A wake that was forgotten must not hold a lead for ever.
LOOK_AGAIN_SECS = 60.0
FIRST_PAUSE_SECS = 0.5
LONGEST_PAUSE_SECS = 15.0


class Dispatcher:
    """Runs in the loop it is started in. `now` gives Unix seconds, `random` draws from [0, 1).

    `gather_secs`: how long facts gather before they are recorded together.
    """

    def __init__(
        self,
        sinks: Mapping[str, Connector],
        *,
        settings: ExportSettings,
        outbox: Outbox,
        now: Callable[[], float] = time.time,
        random: Callable[[], float] = dice.random,
        gather_secs: float = GATHER_SECS,
    ) -> None:
        self._outbox = outbox
        # A list of what is owed that was read before a fact was written, and arrives after it, would send a lead
        # twice. So reading the outbox and writing to it take turns.
        self._turn = asyncio.Lock()
        self._facts = FactWriter(outbox, self._turn, changed=self._look_all, gather_secs=gather_secs)
        self._lanes = {
            name: Lane(name, connector, settings=settings, outbox=outbox, facts=self._facts, now=now, random=random)
            for name, connector in sinks.items()
        }
        self._unknown: Counter[str] = Counter()
        self._woken = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._can_read = True
        self._stopped = False

    async def start(self) -> None:
        """Begins. Returns at once; sinks are opened when the outbox has said what is owed."""
        self._tasks = [
            asyncio.create_task(self._facts.run(), name="delivery facts"),
            asyncio.create_task(self._read(), name="outbox"),
        ]

    def wake(self) -> None:
        """There may be something new: leads were committed, or a delivery was requeued. Cheap; from the loop only."""
        self._woken.set()

    async def stop(self, *, within_secs: float = 10.0) -> None:
        """Lets running attempts finish for half of the time, cuts off the others, writes the facts, closes the sinks.

        Of an attempt that was cut off nothing is recorded: it is still owed, and made again after the next start.
        """
        if self._stopped:
            return
        self._stopped = True
        facts, *others = self._tasks or [None]
        await _cancelled(others)
        await _all(lane.finish_attempts(within_secs=within_secs / 2) for lane in self._lanes.values())
        if facts:
            try:
                async with asyncio.timeout(within_secs / 4):
                    await self._facts.emptied()
            except TimeoutError:
                log.error("facts=%d could not be written; these deliveries are made again", len(self._facts))
            await _cancelled([facts])
        await _all(lane.close(within_secs=within_secs / 4) for lane in self._lanes.values())

    def state(self) -> dict[str, dict[str, Any]]:
        """Each sink by name: `delivered`, `failed`, `dead` and `bugs` since the start, `owed`, `circuit`, `last_error`
        and more (see `Lane.state`). Names that are owed something and are not configured have `circuit` unknown."""
        states = {name: lane.state() for name, lane in self._lanes.items()}
        for name, owed in self._unknown.items():
            states[name] = {
                **dict.fromkeys(("delivered", "failed", "dead", "bugs", "running"), 0),
                "owed": owed,
                "circuit": "unknown",
                "last_error": "no sink of this name is configured; its leads stay owed",
            }
        return states

    async def _read(self) -> None:
        pause = FIRST_PAUSE_SECS
        lanes_run = False
        while True:
            self._woken.clear()
            try:
                async with self._turn:
                    self._deal(await self._outbox.pending())
            except Exception as error:
                self._tell(error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECS)
                continue
            self._tell(None)
            pause = FIRST_PAUSE_SECS
            if not lanes_run:
                lanes_run = True
                self._tasks += [
                    asyncio.create_task(lane.run(), name=f"sink {lane.name}") for lane in self._lanes.values()
                ]
            try:
                async with asyncio.timeout(LOOK_AGAIN_SECS):
                    await self._woken.wait()
            except TimeoutError:
                pass

    def _deal(self, owed: list[PendingDelivery]) -> None:
        by_sink: dict[str, list[PendingDelivery]] = defaultdict(list)
        for pending in owed:
            by_sink[pending.sink].append(pending)
        for name, lane in self._lanes.items():
            lane.owe(by_sink.pop(name, ()))
        unknown = Counter({name: len(owed) for name, owed in by_sink.items()})
        for name in unknown.keys() - self._unknown.keys():
            log.error("sink=%s owed=%d no sink of this name is configured; its leads stay owed", name, unknown[name])
        self._unknown = unknown

    def _look_all(self) -> None:
        for lane in self._lanes.values():
            lane.look()

    def _tell(self, error: Exception | None) -> None:
        works = error is None
        if works != self._can_read:
            if works:
                log.warning("outbox can be read again")
            else:
                log.error("outbox cannot be read error=%s; no new lead is delivered until it can", type(error).__name__)
        self._can_read = works


async def _cancelled(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=1.0)


async def _all(coroutines) -> None:
    await asyncio.gather(*coroutines, return_exceptions=True)
