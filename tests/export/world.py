"""A world for the dispatcher: a clock that stands still, a log in memory, and sinks that do as they are told."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

from export.connector import Delivered, Message, Outcome
from export.dispatcher import Dispatcher
from export.outbox import PendingDelivery, delivery_id
from export.settings import ExportSettings
from tests.export.leads import lead
from tracker.clock import text_of
from tracker.model import DeliveryFact

START = 1_795_341_600.0


class Clock:
    """Unix seconds, moved by hand."""

    def __init__(self) -> None:
        self.time = START

    def __call__(self) -> float:
        return self.time

    def text(self) -> str:
        return text_of(int(self.time * 1e6))


class Log:
    """An outbox over a list of facts. `fail` makes the named calls raise until it is emptied."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.facts: list[DeliveryFact] = []
        self.batches: list[int] = []
        self.leads: dict[str, dict[str, Any] | None] = {}
        self.fail: dict[str, Exception] = {}
        self.pause: asyncio.Event | None = None

    def owe(self, *sinks: str, number: int | None = None, document: dict[str, Any] | None = None) -> str:
        """A new lead, owed to these sinks. Returns its id."""
        document = document or lead(len(self.leads) if number is None else number)
        lead_id = document["lead_id"]
        self.leads[lead_id] = document
        for sink in sinks:
            self.add(lead_id, sink, "owed")
        return lead_id

    def add(self, lead_id: str, sink: str, fact: str, **more: Any) -> None:
        key = delivery_id(lead_id, sink)
        self.facts.append(
            DeliveryFact(delivery_id=key, lead_id=lead_id, sink=sink, occurred_at=self.clock.text(), fact=fact, **more)
        )

    def of(self, sink: str, *facts: str) -> list[DeliveryFact]:
        return [fact for fact in self.facts if fact.sink == sink and (not facts or fact.fact in facts)]

    async def pending(self) -> list[PendingDelivery]:
        await self._meet("pending")
        return self.owed()

    def owed(self) -> list[PendingDelivery]:
        owed: dict[str, PendingDelivery] = {}
        requeues: dict[str, int] = {}
        for fact in self.facts:
            key = fact.delivery_id
            if fact.fact in ("owed", "requeued"):
                requeues[key] = requeues.get(key, -1) + 1
                owed[key] = PendingDelivery(
                    delivery_id=key,
                    lead_id=fact.lead_id,
                    sink=fact.sink,
                    owed_at=fact.occurred_at,
                    requeues=requeues[key],
                )
            elif fact.fact == "failed":
                owed[key] = replace(owed[key], attempts=fact.attempt, next_attempt_at=fact.next_attempt_at)
            else:
                owed.pop(key, None)
        return list(owed.values())

    async def message(self, pending: PendingDelivery) -> dict[str, Any] | None:
        await self._meet("message")
        return self.leads[pending.lead_id]

    async def record(self, facts: list[DeliveryFact]) -> None:
        await self._meet("record")
        self.facts += facts
        self.batches.append(len(facts))

    async def _meet(self, call: str) -> None:
        await asyncio.sleep(0)
        if self.pause is not None:
            await self.pause.wait()
        if call in self.fail:
            raise self.fail[call]


Answer = Outcome | Exception | Callable[[Message], Any]


class Sink:
    """A connector that keeps what it is given and answers what `answer` says: a value, an exception, a function."""

    def __init__(self, answer: Answer = Delivered(), *, concurrency: int = 2) -> None:  # noqa: B008
        self.answer = answer
        self.concurrency = concurrency
        self.got: list[Message] = []
        self.done: list[str] = []
        self.opened: list[list[str]] = []
        self.open_error: Exception | None = None
        self.closed = 0
        self.running = 0
        self.most_running = 0

    def leads(self) -> list[str]:
        return [message.lead_id for message in self.got]

    async def open(self, owed: Collection[str]) -> None:
        self.opened.append(sorted(owed))
        if self.open_error:
            raise self.open_error

    async def deliver(self, message: Message) -> Outcome:
        self.got.append(message)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            await asyncio.sleep(0)
            answer = self.answer(message) if callable(self.answer) else self.answer
            if asyncio.iscoroutine(answer):
                answer = await answer
            if isinstance(answer, Exception):
                raise answer
            return answer
        finally:
            self.running -= 1

    async def settled(self, delivery_id: str) -> None:
        self.done.append(delivery_id)

    async def close(self) -> None:
        self.closed += 1


class World:
    """A running dispatcher with its clock and log. `random` draws the whole wait, so that times are exact."""

    def __init__(self, sinks: dict[str, Any], settings: ExportSettings | None = None, log: Log | None = None) -> None:
        self.sinks = sinks
        self.clock = log.clock if log else Clock()
        self.log = log or Log(self.clock)
        self.settings = settings or ExportSettings()
        self.dispatcher = self._dispatcher()

    def _dispatcher(self) -> Dispatcher:
        return Dispatcher(
            self.sinks, settings=self.settings, outbox=self.log, now=self.clock, random=lambda: 1.0, gather_secs=0
        )

    async def __aenter__(self) -> World:
        await self.dispatcher.start()
        await self.quiet()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.dispatcher.stop(within_secs=1)

    async def restart(self) -> None:
        await self.dispatcher.stop(within_secs=1)
        self.dispatcher = self._dispatcher()
        await self.dispatcher.start()
        await self.quiet()

    async def owe(self, *sinks: str) -> str:
        lead_id = self.log.owe(*sinks)
        await self.look()
        return lead_id

    async def later(self, secs: float) -> None:
        self.clock.time += secs
        await self.look()

    async def look(self) -> None:
        self.dispatcher.wake()
        await self.quiet()

    async def quiet(self) -> None:
        """Gives every task its turns, many times over: whatever can happen without time passing has happened."""
        for _ in range(200):
            await asyncio.sleep(0)

    def state(self, sink: str) -> dict[str, Any]:
        return self.dispatcher.state()[sink]


async def until(question: Callable[[], Any]) -> None:
    """For what happens in threads and sockets. Raises AssertionError after 10 s."""
    for _ in itertools.repeat(None, 10_000):
        if question():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("waited in vain")
