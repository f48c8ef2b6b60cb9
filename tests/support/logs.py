"""A small log on disk, written as the collector writes it, for tests of whoever reads it."""

from __future__ import annotations

from pathlib import Path

from storage.layout import Layout
from storage.settings import StorageSettings
from storage.store import Store
from tests.support.statuses import EPOCH
from tracker import clock
from tracker.model import Batch, DeliveryFact, Event, LeadFact, SpoolFile

AT_US = 1_795_341_600_000_000
VISITOR = "0193aaaa-0000-7000-8000-000000000001"
VISIT = "0193aaaa-0000-7000-8000-000000000002"
LEAD = "0193bbbb-0000-7000-8000-000000000003"


def layout_of(folder: Path) -> Layout:
    """A layout wholly below `folder`, with its folders made."""
    layout = Layout(folder / "data", hot_path=folder / "data" / "hot.duckdb")
    layout.create()
    return layout


def a_visit(*, epoch: int = EPOCH, path: str = "/produkte/", campaign: str = "spring", received: int = 3) -> Batch:
    """An arrival from a campaign, a page, a form, and the lead it became, owed to `erp` and delivered to `csv`."""
    steps = [("page_view", "/de/"), ("page_view", path), ("form_submit", "/de/kontakt/")]
    events = [
        Event(
            event_id=f"0193cccc-0000-7000-8000-{number:012d}",
            occurred_at=clock.text_of(AT_US + number * 20_000_000),
            name=name,
            source="proxy",
            node="node",
            worker="worker-1",
            epoch=epoch,
            seq=number,
            visitor_id=VISITOR,
            visit_id=VISIT,
            is_entrance=number == 1,
            is_touchpoint=number == 1,
            host="site.example",
            method="POST" if name == "form_submit" else "GET",
            path=page,
            status=200,
            referrer_host="search.example" if number == 1 else None,
            touch_source="google" if number == 1 else None,
            touch_medium="cpc" if number == 1 else None,
            touch_campaign=campaign if number == 1 else None,
            channel="Paid Search" if number == 1 else None,
            browser="Firefox",
            os="Linux",
            device="desktop",
            lead_id=LEAD if name == "form_submit" else None,
        )
        for number, (name, page) in enumerate(steps, 1)
    ]
    at = clock.text_of(AT_US + 60_000_000)
    lead = LeadFact(
        lead_id=LEAD,
        occurred_at=at,
        fact="accepted",
        event_id=events[-1].event_id,
        visitor_id=VISITOR,
        visit_id=VISIT,
        host="site.example",
        form="contact",
        rule="generic",
        page="/de/kontakt/?email=erika@example.com",
        contact="SEALED-CONTACT",
        lead_fields=["email"],
    )
    deliveries = [
        DeliveryFact(delivery_id="d1", lead_id=LEAD, sink="erp", occurred_at=at, fact="owed"),
        DeliveryFact(delivery_id="d2", lead_id=LEAD, sink="csv", occurred_at=at, fact="owed"),
        DeliveryFact(delivery_id="d2", lead_id=LEAD, sink="csv", occurred_at=at, fact="delivered", attempt=1),
    ]
    file = SpoolFile(
        name=f"worker-1-{epoch}", ingested_at=at, node="node", worker="worker-1", epoch=epoch, last_seq=received
    )
    return Batch(events=events, lead_facts=[lead], delivery_facts=deliveries, spool_files=[file])


def write_log(layout: Layout, *batches: Batch) -> None:
    """Puts the batches into the log and shows them to readers, as the collector does."""
    store = Store.open(layout, StorageSettings(path=str(layout.root), memory_limit_mb=256))
    try:
        for batch in batches:
            store.write(batch)
        store.publish()
    finally:
        store.close()
