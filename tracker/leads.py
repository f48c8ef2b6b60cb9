"""What a submission means for the log: facts about the lead, and what the sinks are owed.

Knows the names of facts and who may see a contact. What the site's answer means is `forms.verdict`'s; of exchanges and
visits it gets what the event says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tracker import campaign
from tracker.model import DeliveryFact, Event, FactRecord, LeadFact, Submission

DeliveryId = Callable[[str, str], str]


def fact_of(submission: Submission, event: Event, fact: str, reason: str) -> LeadFact:
    """The fact about the lead of this submission. A refused one carries no contact: it is nobody's lead."""
    return LeadFact(
        lead_id=submission.lead_id,
        occurred_at=event.occurred_at,
        fact=fact,
        reason=reason,
        event_id=event.event_id or None,
        visitor_id=event.visitor_id,
        visit_id=event.visit_id,
        host=event.host,
        form=submission.form,
        rule=submission.rule,
        action=event.path,
        page=campaign.mask(submission.page) if submission.page else None,
        contact=(submission.contact or None) if fact != "refused" else None,
        lead_fields=submission.lead_fields,
        field_names=submission.field_names,
        withheld=submission.withheld,
        files=submission.files,
        is_bot=event.is_bot,
    )


def owed(lead_id: str, occurred_at: str, sinks: Sequence[str], delivery_id: DeliveryId) -> list[DeliveryFact]:
    """One delivery to every sink. Owed twice is owed once: the identifiers are the same."""
    return [
        DeliveryFact(delivery_id(lead_id, sink), lead_id, sink, occurred_at, "owed") for sink in sinks
    ]  # fmt: skip


def by_hand(
    record: FactRecord, event_id: str, sinks: Sequence[str], delivery_id: DeliveryId
) -> tuple[list[LeadFact], list[DeliveryFact]]:
    """What an operator's order does to leads and deliveries; ValueError if it does not say to which."""
    if record.name == "delivery.requeued":
        lead_id, sink = _text(record, "lead_id"), _text(record, "sink")
        reason = str(record.properties.get("reason") or "")
        return [], [
            DeliveryFact(delivery_id(lead_id, sink), lead_id, sink, record.occurred_at, "requeued", reason=reason)
        ]
    if record.name in ("lead.confirmed", "lead.discarded"):
        lead_id = _text(record, "lead_id")
        reason = str(record.properties.get("reason") or "")
        fact = LeadFact(lead_id, record.occurred_at, record.name.removeprefix("lead."), reason, event_id)
        if fact.fact == "confirmed":
            return [fact], owed(lead_id, record.occurred_at, sinks, delivery_id)
        return [fact], []
    if record.name == "erasure.ordered" and "lead_id" in record.properties:
        return [LeadFact(_text(record, "lead_id"), record.occurred_at, "erased", "", event_id)], []
    return [], []


def _text(record: FactRecord, name: str) -> str:
    value = record.properties.get(name)
    if not isinstance(value, str) or not value:
        raise ValueError(f"{record.name} does not say its {name}")
    return value
