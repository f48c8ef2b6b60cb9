"""Spool files for tests: lines to write, a writer with short times, and what stands in a folder afterwards."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from storage.sealed import read, sealed
from storage.spool import SpoolWriter
from tracker.model import ExchangeRecord, LossRecord, Record, StopRecord, encode_line

EPOCH = 1_795_000_000_000_000_000
AT = "2026-11-22 10:00:00.000000"


def exchange(seq: int, *, target: str = "/") -> ExchangeRecord:
    return ExchangeRecord(seq=seq, occurred_at=AT, method="GET", target=target, status=200)


def line(seq: int, *, target: str = "/") -> bytes:
    """An encoded record, as a worker appends it."""
    return encode_line(exchange(seq, target=target))


def open_writer(folder: Path, **changes: Any) -> SpoolWriter:
    """A writer that seals only when told, unless `changes` say otherwise."""
    options: dict[str, Any] = {
        "node": "n1",
        "worker": "w1",
        "epoch": EPOCH,
        "version": "1",
        "sync_interval_ms": 1,
        # Moments are common to all writers: no test lives long enough to meet one of these.
        "seal_interval_secs": 1e9,
        "durable_seal_secs": 60.0,
        "retry_secs": 0.01,
    }
    return SpoolWriter(folder, **(options | changes))


def records_in(folder: Path) -> list[Record]:
    """All records of all sealed files, each writer's in the order it wrote them. Fails if a line is broken."""
    found: list[Record] = []
    for path in sorted(sealed(folder)):
        header, records, broken = read(path)
        assert header is not None, path
        assert broken == [], path
        found += records
    return found


def seqs_in(folder: Path) -> list[int]:
    """The numbers of the exchanges in all sealed files, in order."""
    return [record.seq for record in records_in(folder) if isinstance(record, ExchangeRecord)]


def losses_in(folder: Path) -> list[LossRecord]:
    return [record for record in records_in(folder) if isinstance(record, LossRecord)]


def stops_in(folder: Path) -> list[StopRecord]:
    return [record for record in records_in(folder) if isinstance(record, StopRecord)]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def text_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(row) for row in path.read_text().splitlines()]


async def eventually(question: Callable[[], Any], what: str) -> None:
    """Lets the loop run until the answer is true; the deadline only ends a test that would wait for ever."""
    try:
        async with asyncio.timeout(30):
            while not question():  # noqa: ASYNC110  nothing tells us: the files change in another thread
                await asyncio.sleep(0.002)
    except TimeoutError:
        raise AssertionError(f"waited in vain until {what}") from None
