"""A log with a few days in it, written by the collector's own store: for whoever reads logs.

Two visitors. Erika came twice and sent the contact form: her lead is accepted, delivered to `erp`, given up at `crm`.
Another sent a form without a cookie, of which the site's answer did not tell: unconfirmed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from export.outbox import delivery_id
from ropo import secrets
from storage.layout import Layout
from storage.settings import StorageSettings
from storage.store import Store
from tracker.model import Batch, DeliveryFact, Event, LeadFact
from tracker.sealing import Sealer

ERIKA_LEAD = "019a8f3c-0a00-7abc-8000-000000000001"
UNKNOWN_LEAD = "019a8f3c-0a00-7def-8000-000000000002"
ERIKA = "019a8a00-0000-7000-8000-00000000000e"

CONTACT = {
    "name": "Erika Mustermann",
    "company": "Stadtwerke Musterstadt",
    "email": "erika@example.org",
    "message": "Please call.\nTuesday is best.",
}


@dataclass(frozen=True)
class SampleLog:
    config: Path
    layout: Layout


def write(folder: Path) -> SampleLog:
    """config.yaml and the log it names, in `folder`."""
    config = folder / "config.yaml"
    config.write_text(
        "proxy:\n  upstream: http://127.0.0.1:9\nstorage:\n  path: ./data\n  hot_path: ./data/hot.duckdb\n  node: n1\n"
    )
    layout = Layout(folder / "data", folder / "data" / "hot.duckdb")
    layout.create()
    sealer = Sealer(secrets.read_or_make(layout.secrets).contact)
    settings = StorageSettings(path=str(layout.root), hot_path=str(layout.hot_db))
    store = Store.open(layout, settings)
    try:
        store.write(_batch(sealer))
        store.publish()
    finally:
        store.close()
    return SampleLog(config, layout)


def _batch(sealer: Sealer) -> Batch:
    first, second = "019a8a00-0000-7000-8000-0000000000a1", "019a8f3c-0000-7000-8000-0000000000a2"
    paid = {
        "channel": "Paid Search",
        "touch_source": "google",
        "touch_medium": "cpc",
        "touch_campaign": "autumn",
        "utm_campaign": "autumn",
        "click_ids": {"gclid": "Cj0K-1"},
        "is_touchpoint": True,
        "is_entrance": True,
    }
    direct = {"channel": "Direct", "is_touchpoint": True, "is_entrance": True}
    events = [
        _event(1, "2026-11-20 08:12:03.000000", "page_view", "/pumps", ERIKA, first, **paid),
        _event(2, "2026-11-20 08:13:00.500000", "page_view", "/pumps/p1", ERIKA, first),
        _event(3, "2026-11-20 08:14:00.000000", "download", "/p1.pdf", ERIKA, first),
        _event(4, "2026-11-22 10:00:00.000000", "page_view", "/contact", ERIKA, second, **direct),
        _event(5, "2026-11-22 10:01:00.123456", "form_submit", "/contact", ERIKA, second, lead_id=ERIKA_LEAD),
        _event(6, "2026-11-22 10:05:00.000000", "form_submit", "/callback", None, None, lead_id=UNKNOWN_LEAD),
    ]
    accepted = LeadFact(
        lead_id=ERIKA_LEAD,
        occurred_at="2026-11-22 10:01:00.123456",
        fact="accepted",
        event_id=events[4].event_id,
        visitor_id=ERIKA,
        visit_id=second,
        host="www.example.com",
        form="contact",
        rule="generic",
        action="/contact",
        page="/contact",
        contact=sealer.seal(CONTACT, ERIKA_LEAD),
        lead_fields=list(CONTACT),
        field_names=["your-name", "firm", "mail", "text"],
    )
    unconfirmed = LeadFact(
        lead_id=UNKNOWN_LEAD,
        occurred_at="2026-11-22 10:05:00.000000",
        fact="unconfirmed",
        reason="the answer does not tell",
        event_id=events[5].event_id,
        host="www.example.com",
        form="callback",
        rule="generic",
        action="/callback",
        contact=sealer.seal({"phone": "+49 30 123456"}, UNKNOWN_LEAD),
        lead_fields=["phone"],
    )
    erp, crm = delivery_id(ERIKA_LEAD, "erp"), delivery_id(ERIKA_LEAD, "crm")
    owed, sent, late = "2026-11-22 10:01:00.123456", "2026-11-22 10:01:02.000000", "2026-11-29 10:01:02.000000"
    deliveries = [
        DeliveryFact(erp, ERIKA_LEAD, "erp", owed, "owed"),
        DeliveryFact(erp, ERIKA_LEAD, "erp", sent, "delivered", attempt=1, remote_ref="lead-1.csv"),
        DeliveryFact(crm, ERIKA_LEAD, "crm", owed, "owed"),
        DeliveryFact(crm, ERIKA_LEAD, "crm", sent, "failed", attempt=1, reason="HTTP 503", next_attempt_at=late),
        DeliveryFact(crm, ERIKA_LEAD, "crm", late, "dead", attempt=12, reason="HTTP 422"),
    ]
    return Batch(events=events, lead_facts=[accepted, unconfirmed], delivery_facts=deliveries)


def _event(seq: int, at: str, name: str, path: str, visitor: str | None, visit: str | None, **more: object) -> Event:
    return Event(
        event_id=f"019a8a00-0000-7000-8000-{seq:012d}",
        occurred_at=at,
        name=name,
        source="proxy",
        node="n1",
        worker="worker-1",
        epoch=1_763_600_000_000_000_000,
        seq=seq,
        visitor_id=visitor,
        visit_id=visit,
        host="www.example.com",
        method="POST" if name == "form_submit" else "GET",
        path=path,
        status=200,
        properties={"n": seq},
        **more,
    )
