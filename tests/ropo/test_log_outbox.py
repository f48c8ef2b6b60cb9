"""The outbox as the log keeps it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from msgspec.structs import asdict

from export.outbox import delivery_id
from ropo.log_outbox import LogOutbox, with_contact
from storage.layout import Layout
from storage.sealed import read
from storage.settings import StorageSettings
from storage.store import Store
from tracker.clock import now_text
from tracker.model import Batch, DeliveryFact, LeadFact
from tracker.pipeline import Pipeline
from tracker.sealing import Sealer, UnsealError, new_key
from tracker.settings import TrackerSettings

LEAD = "0193bbbb-0000-7000-8000-000000000003"


@pytest.fixture
def house(tmp_path: Path):
    layout = Layout(tmp_path / "data", hot_path=tmp_path / "data" / "hot.duckdb")
    layout.create()
    store, sealer = Store.open(layout, StorageSettings(path=str(layout.root))), Sealer([new_key()])
    name = delivery_id(LEAD, "erp")
    sealed = sealer.seal({"email": "erika@example.com"}, LEAD)
    store.write(
        Batch(
            lead_facts=[
                LeadFact(lead_id=LEAD, occurred_at=now_text(), fact="accepted", contact=sealed, form="contact")
            ],
            delivery_facts=[
                DeliveryFact(delivery_id=name, lead_id=LEAD, sink="erp", occurred_at=now_text(), fact="owed")
            ],
        )
    )
    yield store, sealer
    store.close()


async def here(work):
    return work()


async def test_what_is_owed_is_sent_with_its_contact_and_then_owed_no_more(house) -> None:
    store, sealer = house
    outbox = LogOutbox(here, lambda: store, sealer, layout=store._layout, node="n1")
    [pending] = await outbox.pending()
    assert (pending.lead_id, pending.sink, pending.attempts) == (LEAD, "erp", 0)
    document = await outbox.message(pending)
    assert document["contact"] == {"email": "erika@example.com"}
    assert "contact_sealed" not in document
    fact = DeliveryFact(
        delivery_id=pending.delivery_id, lead_id=LEAD, sink="erp", occurred_at=now_text(), fact="delivered", attempt=1
    )
    await outbox.record([fact])
    assert await outbox.pending() == []


async def test_nothing_is_sent_of_who_is_to_be_erased(house) -> None:
    store, sealer = house
    outbox = LogOutbox(here, lambda: store, sealer, layout=store._layout, node="n1")
    [pending] = await outbox.pending()
    store.write(Batch(lead_facts=[LeadFact(lead_id=LEAD, occurred_at=now_text(), fact="erased")]))
    assert await outbox.message(pending) is None


async def test_what_became_of_a_delivery_can_be_read_from_the_archive_again(house) -> None:
    store, sealer = house
    layout = store._layout
    outbox = LogOutbox(here, lambda: store, sealer, layout=layout, node="n1")
    facts = [
        DeliveryFact("d", LEAD, "erp", now_text(), "failed", 1, "HTTP 503", next_attempt_at=now_text()),
        DeliveryFact("d", LEAD, "erp", now_text(), "delivered", 2, remote_ref="42"),
    ]
    for fact in facts:
        await outbox.record([fact])
    assert list(layout.spool.iterdir()) == []
    files = [(*read(path)[:1], path.name, *read(path)[1:2], 0) for path in sorted(layout.archive.iterdir())]
    assert [name for _, name, _, _ in files] == sorted(store.ingested([name for _, name, _, _ in files]))
    again = a_pipeline().run(files)
    assert again.delivery_facts == facts
    assert again.events == again.lead_facts == again.drops == []
    known = store.connection.execute("select * exclude (ingested_at) from spool_files order by name").fetchall()
    assert known == [
        tuple(asdict(file)[key] for key in asdict(file) if key != "ingested_at") for file in again.spool_files
    ]


async def test_facts_that_the_log_refuses_do_not_wait_in_the_spool_as_well(house, monkeypatch) -> None:
    store, sealer = house

    def refuse(batch: Batch) -> None:
        raise OSError("no disk")

    monkeypatch.setattr(store, "write", refuse)
    outbox = LogOutbox(here, lambda: store, sealer, layout=store._layout, node="n1")
    with pytest.raises(OSError, match="no disk"):
        await outbox.record([DeliveryFact("d", LEAD, "erp", now_text(), "delivered", 1)])
    assert list(store._layout.spool.iterdir()) == list(store._layout.archive.iterdir()) == []


def a_pipeline() -> Pipeline:
    return Pipeline(TrackerSettings(), sinks=(), version="1", delivery_id=delivery_id)


async def test_a_lead_whose_contact_cannot_be_opened_is_not_sent_without_it(house) -> None:
    store, _ = house
    outbox = LogOutbox(here, lambda: store, Sealer([new_key()]), layout=store._layout, node="n1")
    [pending] = await outbox.pending()
    with pytest.raises(UnsealError) as refused:
        await outbox.message(pending)
    assert "erika" not in str(refused.value)


async def test_the_sinks_of_a_lead_share_one_question_to_the_log(house) -> None:
    store, sealer = house
    asked = []

    async def counted(work):
        asked.append(work)
        return work()

    outbox = LogOutbox(counted, lambda: store, sealer, layout=store._layout, node="n1")
    [pending] = await outbox.pending()
    asked.clear()
    one, other = await asyncio.gather(outbox.message(pending), outbox.message(pending))
    assert one == other
    assert len(asked) == 1


async def test_a_question_that_failed_is_asked_again(house) -> None:
    store, sealer = house
    answers = [OSError("the log is being opened anew"), None]

    async def failing_once(work):
        if (error := answers.pop(0)) is not None:
            raise error
        return work()

    outbox = LogOutbox(failing_once, lambda: store, sealer, layout=store._layout, node="n1")
    [pending] = await LogOutbox(here, lambda: store, sealer, layout=store._layout, node="n1").pending()
    with pytest.raises(OSError):
        await outbox.message(pending)
    assert (await outbox.message(pending))["lead_id"] == LEAD


def test_a_lead_without_a_contact_has_an_empty_one() -> None:
    assert with_contact({"lead_id": LEAD, "contact_sealed": None}, Sealer([new_key()])) == {
        "lead_id": LEAD,
        "contact": {},
    }
