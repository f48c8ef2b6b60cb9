"""Processes die, sites and receivers go away: what was answered is in the log once, and each lead arrives.

A request that broke off may be in the log or not: nobody can know whether its answer had left. One that was answered
may not be missing, and nothing may be there twice.
"""

from __future__ import annotations

import http.client
from collections import Counter
from pathlib import Path

import pytest

from tests.e2e.conftest import Sinks
from tests.support.load import Load
from tests.support.origins import OddOrigin, Site
from tests.support.ropo_process import RopoProcess
from tests.support.waiting import until


def assert_all_in_the_log_once(ropo: RopoProcess, load: Load) -> None:
    answered = set(load.answered)
    until(lambda: answered <= ropo.markers().keys(), "all that was answered is in the log")
    markers = ropo.markers()
    assert {marker: count for marker, count in markers.items() if count != 1} == {}
    assert set(markers) <= answered | set(load.unanswered)


def assert_the_ledger_names_no_more_than_what_broke_off(ropo: RopoProcess, load: Load) -> None:
    [(received, logged, dropped, missing)] = ropo.sql(
        "select sum(received), sum(logged), sum(dropped), sum(missing) from ledger"
    )
    assert (received, dropped) == (logged + missing, 0)
    assert logged >= len(load.answered)
    # What a killed worker had begun and nobody got an answer to.
    assert missing <= len(load.unanswered)


def assert_each_lead_arrived(ropo: RopoProcess, load: Load, sinks: Sinks) -> None:
    leads = set(load.leads)
    assert leads, "the load sent no form that was accepted"
    until(lambda: leads <= set(sinks.csv_emails()), "each lead is in the csv folder")
    until(lambda: leads <= set(sinks.jsonl_emails()), "each lead is in the jsonl folder")
    until(lambda: leads <= sinks.webhook_ids().keys(), "each lead is at the webhook")
    owed = "select count(*) from deliveries where state not in ('delivered')"
    until(lambda: ropo.sql(owed) == [(0,)], "the log knows that all is delivered")
    for emails in (sinks.csv_emails(), sinks.jsonl_emails()):
        assert {email: count for email, count in Counter(emails).items() if count != 1} == {}
        assert set(emails) <= leads | set(load.unanswered_leads)
    assert {email: ids for email, ids in sinks.webhook_ids().items() if len(ids) != 1} == {}
    assert sinks.receiver.forged == []


def test_the_collector_may_be_killed_under_load(tmp_path: Path, site: Site, sinks: Sinks):
    with RopoProcess(tmp_path, upstream=site.url, export=sinks.settings()) as ropo:
        with Load(ropo.port, form_every=25) as load:
            for _ in range(2):
                load.more(300)
                ropo.kill_and_wait("collector")
            load.more(200)
        assert load.unanswered == [], "visitors noticed that the collector was gone"
        assert_all_in_the_log_once(ropo, load)
        assert_each_lead_arrived(ropo, load, sinks)
        assert ropo.stop() == 0
        assert ropo.sql("select worker, missing from ledger where missing <> 0") == []


def test_a_worker_may_be_killed_under_load(tmp_path: Path, site: Site, sinks: Sinks):
    with RopoProcess(tmp_path, upstream=site.url, export=sinks.settings()) as ropo:
        with Load(ropo.port, form_every=25) as load:
            for _ in range(2):
                load.more(300)
                ropo.kill_and_wait("worker")
            load.more(300)
        assert_all_in_the_log_once(ropo, load)
        assert_the_ledger_names_no_more_than_what_broke_off(ropo, load)
        assert_each_lead_arrived(ropo, load, sinks)


def test_all_of_ropo_may_be_killed_and_started_again(tmp_path: Path, site: Site, sinks: Sinks):
    with RopoProcess(tmp_path, upstream=site.url, export=sinks.settings()) as ropo:
        with Load(ropo.port, form_every=25) as load:
            load.more(300)
            family = ropo.family()
            ropo.process.kill()
            ropo.process.wait()
            for process in family:
                process.kill()
            until(lambda: len(load.unanswered) > 4, "visitors notice")
            ropo.start()
            load.more(300)
        assert_all_in_the_log_once(ropo, load)
        assert_the_ledger_names_no_more_than_what_broke_off(ropo, load)
        assert_each_lead_arrived(ropo, load, sinks)


def test_children_do_not_outlive_a_supervisor_that_was_killed(tmp_path: Path, site: Site):
    with RopoProcess(tmp_path, upstream=site.url) as ropo:
        family = ropo.family()
        assert len(family) >= 4  # two workers, the collector, the dashboard
        ropo.process.kill()
        ropo.process.wait()
        until(lambda: not any(child.is_running() for child in family), "all children have ended")


def test_it_stops_in_order_under_load(tmp_path: Path, site: Site):
    with RopoProcess(tmp_path, upstream=site.url) as ropo:
        with Load(ropo.port) as load:
            load.more(300)
            assert ropo.stop() == 0
            load.stop()
        assert_all_in_the_log_once(ropo, load)
        ledger = ropo.records("select * from ledger")
        assert [row for row in ledger if not (row["balanced"] and row["missing"] == 0)] == []


def test_a_running_answer_is_finished_before_it_stops(tmp_path: Path, site: Site):
    with RopoProcess(tmp_path, upstream=site.url) as ropo:
        connection = http.client.HTTPConnection("127.0.0.1", ropo.port, timeout=30)
        connection.request("GET", "/slow?secs=2&m=slow")
        until(lambda: site.received("GET", "/slow"), "the request is at the site")
        assert ropo.stop() == 0
        assert connection.getresponse().read() == b"at last"
        connection.close()
        assert ropo.markers() == {"slow": 1}


def test_while_the_site_is_down_visitors_get_a_page_and_the_log_gets_a_row(tmp_path: Path, site: Site):
    with RopoProcess(tmp_path, upstream=site.url) as ropo:
        with Load(ropo.port) as load:
            load.more(100, status=200)
            site.stop()
            load.more(100, status=502)
            connection = http.client.HTTPConnection("127.0.0.1", ropo.port, timeout=30)
            connection.request("GET", "/produkte/pumpe?m=page")
            response = connection.getresponse()
            page = response.read()
            connection.close()
            site.start()
            load.more(100, status=200)
        assert load.unanswered == []
        assert (response.status, b"html" in page.lower()) == (502, True)
        assert str(site.port).encode() not in page, "the visitor learns where the site lies"
        load.answered["page"] = 502
        assert_all_in_the_log_once(ropo, load)
        logged = dict(ropo.sql("select regexp_extract(query, 'm=([^&]+)', 1), status from events"))
        assert logged == load.answered
        assert ropo.sql("select count(*) from events where status = 502 and refusal is null") == [(0,)]


def test_a_site_that_is_too_slow_ends_in_504(tmp_path: Path, site: Site):
    with RopoProcess(tmp_path, upstream=site.url, proxy={"response_timeout_secs": 1}) as ropo:
        connection = http.client.HTTPConnection("127.0.0.1", ropo.port, timeout=30)
        connection.request("GET", "/slow?secs=20&m=slow")
        response = connection.getresponse()
        response.read()
        connection.close()
        assert response.status == 504
        until(lambda: ropo.sql("select status, ended_by from events") == [(504, "upstream")], "the log has it")


@pytest.mark.parametrize(
    "answer, status",
    [
        (b"", 502),
        (b"\x16\x03\x01\x02\x00 this is not HTTP\r\n\r\n", 502),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 7\r\n\r\nhello", 502),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nonly the beginning", 200),
    ],
    ids=["nothing", "not HTTP", "two lengths", "cut off"],
)
def test_a_site_that_answers_nonsense_is_in_the_log(tmp_path: Path, answer: bytes, status: int):
    with OddOrigin(answer) as origin, RopoProcess(tmp_path, upstream=origin.url) as ropo:
        connection = http.client.HTTPConnection("127.0.0.1", ropo.port, timeout=30)
        connection.request("GET", "/?m=odd")
        response = connection.getresponse()
        assert response.status == status
        if status == 200:
            # A cut answer must look cut to the visitor.
            with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
                response.read()
        else:
            assert response.read()
        connection.close()
        until(lambda: ropo.sql("select status, ended_by from events") == [(status, "upstream")], "the log has it")


def test_leads_wait_while_the_receiver_is_down(tmp_path: Path, site: Site, sinks: Sinks):
    with RopoProcess(tmp_path, upstream=site.url, export=sinks.settings()) as ropo:
        with Load(ropo.port, form_every=25) as load:
            until(lambda: sinks.receiver.accepted, "the first lead is at the webhook")
            sinks.receiver.stop()
            load.more(200)
            until(
                lambda: ropo.sql("select 1 from delivery_facts where sink = 'crm' and fact = 'failed'"),
                "a delivery has failed",
            )
            sinks.receiver.status = 503
            sinks.receiver.start()
            until(lambda: sinks.receiver.received[-1].status == 503, "it tries again")
            # What is owed survives whoever owes it.
            ropo.kill_and_wait("collector")
            sinks.receiver.status = 204
            load.more(100)
        assert_all_in_the_log_once(ropo, load)
        assert_each_lead_arrived(ropo, load, sinks)
