from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from ropo.cli.lead_page import LeadPage

LEAD = "019a8f3c-0a00-7abc-8000-000000000001"


def touch(at: str, **more: Any) -> dict[str, Any]:
    names = ("visit_id", "channel", "source", "medium", "campaign", "landing_page", "referrer")
    return {"occurred_at": at, **dict.fromkeys(names), "click_ids": {}} | more


def step(at: str, kind: str, page: str, visit_id: str | None, **more: Any) -> dict[str, Any]:
    return touch(at, kind=kind, page=page, visit_id=visit_id, **more)


def document(**more: Any) -> dict[str, Any]:
    return {
        "lead_id": LEAD, "occurred_at": "2026-11-22T10:00:00.000000Z", "state": "accepted", "host": "www.example.com",
        "form": "contact", "page": "/contact", "action": "/contact", "contact": {}, "first_touch": None,
        "last_touch": None, "last_non_direct_touch": None, "visits": 0, "page_views": 0, "days_to_lead": 0.0,
        "journey": [],
    } | more  # fmt: skip


def page(lead: dict[str, Any], *, width: int | None = None, **more: Any) -> list[str]:
    file = io.StringIO()
    to = Console(file=file, width=width, force_terminal=width is not None, color_system=None, highlight=False)
    given = {"reason": None, "rule": "generic", "deliveries": [], "contact_problem": None} | more
    LeadPage(to).show(lead, **given)
    return [line.rstrip() for line in file.getvalue().splitlines()]


def test_contact_fields_come_in_the_order_people_read_them_and_messages_keep_their_lines():
    contact = {"message": "one\ntwo", "email": "e@example.org", "zzz": "other", "first_name": "Erika"}
    lines = page(document(contact=contact))
    start = lines.index("Contact") + 1
    assert lines[start : start + 5] == [
        "  first name  Erika",
        "  e-mail      e@example.org",
        "  message     one",
        "              two",
        "  zzz         other",
    ]


def test_the_journey_goes_visit_by_visit():
    journey = [
        step("2026-11-20T08:00:00Z", "touchpoint", "/a", "v1", channel="Paid Search", source="google", medium="cpc"),
        step("2026-11-20T08:01:00Z", "page_view", "/b", "v1"),
        step("2026-11-22T09:00:00Z", "touchpoint", "/c", "v2", channel="Direct"),
        step("2026-11-22T10:00:00Z", "form_submit", "/contact", "v2"),
    ]
    lines = page(document(journey=journey, visits=2, page_views=3, days_to_lead=2.08))
    start = lines.index("Journey  2 visits, 3 pages, 2.1 days to the lead") + 1
    assert lines[start:] == [
        "  visit 1  Fri 20 Nov 2026 08:00:00 UTC",
        "    08:00:00  arrived    /a  Paid Search: google / cpc",
        "    08:01:00  page       /b",
        "  visit 2  Sun 22 Nov 2026 09:00:00 UTC",
        "    09:00:00  arrived    /c  Direct",
        "    10:00:00  form sent  /contact",
    ]


def test_visits_that_are_left_out_are_counted():
    journey = [step("2026-11-22T10:00:00Z", "form_submit", "/contact", "v9")]
    lines = page(document(journey=journey, visits=9, page_views=2000))
    assert "  earlier steps are left out, 8 visits of them" in lines
    assert "  visit 9  Sun 22 Nov 2026 10:00:00 UTC" in lines


def test_a_lead_without_a_visitor_says_so():
    journey = [step("2026-11-22T10:00:00Z", "form_submit", "/contact", None)]
    lines = page(document(journey=journey))
    assert "  first touch  not known: the visitor had no cookie of ours" in lines
    assert "  outside any visit  Sun 22 Nov 2026 10:00:00 UTC" in lines


def test_of_several_touches_none_is_told_twice():
    first = touch("2026-11-01T00:00:00Z", channel="Paid Search", click_ids={"gclid": "X"}, landing_page="/a")
    email = touch("2026-11-02T00:00:00Z", channel="Email", referrer="https://mail.example/")
    direct = touch("2026-11-03T00:00:00Z", channel="Direct")
    lines = page(document(first_touch=first, last_touch=direct, last_non_direct_touch=email))
    assert "  first touch      Paid Search, 2026-11-01 00:00:00 UTC" in lines
    assert "                   gclid=X, to /a" in lines
    assert "  last not direct  Email, 2026-11-02 00:00:00 UTC" in lines
    assert "                   referrer https://mail.example/" in lines
    lines = page(document(first_touch=first, last_touch=direct, last_non_direct_touch=first))
    assert not any("last not direct" in line for line in lines)


def test_deliveries_tell_state_attempts_reason_and_when_next():
    deliveries = [
        {"sink": "a", "state": "delivered", "attempts": 1, "last_at": "2026-11-22T10:00:01Z", "remote_ref": "17", "reason": None},
        {"sink": "b", "state": "failed", "attempts": 3, "next_attempt_at": "2026-11-22T11:00:00Z", "reason": "HTTP 503"},
        {"sink": "c", "state": "owed", "attempts": 0, "next_attempt_at": None, "reason": None},
        {"sink": "d", "state": "dead", "attempts": 12, "reason": "HTTP 422"},
    ]  # fmt: skip
    lines = page(document(), deliveries=deliveries)
    start = lines.index("Deliveries") + 1
    assert lines[start : start + 4] == [
        "  a  delivered 2026-11-22 10:00:01 UTC, as 17",
        "  b  failed    3 attempts, next after 2026-11-22 11:00:00 UTC, HTTP 503",
        "  c  owed      next at once",
        "  d  dead      12 attempts, HTTP 422",
    ]
    assert "  owed to no sink" in page(document())


def test_a_contact_that_cannot_be_opened_leaves_the_rest():
    lines = page(document(contact=None), contact_problem="the key is missing")
    assert "  cannot be shown: the key is missing" in lines
    assert "  form         contact on www.example.com/contact" in lines
    assert "  nothing was kept of it" in page(document())


def test_the_state_comes_with_its_reason_and_the_form_with_its_rule():
    lines = page(document(state="unconfirmed"), reason="the answer does not tell", rule="callback")
    assert lines[0] == f"Lead {LEAD}  unconfirmed (the answer does not tell)"
    assert "  form         contact on www.example.com/contact, by the rule callback" in lines


def test_a_form_without_a_name_is_not_named_twice():
    assert "  form         www.example.com/contact" in page(document(form="/contact"))


def test_how_long_it_took_is_told_in_words_that_fit():
    for days, words in ((0.0, "less than a minute"), (0.01, "14 minutes"), (0.5, "12.0 hours"), (30.04, "30.0 days")):
        assert any(f"{words} to the lead" in line for line in page(document(days_to_lead=days)))


def test_nothing_a_stranger_sent_steers_the_terminal():
    evil = "\x1b[2J[bold]x"
    lead = document(
        contact={"name": evil}, form=evil, page=evil,
        first_touch=touch("2026-11-01T00:00:00Z", channel=evil, click_ids={evil: evil}, referrer=evil),
        journey=[step("2026-11-22T10:00:00Z", "page_view", evil, "v")],
    )  # fmt: skip
    said = "\n".join(page(lead, width=200, reason=evil, rule=evil))
    assert "\x1b" not in said
    assert said.count(r"\x1b[2J[bold]x") >= 7


def test_on_a_terminal_long_values_are_folded_below_themselves():
    lines = page(document(contact={"message": "word " * 40}), width=60)
    start = lines.index("Contact") + 1
    assert lines[start].startswith("  message  word")
    assert lines[start + 1].startswith("           word")
    assert max(map(len, lines)) <= 60
