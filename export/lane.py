"""One sink at work: takes what is owed to it, makes the attempts, says what became of each. Knows no other sink.

An attempt ends in one of these, and each is a fact in the log before anyone acts on it:

    Delivered  delivered
    Later      failed, with the moment of the next attempt; dead once it was tried for `give_up_days`
    Never      dead
    Parked     no fact: it is owed as before, and the sink is left alone for a while
    cut off    no fact: when ropo stops in the middle, nobody knows, and it is tried again after the start
"""

from __future__ import annotations

import asyncio
import logging
import os
import traceback
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from export.agenda import Agenda
from export.backoff import next_attempt_at
from export.circuit import Circuit
from export.connector import Connector, Delivered, Later, Message, Never, Outcome, Parked
from export.fact_writer import FactWriter
from export.outbox import Outbox, PendingDelivery
from export.plain_text import encodable, one_line
from export.settings import ExportSettings
from tracker.clock import parse, text_of
from tracker.model import DeliveryFact

log = logging.getLogger(__name__)

# No connector needs longer; one that does has hung, and its place is wanted.
ATTEMPT_LIMIT_SECS = 180.0
# Outcomes of one sink that may wait for the log at the same time: what a crash could make us send twice.
MAX_UNRECORDED = 100
# The wall clock may jump; so nobody sleeps longer than this without looking at it.
LONGEST_SLEEP_SECS = 60.0


class Lane:
    def __init__(
        self,
        name: str,
        connector: Connector,
        *,
        settings: ExportSettings,
        outbox: Outbox,
        facts: FactWriter,
        now: Callable[[], float],
        random: Callable[[], float],
    ) -> None:
        self.name = name
        self._connector = connector
        self._settings = settings
        self._outbox = outbox
        self._facts = facts
        self._now = now
        self._random = random
        self._agenda = Agenda()
        self._circuit = Circuit()
        self._is_open = False
        self._look = asyncio.Event()
        self._attempts: set[asyncio.Task[None]] = set()
        self._settling: set[asyncio.Task[None]] = set()
        self._unrecorded = 0
        # delivery id -> how many others had been delivered when the sink refused us over this one
        self._parked_at: dict[str, int] = {}
        self._counts = dict.fromkeys(("delivered", "failed", "dead", "bugs"), 0)
        self._last_error: str | None = None
        self._last_error_at: str | None = None
        self._last_delivered_at: str | None = None

    def owe(self, pending: Iterable[PendingDelivery]) -> None:
        """All that the log says is owed to this sink."""
        self._agenda.replace(pending)
        self.look()

    def look(self) -> None:
        """Something changed: the time, what is owed, or whether the log can be written."""
        self._look.set()

    async def run(self) -> None:
        """Makes attempts until it is cancelled; those that are running then go on."""
        while True:
            try:
                self._look.clear()
                if not self._is_open:
                    await self._open()
                if self._is_open:
                    self._start_attempts()
                async with asyncio.timeout(self._sleep_secs()):
                    await self._look.wait()
            except TimeoutError:
                pass
            except Exception as error:
                # Ours. One lane must not end by it, nor spin.
                self._count_bug("lane", error)
                await asyncio.sleep(1.0)

    async def finish_attempts(self, *, within_secs: float) -> None:
        """Waits for the running attempts; those that take longer are cut off."""
        await _finish(self._attempts, within_secs)

    async def close(self, *, within_secs: float) -> None:
        """After the last fact is in the log."""
        await _finish(self._settling, within_secs / 2)
        try:
            async with asyncio.timeout(within_secs / 2):
                await self._connector.close()
        except Exception as error:
            self._count_bug("close", error)

    def state(self) -> dict[str, Any]:
        """For the dashboard. Counts are since the start; times are text of tracker.clock."""
        circuit = self._circuit
        return {
            **self._counts,
            "owed": len(self._agenda),
            "running": len(self._attempts),
            "circuit": circuit.state,
            "next_probe_at": text_of(int(circuit.until * 1e6)) if circuit.until > self._now() else None,
            "waits_for_log": not self._facts.is_working,
            "last_delivered_at": self._last_delivered_at,
            "last_error": self._last_error,
            "last_error_at": self._last_error_at,
        }

    async def _open(self) -> None:
        now = self._now()
        if now < self._circuit.until:
            return
        try:
            async with asyncio.timeout(ATTEMPT_LIMIT_SECS):
                await self._connector.open(self._agenda.delivery_ids())
        except Exception as error:
            self._count_bug("open", error)
            self._circuit = replace(self._circuit, until=now + self._settings.circuit.parked_secs)
            return
        self._is_open = True

    def _may_start(self) -> bool:
        return self._facts.is_working and self._unrecorded < MAX_UNRECORDED

    def _start_attempts(self) -> None:
        while self._may_start():
            now = self._now()
            places = self._circuit.places(now=now, running=len(self._attempts), concurrency=self._connector.concurrency)
            pending = self._agenda.take(now) if places else None
            if pending is None:
                return
            attempt = asyncio.create_task(self._attempt(pending), name=f"attempt {self.name} {pending.delivery_id}")
            self._attempts.add(attempt)
            attempt.add_done_callback(self._attempt_done)

    def _attempt_done(self, attempt: asyncio.Task[None]) -> None:
        self._attempts.discard(attempt)
        if not attempt.cancelled() and (error := attempt.exception()):
            # Ours, not the connector's. The delivery stays taken, so that it cannot be made in a tight circle.
            self._count_bug("attempt", error)
        self.look()

    def _sleep_secs(self) -> float:
        """How long nothing can happen by itself. What else can make a difference calls `look`."""
        if not self._is_open:
            return min(max(self._circuit.until - self._now(), 0.01), LONGEST_SLEEP_SECS)
        now = self._now()
        due = self._agenda.next_at(now)
        if due is None or (self._attempts and due <= now) or not self._may_start():
            due = now + LONGEST_SLEEP_SECS
        due = max(due, self._circuit.until)
        return min(max(due - now, 0.001), LONGEST_SLEEP_SECS)

    async def _attempt(self, pending: PendingDelivery) -> None:
        try:
            document = await self._outbox.message(pending)
        except Exception as error:
            # The sink has no part in this: it opens no circuit.
            self._count_bug("message", error)
            self._conclude(pending, Later(f"its message could not be made ({type(error).__name__})"))
            return
        if document is None:
            self._conclude(pending, Never("the lead is no more"))
            return
        outcome = await self._deliver(pending, document)
        if isinstance(outcome, Parked) and self._means_this_lead(pending):
            outcome = Later(outcome.reason)
        else:
            self._bother(outcome, pending)
        self._conclude(pending, outcome)

    async def _deliver(self, pending: PendingDelivery, document: dict[str, Any]) -> Outcome:
        message = Message(
            delivery_id=pending.delivery_id,
            lead_id=pending.lead_id,
            type=pending.type,
            occurred_at=document.get("occurred_at") or "",
            attempt=pending.attempts + 1,
            data=encodable(document),
            requeues=pending.requeues,
        )
        try:
            async with asyncio.timeout(ATTEMPT_LIMIT_SECS):
                outcome = await self._connector.deliver(message)
        except TimeoutError:
            return Later(f"no outcome within {ATTEMPT_LIMIT_SECS:g} s")
        except Exception as error:
            self._count_bug("deliver", error)
            return Later(f"a bug in the connector ({type(error).__name__})")
        if not isinstance(outcome, Outcome):
            self._count_bug("deliver", TypeError())
            return Later("a bug in the connector (no outcome)")
        return outcome

    def _means_this_lead(self, pending: PendingDelivery) -> bool:
        """The sink refused us again over this lead, and took others meanwhile: then it is the lead it refuses."""
        delivered = self._counts["delivered"]
        before = self._parked_at.get(pending.delivery_id)
        self._parked_at[pending.delivery_id] = delivered
        return before is not None and delivered > before

    def _bother(self, outcome: Outcome, pending: PendingDelivery) -> None:
        """What the outcome says about bothering the sink further."""
        before = self._circuit
        self._circuit = before.after(
            outcome, delivery_id=pending.delivery_id, now=self._now(), settings=self._settings.circuit
        )
        if self._circuit.state == before.state:
            return
        if self._circuit.state == "closed":
            log.warning("sink=%s works again", self.name)
        else:
            log.error(
                "sink=%s circuit=%s reason=%s; it is left alone and tried again by itself",
                self.name,
                self._circuit.state,
                one_line(outcome.reason),
            )

    def _conclude(self, pending: PendingDelivery, outcome: Outcome) -> None:
        now = self._now()
        moment = text_of(int(now * 1e6))
        fact = DeliveryFact(
            delivery_id=pending.delivery_id,
            lead_id=pending.lead_id,
            sink=self.name,
            occurred_at=moment,
            fact="delivered",
            attempt=pending.attempts + 1,
        )
        if isinstance(outcome, Delivered):
            fact.remote_ref = one_line(outcome.remote_ref) if outcome.remote_ref else None
            self._last_delivered_at = moment
        else:
            self._last_error, self._last_error_at = one_line(outcome.reason), moment
            fact.reason = self._last_error
        if isinstance(outcome, Parked):
            self._agenda.refused(pending.delivery_id)
            self._agenda.put_back(pending)
            return
        if isinstance(outcome, Later):
            fact.fact, fact.next_attempt_at = self._next_attempt(pending, outcome, now)
        elif isinstance(outcome, Never):
            fact.fact = "dead"
        self._counts[fact.fact] += 1
        if fact.fact != "delivered":
            log.log(
                logging.ERROR if fact.fact == "dead" else logging.WARNING,
                "sink=%s lead=%s fact=%s attempt=%d reason=%s next_attempt_at=%s",
                self.name,
                fact.lead_id,
                fact.fact,
                fact.attempt,
                fact.reason,
                fact.next_attempt_at,
            )
        self._unrecorded += 1
        self._facts.put(fact, lambda recorded: self._recorded(pending, recorded))

    def _next_attempt(self, pending: PendingDelivery, outcome: Later, now: float) -> tuple[str, str | None]:
        at = next_attempt_at(
            self._settings.retry,
            owed_at=parse(pending.owed_at).timestamp(),
            now=now,
            attempts=pending.attempts + 1,
            random=self._random,
            after_secs=outcome.after_secs,
        )
        return ("dead", None) if at is None else ("failed", text_of(int(at * 1e6)))

    def _recorded(self, pending: PendingDelivery, fact: DeliveryFact) -> None:
        """The fact is in the log: now, and not before, it may be acted on."""
        self._unrecorded -= 1
        if fact.fact == "failed":
            self._agenda.put_back(replace(pending, attempts=fact.attempt, next_attempt_at=fact.next_attempt_at))
        else:
            self._agenda.drop(pending.delivery_id)
            self._parked_at.pop(pending.delivery_id, None)
            settling = asyncio.create_task(self._settle(pending.delivery_id))
            self._settling.add(settling)
            settling.add_done_callback(self._settling.discard)
        self.look()

    async def _settle(self, delivery_id: str) -> None:
        try:
            async with asyncio.timeout(ATTEMPT_LIMIT_SECS):
                await self._connector.settled(delivery_id)
        except Exception as error:
            self._count_bug("settled", error)

    def _count_bug(self, where: str, error: BaseException) -> None:
        # Kind and place only: the text of an exception may quote the contact (KeyError, UnicodeEncodeError, ...).
        self._counts["bugs"] += 1
        self._last_error = f"{where} raised {type(error).__name__}"
        self._last_error_at = text_of(int(self._now() * 1e6))
        frames = traceback.extract_tb(error.__traceback__)[-4:]
        at = " < ".join(f"{os.path.basename(frame.filename)}:{frame.lineno}" for frame in reversed(frames))
        log.error("sink=%s in=%s raised=%s at=%s", self.name, where, type(error).__name__, at)


async def _finish(tasks: set[asyncio.Task[None]], within_secs: float) -> None:
    """Waits so long, then cancels, and waits no longer than a second for that."""
    if tasks:
        _, late = await asyncio.wait(set(tasks), timeout=within_secs)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=1.0)
