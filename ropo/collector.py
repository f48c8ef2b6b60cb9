"""The collector: the one process that opens the log. Records go in, leads go out.

Joins spool, pipeline, log and dispatcher. All that touches DuckDB happens on one thread of its own, so that the event
loop stays free for the deliveries.

    every 0.1 s   sealed spool files ▸ pipeline ▸ one transaction ▸ archive
    every 2 s     publish what is new; promote what is old
    every night   let go what is too old, erase who is to be erased (ropo.nightly)
    always        the dispatcher delivers what is owed
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from typing import Any, TypeVar

import msgspec

import ropo
from export.dispatcher import Dispatcher
from export.outbox import delivery_id
from export.settings import ExportSettings
from export.sinks import connectors_for
from ropo.child import RETIRE, StatusWriter, log_to_stderr, read_orders, step_back, stop_event
from ropo.intake import Intake
from ropo.log_outbox import LogOutbox
from ropo.nightly import Nightly, NotNowError, is_due, last_run
from storage import archive, quarantine
from storage.layout import Layout
from storage.migrations import NewerLogError
from storage.rewrite import CannotRewriteError
from storage.settings import StorageSettings
from storage.store import Store
from storage.work import REBUILD, UnusableLogError, is_damaged
from tracker.clock import now_text, text_of
from tracker.pipeline import Pipeline
from tracker.sealing import Sealer
from tracker.settings import TrackerSettings

log = logging.getLogger(__name__)

T = TypeVar("T")

POLL_SECS = 0.1
# After a failure of the log the next try waits; the spool keeps everything meanwhile.
RETRY_SECS = 2.0
HOUSEKEEPING_SECS = 60.0
# A quarter of what a worker gets where both want the same processor: enough to keep up, too little to slow the site.
NICE = 5
# The log settles first when ropo has been started; and a run that failed is not tried again at once.
NIGHTLY_LOOK_SECS, NIGHTLY_RETRY_SECS = 60.0, 600.0


class CollectorOrders(msgspec.Struct):
    """What the supervisor tells the collector."""

    tracker: TrackerSettings
    storage: StorageSettings
    export: ExportSettings
    contact_keys: list[str]
    webhook_keys: dict[str, list[str]]


def main() -> int:
    orders = read_orders(CollectorOrders)
    log_to_stderr("collector")
    step_back(NICE)
    return asyncio.run(Collector(orders).run())


class Collector:
    def __init__(self, orders: CollectorOrders) -> None:
        storage = orders.storage
        self._orders = orders
        self._layout = Layout.of(storage)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="log")
        self._store: Store | None = None
        self._intake: Intake | None = None
        self._dispatcher: Dispatcher | None = None
        self._counts: dict[str, Any] = {"events": 0, "batches": 0, "quarantined": 0, "errors": 0}
        self._waiting = {"files": 0, "oldest_secs": 0.0}
        self._retiring = False
        self._nightly = Nightly(
            self._layout,
            storage,
            orders.export,
            orders.contact_keys,
            on_log=self._on_thread,
            store=lambda: self._store,
        )
        # An erasure was ordered that is not to wait for the night.
        self._is_urgent = asyncio.Event()
        self._night: dict[str, Any] = {}

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        stop = stop_event(loop)
        loop.add_signal_handler(RETIRE, self._retire, stop)
        writer = StatusWriter(self._layout, "collector", self._state)
        state = asyncio.create_task(writer.run(stop))
        try:
            await self._until_open(stop)
            if self._store is not None:
                await self._serve(stop)
        finally:
            stop.set()
            await state
            if self._store is not None:
                await self._on_thread(self._store.close)
            self._thread.shutdown()
        if not self._retiring:
            writer.remove()
        return 0

    def _retire(self, stop: asyncio.Event) -> None:
        """Another collector comes at once and goes on: the workers still write, so what waits is left to its turn."""
        self._retiring = True
        stop.set()

    async def _until_open(self, stop: asyncio.Event) -> None:
        """Opens the log, however long that takes. A collector that gave up would only be started again."""
        while not stop.is_set():
            try:
                await self._on_thread(self._open)
                return
            except Exception:
                self._failed("open", f"the log in {self._layout.work_db} cannot be opened; the spool keeps all records")
                await _wait(stop, RETRY_SECS)

    def _open(self) -> None:
        orders = self._orders
        self._store = Store.open(self._layout, orders.storage)
        self._intake = Intake(
            self._layout, self._store, self._new_pipeline, seal_secs=orders.storage.seal_interval_secs
        )
        self._store.publish()

    def _new_pipeline(self) -> Pipeline:
        sinks = tuple(sink.name for sink in self._orders.export.sinks)
        return Pipeline(self._orders.tracker, sinks=sinks, version=ropo.__version__, delivery_id=delivery_id)

    async def _serve(self, stop: asyncio.Event) -> None:
        outbox = LogOutbox(
            self._on_thread,
            lambda: self._store,
            Sealer(self._orders.contact_keys),
            layout=self._layout,
            node=self._orders.storage.node_name,
        )
        export = with_keys(self._orders.export, self._orders.webhook_keys)
        self._dispatcher = Dispatcher(connectors_for(export), settings=export, outbox=outbox)
        await self._dispatcher.start()
        nights = asyncio.create_task(self._nights())
        try:
            await self._collect(stop)
        finally:
            nights.cancel()
            with suppress(asyncio.CancelledError):
                await nights
            await self._dispatcher.stop()
            # What the workers wrote at the end, and what became of the last deliveries, is shown before we go.
            with suppress(Exception):
                await self._on_thread(self._store.publish)

    async def _collect(self, stop: asyncio.Event) -> None:
        storage = self._orders.storage
        publish_at = housekeeping_at = 0.0
        while True:
            # The workers are gone when we are told to stop: then nobody has to be waited for.
            last = stop.is_set()
            if self._retiring:
                return
            taken = await self._step("ingest", lambda last=last: self._ingest(everything=last))
            now = time.monotonic()
            if now >= publish_at:
                await self._step("publish", self._publish)
                publish_at = now + storage.publish_interval_secs
            if now >= housekeeping_at:
                await self._step("archive", self._tidy)
                housekeeping_at = now + HOUSEKEEPING_SECS
            if last:
                if not taken:
                    return
            elif not taken:
                await _wait(stop, POLL_SECS)

    async def _nights(self) -> None:
        """The nightly run when its time has come, also if that was missed, or when an erasure is not to wait."""
        last = await asyncio.to_thread(last_run, self._layout)
        if last is not None:
            self._night = {"last_at": text_of(int(last.timestamp()) * 1_000_000)}
        wait_secs = NIGHTLY_LOOK_SECS
        while True:
            await _wait(self._is_urgent, wait_secs)
            wait_secs = NIGHTLY_LOOK_SECS
            now = datetime.now().astimezone()
            if not (self._is_urgent.is_set() or is_due(last, now, self._orders.storage.nightly_at)):
                continue
            self._is_urgent.clear()
            self._night["is_running"] = True
            try:
                self._night = {"last_at": now_text(), **asdict(await self._nightly.run())}
                last = now
            except Exception as error:
                why = str(error) if isinstance(error, (NotNowError, CannotRewriteError)) else type(error).__name__
                self._night = {**self._night, "is_running": False, "error": why}
                self._failed("nightly", why)
                wait_secs = NIGHTLY_RETRY_SECS

    async def _step(self, name: str, work: Callable[[], T]) -> T | None:
        """One piece of work on the log. When it fails the log is opened anew; nothing is lost by that."""
        try:
            return await self._on_thread(work)
        except Exception:
            self._failed(name, "the spool keeps all records; the log is opened anew")
        await asyncio.sleep(RETRY_SECS)
        with suppress(Exception):
            await self._on_thread(self._store.close)
        try:
            await self._on_thread(self._open)
        except Exception:
            self._failed("open", f"look at {self._layout.work_db} and the free space beside it")
        return None

    def _ingest(self, *, everything: bool) -> bool:
        """Takes in what is sealed. True: there was something, and there may be more."""
        taken = self._intake.take(everything=everything)
        self._waiting = {"files": taken.waiting_files, "oldest_secs": taken.oldest_secs}
        if not taken.files:
            return False
        self._counts["events"] += taken.events
        self._counts["batches"] += 1
        self._counts["quarantined"] += taken.quarantined
        self._counts["last_batch_at"] = now_text()
        if taken.is_urgent:
            self._loop.call_soon_threadsafe(self._is_urgent.set)
        if taken.deliveries and self._dispatcher is not None:
            self._loop.call_soon_threadsafe(self._dispatcher.wake)
        return True

    def _publish(self) -> None:
        if self._store.publish():
            self._counts["last_publish_at"] = now_text()
        self._store.promote(time.time())

    def _tidy(self) -> None:
        storage = self._orders.storage
        if not self._nightly.holds_archive:
            archive.prune(self._layout, hours=storage.archive_hours)
        quarantine.prune(self._layout, days=storage.quarantine_days)
        self._store.tidy()

    async def _on_thread(self, work: Callable[..., T], *arguments: object) -> T:
        self._loop = asyncio.get_running_loop()
        return await self._loop.run_in_executor(self._thread, work, *arguments)

    def _failed(self, step: str, hint: str) -> None:
        error = sys.exception()
        self._counts["errors"] += 1
        self._counts["last_error"] = f"{step}: {type(error).__name__}"
        if isinstance(error, (UnusableLogError, NewerLogError)):
            # Our own words: they say what to do.
            hint = str(error).replace('"', "'").replace("\n", " ")
        elif is_damaged(error):
            hint = f"{self._layout.work_db} or a part is damaged. {REBUILD}"
        # Where, and what kind: the text of a database error may quote the row it stumbled over.
        places = "".join(traceback.format_tb(error.__traceback__)).rstrip()
        log.error('event=log_failed step=%s error=%s hint="%s"\n%s', step, type(error).__name__, hint, places)

    def _state(self) -> dict[str, Any]:
        dispatcher = self._dispatcher
        return {
            "kind": "collector",
            **self._counts,
            "waiting_files": self._waiting["files"],
            "oldest_waiting_secs": self._waiting["oldest_secs"],
            "nightly": self._night,
            "sinks": {} if dispatcher is None else dispatcher.state(),
        }


def with_keys(export: ExportSettings, keys: dict[str, list[str]]) -> ExportSettings:
    """The settings with the generated keys of those webhooks that name no secret; of several, the newest signs."""
    replace = msgspec.structs.replace
    sinks = [
        replace(sink, secret=keys[sink.name][-1], former_secrets=keys[sink.name][:-1]) if sink.name in keys else sink
        for sink in export.sinks
    ]
    return replace(export, sinks=sinks)


async def _wait(stop: asyncio.Event, secs: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(secs):
            await stop.wait()


if __name__ == "__main__":
    sys.exit(main())
