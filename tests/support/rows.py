"""Rows for the log, with what a test does not care about filled in, and a small log to put them in."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from storage.layout import Layout
from storage.settings import StorageSettings
from storage.store import Store
from tracker import clock
from tracker.model import Batch, DeliveryFact, Drop, Event, LeadFact, SpoolFile

NOON_US = 1_795_348_800_000_000  # 2026-11-22 12:00:00 UTC

_numbers = itertools.count(1)


def at(minutes: float = 0) -> str:
    """So many minutes after noon, as rows have it."""
    return clock.text_of(NOON_US + round(minutes * 60_000_000))


def event(minutes: float = 0, name: str = "page_view", **fields: Any) -> Event:
    defaults = {"event_id": f"event-{next(_numbers):06d}", "source": "proxy"}
    return Event(occurred_at=at(minutes), name=name, **(defaults | fields))


def arrival(minutes: float, visitor: str, visit: str, channel: str, **fields: Any) -> Event:
    """A page view that begins a visit."""
    defaults = {"is_entrance": True, "is_touchpoint": True, "path": "/", "channel": channel}
    return event(minutes, visitor_id=visitor, visit_id=visit, **(defaults | fields))


def lead(lead_id: str, minutes: float, fact: str = "accepted", **fields: Any) -> LeadFact:
    return LeadFact(lead_id=lead_id, occurred_at=at(minutes), fact=fact, **fields)


def delivery(lead_id: str, sink: str, minutes: float, fact: str = "owed", **fields: Any) -> DeliveryFact:
    return DeliveryFact(
        delivery_id=f"{lead_id}/{sink}", lead_id=lead_id, sink=sink, occurred_at=at(minutes), fact=fact, **fields
    )


def drop(reason: str, minutes: float = 0, *, worker: str = "w1", epoch: int = 1, **fields: Any) -> Drop:
    return Drop(occurred_at=at(minutes), node="n", worker=worker, epoch=epoch, reason=reason, **fields)


def spool_file(name: str, minutes: float = 0, *, worker: str = "w1", epoch: int = 1, **fields: Any) -> SpoolFile:
    return SpoolFile(name=name, ingested_at=at(minutes), node="n", worker=worker, epoch=epoch, **fields)


def exchanges(*numbers: int, worker: str = "w1", epoch: int = 1, minutes: float = 0) -> list[Event]:
    return [event(minutes, node="n", worker=worker, epoch=epoch, seq=number) for number in numbers]


class Time:
    """A clock that stands still: `unix` for days, `monotonic` for waits."""

    def __init__(self) -> None:
        self.unix = NOON_US / 1e6
        self.monotonic = 1000.0

    def pass_by(self, secs: float) -> None:
        self.unix += secs
        self.monotonic += secs


def layout_of(folder: Path) -> Layout:
    return Layout(folder / "data", hot_path=folder / "image" / "hot.duckdb")


def open_store(folder: Path, time: Time | None = None, *, anew: bool = False, **settings: Any) -> Store:
    time = time or Time()
    chosen = {"part_rows": 1_000_000, "grace_secs": 60.0, "memory_limit_mb": 256} | settings
    return Store.open(
        layout_of(folder),
        StorageSettings(path=str(folder / "data"), **chosen),
        clock=lambda: time.unix,
        monotonic=lambda: time.monotonic,
        anew=anew,
    )


@contextmanager
def a_store(folder: Path, time: Time | None = None, **settings: Any) -> Iterator[Store]:
    store = open_store(folder, time, **settings)
    try:
        yield store
    finally:
        store.close()


def promote_all(store: Store, time: Time) -> None:
    """Takes every step from hot rows to parts, with its waits."""
    for _ in range(5):
        store.publish()
        time.pass_by(61)
        store.promote(time.unix)


def batch(*rows: Any) -> Batch:
    """A batch of these rows, each in the list of its kind."""
    made = Batch()
    lists = {
        Event: made.events,
        LeadFact: made.lead_facts,
        DeliveryFact: made.delivery_facts,
        Drop: made.drops,
        SpoolFile: made.spool_files,
    }
    for row in rows:
        lists[type(row)].append(row)
    return made
