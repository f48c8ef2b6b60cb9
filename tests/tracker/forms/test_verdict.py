"""Did the site accept the form? The table."""

from __future__ import annotations

import pytest

from tracker.forms.verdict import REASONS, Verdict, decide, for_bot
from tracker.model import FormAnswer, Submission
from tracker.settings import FormRule, Json, Redirect, Status, Success, Text


def judge(answer: FormAnswer | None, success: Success | None = None, **facts: object) -> str:
    given = {"method": "POST", "target": "/kontakt/?a=b", "status": answer.status if answer else 499, "ended_by": None}
    rule = None if success is None else FormRule(name="r", path="/*", success=success)
    submission = Submission(lead_id="l", form="/kontakt/", rule="generic", answer=answer)
    verdict = decide(submission, **(given | facts), rule=rule)
    assert verdict.reason in REASONS
    return f"{verdict.state} {verdict.reason}"


GENERIC = [
    # the page
    (FormAnswer(200, form_again=False, errors=0), "accepted form_gone"),
    (FormAnswer(200, form_again=True, errors=2), "refused form_again"),
    (FormAnswer(200, form_again=True, errors=0), "refused form_again"),
    (FormAnswer(200, form_again=True), "refused form_again"),
    (FormAnswer(200, form_again=None, errors=0), "unconfirmed undecided"),
    (FormAnswer(200, form_again=False, errors=1), "unconfirmed error_shown"),
    (FormAnswer(200), "unconfirmed undecided"),
    (FormAnswer(200, truncated=True), "unconfirmed undecided"),
    # errors
    (FormAnswer(400), "refused error_status"),
    (FormAnswer(403, form_again=False), "refused error_status"),
    (FormAnswer(422, form_again=True, errors=1), "refused error_status"),
    (FormAnswer(500), "refused error_status"),
    (FormAnswer(503), "refused error_status"),
    (FormAnswer(422, json_ok=True), "refused error_status"),
    # JSON
    (FormAnswer(200, json_ok=True), "accepted json_yes"),
    (FormAnswer(200, json_ok=False), "refused json_no"),
    (FormAnswer(201, json_ok=False), "refused json_no"),
    (FormAnswer(200, content_type="application/json"), "unconfirmed undecided"),
    # done
    (FormAnswer(201), "accepted done_status"),
    (FormAnswer(202), "accepted done_status"),
    (FormAnswer(204), "accepted done_status"),
    # redirects
    (FormAnswer(302, location="/danke/"), "accepted redirected"),
    (FormAnswer(303, location="/danke/?id=5"), "accepted redirected"),
    (FormAnswer(301, location="https://www.example.com/danke"), "accepted redirected"),
    (FormAnswer(303, location="danke"), "accepted redirected"),
    (FormAnswer(303, location="/"), "accepted redirected"),
    (FormAnswer(303, location="https://www.example.com"), "accepted redirected"),
    (FormAnswer(303, location="/kontakt/"), "unconfirmed redirected_back"),
    (FormAnswer(303, location="/kontakt"), "unconfirmed redirected_back"),
    (FormAnswer(303, location="/kontakt/?sent=1#form"), "unconfirmed redirected_back"),
    (FormAnswer(303, location="https://www.example.com/kontakt/"), "unconfirmed redirected_back"),
    (FormAnswer(303, location="?sent=1"), "unconfirmed redirected_back"),
    (FormAnswer(303, location="#form"), "unconfirmed redirected_back"),
    (FormAnswer(302, location="/accounts/login/?next=/kontakt/"), "unconfirmed redirected_in_doubt"),
    (FormAnswer(302, location="/kontakt/fehler"), "unconfirmed redirected_in_doubt"),
    (FormAnswer(302, location="/captcha-check/"), "unconfirmed redirected_in_doubt"),
    (FormAnswer(302, location="/login-hilfe/danke/"), "accepted redirected"),
    (FormAnswer(307, location="/neu/"), "refused sent_again"),
    (FormAnswer(308, location="https://www.example.com/kontakt/"), "refused sent_again"),
    (FormAnswer(302), "unconfirmed undecided"),
    (FormAnswer(304, location="/danke"), "unconfirmed undecided"),
    (FormAnswer(303, location="mailto:x@example.com"), "unconfirmed undecided"),
    (FormAnswer(303, location="http://[broken"), "unconfirmed undecided"),
]


@pytest.mark.parametrize("answer, expected", GENERIC)
def test_without_a_rule_the_facts_decide(answer: FormAnswer, expected: str):
    assert judge(answer) == expected


@pytest.mark.parametrize(
    "status, ended_by, expected",
    [
        (499, "client", "unconfirmed no_answer"),
        (502, "upstream", "unconfirmed no_answer"),
        (504, "upstream", "unconfirmed no_answer"),
        (503, "proxy", "unconfirmed no_answer"),
        (0, "proxy", "unconfirmed no_answer"),
        (200, "upstream", "unconfirmed no_answer"),
        (303, "client", "unconfirmed no_answer"),
        (200, None, "unconfirmed no_answer"),
        (500, None, "refused error_status"),
        (404, None, "refused error_status"),
    ],
)
def test_without_an_answer_only_an_error_of_the_sites_own_decides(status: int, ended_by: str | None, expected: str):
    assert judge(None, status=status, ended_by=ended_by) == expected
    # A rule cannot be met by an answer that never came.
    assert judge(None, Status(codes=[status or 200]), status=status, ended_by=ended_by) == expected


def test_a_visitor_who_left_after_the_whole_answer_changes_nothing():
    assert judge(FormAnswer(303, location="/danke"), ended_by="client") == "accepted redirected"


RULES = [
    (Redirect(to="/danke*"), FormAnswer(303, location="/danke/?x=1"), "accepted rule_met"),
    (Redirect(to="/danke/"), FormAnswer(303, location="/danke/?x=1"), "accepted rule_met"),
    (Redirect(to="/kontakt/*sent=1"), FormAnswer(303, location="?sent=1"), "accepted rule_met"),
    (Redirect(to="https://shop.example.com/*"), FormAnswer(302, location="https://shop.example.com/x"),
     "accepted rule_met"),
    (Redirect(to="/danke"), FormAnswer(303, location="/kontakt/"), "refused rule_not_met"),
    (Redirect(to="/danke"), FormAnswer(303), "refused rule_not_met"),
    (Redirect(to="/danke"), FormAnswer(303, location="http://[broken"), "refused rule_not_met"),
    (Redirect(to="/danke"), FormAnswer(200, form_again=False), "refused rule_not_met"),
    (Redirect(to="/danke"), FormAnswer(201, location="/danke"), "refused rule_not_met"),
    (Status(codes=[200, 418]), FormAnswer(418), "accepted rule_met"),
    (Status(codes=[201]), FormAnswer(200, form_again=False), "refused rule_not_met"),
    (Text(contains="Danke"), FormAnswer(200, form_again=True, errors=3, text_found=True), "accepted rule_met"),
    (Text(contains="Danke"), FormAnswer(200, form_again=False, text_found=False), "refused rule_not_met"),
    (Text(contains="Danke"), FormAnswer(200, text_found=None, truncated=True), "unconfirmed rule_untold"),
    (Text(contains="Danke"), FormAnswer(500, text_found=None), "refused error_status"),
    (Json(field="a", value="b"), FormAnswer(200, json_ok=True), "accepted rule_met"),
    (Json(field="a", value="b"), FormAnswer(200, json_ok=False), "refused rule_not_met"),
    (Json(field="a", value="b"), FormAnswer(200, json_ok=None), "unconfirmed rule_untold"),
]  # fmt: skip


@pytest.mark.parametrize("success, answer, expected", RULES)
def test_a_rule_decides_before_everything_else(success: Success, answer: FormAnswer, expected: str):
    assert judge(answer, success) == expected


def test_every_reason_is_reached_by_a_test_and_explained():
    reached = {expected.split()[1] for _, expected in GENERIC} | {expected.split()[1] for *_, expected in RULES}
    assert reached | {"no_answer", "sent_by_bot"} == set(REASONS)
    assert all(REASONS.values())


def test_what_a_bot_sent_is_never_accepted_by_itself_and_stays_refused_if_it_was():
    assert for_bot(Verdict("accepted", "redirected")) == Verdict("unconfirmed", "sent_by_bot")
    for kept in (Verdict("refused", "form_again"), Verdict("unconfirmed", "undecided")):
        assert for_bot(kept) == kept
