from __future__ import annotations

from pathlib import Path

import pytest

from export.outbox import delivery_id
from ropo import orders
from storage.layout import Layout
from storage.sealed import read, sealed
from tracker import clock
from tracker.leads import by_hand
from tracker.model import FactRecord

LEAD = "019a8f3c-0a00-7abc-8000-000000000001"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path, tmp_path / "hot.duckdb")
    layout.create()
    return layout


def test_orders_lie_in_the_spool_as_one_file_of_facts(layout: Layout):
    orders.give(layout, "n1", [orders.requeue(LEAD, "erp"), orders.requeue(LEAD, "crm")])
    [path] = sealed(layout.spool)
    header, records, broken = read(path)
    assert (header.node, header.worker, broken) == ("n1", "operator", [])
    assert [record.properties for record in records] == [
        {"lead_id": LEAD, "sink": "erp"},
        {"lead_id": LEAD, "sink": "crm"},
    ]
    assert len({record.fact_id for record in records}) == 2
    assert all(clock.parse(record.occurred_at) for record in records)


@pytest.mark.parametrize(
    "fact, lead_facts, delivery_facts",
    [
        (orders.requeue(LEAD, "erp"), [], [(delivery_id(LEAD, "erp"), "requeued")]),
        (orders.confirm(LEAD, ""), ["confirmed"], [(delivery_id(LEAD, "erp"), "owed")]),
        (orders.discard(LEAD, "spam"), ["discarded"], []),
    ],
)
def test_the_pipeline_understands_every_order(fact: FactRecord, lead_facts: list[str], delivery_facts: list[tuple]):
    leads, deliveries = by_hand(fact, "event", ("erp",), delivery_id)
    assert [lead.fact for lead in leads] == lead_facts
    assert [(delivery.delivery_id, delivery.fact) for delivery in deliveries] == delivery_facts
    assert all(lead.lead_id == LEAD and lead.reason == fact.properties.get("reason", "") for lead in leads)


def test_two_orders_in_a_row_do_not_overwrite_each_other(layout: Layout):
    for _ in range(5):
        orders.give(layout, "n1", [orders.confirm(LEAD, "")])
    assert len(sealed(layout.spool)) == 5


def test_without_a_spool_the_order_says_what_to_do(tmp_path: Path):
    with pytest.raises(orders.OrderError, match="start `ropo serve` once"):
        orders.give(Layout(tmp_path / "nowhere"), "n1", [orders.confirm(LEAD, "")])


def test_a_spool_that_is_no_folder_is_told(tmp_path: Path):
    (tmp_path / "spool").write_text("")
    with pytest.raises(orders.OrderError, match="nothing was changed"):
        orders.give(Layout(tmp_path), "n1", [orders.confirm(LEAD, "")])


def test_an_erasure_is_one_order_in_several_facts(layout: Layout):
    facts = orders.erase(subject="hash", visitors=["v1"], leads=[LEAD], email_hash="hash", now=True)
    assert len({fact.properties["order"] for fact in facts}) == 1
    assert all(
        (fact.name, fact.properties["subject"], fact.properties["now"]) == ("erasure.ordered", "hash", "yes")
        for fact in facts
    )
    named = [
        (fact.properties.get("visitor"), fact.properties.get("lead_id"), fact.properties.get("email_hash"))
        for fact in facts
    ]
    assert named == [("v1", None, None), (None, LEAD, None), (None, None, "hash")]
    # Its leads are out of sight at once.
    assert [[lead.fact for lead in by_hand(fact, "e", ("erp",), delivery_id)[0]] for fact in facts] == [
        [],
        ["erased"],
        [],
    ]
