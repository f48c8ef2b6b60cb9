from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.metrics import metrics_text
from dashboard.state import GAP_SECS, LEAD_COLUMNS, NEWS_SECS, VISIT_COLUMNS, Log, Spool, snapshot
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


@pytest.mark.parametrize(
    "in_flight, overdue, found",
    [
        (3, 0, (3, 0, True)),
        (3, 3, (3, 0, True)),  # three long downloads, say
        (50, 0, (50, 0, True)),  # their records are on their way into the log
        (5, 5, (3, 2, False)),  # old numbers, and fewer exchanges under way
    ],
)
def test_what_a_live_worker_has_under_way_is_not_missing(in_flight, overdue, found):
    (one,) = seen(log=Log(ledger=[line(received=150, in_flight=in_flight, overdue=overdue)])).ledger
    assert (one.running, one.missing, one.balanced) == found


def test_a_worker_that_runs_is_not_over_whatever_the_log_thinks():
    """After the clock was set back a worker's life begins before the one it follows."""
    (one,) = seen(log=Log(ledger=[line(received=103, missing=3)])).ledger
    assert (one.running, one.missing) == (3, 0)


LATER = NOW + timedelta(seconds=2 * GAP_SECS)
BEHIND = {"collector": statuses.collector(now=LATER, last_publish_at=statuses.text(NOW))}


@pytest.mark.parametrize(
    "spool, changed",
    [(Spool(files=9, oldest_secs=GAP_SECS + 1), {}), (Spool(), BEHIND)],
    ids=["files wait", "an old image"],
)
def test_while_the_log_is_behind_nothing_of_a_live_worker_is_missed(spool, changed):
    states = {name: statuses.worker(now=LATER, in_flight=0) for name in ("worker-1",)}
    states = {"collector": statuses.collector(now=LATER), **states, **changed}
    log = Log(ledger=[line(received=103, in_flight=3, overdue=3)])
    before = {("n", "worker-1", EPOCH): NOW}
    found = seen(states, spool=spool, log=log, now=LATER, missing_since=before)
    assert found.missing_since == {}
    current = seen(states | {"collector": statuses.collector(now=LATER)}, log=log, now=LATER, missing_since=before)
    assert current.is_gap(current.ledger[0])


def test_nobody_is_missed_whose_files_wait_in_the_spool():
    log = Log(ledger=[line(epoch=5, received=103, missing=3)])
    before = {("n", "worker-1", 5): NOW - timedelta(seconds=GAP_SECS)}
    waiting = seen(log=log, missing_since=before, spool=Spool(writers=frozenset({("worker-1", 5)})))
    assert not waiting.is_gap(waiting.ledger[0])
    taken = seen(log=log, missing_since=before, spool=Spool(writers=frozenset({("worker-1", 6)})))
    assert taken.is_gap(taken.ledger[0])


@pytest.mark.parametrize("ago_secs, news", [(10, True), (NEWS_SECS - 1, True), (NEWS_SECS + 1, False)])
def test_an_old_gap_is_no_news(ago_secs, news):
    found = seen(log=Log(ledger=[line(epoch=5, missing=3, last_file_at=NOW - timedelta(seconds=ago_secs))]))
    assert found.is_news(found.ledger[0]) is news


def test_a_clock_that_was_set_back_hides_nobody():
    """All of the house, the supervisor's start apart, is older than its start now."""
    later = statuses.text(NOW + timedelta(hours=2))
    states = statuses.house(supervisor=statuses.supervisor(started_at=later, pids={"worker-1": 4711}))
    states["collector"]["pid"] = 1
    assert [one.name for one in seen(states).processes] == ["supervisor", "worker-1"]


def test_a_word_from_the_future_was_spoken_before_the_clock_was_set_back():
    found = seen(statuses.house(worker_1=statuses.worker(seen_secs=-3600)))
    assert [one.is_seen(NOW) for one in found.workers] == [False, True]


def test_a_gap_that_was_seen_before_the_clock_was_set_back_does_not_wait_for_it_to_catch_up():
    log = Log(ledger=[line(epoch=5, missing=3)])
    first = seen(log=log, missing_since={("n", "worker-1", 5): NOW + timedelta(hours=1)})
    later = seen(log=log, now=LATER, missing_since=first.missing_since)
    assert later.is_gap(later.ledger[0])


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
