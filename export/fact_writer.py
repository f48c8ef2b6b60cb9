"""Puts what became of deliveries into the log, in batches. Knows the outbox; nothing of sinks.

While one batch is written the next one gathers. A batch that could not be written is kept and tried again: what
became of a delivery is told only after the log has it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from export.outbox import Outbox
from tracker.model import DeliveryFact

log = logging.getLogger(__name__)

# One transaction costs about the same for one fact as for fifty, and nobody waits for it: the deliveries go on.
GATHER_SECS = 0.05
FIRST_PAUSE_SECS = 0.5
LONGEST_PAUSE_SECS = 15.0
# When ropo stops there is no time left for long pauses.
LAST_PAUSE_SECS = 0.05

Recorded = Callable[[DeliveryFact], None]


class FactWriter:
    """`turn` is held while the log is written, so that nobody reads the outbox in the middle of it.

    `changed` is called when writing stops working and when it works again. `gather_secs`: how long a batch may gather.
    """

    def __init__(
        self, outbox: Outbox, turn: asyncio.Lock, *, changed: Callable[[], None], gather_secs: float = GATHER_SECS
    ) -> None:
        self._outbox = outbox
        self._turn = turn
        self._changed = changed
        self._gather_secs = gather_secs
        self._facts: list[tuple[DeliveryFact, Recorded]] = []
        self._more = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._hurry = asyncio.Event()
        self.is_working = True

    def __len__(self) -> int:
        """Facts that are not in the log yet."""
        return len(self._facts)

    def put(self, fact: DeliveryFact, recorded: Recorded) -> None:
        """Takes a fact; calls `recorded` with it when it is in the log."""
        self._facts.append((fact, recorded))
        self._empty.clear()
        self._more.set()

    async def run(self) -> None:
        """Writes until it is cancelled."""
        pause = FIRST_PAUSE_SECS
        while True:
            await self._more.wait()
            if not self._hurry.is_set():
                await asyncio.sleep(self._gather_secs)
            try:
                async with self._turn:
                    await self._write()
            except Exception as error:
                self._tell(error)
                await self._rest(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECS)
            else:
                self._tell(None)
                pause = FIRST_PAUSE_SECS

    async def emptied(self) -> None:
        """Returns when every fact is in the log. From now on it is tried without long pauses."""
        self._hurry.set()
        await self._empty.wait()

    async def _write(self) -> None:
        batch = self._facts[:]
        await self._outbox.record([fact for fact, _ in batch])
        del self._facts[: len(batch)]
        if not self._facts:
            self._more.clear()
            self._empty.set()
        for fact, recorded in batch:
            recorded(fact)

    async def _rest(self, pause: float) -> None:
        if self._hurry.is_set():
            await asyncio.sleep(LAST_PAUSE_SECS)
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._hurry.wait()

    def _tell(self, error: Exception | None) -> None:
        works = error is None
        if works == self.is_working:
            return
        self.is_working = works
        if works:
            log.warning("outbox writes again facts=%d", len(self._facts))
        else:
            # Only the kind of error: its text may quote a row.
            log.error(
                "outbox cannot be written error=%s facts=%d; deliveries wait until it can",
                type(error).__name__,
                len(self._facts),
            )
        self._changed()
