"""The outbox as the log keeps it: the dispatcher's questions, answered on the log's own thread.

Opens the sealed contact of a lead only here, at the moment it is sent.

What became of a delivery goes the way of all that is received, only faster: as a sealed file into the spool, with the
file's name into the log in one transaction, and then to the archive. So it comes back when the log has to be built
anew; and if the collector is killed in between, the file is found in the spool and taken in.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from msgspec.structs import asdict

import ropo
from export.outbox import PendingDelivery
from storage import archive, questions
from storage.layout import Layout
from storage.sealed import drop_file
from storage.store import Store
from tracker import accounts
from tracker.clock import now_text
from tracker.model import Batch, DeliveryFact, DeliveryRecord, SpoolHeader, encode_line
from tracker.sealing import Sealer

# A lead is sent to its sinks within moments of each other; later it may have gone on.
KEEP_SECS = 5.0
KEEP_DOCUMENTS = 100

# Who writes what became of deliveries, beside the workers.
WORKER = "outbox"


class LogOutbox:
    """`on_thread` runs a function on the thread that owns the store; `store` says which one is open at the moment."""

    def __init__(
        self,
        on_thread: Callable[..., Awaitable[Any]],
        store: Callable[[], Store],
        sealer: Sealer,
        *,
        layout: Layout,
        node: str,
    ) -> None:
        self._layout = layout
        self._writer = SpoolHeader(node, WORKER, time.time_ns(), ropo.__version__)
        self._number = 0
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
            task = asyncio.ensure_future(self._on_thread(lambda: self._document_of(lead_id)))
        self._documents[lead_id] = asked_at, task
        if len(self._documents) > KEEP_DOCUMENTS:
            self._documents.popitem(last=False)
        return task

    def _document_of(self, lead_id: str) -> dict[str, Any] | None:
        con = self._store().connection
        return None if questions.is_erased(con, lead_id) else questions.lead_document(con, lead_id)

    async def record(self, facts: list[DeliveryFact]) -> None:
        await self._on_thread(lambda: self._record(facts))

    def _record(self, facts: list[DeliveryFact]) -> None:
        records = [DeliveryRecord(**asdict(fact)) for fact in facts]
        writer = self._writer
        self._number += 1
        path = drop_file(
            self._layout.spool, **asdict(writer), number=self._number, lines=[encode_line(record) for record in records]
        )
        file = accounts.spool_file(path.name, writer, records, 0, now_text())
        try:
            self._store().write(Batch(delivery_facts=facts, spool_files=[file]))
        except BaseException:
            # It is recorded again, and must not be found twice.
            path.unlink(missing_ok=True)
            raise
        with suppress(OSError):  # the spool is looked through anyway, and its name is known
            archive.put(self._layout, path)


def with_contact(document: dict[str, Any], sealer: Sealer) -> dict[str, Any]:
    """The lead document with its contact in clear. Raises UnsealError without the right key: a lead without its
    contact must not be sent, or it would count as delivered."""
    opened = {key: value for key, value in document.items() if key != "contact_sealed"}
    sealed = document.get("contact_sealed")
    opened["contact"] = sealer.open(sealed, document["lead_id"]) if sealed else {}
    return opened
