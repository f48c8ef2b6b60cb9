"""A visitor in a real browser, on a real CMS, from the campaign's link to the sales desk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.e2e.conftest import Sinks, make_sinks
from tests.support.browser import chromium, person
from tests.support.exports import csv_leads, jsonl_leads
from tests.support.ropo_process import RopoProcess
from tests.support.wagtail_site import WagtailSite
from tests.support.waiting import until

CAMPAIGN_LINK = (
    "/?utm_source=google&utm_medium=cpc&utm_campaign=Herbst-2026&utm_term=kreiselpumpe&gclid=Cj0KCQiA-AbC_xYz09"
)
CONTACT = {"name": "Erika Muster", "email": "erika.muster@example.com", "phone": "030 901820"}


@dataclass
class Story:
    """What happened in the browser, and who can tell of it."""

    ropo: RopoProcess
    wagtail: WagtailSite
    sinks: Sinks
    cookies: list[dict[str, Any]] = field(default_factory=list)
    page_after_refusal: str = ""
    leads_after_refusal: int = -1
    thanks: str = ""

    def lead(self) -> dict[str, Any]:
        """The one lead as `ropo leads show --json` gives it."""
        [listed] = self.ropo.json("leads", "list")
        return self.ropo.json("leads", "show", listed["lead_id"])


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("wagtail")
    with chromium() as browser, WagtailSite(folder).build() as wagtail:
        for sinks in make_sinks(folder):
            with RopoProcess(folder, upstream=wagtail.url, export=sinks.settings()) as ropo:
                told = Story(ropo, wagtail, sinks)
                context = person(browser)
                page = context.new_page()

                page.goto(ropo.url + CAMPAIGN_LINK)
                page.get_by_role("link", name="Pumpen").click()
                page.get_by_role("link", name="Ventile").click()
                page.get_by_role("link", name="Kontakt").click()
                page.fill("[name=name]", CONTACT["name"])
                page.fill("[name=e_mail]", "erika at example")
                page.fill("[name=telefon]", CONTACT["phone"])
                page.fill("[name=nachricht]", "Bitte ein Angebot für zehn Pumpen.")
                page.check("[name=datenschutz]")
                page.get_by_role("button", name="Senden").click()
                page.locator(".errorlist").wait_for()
                told.page_after_refusal = page.content()
                until(lambda: ropo.sql("select 1 from lead_facts where fact = 'refused'"), "the refusal is in the log")
                told.leads_after_refusal = len(ropo.json("leads", "list"))

                page.fill("[name=e_mail]", CONTACT["email"])
                page.get_by_role("button", name="Senden").click()
                told.thanks = page.locator("#danke").inner_text()
                told.cookies = context.cookies()
                context.close()
                until(lambda: len(ropo.json("leads", "list")) == 1, "the lead is in the log")
                until(
                    lambda: ropo.sql("select count(*) from deliveries where state = 'delivered'") == [(3,)],
                    "all three sinks have the lead",
                )
                yield told


def path(url: str) -> str:
    return urlsplit(url).path


def test_the_site_works_through_the_proxy_as_it_does_without(story: Story):
    assert "errorlist" in story.page_after_refusal
    assert story.thanks == "Vielen Dank, wir melden uns."
    assert story.wagtail.submissions() == 1


def test_the_browser_holds_one_cookie_of_ours_that_no_script_can_read(story: Story):
    [cookie] = [cookie for cookie in story.cookies if cookie["name"] == "ropo_id"]
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Lax", "/")
    [(visitor_id,)] = story.ropo.sql("select distinct visitor_id from leads")
    assert cookie["value"].startswith(visitor_id)


def test_every_request_of_the_browser_has_the_same_visitor_and_visit(story: Story):
    rows = story.ropo.sql(
        "select count(distinct visitor_id), count(distinct visit_id), count(*) > 5 from events"
        " where visitor_id is not null and name in ('page_view', 'form_submit')"
    )
    assert rows == [(1, 1, True)]


def test_a_form_the_site_refused_is_no_lead_and_leaves_no_contact(story: Story):
    assert story.leads_after_refusal == 0
    [refused] = story.ropo.records("select * from lead_facts where fact = 'refused'")
    assert not refused["contact"]
    assert [lead["state"] for lead in story.ropo.json("leads", "list")] == ["accepted"]


def test_the_lead_shows_its_contact_to_who_holds_the_key(story: Story):
    contact = story.lead()["contact"]
    assert {name: contact[name] for name in CONTACT} == CONTACT
    assert contact["message"] == "Bitte ein Angebot für zehn Pumpen."


def test_no_contact_lies_readable_in_the_data_folder(story: Story):
    secrets = [text.encode() for text in (CONTACT["email"], "erika at example", "zehn Pumpen")]
    readable = [
        str(file.relative_to(story.ropo.data))
        for file in story.ropo.data.rglob("*")
        if file.is_file() and any(secret in file.read_bytes() for secret in secrets)
    ]
    assert readable == []
    assert not any(secret.decode() in story.ropo.said() for secret in secrets)


def test_the_lead_knows_the_campaign_that_brought_it(story: Story):
    lead = story.lead()
    for touch in (lead["first_touch"], lead["last_touch"]):
        assert (touch["channel"], touch["source"], touch["medium"]) == ("Paid Search", "google", "cpc")
        # Lower case for grouping, and the marketer's own letters beside it. A click ID never loses its case.
        assert (touch["campaign"], touch["term"]) == ("herbst-2026", "kreiselpumpe")
        assert touch["campaign_params"]["utm_campaign"] == "Herbst-2026"
        assert touch["click_ids"] == {"gclid": "Cj0KCQiA-AbC_xYz09"}
    assert (lead["visits"], path(lead["page"]), lead["form"] != "") == (1, "/kontakt/", True)


def test_the_journey_is_every_page_in_order_up_to_the_form(story: Story):
    journey = story.lead()["journey"]
    assert [(step["kind"], path(step["page"])) for step in journey] == [
        ("touchpoint", "/"),
        ("page_view", "/pumpen/"),
        ("page_view", "/ventile/"),
        ("page_view", "/kontakt/"),
        ("form_submit", "/kontakt/"),  # the refused one
        ("form_submit", "/kontakt/"),
    ]
    assert [step["occurred_at"] for step in journey] == sorted(step["occurred_at"] for step in journey)


def test_the_lead_is_readable_on_a_terminal(story: Story):
    listed = story.ropo.cli("leads", "list")
    assert (listed.returncode, listed.stderr) == (0, "")
    shown = story.ropo.cli("leads", "show", story.lead()["lead_id"])
    assert shown.returncode == 0
    for text in (CONTACT["email"], "herbst-2026", "/ventile/", "Paid Search"):
        assert text in shown.stdout


def test_the_lead_lies_once_in_each_drop_folder(story: Story):
    [row] = csv_leads(story.sinks.csv)
    [document] = jsonl_leads(story.sinks.jsonl)
    assert (row["email"], document["contact"]["email"]) == (CONTACT["email"], CONTACT["email"])
    assert row["lead_id"] == document["lead_id"] == story.lead()["lead_id"]
    assert document["first_touch"]["campaign"] == "herbst-2026"


def test_the_webhook_got_the_lead_signed(story: Story):
    [received] = story.sinks.receiver.received
    assert received.error is None
    assert received.json["type"] == "lead.created"
    assert received.json["data"]["lead_id"] == story.lead()["lead_id"]
    assert received.json["data"]["journey"] == story.lead()["journey"]
