"""A visitor who comes by an advertisement, and days later by a bookmark, and only then sends the form."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.conftest import Sinks
from tests.support.origins import Site
from tests.support.ropo_process import RopoProcess
from tests.support.visitor import Visitor
from tests.support.waiting import until


def test_a_visitor_who_returns_another_day_is_the_same_visitor_on_a_new_visit(tmp_path: Path, site: Site, sinks: Sinks):
    ropo = RopoProcess(tmp_path, upstream=site.url, export=sinks.settings())
    visitor, stranger = Visitor(ropo.port), Visitor(ropo.port)
    try:
        ropo.start(days=-3)
        assert visitor.open("/?utm_source=newsletter&utm_medium=email&utm_campaign=Oktober").status == 200
        assert visitor.open("/produkte/pumpe", referrer=ropo.url + "/").status == 200
        assert stranger.open("/").status == 200
        until(lambda: ropo.sql("select count(*) from events") == [(3,)], "the first day is in the log")
        # The house is restarted in the middle of a visit, which goes on afterwards.
        assert ropo.stop() == 0
        ropo.start(days=-3)
        assert visitor.open("/produkte/ventil", referrer=ropo.url + "/produkte/pumpe").status == 200
        until(lambda: ropo.sql("select count(*) from events") == [(4,)], "the page after the restart is in the log")
        assert ropo.stop() == 0

        ropo.start()
        assert visitor.open("/kontakt").status == 200
        form = {"name": "Erika Muster", "email": "erika@example.com", "nachricht": "Angebot bitte"}
        assert visitor.fill_in("/kontakt", form).status == 303
        assert visitor.open("/danke", referrer=ropo.url + "/kontakt").status == 200
        until(lambda: sinks.receiver.accepted, "the lead is at the webhook")
        # The ERP has the lead before analysts see it: the log is published every half second here.
        until(lambda: ropo.sql("select count(*) from events") == [(7,)], "the second day is in the log")

        visits = ropo.records("select * from visits order by started_at")
        own = [visit for visit in visits if visitor.cookie.startswith(f"ropo_id={visit['visitor_id']}")]
        assert len(visits) == 3
        assert [visit["page_views"] for visit in own] == [3, 2]
        assert (own[1]["started_at"] - own[0]["started_at"]).days in (2, 3)
        assert [visit["channel"] for visit in own] == ["Email", "Direct"]
        assert [visit["campaign"] for visit in own] == ["oktober", None]

        [received] = sinks.receiver.accepted
        lead = received.json["data"]
        assert (lead["visits"], lead["page_views"]) == (2, 4)
        assert lead["first_touch"]["campaign"] == "oktober"
        assert lead["last_touch"]["channel"] == "Direct"
        assert lead["last_non_direct_touch"]["campaign"] == "oktober"
        assert 2.9 < lead["days_to_lead"] < 3.1
        assert [(step["kind"], step["page"]) for step in lead["journey"]] == [
            ("touchpoint", "/"),
            ("page_view", "/produkte/pumpe"),
            ("page_view", "/produkte/ventil"),
            ("touchpoint", "/kontakt"),
            ("form_submit", "/kontakt"),
        ]
        assert len({step["visit_id"] for step in lead["journey"]}) == 2
    finally:
        ropo.end()
        print(ropo.said())
