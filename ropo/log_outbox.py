"""The outbox as the log keeps it: the dispatcher's questions, answered on the log's own thread.

Opens the sealed contact of a lead only here, at the moment it is sent.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any

from export.outbox import PendingDelivery
from storage import questions
from storage.store import Store
from tracker.model import Batch, DeliveryFact
from tracker.sealing import Sealer

# A lead is sent to its sinks within moments of each other; later it may have gone on.
KEEP_SECS = 5.0
KEEP_DOCUMENTS = 100


class LogOutbox:
    """`on_thread` runs a function on the thread that owns the store; `store` says which one is open at the moment."""

    def __init__(self, on_thread: Callable[..., Awaitable[Any]], store: Callable[[], Store], sealer: Sealer) -> None:
        self._on_thread = on_thread
        self._store = store
        self._sealer = sealer
        self._documents: OrderedDict[str, tuple[float, asyncio.Task[Any]]] = OrderedDict()

    async def pending(self) -> list[PendingDelivery]:
        return await self._on_thread(lambda: questions.pending_deliveries(self._store().connection))

    async def message(self, pending: PendingDelivery) -> dict[str, Any] | None:
        document = await asyncio.shield(self._document(pending.lead_id))
        return None if document is None else with_contact(document, self._sealer)

    def _document(self, lead_id: str) -> asyncio.Task[Any]:
        """One question for all sinks of a lead: it costs more than the sending. Kept sealed, and not for long."""
        now = asyncio.get_running_loop().time()
        asked_at, task = self._documents.pop(lead_id, (0.0, None))
        if task is None or now - asked_at > KEEP_SECS or (task.done() and (task.cancelled() or task.exception())):
            asked_at = now
            task = asyncio.ensure_future(
                self._on_thread(lambda: questions.lead_document(self._store().connection, lead_id))
            )
        self._documents[lead_id] = asked_at, task
        if len(self._documents) > KEEP_DOCUMENTS:
            self._documents.popitem(last=False)
        return task

    async def record(self, facts: list[DeliveryFact]) -> None:
        await self._on_thread(lambda: self._store().write(Batch(delivery_facts=facts)))


def with_contact(document: dict[str, Any], sealer: Sealer) -> dict[str, Any]:
    """The lead document with its contact in clear. Raises UnsealError without the right key: a lead without its
    contact must not be sent, or it would count as delivered."""
    opened = {key: value for key, value in document.items() if key != "contact_sealed"}
    sealed = document.get("contact_sealed")
    opened["contact"] = sealer.open(sealed, document["lead_id"]) if sealed else {}
    return opened
