"""From spool files to rows, front to back."""

from __future__ import annotations

import logging
import random
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tracker.records import CHROME, EPOCH, START_US, at, exchange, file, part, submission, submitted
from tracker import clock
from tracker.forms.verdict import Verdict
from tracker.model import (
    Batch,
    Event,
    ExchangeRecord,
    FactRecord,
    FormAnswer,
    LossRecord,
    Record,
    SpoolHeader,
    StopRecord,
    SubmitRecord,
    decode_line,
    encode_line,
)
from tracker.pipeline import Pipeline
from tracker.settings import FormRule, FormSettings, Redirect, TrackerSettings

NOW = at(9999)
GOOGLE, PARTNER, OWN = "https://www.google.com/", "https://partner.example/", "https://www.example.com/"
AD = "/?utm_source=google&utm_medium=cpc&utm_campaign=Herbst&gclid=AbC"
MAIL = "/offer?utm_source=newsletter&utm_medium=email"
BOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"


def new_pipeline(**settings: Any) -> Pipeline:
    return Pipeline(
        TrackerSettings(**settings),
        sinks=("csv", "erp"),
        version="1",
        delivery_id=lambda lead_id, sink: f"{lead_id}/{sink}",
        now=lambda: NOW,
    )


def run(*records: Record, **settings: Any) -> Batch:
    pipeline = new_pipeline(**settings)
    batch = pipeline.run([file(*records)])
    assert pipeline.rejected == []
    return batch


def events(*records: Record, **settings: Any) -> list[Event]:
    return run(*records, **settings).events


def touches(*records: Record, **settings: Any) -> list[tuple[int | None, str | None]]:
    """Number and channel of the touchpoints."""
    return [(event.seq, event.channel) for event in events(*records, **settings) if event.is_touchpoint]


# -- one exchange


def test_a_page_view_carries_what_was_recorded_and_what_it_means():
    [event] = events(
        exchange(
            7, 0.25, AD + "&page=2", referrer=GOOGLE, language="de", client_ip="192.0.2.0", duration_us=5, wait_us=4,
            request_bytes=1, response_bytes=2, fetch_site="cross-site", retries=1,
        )
    )  # fmt: skip
    assert event.event_id == clock.derived_id(START_US + 250_000, "n1", "w1", EPOCH, 7)
    assert (event.occurred_at, event.name, event.source) == (at(0.25), "page_view", "proxy")
    assert (event.node, event.worker, event.epoch, event.seq) == ("n1", "w1", EPOCH, 7)
    assert (event.visitor_id, event.identity) == ("v1", "known")
    assert (event.scheme, event.host, event.method, event.path) == ("https", "www.example.com", "GET", "/")
    assert event.query == AD[2:] + "&page=2"
    assert (event.status, event.retries, event.duration_us, event.wait_us) == (200, 1, 5, 4)
    assert (event.request_bytes, event.response_bytes) == (1, 2)
    assert (event.referrer, event.referrer_host) == (GOOGLE, "www.google.com")
    assert (event.utm_source, event.utm_medium, event.utm_campaign) == ("google", "cpc", "Herbst")
    assert (event.campaign_params or {})["utm_campaign"] == "Herbst"
    assert event.click_ids == {"gclid": "AbC"}
    assert (event.touch_source, event.touch_medium, event.touch_campaign) == ("google", "cpc", "herbst")
    assert (event.channel, event.is_entrance, event.is_touchpoint) == ("Paid Search", True, True)
    assert (event.browser, event.os, event.device, event.is_bot) == ("Chrome", "Windows", "desktop", False)
    assert (event.language, event.client_ip, event.fetch_dest) == ("de", "192.0.2.0", "document")
    assert event.visit_id is not None


def test_a_part_of_a_page_belongs_to_the_visit_and_is_no_arrival():
    page, css = events(exchange(1, 0, AD), part(2, 1, "/site.css?utm_source=x", referrer=OWN))
    assert css.visit_id == page.visit_id
    assert (css.name, css.is_entrance, css.is_touchpoint, css.channel) == ("request", False, False, None)


def test_a_refusal_of_the_proxy_is_an_event_with_its_reason():
    [event] = events(exchange(1, status=502, ended_by="proxy", refusal="upstream_down", content_type=None))
    assert (event.name, event.status, event.ended_by, event.refusal) == ("request", 502, "proxy", "upstream_down")


def test_a_bot_is_flagged_and_still_logged():
    [event] = events(exchange(1, user_agent=BOT))
    assert (event.name, event.is_bot, event.bot_name, event.browser) == ("page_view", True, "Googlebot", None)


def test_a_link_scanners_click_has_a_channel_of_its_own():
    assert touches(exchange(1, 0, MAIL, user_agent="Barracuda Sentinel (EE)")) == [(1, "Link-scanner")]


def test_what_names_a_person_is_masked_everywhere():
    [event] = events(
        exchange(1, 0, "/?mc_cid=7&mc_eid=abc", status=302, referrer=OWN + "?mc_eid=abc", location="/x?mc_eid=abc")
    )
    assert "abc" not in repr(event)
    assert event.channel == "Email"


def test_a_target_in_absolute_form_has_its_path():
    [event] = events(exchange(1, 0, "http://www.example.com/a?utm_source=x"))
    assert (event.path, event.query, event.utm_source) == ("/a", "utm_source=x", "x")


# -- visits and touchpoints


def test_the_entrance_of_every_visit_is_a_touchpoint():
    found = events(exchange(1, 0), exchange(2, 60), exchange(3, 60 + 1800), exchange(4, 60 + 3601))
    assert [event.is_entrance for event in found] == [True, False, False, True]
    assert [event.channel for event in found] == ["Direct", None, None, "Direct"]
    assert len({event.visit_id for event in found}) == 2


def test_midnight_ends_no_visit():
    late = 14 * 3600 - 30
    found = events(exchange(1, late), exchange(2, late + 60))
    assert found[0].occurred_at[:10] != found[1].occurred_at[:10]
    assert found[0].visit_id == found[1].visit_id


def test_a_new_campaign_inside_a_visit_is_a_touchpoint_of_the_same_visit():
    found = events(exchange(1, 0, AD, referrer=GOOGLE), exchange(2, 60, MAIL), exchange(3, 90, "/", referrer=OWN))
    assert len({event.visit_id for event in found}) == 1
    assert [event.channel for event in found] == ["Paid Search", "Email", None]
    assert [event.is_entrance for event in found] == [True, False, False]


def test_another_site_inside_a_visit_is_a_touchpoint():
    assert touches(
        exchange(1, 0),
        exchange(2, 10, referrer=OWN),
        exchange(3, 20, referrer=PARTNER),
        exchange(4, 30, referrer=PARTNER),
    ) == [(1, "Direct"), (3, "Referral")]


def test_a_reload_of_the_landing_page_is_no_second_touchpoint():
    assert touches(exchange(1, 0, AD, referrer=GOOGLE), exchange(2, 9, AD, referrer=GOOGLE)) == [(1, "Paid Search")]


def test_a_download_reached_by_a_campaign_link_is_a_touchpoint():
    file_link = "/price-list.pdf?utm_source=newsletter&utm_medium=email"
    assert touches(exchange(1, 0), exchange(2, 9, file_link, content_type="application/pdf")) == [
        (1, "Direct"),
        (2, "Email"),
    ]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("dest", ["document", None])
def test_a_redirect_keeps_the_campaign_and_the_page_behind_it_is_no_second_touchpoint(status: int, dest: str | None):
    found = events(
        exchange(
            1, 0, AD, status=status, location="/de/", content_type=None, referrer=GOOGLE, fetch_dest=dest,
        ),
        exchange(2, 0.1, "/de/", referrer=GOOGLE, fetch_dest=dest),
    )  # fmt: skip
    assert [(event.name, event.is_entrance, event.channel) for event in found] == [
        ("request", True, "Paid Search"),
        ("page_view", False, None),
    ]


def test_a_redirect_that_keeps_the_parameters_is_one_touchpoint():
    query = AD[1:]
    assert touches(
        exchange(1, 0, "/" + query, status=301, location="/de/" + query, referrer=GOOGLE),
        exchange(2, 0.1, "/de/" + query, referrer=GOOGLE),
    ) == [(1, "Paid Search")]


def test_a_redirect_without_a_campaign_leaves_the_entrance_to_the_page():
    found = events(
        exchange(1, 0, "/", status=302, location="/de/", referrer=GOOGLE), exchange(2, 0.1, "/de/", referrer=GOOGLE)
    )
    assert [(event.is_entrance, event.channel) for event in found] == [(False, None), (True, "Organic Search")]


def test_a_redirect_of_a_short_link_leaves_the_entrance_to_the_campaign_it_names():
    assert touches(
        exchange(1, 0, "/go/fair", status=302, location="/?utm_source=fair&utm_medium=qr"),
        exchange(2, 0.1, "/?utm_source=fair&utm_medium=qr"),
    ) == [(2, "QR/Print")]


def test_a_redirect_inside_a_visit_can_be_a_touchpoint_too():
    assert touches(exchange(1, 0), exchange(2, 60, AD, status=302, location="/de/"), exchange(3, 60.1, "/de/")) == [
        (1, "Direct"),
        (2, "Paid Search"),
    ]


def test_the_campaign_of_a_link_to_a_missing_page_is_not_lost():
    assert touches(exchange(1, 0, AD, status=404), exchange(2, 5, "/", referrer=OWN)) == [(1, "Paid Search")]


def test_a_part_with_campaign_parameters_is_no_arrival():
    assert touches(exchange(1, 0), part(2, 1, "/pixel.gif?utm_source=x", status=302, fetch_dest="image")) == [
        (1, "Direct")
    ]


def test_internal_campaigns_start_no_touch():
    assert touches(exchange(1, 0, referrer=GOOGLE), exchange(2, 9, "/?itm_source=home", referrer=OWN)) == [
        (1, "Organic Search")
    ]


def test_a_return_from_paying_is_no_arrival():
    paid = exchange(2, 300, "/thanks", referrer="https://www.paypal.com/")
    assert touches(exchange(1, 0, referrer=GOOGLE), paid) == [(1, "Organic Search")]


def test_own_hosts_are_no_arrival():
    shop = exchange(2, 9, referrer="https://shop.example.com/")
    assert touches(exchange(1, 0), shop) == [(1, "Direct"), (2, "Referral")]
    assert touches(exchange(1, 0), shop, own_hosts=["*.example.com"]) == [(1, "Direct")]


def test_what_is_loaded_ahead_is_no_arrival():
    found = events(exchange(1, 0, AD, purpose="prefetch"), exchange(2, 5, "/", referrer=GOOGLE))
    assert [(event.name, event.is_touchpoint) for event in found] == [("request", False), ("page_view", True)]


def test_a_form_sent_after_a_long_pause_begins_a_visit():
    found = events(exchange(1, 0, AD), submitted(2, 3000))
    assert [event.is_entrance for event in found] == [True, True]
    assert found[1].channel == "Direct"


def test_a_form_inside_a_visit_is_no_touchpoint():
    assert touches(exchange(1, 0), submitted(2, 60, referrer=PARTNER)) == [(1, "Direct")]


def test_without_a_visitor_there_is_no_visit_but_a_campaign_still_counts():
    found = events(
        exchange(1, 0, AD, visitor_id=None, identity="absent"),
        exchange(2, 1, "/", visitor_id=None, identity="absent", referrer=PARTNER),
        exchange(3, 2, "/", visitor_id=None, identity="absent"),
        submitted(4, 3, visitor_id=None, identity="absent", referrer=PARTNER),
    )
    assert [event.visit_id for event in found] == [None] * 4
    assert [event.channel for event in found] == ["Paid Search", "Referral", None, None]
    assert not any(event.is_entrance for event in found)


def test_a_page_that_took_long_finds_the_visit_its_parts_began():
    pipeline = new_pipeline()
    [css] = pipeline.run([file(part(2, 1))]).events
    [page] = pipeline.run([file(exchange(1, 0, AD, duration_us=3_000_000), n=1)]).events
    assert page.visit_id == css.visit_id
    assert (page.is_entrance, page.channel) == (True, "Paid Search")
    assert not css.is_entrance


def test_two_workers_records_are_taken_in_the_order_of_time():
    other = SpoolHeader("n1", "w2", EPOCH + 1, "1")
    batch = new_pipeline().run(
        [file(exchange(1, 5, referrer=PARTNER), header=other), file(exchange(1, 0, AD), exchange(2, 10))]
    )
    assert [(event.worker, event.channel) for event in batch.events] == [
        ("w1", "Paid Search"),
        ("w2", "Referral"),
        ("w1", None),
    ]


# -- going on after a restart


def test_a_restored_visit_goes_on_with_its_last_touchpoint():
    pipeline = new_pipeline()
    [entrance] = pipeline.run([file(exchange(1, 0, AD, referrer=GOOGLE))]).events
    again = new_pipeline()
    again.restore(
        [
            {
                "visitor_id": "v1",
                "visit_id": entrance.visit_id,
                "started_at": datetime.fromtimestamp(START_US / 1e6, UTC),
                "last_at": datetime.fromtimestamp(START_US / 1e6, UTC),
                "entered": True,
                "campaign_params": entrance.campaign_params,
                "click_ids": entrance.click_ids,
                "referrer_host": entrance.referrer_host,
            }
        ]
    )
    found = again.run(
        [
            file(
                exchange(2, 60, AD, referrer=GOOGLE), exchange(3, 61, referrer=GOOGLE), exchange(4, 70, MAIL),
                exchange(5, 70 + 1801),
            )
        ]
    ).events  # fmt: skip
    assert [event.visit_id == entrance.visit_id for event in found] == [True, True, True, False]
    assert [event.channel for event in found] == [None, None, "Email", "Direct"]


def test_a_visit_is_restored_from_the_little_that_may_be_known():
    pipeline = new_pipeline()
    pipeline.restore([{"visitor_id": "v1", "visit_id": "visit-1", "last_at": at(0)}])
    found = pipeline.run([file(exchange(1, 60), exchange(2, 70, MAIL))]).events
    assert [(event.visit_id, event.is_entrance, event.channel) for event in found] == [
        ("visit-1", False, None),
        ("visit-1", False, "Email"),
    ]


def test_a_restored_visit_without_an_entrance_gets_it():
    pipeline = new_pipeline()
    pipeline.restore([{"visitor_id": "v1", "visit_id": "visit-1", "last_at": at(0), "entered": None}])
    [page] = pipeline.run([file(exchange(1, 60, AD))]).events
    assert (page.visit_id, page.is_entrance) == ("visit-1", True)


def test_the_log_is_asked_for_more_than_the_inactivity():
    since = new_pipeline(inactivity_secs=3600).restore_since()
    assert (clock.parse(NOW) - since).total_seconds() == 25 * 3600


# -- leads


def test_an_accepted_form_is_a_lead_and_owed_to_every_sink():
    batch = run(exchange(1, 0, AD), submitted(2, 60))
    page, sent = batch.events
    [fact] = batch.lead_facts
    assert (sent.name, sent.lead_id, sent.form, sent.form_verdict) == ("form_submit", "lead-1", "contact", "accepted")
    assert (fact.fact, fact.event_id, fact.visit_id) == ("accepted", sent.event_id, page.visit_id)
    assert (fact.contact, fact.action, fact.reason != "") == ("sealed-contact", "/contact/send", True)
    assert [(owed.delivery_id, owed.sink, owed.fact) for owed in batch.delivery_facts] == [
        ("lead-1/csv", "csv", "owed"),
        ("lead-1/erp", "erp", "owed"),
    ]


def test_a_refused_form_leaves_no_contact():
    batch = run(submitted(1, 0, status=200, submission=submission(answer=FormAnswer(200, form_again=True))))
    [fact] = batch.lead_facts
    assert (fact.fact, fact.contact) == ("refused", None)
    assert "sealed-contact" not in repr(batch)
    assert batch.delivery_facts == []


def test_an_unconfirmed_form_is_kept_and_owed_to_nobody():
    batch = run(submitted(1, 0, status=502, ended_by="upstream", submission=submission(answer=None)))
    [fact] = batch.lead_facts
    assert (fact.fact, fact.contact) == ("unconfirmed", "sealed-contact")
    assert batch.events[0].form_verdict == "unconfirmed"
    assert batch.delivery_facts == []


def test_a_bots_form_is_kept_and_owed_to_nobody():
    batch = run(submitted(1, 0, user_agent="python-requests/2.32.5"))
    assert [(fact.fact, fact.reason, fact.is_bot) for fact in batch.lead_facts] == [
        ("unconfirmed", "sent_by_bot", True)
    ]
    assert batch.delivery_facts == []


def test_the_verdict_is_asked_with_the_facts_of_the_exchange_and_the_rule_as_configured_now(monkeypatch):
    asked: dict[str, Any] = {}

    def decide(sent, **facts):
        asked.update(facts, lead_id=sent.lead_id)
        return Verdict("unconfirmed", "undecided")

    monkeypatch.setattr("tracker.pipeline.verdict.decide", decide)
    rule = FormRule(name="contact", path="/contact/*", success=Redirect(to="/thanks"))
    sent = submitted(1, 0, submission=submission(rule="contact"), ended_by="client")
    batch = run(sent, forms=FormSettings(rules=[rule]))
    assert asked == {
        "lead_id": "lead-1", "method": "POST", "target": "/contact/send", "status": 303, "ended_by": "client",
        "rule": rule,
    }  # fmt: skip
    assert [(fact.fact, fact.reason) for fact in batch.lead_facts] == [("unconfirmed", "undecided")]


def submit_record(lead_id: str = "lead-1", **changes: Any) -> SubmitRecord:
    fields: dict[str, Any] = {"visitor_id": "v1", "user_agent": CHROME, "host": "www.example.com"}
    return SubmitRecord(2, at(60), target="/contact/send?x=1", submission=submission(lead_id), **(fields | changes))


def test_a_submission_whose_exchange_is_there_gives_nothing_of_its_own():
    batch = run(submit_record(), submitted(2, 60))
    assert [fact.fact for fact in batch.lead_facts] == ["accepted"]
    assert len(batch.events) == 1


def test_a_submission_without_its_exchange_is_kept_as_submitted():
    batch = run(exchange(1, 0), submit_record())
    [fact] = batch.lead_facts
    assert (fact.fact, fact.contact, fact.event_id) == ("submitted", "sealed-contact", None)
    assert (fact.visitor_id, fact.visit_id) == ("v1", batch.events[0].visit_id)
    assert (fact.host, fact.action, fact.is_bot) == ("www.example.com", "/contact/send", False)
    assert batch.delivery_facts == []
    assert [file_row.last_seq for file_row in batch.spool_files] == [2]


def test_a_submission_of_an_unknown_visitor_begins_no_visit():
    batch = run(submit_record(user_agent="curl/8.16.0"))
    assert [(fact.visit_id, fact.is_bot) for fact in batch.lead_facts] == [(None, True)]


def test_the_exchange_of_a_later_run_decides_the_lead():
    pipeline = new_pipeline()
    first = pipeline.run([file(submit_record())])
    second = pipeline.run([file(submitted(2, 60), n=1)])
    assert [fact.fact for fact in first.lead_facts + second.lead_facts] == ["submitted", "accepted"]


# -- facts


def fact(name: str, **properties: Any) -> FactRecord:
    return FactRecord("fact-1", at(5), name, "operator", properties)


def test_a_fact_from_outside_is_an_event_with_its_source_and_properties():
    [event] = events(fact("call.received", visitor_id="v1", secs=30, answered=True))
    assert (event.event_id, event.name, event.source) == ("fact-1", "call.received", "operator")
    assert event.properties == {"visitor_id": "v1", "secs": 30, "answered": True}
    assert (event.visitor_id, event.visit_id, event.seq) == ("v1", None, None)


def test_a_requeued_delivery_is_an_event_and_a_fact_about_it():
    batch = run(fact("delivery.requeued", lead_id="lead-1", sink="erp"))
    assert [(event.name, event.lead_id) for event in batch.events] == [("delivery.requeued", "lead-1")]
    assert [(found.delivery_id, found.fact) for found in batch.delivery_facts] == [("lead-1/erp", "requeued")]


def test_a_lead_confirmed_by_hand_is_owed_to_every_sink():
    batch = run(fact("lead.confirmed", lead_id="lead-1"))
    assert [(found.fact, found.event_id) for found in batch.lead_facts] == [("confirmed", "fact-1")]
    assert [found.sink for found in batch.delivery_facts] == ["csv", "erp"]


def test_a_lead_discarded_by_hand_is_a_fact():
    batch = run(fact("lead.discarded", lead_id="lead-1", reason="spam"))
    assert [(found.fact, found.reason) for found in batch.lead_facts] == [("discarded", "spam")]
    assert batch.delivery_facts == []


def test_a_fact_prolongs_no_visit():
    found = events(exchange(1, 0), fact("call.received", visitor_id="v1"), exchange(2, 1801))
    assert found[0].visit_id != found[2].visit_id


# -- drops and the ledger


def test_an_excluded_path_is_a_drop_with_its_number():
    batch = run(
        exchange(1, 0, "/health?x=1"), exchange(2, 1), part(3, 2, "/static/a/b.css"), exclude=["/health", "/static/*"]
    )
    assert [event.seq for event in batch.events] == [2]
    assert [(drop.reason, drop.count, drop.first_seq, drop.last_seq, drop.worker) for drop in batch.drops] == [
        ("excluded", 1, 1, 1, "w1"),
        ("excluded", 1, 3, 3, "w1"),
    ]


def test_an_excluded_exchange_begins_no_visit_and_prolongs_none():
    found = events(exchange(1, 0), exchange(2, 1200, "/health"), exchange(3, 2400), exclude=["/health"])
    assert found[0].visit_id != found[1].visit_id


def test_a_lead_is_never_excluded():
    batch = run(submitted(1, 0), exclude=["/contact/*"])
    assert [fact.fact for fact in batch.lead_facts] == ["accepted"]


def test_what_a_worker_had_to_let_go_is_a_drop():
    [drop] = run(LossRecord(at(0), 4, 9, 5, "disk_full")).drops
    assert (drop.reason, drop.count, drop.first_seq, drop.last_seq) == ("disk_full", 5, 4, 9)


def test_broken_lines_are_a_drop_with_their_count():
    batch = new_pipeline().run([file(exchange(1), broken=3)])
    assert [(drop.reason, drop.count, drop.last_seq) for drop in batch.drops] == [("quarantined", 3, None)]
    assert [(row.records, row.quarantined) for row in batch.spool_files] == [(1, 3)]


def test_a_file_without_its_header_keeps_its_writer_by_its_name():
    batch = new_pipeline().run([file(exchange(1), header=None, broken=1)])
    [event] = batch.events
    assert (event.node, event.worker, event.epoch) == (None, "w1", EPOCH)
    assert [(row.worker, row.epoch) for row in batch.spool_files] == [("w1", EPOCH)]


def test_every_file_has_a_row_even_an_empty_one():
    other = SpoolHeader("n1", "w2", EPOCH, "1")
    batch = new_pipeline().run([file(header=other), file(exchange(5), StopRecord(at(1), 6), n=3)])
    assert [(row.name, row.records, row.last_seq, row.stopped, row.ingested_at) for row in batch.spool_files] == [
        (f"w1-{EPOCH:020d}-000003.ndjson", 2, 6, True, NOW),
        (f"w2-{EPOCH:020d}-000000.ndjson", 0, None, False, NOW),
    ]


def test_nothing_gives_nothing():
    assert not new_pipeline().run([])


@pytest.mark.parametrize(
    "bad",
    [
        ExchangeRecord(seq=2, occurred_at="yesterday", method="GET", target="/", status=200),
        ExchangeRecord(seq=2, occurred_at="2026-11-22T10:00:00Z", method="GET", target="/", status=200),
        FactRecord("fact-1", at(0), "lead.confirmed", "operator", {}),
        LossRecord("infinity", 2, 2, 1, "disk_full"),
    ],
)
def test_a_record_no_row_can_be_made_of_is_quarantined_and_the_rest_goes_in(bad: Record, caplog):
    pipeline = new_pipeline()
    batch = pipeline.run([file(exchange(1, 0), bad, exchange(3, 1))])
    assert [event.seq for event in batch.events] == [1, 3]
    assert [(drop.reason, drop.count, drop.last_seq) for drop in batch.drops] == [
        ("quarantined", 1, getattr(bad, "seq", None))
    ]
    [(name, line, reason)] = pipeline.rejected
    assert name.startswith("w1-")
    assert decode_line(line) == bad
    assert reason.startswith("ValueError at ")
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_a_step_that_fails_loses_no_lead_and_tells_nothing_of_it(monkeypatch, caplog):
    def fail(*args, **facts):
        raise RuntimeError("erika@example.com")

    monkeypatch.setattr("tracker.pipeline.verdict.decide", fail)
    pipeline = new_pipeline()
    batch = pipeline.run([file(submitted(1, 0), submitted(2, 1, "lead-2"))])
    assert [(fact.lead_id, fact.fact, fact.contact) for fact in batch.lead_facts] == [
        ("lead-1", "submitted", "sealed-contact"),
        ("lead-2", "submitted", "sealed-contact"),
    ]
    assert [drop.reason for drop in batch.drops] == ["quarantined", "quarantined"]
    assert len(caplog.records) == 1
    assert "count=2" in caplog.text
    assert "erika" not in caplog.text and "erika" not in repr(pipeline.rejected)


def test_rejected_records_are_those_of_the_last_run():
    pipeline = new_pipeline()
    pipeline.run([file(FactRecord("f", "never", "x", "y"))])
    assert len(pipeline.rejected) == 1
    pipeline.run([file(exchange(1))])
    assert pipeline.rejected == []


# -- promises


targets = st.sampled_from(
    [
        "/",
        AD,
        MAIL,
        "/contact",
        "/site.css",
        "/?itm_source=x",
        "/%ff?%ff=%00&utm_source=%00",
        "/health",
        "*",
        "",
        "/?&;=?",
    ]
)
referrers = st.sampled_from([None, GOOGLE, PARTNER, OWN, "https://[", "x", "https://www.paypal.com/"])
exchanges = st.builds(
    lambda secs, **fields: (secs, fields),
    st.integers(0, 8000),
    target=targets,
    referrer=referrers,
    status=st.sampled_from([200, 200, 200, 302, 304, 404, 499]),
    method=st.sampled_from(["GET", "GET", "GET", "POST", "HEAD"]),
    fetch_dest=st.sampled_from(["document", "document", None, "style", "empty"]),
    content_type=st.sampled_from(["text/html", "text/html", None, "application/pdf"]),
    user_agent=st.sampled_from([CHROME, None, BOT]),
)


def in_order(drawn: list[tuple[int, dict[str, Any]]], visitor_id: str | None) -> list[ExchangeRecord]:
    drawn = sorted(drawn, key=lambda pair: pair[0])
    return [exchange(seq, secs, visitor_id=visitor_id, **fields) for seq, (secs, fields) in enumerate(drawn, 1)]


def said(batches: list[Batch]) -> list[tuple]:
    return [
        (event.seq, event.visit_id, event.is_entrance, event.is_touchpoint, event.channel)
        for batch in batches
        for event in batch.events
    ]


@given(st.lists(exchanges, min_size=1, max_size=25), st.integers(1, 4), st.integers(0, 2**32))
def test_any_order_of_files_and_any_split_into_runs_gives_the_same_visits(
    drawn: list[tuple[int, dict[str, Any]]], runs: int, seed: int
):
    records = in_order(drawn, "v1")
    whole = said([new_pipeline().run([file(*records)])])

    dice = random.Random(seed)
    pipeline, batches, number = new_pipeline(), [], 0
    cuts = sorted(dice.randrange(len(records) + 1) for _ in range(runs - 1))
    for start, end in zip([0, *cuts], [*cuts, len(records)], strict=True):
        files = []
        at_file = start
        while at_file < end:
            size = dice.randint(1, end - at_file)
            files.append(file(*records[at_file : at_file + size], n=number))
            at_file, number = at_file + size, number + 1
        dice.shuffle(files)
        batches.append(pipeline.run(files))
    assert said(batches) == whole


@given(
    st.lists(exchanges, max_size=25),
    st.lists(st.sampled_from(["submit", "answered", "fact", "loss", "stop", "bad", "orphan"]), max_size=8),
    st.integers(0, 3),
    st.sampled_from([None, "v1"]),
)
def test_every_record_ends_in_exactly_one_event_or_drop(
    drawn: list[tuple[int, dict[str, Any]]], others: list[str], broken: int, visitor_id: str | None
):
    records: list[Record] = list(in_order(drawn, visitor_id))
    seq, facts, lost = len(records), 0, 0
    for kind in others:
        seq += 1
        if kind == "submit" or kind == "answered":
            sent = submission(f"lead-{seq}")
            records.append(SubmitRecord(seq, at(seq), "h", "/x", sent))
            records.append(submitted(seq, seq, submission=sent, user_agent=CHROME))
        elif kind == "orphan":
            records.append(SubmitRecord(seq, at(seq), "h", "/x", submission(f"lead-{seq}")))
        elif kind == "fact":
            facts += 1
            records.append(FactRecord(f"fact-{seq}", at(seq), "call.received", "crm"))
        elif kind == "loss":
            lost += 2
            records.append(LossRecord(at(seq), seq, seq + 1, 2, "write_error"))
            seq += 1
        elif kind == "bad":
            records.append(ExchangeRecord(seq=seq, occurred_at="?", method="GET", target="/", status=200))
        else:
            records.append(StopRecord(at(seq), seq))
    # As they come from the disk.
    records = [decode_line(encode_line(record)) for record in records]
    pipeline = new_pipeline(exclude=["/health"])
    batch = pipeline.run([file(*records, broken=broken)])

    received = Counter(record.seq for record in records if isinstance(record, ExchangeRecord))
    ended = Counter(event.seq for event in batch.events if event.seq is not None)
    for drop in batch.drops:
        if drop.reason in ("excluded", "quarantined") and drop.last_seq is not None:
            ended[drop.last_seq] += drop.count
    assert ended == received
    assert sum(event.seq is None for event in batch.events) == facts
    assert sum(drop.count for drop in batch.drops if drop.reason == "write_error") == lost
    assert sum(drop.count for drop in batch.drops if drop.last_seq is None) == broken
    assert len({event.event_id for event in batch.events}) == len(batch.events)
    assert len(pipeline.rejected) == others.count("bad")
    # All of it can be written.
    assert encode_line(batch.events) and encode_line(batch.lead_facts)


@given(st.lists(exchanges, max_size=15), st.randoms())
def test_reading_the_same_files_again_gives_the_same_rows(drawn: list[tuple[int, dict[str, Any]]], dice: random.Random):
    records = in_order(drawn, "v1")
    half = len(records) // 2
    files = [file(*records[:half]), file(*records[half:], n=1)]
    again = list(files)
    dice.shuffle(again)
    assert new_pipeline().run(files) == new_pipeline().run(again)


text = st.text(max_size=60)


@given(target=text, referrer=text, user_agent=text, host=text, content_type=text, location=text, purpose=text)
def test_no_text_a_visitor_sends_stops_the_log(**fields: str):
    pipeline = new_pipeline(own_hosts=["*.example.com"])
    batch = pipeline.run([file(exchange(1, 0, **fields), submitted(2, 1, host=fields["host"]))])
    assert pipeline.rejected == []
    assert len(batch.events) == 2
    assert encode_line(batch.events)


def test_the_steps_are_named_for_what_they_do():
    names = [step.__name__ for step in new_pipeline().steps]
    assert names[0] == "drop_excluded"
    assert all(name.startswith(("put_", "drop_")) for name in names)
