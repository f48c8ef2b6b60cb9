"""The questions of docs/analysts.md: each runs, gives the columns it promises, and says what is so of a log that is known."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.support.rows import a_store, arrival, batch, delivery, event, layout_of, lead, spool_file

MANUAL = Path(__file__).resolve().parent.parent / "docs" / "analysts.md"
QUESTION = re.compile(
    r"^### (?P<title>[^\n]+)\n\nGives (?P<columns>[^.]+)\..*?```sql\n(?P<sql>.*?)^```", re.MULTILINE | re.DOTALL
)

HOUR, DAY = 60, 24 * 60  # rows count minutes from Sunday, 22 November 2026, 12:00 UTC
THURSDAY, FRIDAY, SATURDAY = -3 * DAY, -2 * DAY, -DAY
TH, FR, SA = date(2026, 11, 19), date(2026, 11, 20), date(2026, 11, 21)


def questions() -> dict[str, tuple[list[str], str]]:
    """Columns and SQL by title."""
    return {
        found["title"]: (re.findall(r"`(\w+)`", found["columns"]), found["sql"])
        for found in QUESTION.finditer(MANUAL.read_text(encoding="utf-8"))
    }


def a_few_days() -> list[Any]:
    """Anna comes by an ad, takes a data sheet, and writes two days later. Bert reads a newsletter's page and goes. Cora
    reads a lot on two days and writes nothing. Dora scans a code at a fair and asks for a quote. Someone without cookies
    asks to be called. A bot looks around."""
    ad = {"touch_source": "google", "touch_medium": "cpc", "touch_campaign": "spring", "utm_term": "pumps"}
    mail = {"touch_source": "news", "touch_medium": "email", "touch_campaign": "news"}
    search = {"touch_source": "google", "touch_medium": "organic", "referrer_host": "www.google.com"}
    ai = {"touch_source": "chatgpt.com", "touch_medium": "ai-assistant"}
    fair = {"touch_source": "qr", "touch_medium": "print", "touch_campaign": "fair"}
    new, known = {"identity": "minted", "device": "desktop"}, {"identity": "known", "device": "desktop"}
    th, fr, sa = THURSDAY, FRIDAY, SATURDAY
    return [
        arrival(th, "anna", "a1", "Paid Search", path="/pumps", duration_us=90_000, click_ids={"gclid": "Ab"}, **ad, **new),
        event(th + 1, visitor_id="anna", visit_id="a1", path="/pumps/p1"),
        event(th + 2, "download", visitor_id="anna", visit_id="a1", path="/p1.pdf"),
        event(th + 3, "request", visitor_id="anna", visit_id="a1", path="/old", status=404, referrer="https://partner.example/"),
        arrival(sa, "anna", "a2", "Direct", path="/contact", **known),
        event(sa + 1, "form_submit", event_id="sent", visitor_id="anna", visit_id="a2", path="/contact", lead_id="l1"),
        lead("l1", sa + 1, form="contact", visitor_id="anna", visit_id="a2", event_id="sent"),
        arrival(fr, "bert", "b1", "Email", path="/news", **mail, **new),
        arrival(fr + HOUR, "cora", "c1", "Organic Search", path="/guide", **search, **new),
        event(fr + HOUR + 1, visitor_id="cora", visit_id="c1", path="/pumps", duration_us=100_000),
        event(fr + HOUR + 2, visitor_id="cora", visit_id="c1", path="/guide/2"),
        arrival(sa + HOUR, "cora", "c2", "AI Assistant", path="/pumps", duration_us=110_000, **ai, **known),
        event(sa + HOUR + 1, "download", visitor_id="cora", visit_id="c2", path="/p1.pdf"),
        event(sa + HOUR + 2, visitor_id="cora", visit_id="c2", path="/prices"),
        event(sa + HOUR + 3, visitor_id="cora", visit_id="c2", path="/shops"),
        arrival(sa + 2 * HOUR, "dora", "d1", "QR/Print", path="/fair", **fair, **new),
        event(sa + 2 * HOUR + 5, "form_submit", event_id="asked", visitor_id="dora", visit_id="d1", path="/quote", lead_id="l2"),
        lead("l2", sa + 2 * HOUR + 5, form="quote", visitor_id="dora", visit_id="d1", event_id="asked"),
        lead("l3", sa + 3 * HOUR, form="callback"),
        lead("l4", sa + 4 * HOUR, "unconfirmed", form="contact"),
        arrival(fr, "bot", "x1", "Direct", path="/", is_bot=True),
        event(fr + 1, "request", visitor_id="bot", visit_id="x1", path="/wp", status=404, is_bot=True, referrer="x"),
        event(fr - 2 * HOUR, "request", path="/", status=502, refusal="upstream_down"),
        delivery("l1", "erp", sa + 1), delivery("l1", "erp", sa + 2, "delivered", attempt=1),
        delivery("l1", "crm", sa + 1), delivery("l1", "crm", sa + 9, "dead", attempt=3, reason="HTTP 422"),
        delivery("l2", "erp", sa + 2 * HOUR + 5),
        event(th, "request", node="n", worker="w1", epoch=1, seq=1),
        event(th, "request", node="n", worker="w1", epoch=1, seq=3),
        spool_file("f", th + 1, last_seq=3, stopped=True),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    folder = tmp_path_factory.mktemp("log")
    with a_store(folder) as store:
        store.write(batch(*a_few_days()))
    with duckdb.connect(str(layout_of(folder).log_db), read_only=True) as con:
        con.execute("set timezone = 'UTC'")
        yield con


def test_there_are_twenty_questions_and_more():
    text = MANUAL.read_text(encoding="utf-8")
    assert len(questions()) == text.count("\n### ") == text.count("```sql") >= 20


@pytest.mark.parametrize("title", questions())
def test_every_question_gives_the_columns_it_promises(log: duckdb.DuckDBPyConnection, title: str):
    promised, statement = questions()[title]
    log.execute(statement).fetchall()
    assert [column[0] for column in log.description] == promised


@pytest.mark.parametrize("title", questions())
def test_no_question_is_without_an_answer(log: duckdb.DuckDBPyConnection, title: str):
    assert log.execute(questions()[title][1]).fetchall()


def moment(day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 11, day, hour, minute, tzinfo=UTC)


KNOWN = {
    "What brings visits, day by day?": [
        (TH, "Paid Search", 1, 0),
        (FR, "Email", 1, 0),
        (FR, "Organic Search", 1, 0),
        (SA, "AI Assistant", 1, 0),
        (SA, "Direct", 1, 1),
        (SA, "QR/Print", 1, 1),
    ],
    "Which campaigns began journeys, and which closed them?": [("fair", 1.0, 1.0), ("spring", 1.0, 0.0)],
    "How much credit has each channel, by every model?": [
        ("QR/Print", 1.0, 1.0, 1.0, 1.0, 1.0, 1.0),
        ("Unknown", 1.0, 1.0, 1.0, 1.0, 1.0, 1.0),
        ("Direct", 0.0, 1.0, 0.0, 0.5, 0.5, 0.55),
        ("Paid Search", 1.0, 0.0, 1.0, 0.5, 0.5, 0.45),
    ],
    "What would linear say if direct visits got nothing?": [("Paid Search", 1.0), ("QR/Print", 1.0), ("Unknown", 1.0)],
    "By which way of channels do people come to write?": [("Paid Search > Direct", 1), ("QR/Print", 1), ("Unknown", 1)],
    "Where do visits land, and do they stay?": [
        ("/pumps", 2, 0.0, 0),
        ("/contact", 1, 0.0, 1),
        ("/fair", 1, 0.0, 1),
        ("/guide", 1, 0.0, 0),
        ("/news", 1, 1.0, 0),
    ],
    "Which pages did leads read before they wrote?": [
        ("/contact", 1, 1),
        ("/fair", 1, 1),
        ("/pumps", 1, 1),
        ("/pumps/p1", 1, 1),
    ],
    "Who is new, and who has been here before?": [(TH, 1, 0), (FR, 2, 0), (SA, 1, 2)],
    "Which search and campaign terms bring people?": [("google", "pumps", 1, 1)],
    "Which sites send people?": [("www.google.com", 1, 0)],
    "Which pages do AI assistants send people to?": [("chatgpt.com", "/pumps", 1)],
    "How much of the traffic is bots?": [(TH, 6, 0, 0.0), (FR, 7, 2, 28.6), (SA, 8, 0, 0.0)],
    "Which links are broken, and where do they stand?": [("/old", "https://partner.example/", 1, moment(19, 12, 3))],
    "Which pages are slow?": [("/pumps", 3, 100.0, 109.0)],
    "When did the site fail?": [(moment(20, 10), 1, 1, 1)],
    "On which pages do visits end?": [
        ("/guide/2", 1, 100.0),
        ("/news", 1, 100.0),
        ("/pumps/p1", 1, 100.0),
        ("/shops", 1, 100.0),
    ],
    "What is downloaded, and by how many who write later?": [("/p1.pdf", 2, 2, 1)],
    "Who researched online and has not written? (ROPO candidates)": [
        ("cora", 2, 6, 1, 1, moment(21, 13, 3), "Organic Search")
    ],
    "How many leads does each form bring, and in which state?": [
        ("callback", 1, 0, 0, 1),
        ("contact", 1, 1, 0, 1),
        ("quote", 1, 0, 0, 0),
    ],
    "Which leads have not reached their systems?": [
        ("crm", "l1", "dead", 3, moment(21, 12, 1), "HTTP 422"),
        ("erp", "l2", "owed", 0, moment(21, 14, 5), None),
    ],
    "Does the log lack anything?": [("n", "w1", datetime(1970, 1, 1, tzinfo=UTC), 3, 2, 0, 1)],
    "Which click IDs can be uploaded back to the ad networks?": [
        ("gclid", "Ab", moment(19, 12), "l1", moment(21, 12, 1), 1.0)
    ],
    "What did the person behind the latest lead do?": [
        (1, moment(21, 14), "touchpoint", "/fair", "QR/Print", "fair"),
        (2, moment(21, 14, 5), "form_submit", "/quote", None, None),
    ],
    "With what do people come?": [("desktop", None, 6, 100.0)],
    "When in the week do people come?": [
        (12, 0, 0, 0, 1, 1, 1, 0),
        (13, 0, 0, 0, 0, 1, 1, 0),
        (14, 0, 0, 0, 0, 0, 1, 0),
    ],
    "After how many visits do people write?": [(1, 1, 1.0), (2, 1, 3.0)],
}


@pytest.mark.parametrize("title", KNOWN)
def test_what_is_known_is_answered(log: duckdb.DuckDBPyConnection, title: str):
    assert log.execute(questions()[title][1]).fetchall() == KNOWN[title]


# These leave the order of equals open.
UNORDERED = {
    "What did each campaign bring?": {
        ("qr", "print", "fair", 1, 1, 0.0, 1),
        ("google", "cpc", "spring", 1, 1, 0.0, 0),
        ("news", "email", "news", 1, 1, 1.0, 0),
    },
    "How many days pass from the first visit to the form?": {("contact", 1, 2.0, 2.0), ("quote", 1, 0.0, 0.0)},
}


@pytest.mark.parametrize("title", UNORDERED)
def test_and_in_some_order(log: duckdb.DuckDBPyConnection, title: str):
    assert set(log.execute(questions()[title][1]).fetchall()) == UNORDERED[title]
    assert questions().keys() == KNOWN.keys() | UNORDERED.keys()
