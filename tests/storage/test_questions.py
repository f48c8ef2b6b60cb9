"""What the views mean, and what the questions to them answer: the same over the collector's rows and over log.duckdb."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import door, questions, sql
from storage.questions import PendingDelivery
from storage.read import open_log
from storage.store import Store
from storage.tables import TABLES
from tests.support.rows import (
    Time,
    a_store,
    arrival,
    at,
    batch,
    delivery,
    drop,
    event,
    exchanges,
    layout_of,
    lead,
    open_store,
    promote_all,
    spool_file,
)

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
ASKED = sorted(path.stem for path in (sql.ROOM / "questions").glob("*.sql"))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    store = open_store(tmp_path_factory.mktemp("shared"))
    yield store
    store.close()


@pytest.fixture
def store(shared: Store) -> Store:
    """A store without rows. They are all in its hot tables, as none is promoted."""
    forget(shared)
    return shared


def forget(store: Store) -> None:
    for table in TABLES:
        store.connection.execute(f"delete from work.{table.name}")


def rows(store: Store, statement: str) -> list[tuple]:
    return store.connection.execute(statement).fetchall()


@pytest.mark.parametrize("name", ASKED)
def test_every_question_can_be_asked(store: Store, name: str) -> None:
    statement = sql.read(f"questions/{name}").replace("$leads", sql.read("views/leads")).replace("$ids", "$id")
    store.connection.execute(f"prepare asked as {statement}")
    store.connection.execute("deallocate asked")


@pytest.mark.parametrize("name", ASKED)
def test_every_question_is_asked_by_someone(name: str) -> None:
    assert (
        f'"{name}"' in Path(questions.__file__).read_text()
        or f'"questions/{name}"' in Path(questions.__file__).read_text()
    )


def test_an_empty_log_has_an_answer_to_everything(store: Store) -> None:
    con = store.connection
    assert questions.counts(con) == {"events": 0, "visits": 0, "leads": 0}
    assert (questions.latest_visits(con), questions.list_leads(con), questions.ledger(con)) == ([], [], [])
    assert (questions.pending_deliveries(con), questions.dead_letters(con)) == ([], [])
    assert (questions.delivery_counts(con), questions.open_visits(con, NOON)) == ({}, [])
    assert (questions.lead(con, "x"), questions.lead(con, ""), questions.lead_document(con, "x")) == (None, None, None)
    assert questions.lead_deliveries(con, "x") == []


# -- leads

LEAD_FACTS = [
    (["submitted"], "unconfirmed", "no answer is known"),
    (["submitted", "accepted"], "accepted", None),
    (["accepted"], "accepted", None),
    (["submitted", "unconfirmed"], "unconfirmed", None),
    (["submitted", "refused"], None, None),
    (["refused"], None, None),
    (["unconfirmed", "confirmed"], "accepted", None),
    (["accepted", "discarded"], "discarded", None),
    (["accepted", "discarded", "confirmed"], "accepted", None),
    (["unconfirmed", "confirmed", "discarded"], "discarded", None),
    # An order by hand without the lead it was about.
    (["discarded"], None, None),
]


@pytest.mark.parametrize(
    "facts, state, reason", LEAD_FACTS, ids=lambda value: "-".join(value) if isinstance(value, list) else ""
)
def test_the_state_of_a_lead_follows_from_its_facts_in_whatever_order_they_came_in(
    store: Store, facts: list[str], state: str | None, reason: str | None
) -> None:
    written = [lead("l", minutes, fact) for minutes, fact in enumerate(facts)]
    random.shuffle(written)
    for fact in written:
        store.write(batch(fact))
    assert rows(store, "select state, reason from leads") == ([(state, reason)] if state else [])
    assert rows(store, "select lead_id from conversions") == ([("l",)] if state == "accepted" else [])


def test_what_a_person_decided_stands_though_the_sites_answer_came_later(store: Store) -> None:
    store.write(batch(lead("l", 0, "submitted"), lead("l", 1, "discarded", reason="spam"), lead("l", 2, "accepted")))
    assert rows(store, "select state, reason from leads") == [("discarded", "spam")]


def test_a_lead_is_described_by_the_facts_that_describe_it(store: Store) -> None:
    told = {"host": "h", "form": "f", "rule": "r", "page": "/p", "action": "/a", "contact": "sealed", "visitor_id": "v"}
    store.write(
        batch(
            lead("l", 1, "submitted", **told, lead_fields=["email"], field_names=["mail"]),
            lead(
                "l",
                0,
                "accepted",
                **told | {"form": "better"},
                event_id="e",
                visit_id="s",
                lead_fields=["email"],
                field_names=["mail"],
            ),
            lead("l", 9, "confirmed", event_id="the order's own"),
        )
    )
    (found,) = questions.list_leads(store.connection)
    assert {name: found[name] for name in told} == told | {"form": "better"}
    assert (found["visit_id"], found["lead_fields"], found["field_names"]) == ("s", ["email"], ["mail"])
    # When the person sent it, not when somebody dealt with it.
    assert found["occurred_at"] == NOON + timedelta(minutes=1)
    assert rows(store, "select event_id from lead_states") == [("e",)]


def a_story(lead_id: str = "lead-1", visitor: str = "v", minutes: float = 0) -> list[Any]:
    """Comes by a paid search, returns by a newsletter in mid-visit and at last directly, and sends the form."""
    m = minutes
    touch = {"touch_source": "google", "touch_medium": "cpc", "touch_campaign": "spring", "utm_term": "pumps"}
    mail = {"touch_source": "news", "touch_medium": "email", "is_entrance": False}
    direct = {"touch_source": "(direct)", "touch_medium": "(none)"}
    return [
        arrival(m, visitor, f"{visitor}-a", "Paid Search", path="/en", click_ids={"gclid": "Ab"}, referrer="r", **touch),
        event(m + 1, "request", visitor_id=visitor, visit_id=f"{visitor}-a", path="/logo.png"),
        event(m + 2, visitor_id=visitor, visit_id=f"{visitor}-a", path="/pumps"),
        arrival(m + 3, visitor, f"{visitor}-a", "Email", path="/news", **mail),
        event(m + 4, "download", visitor_id=visitor, visit_id=f"{visitor}-a", path="/pumps.pdf"),
        arrival(m + 60, visitor, f"{visitor}-b", "Direct", path="/contact", **direct),
        event(m + 61, "form_submit", event_id=f"{lead_id}-sent", visitor_id=visitor, visit_id=f"{visitor}-b", path="/contact", lead_id=lead_id),
        event(m + 62, visitor_id=visitor, visit_id=f"{visitor}-b", path="/thanks"),
        arrival(m + 90, visitor, f"{visitor}-c", "Organic Search", path="/later"),
        lead(lead_id, m + 61, visitor_id=visitor, visit_id=f"{visitor}-b", event_id=f"{lead_id}-sent", page="/contact", contact="sealed"),
    ]  # fmt: skip


def test_a_lead_has_what_had_brought_the_visitor_by_then(store: Store) -> None:
    store.write(batch(*a_story(), *a_story("other", "w", 30)))
    found = questions.lead(store.connection, "lead-1")
    assert {name: found[name] for name in found if name.startswith("first_touch")} == {
        "first_touch_channel": "Paid Search",
        "first_touch_source": "google",
        "first_touch_medium": "cpc",
        "first_touch_campaign": "spring",
        "first_touch_at": NOON,
    }
    assert (found["last_touch_channel"], found["last_touch_campaign"]) == ("Direct", None)
    assert found["last_touch_at"] == NOON + timedelta(minutes=60)
    assert (found["touchpoints"], found["visits"], found["page_views"]) == (3, 2, 4)
    assert found["first_seen_at"] == NOON


def test_two_leads_of_one_visitor_have_each_their_own_past(store: Store) -> None:
    sent = event(3.5, "form_submit", event_id="early", visitor_id="v", visit_id="v-a", lead_id="early")
    store.write(batch(*a_story(), sent, lead("early", 3.5, visitor_id="v", event_id="early")))
    early, late = (questions.lead(store.connection, name) for name in ("early", "lead-1"))
    assert (early["last_touch_channel"], early["touchpoints"], early["visits"], early["page_views"]) == (
        "Email",
        2,
        1,
        3,
    )
    assert (late["last_touch_channel"], late["touchpoints"], late["visits"], late["page_views"]) == ("Direct", 3, 2, 4)
    assert early["first_touch_channel"] == late["first_touch_channel"] == "Paid Search"


def test_a_lead_without_a_visitor_is_a_lead_all_the_same(store: Store) -> None:
    store.write(batch(event(0, "form_submit", lead_id="l", path="/contact"), lead("l", 0), event(0)))
    found = questions.lead(store.connection, "l")
    assert (found["first_touch_channel"], found["touchpoints"], found["visits"]) == (None, 0, 0)
    assert rows(store, "select lead_id, position, kind, page from journeys") == [("l", 1, "form_submit", "/contact")]
    document = questions.lead_document(store.connection, "l")
    assert (document["first_touch"], document["touchpoints"], document["visits"]) == (None, [], 0)
    assert [step["kind"] for step in document["journey"]] == ["form_submit"]
    assert document["days_to_lead"] == 0


def test_a_journey_is_what_the_visitor_did_up_to_the_lead_in_order(store: Store) -> None:
    story = a_story()
    random.shuffle(story)
    store.write(batch(*story, *a_story("other", "w", 30)))
    found = rows(store, "select position, kind, page, channel from journeys where lead_id = 'lead-1' order by position")
    assert found == [
        (1, "touchpoint", "/en", "Paid Search"),
        (2, "page_view", "/pumps", None),
        (3, "touchpoint", "/news", "Email"),
        (4, "download", "/pumps.pdf", None),
        (5, "touchpoint", "/contact", "Direct"),
        (6, "form_submit", "/contact", None),
    ]


def test_visitors_who_left_no_lead_have_no_journey(store: Store) -> None:
    store.write(batch(*(one for one in a_story() if not hasattr(one, "fact"))))
    assert rows(store, "select count(*) from journeys") == [(0,)]


def test_a_form_that_was_noted_before_its_exchange_began_still_belongs_to_its_lead(store: Store) -> None:
    """The exchange's own moment can be later than that of the fact; its id tells that they are one."""
    sent = event(2, "form_submit", event_id="sent", visitor_id="v", visit_id="a", lead_id="l")
    store.write(batch(arrival(0, "v", "a", "Direct"), sent, lead("l", 1, visitor_id="v", event_id="sent")))
    assert rows(store, "select kind from journeys order by position") == [("touchpoint",), ("form_submit",)]
    assert [step["kind"] for step in questions.lead_document(store.connection, "l")["journey"]] == [
        "touchpoint",
        "form_submit",
    ]


def test_the_document_of_a_lead_tells_all_that_sinks_get(store: Store) -> None:
    store.write(batch(*a_story()))
    document = questions.lead_document(store.connection, "lead-1")
    first = {
        "occurred_at": "2026-11-22T12:00:00.000000Z",
        "visit_id": "v-a",
        "channel": "Paid Search",
        "source": "google",
        "medium": "cpc",
        "campaign": "spring",
        "term": "pumps",
        "content": None,
        "campaign_id": None,
        "click_ids": {"gclid": "Ab"},
        "campaign_params": {},
        "referrer": "r",
        "landing_page": "/en",
    }
    journey, touches = document.pop("journey"), document.pop("touchpoints")
    last, not_direct = document.pop("last_touch"), document.pop("last_non_direct_touch")
    assert document == {
        "lead_id": "lead-1",
        "occurred_at": "2026-11-22T13:01:00.000000Z",
        "state": "accepted",
        "host": None,
        "form": None,
        "page": "/contact",
        "action": None,
        "contact_sealed": "sealed",
        "visitor_id": "v",
        "visit_id": "v-b",
        "first_touch": first,
        "visits": 2,
        "page_views": 4,
        "first_seen_at": "2026-11-22T12:00:00.000000Z",
        "days_to_lead": pytest.approx(61 / 1440, abs=1e-3),
    }
    assert [touch["channel"] for touch in touches] == ["Paid Search", "Email", "Direct"]
    assert (touches[0], touches[-1], touches[-2]) == (first, last, not_direct)
    assert journey[-1] == {
        "occurred_at": "2026-11-22T13:01:00.000000Z",
        "kind": "form_submit",
        "visit_id": "v-b",
        "page": "/contact",
        "channel": None,
        "source": None,
        "medium": None,
        "campaign": None,
    }
    assert [step["kind"] for step in journey] == [
        kind for (kind,) in rows(store, "select kind from journeys order by position")
    ]


def test_a_very_long_journey_keeps_its_end_and_its_counts(store: Store) -> None:
    pages = [event(minute, visitor_id="v", visit_id="a", path=f"/{minute}") for minute in range(1200)]
    store.write(batch(arrival(-1, "v", "a", "Direct"), *pages, lead("l", 1199, visitor_id="v")))
    document = questions.lead_document(store.connection, "l")
    assert (len(document["journey"]), document["journey"][-1]["page"]) == (questions.MAX_JOURNEY_STEPS, "/1199")
    assert (document["page_views"], document["first_touch"]["channel"]) == (1201, "Direct")


def test_a_lead_is_found_by_the_beginning_of_its_id_if_only_one_has_it(store: Store) -> None:
    store.write(batch(lead("ab1", 0), lead("ab2", 1), lead("ab", 2), lead("c_%", 3), lead("cXY", 4)))
    con = store.connection
    assert questions.lead(con, "ab1")["lead_id"] == "ab1"
    assert questions.lead(con, "ab")["lead_id"] == "ab"
    assert questions.lead(con, "c_")["lead_id"] == "c_%"
    with pytest.raises(LookupError, match="several leads begin with 'a'"):
        questions.lead(con, "a")
    assert questions.lead(con, "d") is None


def test_leads_are_listed_newest_first_and_by_state(store: Store) -> None:
    store.write(batch(*(lead(f"l{n}", n, "accepted" if n % 2 else "unconfirmed") for n in range(6))))
    con = store.connection
    assert [row["lead_id"] for row in questions.list_leads(con, limit=3)] == ["l5", "l4", "l3"]
    assert [row["lead_id"] for row in questions.list_leads(con, state="unconfirmed")] == ["l4", "l2", "l0"]
    assert questions.list_leads(con, state="discarded") == []


def test_the_list_of_leads_says_what_the_view_says(store: Store) -> None:
    for n in range(5):
        store.write(batch(*a_story(f"lead-{n}", f"v{n % 3}", n * 17)))
    viewed = store.connection.execute("from leads order by occurred_at desc, lead_id").fetchall()
    assert [tuple(row.values()) for row in questions.list_leads(store.connection)] == viewed


# -- visits


def test_a_visit_sums_up_its_events(store: Store) -> None:
    story = a_story()
    random.shuffle(story)
    store.write(
        batch(*story, event(0), event(1, "request", visitor_id="v", visit_id="v-a", is_bot=True, device="desktop"))
    )
    newest, middle, oldest = questions.latest_visits(store.connection)
    assert oldest == {
        "visit_id": "v-a",
        "visitor_id": "v",
        "started_at": NOON,
        "ended_at": NOON + timedelta(minutes=4),
        "duration_secs": 240.0,
        "page_views": 3,
        "downloads": 1,
        "form_submits": 0,
        "requests": 6,
        "touchpoints": 2,
        "is_bounce": False,
        "is_first": False,
        "host": None,
        "landing_page": "/en",
        "exit_page": "/news",
        "channel": "Paid Search",
        "source": "google",
        "medium": "cpc",
        "campaign": "spring",
        "term": "pumps",
        "referrer_host": None,
        "device": "desktop",
        "browser": None,
        "os": None,
        "is_bot": True,
        "leads": 0,
        "converted": False,
    }
    assert (middle["visit_id"], middle["channel"], middle["leads"], middle["exit_page"]) == (
        "v-b",
        "Direct",
        1,
        "/thanks",
    )
    assert newest["visit_id"] == "v-c"
    assert [row["visit_id"] for row in questions.latest_visits(store.connection, limit=1)] == ["v-c"]


def test_a_visit_that_began_with_a_download_landed_there(store: Store) -> None:
    store.write(batch(arrival(0, "v", "a", "QR", name="download", path="/sheet.pdf")))
    (visit,) = questions.latest_visits(store.connection)
    assert (visit["landing_page"], visit["exit_page"], visit["page_views"]) == ("/sheet.pdf", "/sheet.pdf", 0)


BOUNCES = [
    ([("page_view", 1)], True),
    ([("page_view", 1), ("request", 2)], True),
    ([("page_view", 1), ("page_view", 2)], False),
    ([("page_view", 1), ("download", 2)], False),
    ([("page_view", 1), ("form_submit", 2)], False),
    ([("request", 1)], False),
]


@pytest.mark.parametrize("steps, is_bounce", BOUNCES)
def test_one_page_and_nothing_else_is_a_bounce(store: Store, steps: list[tuple[str, int]], is_bounce: bool) -> None:
    store.write(batch(*(event(minutes, name, visitor_id="v", visit_id="a") for name, minutes in steps)))
    assert rows(store, "select is_bounce from visits") == [(is_bounce,)]


@pytest.mark.parametrize(
    "identities, is_first",
    [(["minted", "known"], True), (["known"], False), (["expired", "known"], True), (["forged"], True)],
)
def test_a_first_visit_is_one_in_which_the_browser_got_its_cookie(
    store: Store, identities: list[str], is_first: bool
) -> None:
    seen = [event(n, visitor_id="v", visit_id="a", identity=identity) for n, identity in enumerate(identities)]
    store.write(batch(*seen))
    assert rows(store, "select is_first from visits") == [(is_first,)]


def test_a_visit_in_which_a_lead_was_accepted_is_converted(store: Store) -> None:
    store.write(batch(*a_story()))
    assert rows(store, "select visit_id, converted from visits order by 1") == [
        ("v-a", False),
        ("v-b", True),
        ("v-c", False),
    ]


def test_only_accepted_leads_count_in_a_visit(store: Store) -> None:
    facts = [lead(state, 1, state, visitor_id="v", visit_id="a") for state in ("accepted", "unconfirmed", "refused")]
    store.write(batch(arrival(0, "v", "a", "Direct"), *facts))
    assert rows(store, "select leads from visits") == [(1,)]


def test_what_may_go_on_after_a_restart_is_told_with_its_latest_touchpoint(store: Store) -> None:
    seen = {"campaign_params": {"utm_source": "News"}, "click_ids": {"gclid": "x"}, "referrer_host": "h"}
    store.write(
        batch(
            arrival(-100, "old", "o", "Direct"),
            arrival(0, "v", "a", "Direct"),
            event(5, is_touchpoint=True, visitor_id="v", visit_id="a", **seen),
            event(6, "request", visitor_id="v", visit_id="a", referrer_host="own"),
            event(7, visitor_id="w", visit_id="b"),
            event(8),
        )
    )
    first, second = questions.open_visits(store.connection, NOON)
    times = {"started_at": NOON, "last_at": NOON + timedelta(minutes=6)}
    assert first == {"visitor_id": "v", "visit_id": "a", "entered": True} | times | seen
    assert (second["visit_id"], second["entered"], second["click_ids"]) == ("b", False, None)
    assert questions.open_visits(store.connection, at(0)) == [first, second]
    assert questions.open_visits(store.connection, at(6.5)) == [second]


def test_touchpoints_are_the_arrivals(store: Store) -> None:
    store.write(batch(*a_story()))
    found = rows(store, "select channel, source, term, click_ids, landing_page from touchpoints order by occurred_at")
    assert found[0] == ("Paid Search", "google", "pumps", {"gclid": "Ab"}, "/en")
    assert [row[0] for row in found] == ["Paid Search", "Email", "Direct", "Organic Search"]


# -- deliveries

SINK_FACTS = [
    ([("owed", 0)], ("owed", 0, None)),
    ([("owed", 0), ("delivered", 1)], ("delivered", 1, None)),
    ([("owed", 0), ("failed", 1)], ("failed", 1, 91)),
    ([("owed", 0), ("failed", 1), ("failed", 2)], ("failed", 2, 92)),
    ([("owed", 0), ("failed", 1), ("delivered", 2)], ("delivered", 2, None)),
    ([("owed", 0), ("failed", 1), ("dead", 2)], ("dead", 2, None)),
    ([("owed", 0), ("failed", 1), ("dead", 2), ("requeued", 0)], ("owed", 0, None)),
    ([("owed", 0), ("dead", 1), ("requeued", 0), ("failed", 1)], ("failed", 1, 93)),
    ([("owed", 0), ("dead", 1), ("requeued", 0), ("delivered", 1)], ("delivered", 1, None)),
    # A lead that was confirmed by hand is owed once more: what was delivered is not owed again.
    ([("owed", 0), ("delivered", 1), ("owed", 0)], ("delivered", 1, None)),
    ([("owed", 0), ("failed", 1), ("owed", 0)], ("failed", 1, 91)),
]


@pytest.mark.parametrize(
    "facts, found", SINK_FACTS, ids=lambda value: "-".join(f[0] for f in value) if isinstance(value, list) else ""
)
def test_the_state_of_a_delivery_follows_from_its_facts(
    store: Store, facts: list[tuple[str, int]], found: tuple[str, int, int | None]
) -> None:
    written = [
        delivery("l", "csv", n, fact, attempt=attempt, next_attempt_at=at(90 + n) if fact == "failed" else None)
        for n, (fact, attempt) in enumerate(facts)
    ]
    random.shuffle(written)
    for fact in written:
        store.write(batch(fact))
    state, attempts, next_at = found
    assert rows(store, "select state, attempts, next_attempt_at from deliveries") == [
        (state, attempts, None if next_at is None else NOON + timedelta(minutes=next_at))
    ]
    requeues = [n for n, (fact, _) in enumerate(facts) if fact == "requeued"]
    pending = PendingDelivery(
        delivery_id="l/csv",
        lead_id="l",
        sink="csv",
        owed_at=at(requeues[-1] if requeues else 0),
        attempts=attempts,
        next_attempt_at=None if next_at is None else at(next_at),
        requeues=len(requeues),
    )
    assert questions.pending_deliveries(store.connection) == ([pending] if state in ("owed", "failed") else [])
    assert [row["state"] for row in questions.lead_deliveries(store.connection, "l")] == [state]


def test_facts_of_the_same_microsecond_tell_the_one_that_goes_further(store: Store) -> None:
    store.write(batch(delivery("l", "csv", 0, "delivered", attempt=1, remote_ref="file"), delivery("l", "csv", 0)))
    assert rows(store, "select state, remote_ref from deliveries") == [("delivered", "file")]


def test_deliveries_are_counted_by_sink_and_by_lead(store: Store) -> None:
    store.write(
        batch(
            lead("l", 0),
            delivery("l", "csv", 0),
            delivery("l", "csv", 1, "delivered", attempt=1),
            delivery("l", "erp", 0),
            delivery("l", "erp", 2, "dead", attempt=1, reason="400"),
            delivery("l", "crm", 0),
            delivery("l", "crm", 1, "failed", attempt=1),
            delivery("m", "crm", 0),
        )
    )
    con = store.connection
    assert questions.delivery_counts(con) == {
        "crm": {"delivered": 0, "owed": 1, "failed": 1, "dead": 0},
        "csv": {"delivered": 1, "owed": 0, "failed": 0, "dead": 0},
        "erp": {"delivered": 0, "owed": 0, "failed": 0, "dead": 1},
    }
    (row,) = questions.list_leads(con)
    assert (row["delivered"], row["owed"], row["dead"]) == (1, 1, 1)
    (letter,) = questions.dead_letters(con)
    assert letter == {
        "delivery_id": "l/erp",
        "lead_id": "l",
        "sink": "erp",
        "attempts": 1,
        "owed_at": NOON,
        "last_at": NOON + timedelta(minutes=2),
        "reason": "400",
    }


def test_pending_deliveries_come_oldest_first(store: Store) -> None:
    store.write(batch(delivery("b", "csv", 5), delivery("a", "csv", 9), delivery("c", "csv", 1)))
    assert [one.lead_id for one in questions.pending_deliveries(store.connection)] == ["c", "b", "a"]


# -- the ledger


def balance(store: Store) -> dict[str, Any]:
    (row,) = questions.ledger(store.connection)
    return {
        name: row[name] for name in ("received", "logged", "dropped", "missing", "in_flight", "balanced", "stopped")
    }


LEDGERS = [
    ("all is there", [*exchanges(1, 2, 3), spool_file("f", last_seq=3, stopped=True)], (3, 3, 0, 0, 0, True, True)),
    ("one is dropped", [*exchanges(1, 3), drop("excluded", first_seq=2, last_seq=2), spool_file("f", last_seq=3, stopped=True)], (3, 2, 1, 0, 0, True, True)),
    ("one is missing", [*exchanges(1, 3), spool_file("f", last_seq=3, stopped=True)], (3, 2, 0, 1, 0, False, True)),
    ("the last is missing", [*exchanges(1, 2), spool_file("f", last_seq=3, stopped=True)], (3, 2, 0, 1, 0, False, True)),
    ("one is under way", [*exchanges(1, 3), spool_file("f", last_seq=3)], (3, 2, 0, 0, 1, True, False)),
    ("many were lost at the end", [*exchanges(1), drop("disk_full", count=9, first_seq=2, last_seq=10), spool_file("f")], (10, 1, 9, 0, 0, True, False)),
    ("one came in twice", [*exchanges(1, 2, 2), spool_file("f", last_seq=3, stopped=True)], (3, 2, 0, 1, 0, False, True)),
    ("a line could not be read", [*exchanges(1, 3), drop("quarantined"), spool_file("f", last_seq=3, stopped=True)], (3, 2, 1, 0, 0, True, True)),
    ("numbers beyond one block", [*exchanges(*range(1, 200)), spool_file("f", last_seq=200)], (200, 199, 0, 0, 1, True, False)),
]  # fmt: skip


@pytest.mark.parametrize("written, found", [case[1:] for case in LEDGERS], ids=[case[0] for case in LEDGERS])
def test_the_ledger_names_what_is_missing(store: Store, written: list[Any], found: tuple) -> None:
    store.write(batch(*written))
    assert tuple(balance(store).values()) == found


def test_what_was_under_way_when_a_writer_was_followed_by_another_is_missing(store: Store) -> None:
    store.write(batch(*exchanges(1, 3), spool_file("a", last_seq=3), spool_file("x", worker="w2", epoch=9)))
    assert balance(store)["missing"] == 0
    store.write(batch(spool_file("b", epoch=2, last_seq=1), *exchanges(1, epoch=2)))
    younger, older = questions.ledger(store.connection)
    assert (older["missing"], older["balanced"], older["in_flight"]) == (1, False, 0)
    assert (younger["epoch"], younger["missing"]) == (2, 0)


def hours(store: Store) -> list[tuple]:
    return store.connection.execute(
        "select strftime(hour, '%H'), received, logged, dropped, missing, in_flight, lost, quarantined"
        " from ledger_hours order by epoch, hour"
    ).fetchall()


HOURS = [
    ("all is there", [*exchanges(1, 2), *exchanges(3, minutes=60), spool_file("f", 61, last_seq=3, stopped=True)],
     [("12", 2, 2, 0, 0, 0, 0, 0), ("13", 1, 1, 0, 0, 0, 0, 0)]),
    ("a gap belongs to the hour of the next number", [*exchanges(1, 4), *exchanges(7, minutes=60), spool_file("f", 61, last_seq=7, stopped=True)],
     [("12", 4, 2, 0, 2, 0, 0, 0), ("13", 3, 1, 0, 2, 0, 0, 0)]),
    ("of a writer that runs it is under way", [*exchanges(1, 4), spool_file("f", last_seq=4)], [("12", 4, 2, 0, 0, 2, 0, 0)]),
    ("drops have reasons", [*exchanges(1), drop("excluded", last_seq=2), drop("disk_full", 60, count=3, first_seq=3, last_seq=5), drop("quarantined", 60), *exchanges(7, minutes=60), spool_file("f", 61, last_seq=7, stopped=True)],
     [("12", 2, 1, 1, 0, 0, 0, 0), ("13", 5, 1, 4, 0, 0, 3, 1)]),
    ("a drop that is told later closes the gap of its hour", [*exchanges(1, 3), drop("quarantined", 60), spool_file("f", 61, last_seq=3, stopped=True)],
     [("12", 2, 2, 0, 0, 0, 0, 0), ("13", 1, 0, 1, 0, 0, 0, 1)]),
    ("the clock was set back", [*exchanges(1, 2, minutes=60), *exchanges(3, 5, minutes=0), spool_file("f", 61, last_seq=5, stopped=True)],
     [("12", 3, 2, 0, 1, 0, 0, 0), ("13", 2, 2, 0, 0, 0, 0, 0)]),
    ("the last was never written", [*exchanges(1), spool_file("f", 60, last_seq=3, stopped=True)],
     [("12", 1, 1, 0, 0, 0, 0, 0), ("13", 2, 0, 0, 2, 0, 0, 0)]),
]  # fmt: skip


@pytest.mark.parametrize("written, found", [case[1:] for case in HOURS], ids=[case[0] for case in HOURS])
def test_the_ledger_adds_up_hour_by_hour(store: Store, written: list[Any], found: list[tuple]) -> None:
    store.write(batch(*written))
    assert hours(store) == found


def test_hours_and_lives_add_up_to_the_same_whatever_is_missing_and_dropped(store: Store) -> None:
    """A property, with a life for each example."""
    choices = random.Random(1)
    for epoch in range(1, 40):
        rows_of, minutes = [], 0.0
        last = choices.randint(1, 200)
        for seq in range(1, last + 1):
            minutes = max(-600.0, minutes + choices.choice([0.1, 1, 30]) - 200 * (choices.random() < 0.01))
            fate = choices.choice(["logged"] * 8 + ["missing", "excluded", "disk_full", "quarantined"])
            if fate == "logged":
                rows_of += exchanges(seq, epoch=epoch, minutes=minutes)
            elif fate != "missing":
                known = {} if fate == "quarantined" else {"first_seq": seq, "last_seq": seq}
                rows_of.append(drop(fate, minutes + choices.choice([0, 0, 90]), epoch=epoch, **known))
        rows_of.append(spool_file(f"f{epoch}", minutes, epoch=epoch, last_seq=last, stopped=choices.random() < 0.5))
        store.write(batch(*rows_of))
    by_life = "select epoch, received, logged, dropped, missing, in_flight from ledger order by epoch"
    by_hour = (
        "select epoch, sum(received)::bigint, sum(logged)::bigint, sum(dropped)::bigint, sum(missing)::bigint,"
        " sum(in_flight)::bigint from ledger_hours group by epoch order by epoch"
    )
    ask = lambda query: store.connection.execute(query).fetchall()  # noqa: E731
    assert ask(by_hour) == ask(by_life)
    assert ask("select count(*) from ledger_hours where received <> logged + dropped + missing + in_flight") == [(0,)]
    assert ask("select count(*) from ledger_hours where missing < 0 or in_flight < 0") == [(0,)]


def test_only_numbers_of_a_minute_ago_are_overdue(store: Store) -> None:
    store.write(batch(*exchanges(2, 64, 66, 130, minutes=0), spool_file("f", last_seq=130)))
    (row,) = questions.ledger(store.connection)
    assert (row["in_flight"], row["overdue"]) == (126, 0)
    store.write(batch(*exchanges(192, 194, minutes=0.5), *exchanges(256, minutes=1.1), spool_file("g", last_seq=256)))
    (row,) = questions.ledger(store.connection)
    # Up to 130; whole blocks of 64 are looked at.
    assert (row["in_flight"], row["overdue"]) == (249, 126)


def test_a_writer_ends_by_its_own_word_by_another_of_its_name_or_by_a_start(store: Store) -> None:
    lives = [("w1", 1, False), ("w1", 5, False), ("w2", 2, True), ("w3", 3, False)]
    store.write(batch(*(spool_file(f"{w}{e}", worker=w, epoch=e, stopped=s) for w, e, s in lives)))
    ended = "select worker, epoch from writers where ended order by all"
    ask = lambda: store.connection.execute(ended).fetchall()  # noqa: E731
    assert ask() == [("w1", 1), ("w2", 2)]
    store.write(batch(spool_file("s", worker="supervisor", epoch=4, stopped=True)))
    assert ask() == [("supervisor", 4), ("w1", 1), ("w2", 2), ("w3", 3)]


def test_a_file_that_lost_its_header_is_its_writers_all_the_same(store: Store) -> None:
    store.write(batch(*exchanges(1, 2), spool_file("f", last_seq=2)))
    torn = [msgspec.structs.replace(row, node=None) for row in exchanges(3, 4)]
    store.write(batch(*torn, msgspec.structs.replace(spool_file("g", last_seq=4, stopped=True), node=None)))
    (row,) = questions.ledger(store.connection)
    assert (row["node"], row["received"], row["logged"], row["missing"]) == ("n", 4, 4, 0)


def test_the_ledger_since_then_tells_of_who_wrote_since(store: Store) -> None:
    store.write(batch(*exchanges(1), spool_file("f", 0, last_seq=1)))
    store.write(
        batch(
            *exchanges(1, 2, epoch=2, minutes=30),
            *exchanges(3, epoch=2, minutes=90),
            spool_file("g", 90, epoch=2, last_seq=3),
        )
    )
    since = datetime(2026, 11, 22, 13, 15, tzinfo=UTC)
    lives, found = questions.ledger_since(store.connection, since)
    assert [row["epoch"] for row in lives] == [2]
    assert [(row["hour"].hour, row["logged"]) for row in found] == [(13, 1)]
    assert questions.ledger_since(store.connection, since.replace(hour=20)) == ([], [])


def test_drops_are_told_by_reason(store: Store) -> None:
    store.write(
        batch(drop("excluded", last_seq=4, count=2), drop("disk_full", last_seq=9), drop("excluded"), spool_file("f"))
    )
    (row,) = questions.ledger(store.connection)
    assert (row["drops"], row["dropped"]) == ({"excluded": 3, "disk_full": 1}, 4)
    assert row["started_at"] == datetime(1970, 1, 1, tzinfo=UTC)


def test_a_command_that_noted_a_fact_has_no_line_in_the_ledger(store: Store) -> None:
    store.write(
        batch(event(0, "delivery.requeued", node="n", worker="cli", epoch=5), spool_file("f", worker="cli", epoch=5))
    )
    assert rows(store, "from ledger") == []


def test_the_ledger_tells_of_the_writers_that_wrote_last(store: Store) -> None:
    for epoch in range(1, 6):
        store.write(batch(*exchanges(1, epoch=epoch), spool_file(f"f{epoch}", epoch, epoch=epoch, last_seq=1)))
    assert [row["epoch"] for row in questions.ledger(store.connection, writers=2)] == [5, 4]


# -- the same answers wherever the rows are


def test_answers_are_the_same_before_and_after_promotion_and_through_the_door(tmp_path: Path) -> None:
    time = Time()

    def answers(con: duckdb.DuckDBPyConnection) -> dict[str, list]:
        return {view: sorted(map(repr, con.execute(f"from {view}").fetchall())) for view in door.DERIVED}

    with a_store(tmp_path, time, part_rows=1) as store:
        store.write(batch(*a_story(), delivery("lead-1", "csv", 61), *exchanges(1, 3), spool_file("f", last_seq=3)))
        store.publish()
        hot = answers(store.connection)
        promote_all(store, time)
        assert store.mark.forgotten == 1
        store.publish()
        with open_log(layout_of(tmp_path)) as log:
            assert answers(store.connection) == answers(log) == hot
            assert questions.list_leads(log) == questions.list_leads(store.connection)
            assert questions.lead_document(log, "lead-1") == questions.lead_document(store.connection, "lead-1")
            assert all(hot.values())


def test_days_and_times_do_not_depend_on_the_readers_time_zone(store: Store) -> None:
    store.write(batch(*a_story()))
    here = questions.lead_document(store.connection, "lead-1")
    store.connection.execute("set timezone = 'America/St_Johns'")
    try:
        assert questions.lead_document(store.connection, "lead-1") == here
        assert [row["occurred_at"] for row in questions.list_leads(store.connection)] == [NOON + timedelta(minutes=61)]
    finally:
        store.connection.execute("set timezone = 'UTC'")


visits = st.lists(
    st.tuples(
        st.integers(0, 2),  # visitor
        st.integers(0, 60),  # minute
        st.sampled_from(["page_view", "touch", "lead", "request"]),
    ),
    max_size=30,
    unique_by=lambda step: step[1],
)


@settings(max_examples=25)
@given(visits)
def test_leads_and_their_journeys_agree_with_a_plain_reading_of_the_events(
    shared: Store, steps: list[tuple[int, int, str]]
) -> None:
    """First and last touch and the sums of a lead, counted by hand."""
    written: list[Any] = []
    for visitor, minute, kind in steps:
        fields = {"visitor_id": f"v{visitor}", "visit_id": f"v{visitor}-{minute // 20}", "path": f"/{minute}"}
        if kind == "lead":
            written.append(event(minute, "form_submit", lead_id=f"l{minute}", event_id=f"e{minute}", **fields))
            written.append(lead(f"l{minute}", minute, visitor_id=fields["visitor_id"], event_id=f"e{minute}"))
        elif kind == "touch":
            written.append(event(minute, is_touchpoint=True, channel=f"c{minute}", **fields))
        else:
            written.append(event(minute, kind, **fields))
    con = shared.connection
    forget(shared)
    shared.write(batch(*written))
    found = {row["lead_id"]: row for row in questions.list_leads(con)}
    assert len(found) == sum(kind == "lead" for *_, kind in steps)
    for visitor, minute, kind in steps:
        if kind != "lead":
            continue
        past = sorted((m, k) for v, m, k in steps if v == visitor and m <= minute)
        touches = [m for m, k in past if k == "touch"]
        row = found[f"l{minute}"]
        assert row["touchpoints"] == len(touches)
        assert row["first_touch_channel"] == (f"c{touches[0]}" if touches else None)
        assert row["last_touch_channel"] == (f"c{touches[-1]}" if touches else None)
        assert row["page_views"] == sum(k in ("page_view", "touch") for _, k in past)
        assert row["visits"] == len({m // 20 for m, _ in past})
        journey = con.execute(
            "select page from journeys where lead_id = ? order by position", [f"l{minute}"]
        ).fetchall()
        assert [page for (page,) in journey] == [f"/{m}" for m, k in past if k != "request"]


def test_moments_are_written_as_rfc_3339_says() -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", questions.rfc3339(NOON))
    assert questions.rfc3339(NOON.astimezone()) == "2026-11-22T12:00:00.000000Z"
