"""What command line, dashboard and dispatcher ask of the log. Knows the questions; each is a file in storage/questions.

Every function takes a connection, to log.duckdb or the collector's own, and gives plain dicts and lists. Moments are
aware datetimes in UTC, except where a text is named. Contact data stays sealed. Results are always fetched whole: on DuckDB
1.5 a half-read one makes other connections of the process spin.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import duckdb

from storage import sql
from tracker.clock import text_of
from tracker.model import PendingDelivery

Connection = duckdb.DuckDBPyConnection
Row = dict[str, Any]

# A lead document tells this many of the latest steps; `page_views` and `visits` tell the whole.
MAX_JOURNEY_STEPS = 1000

# Channels that did not bring anybody: a lead owes them nothing.
NOT_BROUGHT = ("Direct", "Internal")

_NO_SUMS: Row = {"visits": 0, "page_views": 0, "first_seen_at": None}


def counts(con: Connection) -> dict[str, int]:
    """events, visits, leads."""
    return _ask(con, "counts")[0]


def latest_visits(con: Connection, limit: int = 20) -> list[Row]:
    """Rows of the view `visits`, those that began last first."""
    latest = _ask(con, "latest_entrances", limit=limit)
    return _ask_of(con, "visits", [row["visit_id"] for row in latest])


def list_leads(con: Connection, *, state: str | None = None, limit: int = 50) -> list[Row]:
    """Rows of the view `leads`, the newest first; of one state if `state` is given."""
    latest = _ask(con, "latest_leads", state=state, limit=limit)
    return _leads(con, [row["lead_id"] for row in latest])


def lead(con: Connection, lead_id: str) -> Row | None:
    """The row of the view `leads` for this id, or for its beginning. None if there is no such lead.

    Raises LookupError if several leads begin like this.
    """
    found = [row["lead_id"] for row in _ask(con, "leads_like", beginning=lead_id)] if lead_id else []
    if len(found) > 1 and lead_id not in found:
        raise LookupError(f"several leads begin with {lead_id!r}: give more of the id")
    if not found:
        return None
    return _leads(con, [lead_id if lead_id in found else found[0]])[0]


def lead_document(con: Connection, lead_id: str) -> Row | None:
    """The lead as docs/lead.md lays it out, its contact sealed under `contact_sealed`. None if there is no such lead."""
    states = _ask(con, "lead_state", lead_id=lead_id)
    if not states:
        return None
    state = states[0]
    visitor_id, occurred_at = state["visitor_id"], state["occurred_at"]
    if visitor_id is None:
        steps, sums = _ask(con, "lead_submit", lead_id=lead_id), _NO_SUMS
    else:
        until = {"visitor_id": visitor_id, "occurred_at": occurred_at}
        steps = _ask(con, "lead_steps", **until, event_id=state["event_id"])
        sums = _ask(con, "lead_sums", **until)[0]
    touches = [_touch(step) for step in steps if step["is_touchpoint"]]
    not_direct = [touch for touch in touches if touch["channel"] not in NOT_BROUGHT]
    first_seen_at = sums["first_seen_at"] or occurred_at
    return {
        "lead_id": state["lead_id"],
        "occurred_at": rfc3339(occurred_at),
        "state": state["state"],
        "host": state["host"],
        "form": state["form"],
        "page": state["page"],
        "action": state["action"],
        "contact_sealed": state["contact"],
        "visitor_id": visitor_id,
        "visit_id": state["visit_id"],
        "first_touch": touches[0] if touches else None,
        "last_touch": touches[-1] if touches else None,
        "last_non_direct_touch": not_direct[-1] if not_direct else None,
        "touchpoints": touches,
        "visits": sums["visits"],
        "page_views": sums["page_views"],
        "first_seen_at": rfc3339(first_seen_at),
        "days_to_lead": round((occurred_at - first_seen_at).total_seconds() / 86_400, 3),
        "journey": [_step(step) for step in steps[-MAX_JOURNEY_STEPS:]],
    }


def is_erased(con: Connection, lead_id: str) -> bool:
    """Whether it was ordered to erase whose lead this is: nothing of it may be sent any more."""
    return _ask(con, "lead_is_erased", lead_id=lead_id)[0]["is_erased"]


def pending_deliveries(con: Connection) -> list[PendingDelivery]:
    """All that is owed to all sinks, the oldest first."""
    return [
        PendingDelivery(
            delivery_id=row["delivery_id"],
            lead_id=row["lead_id"],
            sink=row["sink"],
            owed_at=text_of(row["owed_us"]),
            attempts=row["attempts"],
            next_attempt_at=None if row["next_attempt_us"] is None else text_of(row["next_attempt_us"]),
            requeues=row["requeues"],
        )
        for row in _ask(con, "pending_deliveries")
    ]


def lead_deliveries(con: Connection, lead_id: str) -> list[Row]:
    """Rows of the view `deliveries` for this lead, by sink."""
    return _ask(con, "lead_deliveries", lead_id=lead_id)


def dead_letters(con: Connection) -> list[Row]:
    """delivery_id, lead_id, sink, attempts, owed_at, last_at, reason; the newest first."""
    return _ask(con, "dead_letters")


def delivery_counts(con: Connection) -> dict[str, dict[str, int]]:
    """delivered, owed, failed and dead, by sink."""
    return {row.pop("sink"): row for row in _ask(con, "delivery_counts")}


def ledger(con: Connection, *, writers: int = 100) -> list[Row]:
    """Rows of the view `ledger` for the writers that wrote last, the youngest writer first; each with `last_file_at`."""
    latest = _ask(con, "latest_writers", limit=writers)
    return _ask_of(con, "ledger", [row["epoch"] for row in latest])


def ledger_since(con: Connection, since: datetime) -> tuple[list[Row], list[Row]]:
    """Of all writers that wrote at or after `since` (aware): their rows of `ledger`, and those of `ledger_hours` from
    the hour of `since` on."""
    since_us = int(since.timestamp() * 1_000_000)
    epochs = [row["epoch"] for row in _ask(con, "writers_since", since_us=since_us)]
    return _ask_of(con, "ledger", epochs), _ask_of(con, "ledger_hours", epochs, since_us=since_us)


def contacts(con: Connection) -> list[Row]:
    """lead_id, visitor_id and the sealed contact of every lead that has one, those to be erased left out."""
    return _ask(con, "contacts")


def has_visitor(con: Connection, visitor_id: str) -> bool:
    """Whether the log has an event of this browser."""
    return _ask(con, "visitor_events", visitor_id=visitor_id)[0]["events"] > 0


def person(con: Connection, *, visitors: Sequence[str], leads: Sequence[str]) -> dict[str, list[Row]]:
    """All rows about these browsers and leads: `events`, `leads` (rows of lead_states) and `deliveries`."""
    ids = list(leads)
    return {
        "leads": _ask(con, "person_leads", lead_ids=ids),
        "deliveries": _ask(con, "person_deliveries", lead_ids=ids),
        "events": _ask(con, "person_events", visitor_ids=list(visitors), lead_ids=ids),
    }


def erasures(con: Connection, subjects: Sequence[str]) -> list[Row]:
    """erased_at and ordered_at of each erasure of somebody with one of these keyed hashes (storage.erasure.hash_of)."""
    return _ask(con, "erasures", subjects=list(subjects))


def log_columns() -> str:
    """The statement that tells view_name, view_comment, column_name, data_type and column_comment, for who streams it."""
    return sql.read("questions/log_columns")


def open_visits(con: Connection, since: datetime | str) -> list[Row]:
    """The visits that had an event at or after `since` (aware, or text of tracker.clock), by their last event."""
    if isinstance(since, str):
        since = datetime.fromisoformat(since).replace(tzinfo=UTC)
    return _ask(con, "open_visits", since=since)


def rfc3339(moment: datetime) -> str:
    """`2026-11-22T10:00:00.000000Z` (RFC 3339 section 5.6)."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _leads(con: Connection, ids: Sequence[str]) -> list[Row]:
    """Rows of the view `leads`. Its own statement is asked, with no other leads to look at: 10 times cheaper."""
    statement = sql.read("questions/leads").replace("$leads", sql.read("views/leads"))
    return _rows_of(con, statement, ids)


def _touch(step: Row) -> Row:
    return {
        "occurred_at": rfc3339(step["occurred_at"]),
        **{name: step[name] for name in ("visit_id", "channel", "source", "medium", "campaign", "term", "content")},
        "campaign_id": step["campaign_id"],
        "click_ids": step["click_ids"] or {},
        "campaign_params": step["campaign_params"] or {},
        "referrer": step["referrer"],
        "landing_page": step["page"],
    }


def _step(step: Row) -> Row:
    names = ("kind", "visit_id", "page", "channel", "source", "medium", "campaign")
    return {"occurred_at": rfc3339(step["occurred_at"])} | {name: step[name] for name in names}


def _ask(con: Connection, name: str, **values: Any) -> list[Row]:
    return _rows(con, sql.read(f"questions/{name}"), values)


def _ask_of(con: Connection, name: str, ids: Sequence[Any], **values: Any) -> list[Row]:
    return _rows_of(con, sql.read(f"questions/{name}"), ids, **values)


def _rows_of(con: Connection, statement: str, ids: Sequence[Any], **others: Any) -> list[Row]:
    """A question about `$ids`. They go in one by one: a list of constants is what DuckDB can skip files by."""
    if not ids:
        return []
    values = {f"id{number}": value for number, value in enumerate(ids)}
    marks = ", ".join(f"${key}" for key in values)
    return _rows(con, statement.replace("$ids", marks), values | others)


def _rows(con: Connection, statement: str, values: dict[str, Any]) -> list[Row]:
    result = con.execute(statement, values)
    columns = [column[0] for column in result.description]
    return [dict(zip(columns, row, strict=True)) for row in result.fetchall()]
