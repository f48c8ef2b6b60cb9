"""Facts about leads, and what sinks are owed."""

from __future__ import annotations

import pytest

from tests.tracker.records import at, submission
from tracker import leads
from tracker.model import DeliveryFact, Event, FactRecord


def delivery_id(lead_id: str, sink: str) -> str:
    return f"{lead_id}/{sink}"


def order(name: str, **properties: str) -> FactRecord:
    return FactRecord("fact-1", at(5), name, "operator", properties)


EVENT = Event(
    "event-1", at(0), "form_submit", "proxy", visitor_id="v1", visit_id="visit-1", host="www.example.com",
    path="/contact/send",
)  # fmt: skip


@pytest.mark.parametrize("fact", ["accepted", "unconfirmed", "submitted"])
def test_a_fact_says_what_was_sent_where_by_whom(fact: str):
    row = leads.fact_of(submission(withheld=1, files=2), EVENT, fact, "because")
    assert (row.lead_id, row.fact, row.reason, row.occurred_at) == ("lead-1", fact, "because", at(0))
    assert (row.event_id, row.visitor_id, row.visit_id) == ("event-1", "v1", "visit-1")
    assert (row.host, row.action, row.page) == ("www.example.com", "/contact/send", "https://www.example.com/contact")
    assert (row.form, row.rule, row.contact) == ("contact", "generic", "sealed-contact")
    assert (row.lead_fields, row.field_names, row.withheld, row.files) == (["email"], ["mail", "csrf"], 1, 2)


def test_a_refused_one_carries_no_contact():
    assert leads.fact_of(submission(), EVENT, "refused", "").contact is None


def test_the_page_says_nothing_that_names_a_person():
    sent = submission(page="https://www.example.com/?mc_eid=abc")
    assert leads.fact_of(sent, EVENT, "accepted", "").page == "https://www.example.com/?mc_eid=[masked]"


def test_every_sink_is_owed_one_delivery():
    assert leads.owed("lead-1", at(0), ("csv", "erp"), delivery_id) == [
        DeliveryFact("lead-1/csv", "lead-1", "csv", at(0), "owed"),
        DeliveryFact("lead-1/erp", "lead-1", "erp", at(0), "owed"),
    ]


def test_a_confirmed_lead_is_owed_to_every_sink():
    facts, deliveries = leads.by_hand(
        order("lead.confirmed", lead_id="lead-1", reason="called"), "event-9", ("csv", "erp"), delivery_id
    )
    [fact] = facts
    assert (fact.lead_id, fact.fact, fact.reason, fact.event_id) == ("lead-1", "confirmed", "called", "event-9")
    assert [(fact.delivery_id, fact.fact, fact.occurred_at) for fact in deliveries] == [
        ("lead-1/csv", "owed", at(5)),
        ("lead-1/erp", "owed", at(5)),
    ]


def test_a_discarded_lead_is_owed_to_none():
    facts, deliveries = leads.by_hand(order("lead.discarded", lead_id="lead-1"), "event-9", ("csv",), delivery_id)
    assert [(fact.fact, fact.contact) for fact in facts] == [("discarded", None)]
    assert deliveries == []


def test_a_delivery_can_be_asked_for_again():
    facts, deliveries = leads.by_hand(
        order("delivery.requeued", lead_id="lead-1", sink="erp"), "event-9", ("csv", "erp"), delivery_id
    )
    assert facts == []
    assert deliveries == [DeliveryFact("lead-1/erp", "lead-1", "erp", at(5), "requeued")]


def test_other_facts_mean_nothing_to_leads():
    assert leads.by_hand(order("deal.won", lead_id="lead-1"), "event-9", ("csv",), delivery_id) == ([], [])


@pytest.mark.parametrize(
    "record",
    [
        order("lead.confirmed"),
        order("lead.discarded", lead_id=""),
        order("delivery.requeued", lead_id="lead-1"),
        order("delivery.requeued", sink="erp"),
        FactRecord("fact-1", at(0), "lead.confirmed", "operator", {"lead_id": 7}),
    ],
)
def test_an_order_that_does_not_say_to_what_is_refused(record: FactRecord):
    with pytest.raises(ValueError, match="does not say its"):
        leads.by_hand(record, "event-9", ("csv",), delivery_id)
