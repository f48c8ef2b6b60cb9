"""A log of several days as the collector makes one, from spool files: parts, hot rows, archive, leads and deliveries.

Everything goes the way it goes in ropo: records into the spool, through the pipeline into the store, files into the
archive, facts of deliveries through the outbox.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import duckdb

from export.outbox import delivery_id
from ropo.intake import Intake
from ropo.log_outbox import LogOutbox
from storage.layout import Layout
from storage.read import open_log
from storage.sealed import drop_file
from storage.store import Store
from tests.support.rows import NOON_US, Time, layout_of, open_store
from tracker import clock
from tracker.model import DeliveryFact, ExchangeRecord, FactRecord, FormAnswer, LossRecord, Submission, encode_line
from tracker.pipeline import Pipeline
from tracker.sealing import Sealer, new_key
from tracker.settings import TrackerSettings

SINKS = ("erp", "crm")
DAY_MINUTES = 24 * 60
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"

# What is told of the moment at which a file was taken in; built anew the log tells another.
MOMENTS = {"spool_files": ("ingested_at",), "writers": ("last_file_at",)}


def lead_id(day: int) -> str:
    return f"019a8f3c-0a00-7abc-8000-{day:012d}"


def a_pipeline() -> Pipeline:
    return Pipeline(TrackerSettings(), sinks=SINKS, version="1", delivery_id=delivery_id)


def drop_day(layout: Layout, day: int, *, worker: str = "worker-1", number: int = 0) -> Path:
    """A spool file with what came on this day: two visitors' pages, a form, a loss, an offline fact, a torn line."""
    epoch = NOON_US * 1000
    at = [clock.text_of(NOON_US + (day * DAY_MINUTES + minute) * 60_000_000) for minute in range(20)]
    seq = day * 100
    records: list[Any] = [
        ExchangeRecord(
            seq + n,
            at[n],
            "GET",
            f"/page/{n}" + ("?utm_source=news&utm_campaign=autumn" if n in (1, 5) else ""),
            200,
            host="www.example.com",
            content_type="text/html",
            user_agent=BROWSER,
            fetch_dest="document",
            visitor_id=f"visitor-{n % 2}",
            identity="known",
        )
        for n in range(1, 10)
    ]
    form = Submission(
        lead_id(day),
        "contact",
        "generic",
        contact="sealed",
        lead_fields=["email"],
        answer=FormAnswer(303, location="/danke"),
    )
    records.append(
        ExchangeRecord(
            seq + 10,
            at[10],
            "POST",
            "/contact",
            303,
            host="www.example.com",
            location="/danke",
            user_agent=BROWSER,
            visitor_id="visitor-1",
            identity="known",
            submission=form,
        )
    )
    records.append(LossRecord(at[11], seq + 11, seq + 12, 2, "disk_full"))
    records.append(FactRecord(f"fact-{day}", at[12], "outcome.won", "import", {"lead_id": lead_id(day), "amount": 5}))
    lines = [encode_line(record) for record in records]
    if day % 2:
        lines.append(b'{"t":"exchange","seq":')
    return drop_file(
        layout.spool, node="n1", worker=worker, epoch=epoch, version="1", lines=lines, number=day * 10 + number
    )


def take_day(store: Store, layout: Layout, day: int) -> None:
    """The collector's round: take in what is there, deliver what is owed."""
    drop_day(layout, day)
    intake = Intake(layout, store, a_pipeline)
    while intake.take(everything=True).files:
        pass
    deliver(store, layout, day)


def deliver(store: Store, layout: Layout, day: int) -> None:
    async def here(work):
        return work()

    at = [clock.text_of(NOON_US + (day * DAY_MINUTES + minute) * 60_000_000) for minute in (30, 31, 32)]
    outbox = LogOutbox(here, lambda: store, Sealer([new_key()]), layout=layout, node="n1")
    erp, crm = (delivery_id(lead_id(day), sink) for sink in SINKS)
    facts = [
        DeliveryFact(erp, lead_id(day), "erp", at[0], "delivered", 1, remote_ref=f"crm-{day}"),
        DeliveryFact(crm, lead_id(day), "crm", at[1], "failed", 1, "HTTP 503", next_attempt_at=at[2]),
    ]
    for fact in facts:
        asyncio.run(outbox.record([fact]))


def write(folder: Path, *, days: int = 6, filed: int = 4) -> tuple[Layout, Time]:
    """A log of so many days, the first `filed` of them in parts and gone from work.duckdb."""
    layout, now = layout_of(folder), Time()
    store = open_store(folder, now, part_rows=1_000_000)
    try:
        for day in range(days):
            take_day(store, layout, day)
            store.publish()
            if day < filed:
                for _ in range(4):
                    now.pass_by(DAY_MINUTES * 60 / 4)
                    store.promote(now.unix)
                    store.publish()
        assert store.mark.forgotten and store.mark.b > store.mark.forgotten
    finally:
        store.close()
    return layout, now


def every_view(layout: Layout) -> dict[str, list[tuple]]:
    """All rows of all views of log.duckdb, in order, without the moments of `MOMENTS`."""
    with open_log(layout) as con:
        return rows_of(con)


def rows_of(con: duckdb.DuckDBPyConnection) -> dict[str, list[tuple]]:
    found = {}
    for (view,) in con.execute("select view_name from duckdb_views() where not internal order by 1").fetchall():
        but = f"exclude ({', '.join(MOMENTS[view])})" if view in MOMENTS else ""
        quarantined = "where reason <> 'quarantined'" if view == "drops" else ""
        found[view] = con.execute(f"select * {but} from {view} {quarantined} order by all").fetchall()
    return found
