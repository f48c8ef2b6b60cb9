from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.metrics import metrics_text
from dashboard.state import GAP_SECS, LEAD_COLUMNS, VISIT_COLUMNS, Log, Spool, moment, snapshot
from tests.support import statuses
from tests.support.statuses import EPOCH, NOW

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
KEYS = st.sampled_from(
    ["pid", "updated_at", "started_at", "epoch", "exchanges", "statuses", "spool", "sinks", "restarts"]
)
KINDS = st.sampled_from(["worker", "collector", "supervisor", "dashboard", "?"])
ODD_STATE = st.builds(lambda kind, rest: {**rest, "kind": kind}, KINDS, st.dictionaries(KEYS, JSON, max_size=5))


def seen(states=None, *, sinks=("erp",), spool=None, log=None, now=NOW, missing_since=None):
    return snapshot(
        statuses.house() if states is None else states,
        sinks=sinks,
        spool=spool or Spool(),
        log=log or Log(),
        now=now,
        missing_since=missing_since,
    )


def line(**more):
    row = {"node": "n", "worker": "worker-1", "epoch": EPOCH, "received": 100, "logged": 100, "dropped": 0}
    return {**row, "missing": 0, "in_flight": 0, "drops": {}, "stopped": False, **more}


def test_processes_are_told_apart_by_kind_and_workers_come_in_order():
    states = statuses.house(worker_10=statuses.worker(), dashboard=statuses.state("dashboard"))
    found = seen(states)
    assert [one.name for one in found.workers] == ["worker-1", "worker-2", "worker-10"]
    assert found.collector.number("events") == 1200
    assert found.supervisor.counts("restarts") == {"worker-2": 1}
    assert [one.name for one in found.others] == ["dashboard"]
    assert found.workers[0].server_errors == 3
    assert found.workers[0].refused == 2
    assert found.total("spool", "records") == 3600


def test_a_process_is_seen_for_ten_seconds_after_its_last_word():
    found = seen(statuses.house(worker_1=statuses.worker(seen_secs=9.9), worker_2=statuses.worker(seen_secs=10.1)))
    assert [one.is_seen(NOW) for one in found.workers] == [True, False]
    assert found.workers[0].uptime_secs(NOW) == 7200


def test_what_an_earlier_run_left_behind_is_not_shown():
    started_at = statuses.text(NOW - timedelta(minutes=1))
    states = statuses.house(
        supervisor=statuses.supervisor(started_at=started_at), worker_9=statuses.worker(seen_secs=3600)
    )
    assert [one.name for one in seen(states).workers] == ["worker-1", "worker-2"]


@given(st.dictionaries(st.text(min_size=1, max_size=10), ODD_STATE, max_size=5))
def test_a_status_file_may_hold_anything(states):
    found = seen(states)
    assert len(found.processes) <= len(states)
    assert metrics_text(found).endswith(b"\n")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-11-22 10:00:00.000000", NOW),
        ("2026-11-22T10:00:00Z", NOW),
        ("2026-11-22T11:00:00+01:00", NOW),
        (NOW.timestamp(), NOW),
        (int(NOW.timestamp()) * 10**9, NOW),
        (NOW, NOW),
        (datetime(2026, 11, 22, 10), NOW),
        ("soon", None),
        (True, None),
        (None, None),
        (float("inf"), None),
        (float("nan"), None),
    ],
)
def test_a_moment_is_read_in_every_form_it_is_written(value, expected):
    assert moment(value) == expected
    if expected:
        assert moment(value).tzinfo is UTC


def test_a_configured_sink_is_shown_before_anything_was_sent():
    found = seen({}, sinks=["erp", "csv"])
    assert [(sink.name, sink.owed, sink.circuit) for sink in found.sinks] == [("erp", 0, ""), ("csv", 0, "")]


def test_deliveries_are_counted_in_the_log_and_else_by_the_dispatcher():
    rows = [{"sink": "erp", "owed": 2, "delivered": 90, "failed": 1, "dead": 3}, {"sink": "old", "delivered": 7}]
    erp, old = seen(log=Log(deliveries=rows)).sinks
    assert (erp.owed, erp.delivered, erp.failed, erp.dead, erp.circuit) == (2, 90, 1, 3, "closed")
    assert (old.name, old.delivered) == ("old", 7)
    (erp,) = seen(log=Log(deliveries=None)).sinks
    assert (erp.owed, erp.delivered) == (1, 4)


@pytest.mark.parametrize(("circuit", "is_open"), [("closed", False), ("", False), ("open", True), ("parked", True)])
def test_a_sink_whose_circuit_is_not_closed_waits(circuit, is_open):
    states = {"collector": statuses.collector(sinks={"erp": {"circuit": circuit}})}
    assert seen(states).sinks[0].is_open is is_open


def test_what_a_live_worker_has_under_way_is_not_missing():
    rows = [line(received=103, in_flight=3), line(epoch=EPOCH + 1, worker="worker-2", received=105, in_flight=5)]
    two, one = seen(log=Log(ledger=rows)).ledger
    assert (one.running, one.missing, one.balanced) == (3, 0, True)
    assert (two.running, two.missing, two.balanced) == (3, 2, False)


def test_a_writer_that_is_gone_has_nothing_under_way():
    rows = [line(epoch=5, received=103, in_flight=3), line(epoch=6, received=104, missing=4, stopped=True)]
    stopped, gone = seen(log=Log(ledger=rows)).ledger
    assert (gone.running, gone.missing, gone.stopped) == (0, 3, False)
    assert (stopped.running, stopped.missing, stopped.stopped) == (0, 4, True)


def test_a_gap_counts_when_it_stays():
    log = Log(ledger=[line(epoch=5, received=103, missing=3)])
    first = seen(log=log)
    assert not first.is_gap(first.ledger[0])
    later = NOW + timedelta(seconds=GAP_SECS)
    second = seen(log=log, now=later, missing_since=first.missing_since)
    assert second.is_gap(second.ledger[0])
    closed = seen(log=Log(ledger=[line(epoch=5)]), now=later, missing_since=second.missing_since)
    assert closed.missing_since == {}


def test_a_log_without_an_answer_leaves_the_memory_of_gaps_alone():
    first = seen(log=Log(ledger=[line(epoch=5, missing=3)]))
    assert seen(log=Log(error="slow"), missing_since=first.missing_since).missing_since == first.missing_since


def test_the_ledger_shows_what_does_not_balance_first_and_then_the_newest():
    rows = [line(epoch=1), line(epoch=2, missing=1), line(epoch=3)]
    assert [one.epoch for one in seen(log=Log(ledger=rows)).ledger] == [2, 3, 1]


def test_contact_data_goes_no_further_than_the_row():
    row = {"lead_id": "a", "contact": "sealed", "contact_sealed": "sealed", "email": "a@b.example"}
    found = seen(log=Log(leads=[row], visits=[row]))
    assert set(found.leads[0]) == set(LEAD_COLUMNS)
    assert set(found.visits[0]) == set(VISIT_COLUMNS)
    assert not {"contact", "email"} & (set(LEAD_COLUMNS) | set(VISIT_COLUMNS))
