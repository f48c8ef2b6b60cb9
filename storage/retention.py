"""What is too old to be kept, and what the ledger keeps of it.

Knows days: a row goes in the first night after its own day (UTC) has been over for so many days. Whole days go together,
because that is how parts are filed. A lead goes when the last that happened to it is too old, with all that is known of
it; so does a delivery.

Knows the ledger: an exchange that is retired was received all the same. Its number moves from `events` to `drops`, reason
`retired`, summed up by writer and hour, and so does a drop that is retired: received = logged + dropped goes on adding up
for ever, and the ledger says how much of it was retired. Those sums and the names of spool files hold nothing of a
person and are never retired. Knows nothing of files.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from storage import sql
from storage.rewrite import Change
from storage.settings import RetentionSettings
from storage.tables import DELIVERY_FACTS, DROPS, EVENTS, LEAD_FACTS

REASON = "retired"


def changes(retention: RetentionSettings, now: datetime) -> list[Change]:
    """What goes from the parts, by table. `now` is aware."""
    found = []
    if days := retention.events_days:
        old = f"occurred_at < {_literal(limit(days, now))}"
        found.append(Change(EVENTS.name, "events_retired", old, counted=sql.read("nightly/retired_events")))
    if days := retention.drops_days:
        old = f"(occurred_at < {_literal(limit(days, now))} and reason <> '{REASON}')"
        found.append(Change(DROPS.name, "drops_retired", old, counted=sql.read("nightly/retired_drops")))
    if retention.leads_days:
        found.append(Change(LEAD_FACTS.name, "leads_retired", "lead_id in (from old_leads)"))
    if retention.deliveries_days:
        found.append(Change(DELIVERY_FACTS.name, "deliveries_retired", "delivery_id in (from old_deliveries)"))
    return found


def limit(days: int, now: datetime) -> datetime:
    """What happened before this moment is more than `days` days old."""
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return today - timedelta(days=days)


def limits(retention: RetentionSettings, now: datetime) -> dict[str, datetime]:
    """Before when the last fact of a lead, and of a delivery, must lie for it to go: for the questions of that name."""
    days = {"old_leads": retention.leads_days, "old_deliveries": retention.deliveries_days}
    return {question: limit(count, now) for question, count in days.items() if count}


def _literal(moment: datetime) -> str:
    return f"timestamptz '{moment:%Y-%m-%d %H:%M:%S}+00'"
