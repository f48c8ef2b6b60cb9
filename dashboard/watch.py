"""Looks at the house when someone asks: status files, the spool's folder, the log. Reads only, off the event loop.

However often it is asked, it looks at the log at most once at a time, and spends at most a tenth of its time on it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from dashboard.log import LogReader, the_page
from dashboard.settings import DashboardSettings
from dashboard.state import Log, Snapshot, Spool, Writer, snapshot
from storage import status
from storage.layout import Layout
from storage.spool_file import OPEN, SEALED, parse

logger = logging.getLogger(__name__)


def utc_now() -> datetime:
    return datetime.now(UTC)


class Watch:
    def __init__(
        self,
        layout: Layout,
        settings: DashboardSettings,
        *,
        sinks: Sequence[str],
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self.layout = layout
        self.sinks = tuple(sinks)
        self.now = now
        self.questions = the_page(settings.latest_rows)
        self.reader = LogReader(layout, time_limit_secs=settings.query_timeout_secs)
        self.patience_secs = settings.query_timeout_secs
        # One thread for the log, one for small files.
        self.pool = ThreadPoolExecutor(2, thread_name_prefix="dashboard")
        self.log = Log()
        self.asking: asyncio.Task[None] | None = None
        self.fresh_until = 0.0
        self.missing_since: Mapping[Writer, datetime] = {}

    async def snapshot(self) -> Snapshot:
        """The house now, with the log as of a moment ago."""
        log = await self.latest_log()
        return self.remember(await self.look(log))

    async def counters(self) -> Snapshot:
        """The house now, with the ledger as it was when the log last answered: what `/metrics` needs. Waits for nobody."""
        self.ask_if_due()
        return self.remember(await self.look(Log(ledger=self.log.ledger)))

    async def look(self, log: Log) -> Snapshot:
        loop = asyncio.get_running_loop()
        statuses, spool = await loop.run_in_executor(self.pool, self.read_files)
        return snapshot(
            statuses, sinks=self.sinks, spool=spool, log=log, now=self.now(), missing_since=self.missing_since
        )

    def remember(self, seen: Snapshot) -> Snapshot:
        self.missing_since = seen.missing_since
        return seen

    def read_files(self) -> tuple[dict[str, dict[str, Any]], Spool]:
        return status.read_all(self.layout), spool_of(self.layout, self.now())

    async def latest_log(self) -> Log:
        """The answers that are fresh enough, else new ones; old ones when the new ones take too long."""
        self.ask_if_due()
        if self.asking is not None:
            await asyncio.wait({self.asking}, timeout=self.patience_secs)
        return self.log

    def ask_if_due(self) -> None:
        if self.asking is None and time.monotonic() >= self.fresh_until:
            self.asking = asyncio.create_task(self.ask())

    async def ask(self) -> None:
        started, asked_at = time.monotonic(), self.now()
        try:
            loop = asyncio.get_running_loop()
            log = await loop.run_in_executor(self.pool, self.reader.answer, self.questions)
            self.log = replace(log, asked_at=asked_at)
        except Exception as failure:
            # A bug of ours. The page shows it; the old answers would pass for new ones.
            self.log = Log(error=f"The dashboard failed: {type(failure).__name__}", asked_at=asked_at)
            logger.exception("the dashboard failed while it read the log")
        finally:
            took = time.monotonic() - started
            self.fresh_until = time.monotonic() + max(1.0, 9 * took)
            self.asking = None

    async def close(self) -> None:
        if self.asking is not None:
            self.reader.interrupt()
            await asyncio.wait({self.asking}, timeout=2.0)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self.pool, self.reader.close)
        self.pool.shutdown(wait=False, cancel_futures=True)


def spool_of(layout: Layout, now: datetime) -> Spool:
    """The sealed files in the spool, counted here and not by the collector: it may be the one that is down."""
    files = octets = 0
    oldest: float | None = None
    writers: set[tuple[str, int]] = set()
    try:
        with os.scandir(layout.spool) as entries:
            for entry in entries:
                stem, ending = os.path.splitext(entry.name)
                if ending in (SEALED, OPEN) and (name := parse(stem)):
                    writers.add((name.worker, name.epoch))
                if ending != SEALED:
                    continue
                # The collector takes files away while we look.
                with suppress(FileNotFoundError):
                    stat = entry.stat()
                    files, octets = files + 1, octets + stat.st_size
                    oldest = stat.st_mtime if oldest is None else min(oldest, stat.st_mtime)
        free = shutil.disk_usage(layout.spool).free
    except OSError as failure:
        return Spool(error=f"{layout.spool}: {failure.strerror or type(failure).__name__}")
    age = None if oldest is None else max(0.0, now.timestamp() - oldest)
    return Spool(files=files, octets=octets, oldest_secs=age, free_octets=free, writers=frozenset(writers))
