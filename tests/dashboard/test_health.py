from datetime import timedelta

import pytest

from dashboard.health import health_of, healthz
from dashboard.state import GAP_SECS, Log, Spool, snapshot
from tests.support import statuses
from tests.support.statuses import EPOCH, NOW


def seen(states=None, *, spool=None, log=None, missing_since=None, sinks=("erp",)):
    return snapshot(
        statuses.house() if states is None else states,
        sinks=sinks,
        spool=spool or Spool(free_octets=10**12),
        log=log or Log(),
        now=NOW,
        missing_since=missing_since,
    )


def test_a_house_in_order_has_nothing_to_tell():
    health = health_of(seen())
    assert (health.word, health.http_status, health.problems, health.warnings) == ("ok", 200, (), ())


PROBLEMS = {
    "no worker": ({"collector": statuses.collector()}, "No worker has reported"),
    "no collector": ({"worker-1": statuses.worker()}, "The collector has not reported"),
    "a silent worker": (statuses.house(worker_1=statuses.worker(seen_secs=42)), "Worker-1 has not been seen for 42 s"),
    "a silent collector": (
        statuses.house(collector=statuses.collector(seen_secs=11)),
        "The collector has not been seen",
    ),
    "a full disk": (
        statuses.house(worker_1=statuses.worker(spool={"pending": 12})),
        "cannot write its spool; records wait in memory (12)",
    ),
    "a disk that hangs": (
        statuses.house(worker_1=statuses.worker(spool={"hanging_secs": 12})),
        "Worker-1 waits for its disk (12 s)",
    ),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_what_harms_visitors_or_the_log_is_a_problem(name):
    states, reason = PROBLEMS[name]
    health = health_of(seen(states))
    assert health.http_status == 503
    assert len(health.problems) == 1
    assert reason in health.problems[0]


def test_a_reader_that_is_silent_is_a_warning_and_harms_nobody():
    def health(**reader):
        pids = {"supervisor": {"kind": "supervisor", "pid": 1, "updated_at": str(NOW), "pids": {"reader": 7}}}
        return health_of(seen(statuses.house() | pids | reader))

    silent = {"kind": "reader", "pid": 7, "updated_at": str(NOW - timedelta(seconds=60))}
    [warning] = health(reader=silent).warnings
    assert "The reader, which answers SQL over HTTP, has not been seen for" in warning
    [warning] = health().warnings
    assert "has not reported yet" in warning
    assert health(reader=silent | {"updated_at": str(NOW)}).word == "ok"
    assert health().http_status == 200


def test_a_retired_worker_beside_its_successors_is_none_but_alone_it_serves_nobody():
    retired = statuses.worker(retiring=True, epoch=EPOCH - 1)
    health = health_of(seen(statuses.house(worker_7=retired)))
    assert (health.problems, health.warnings) == ((), ())
    [problem] = health_of(seen({"collector": statuses.collector(), "worker-7": retired})).problems
    assert "No worker has reported" in problem


def test_a_spool_that_cannot_be_read_is_a_problem():
    assert health_of(seen(spool=Spool(error="/data/spool: Permission denied"))).http_status == 503


WARNINGS = {
    "a server that drains": (
        {"worker_1": statuses.worker(upstreams=[statuses.upstream("http://a:1", "unhealthy")])},
        "Upstream server http://a:1 gets no new requests while others are up: its health check fails (seen by 1 of 2",
    ),
    "a server that failed": (
        {
            "worker_1": statuses.worker(upstreams=[statuses.upstream("http://a:1", "resting"), statuses.upstream()]),
            "worker_2": statuses.worker(upstreams=[statuses.upstream("http://a:1", "resting"), statuses.upstream()]),
        },
        "requests to it failed (seen by 2 of 2 workers)",
    ),
    "lost records": (
        {"worker_1": statuses.worker(spool={"lost": 3})},
        "records lost while its disk could not be written (3)",
    ),
    "a disk that will not sync": (
        {"worker_1": statuses.worker(spool={"sync_errors": 2})},
        "the disk refused to keep what was written (2)",
    ),
    "tracking errors": ({"worker_1": statuses.worker(observer_errors=2)}, "errors in tracking (2)"),
    "bugs": ({"worker_1": statuses.worker(bugs=1)}, "bugs cut exchanges short (1)"),
    "quarantine": ({"collector": statuses.collector(quarantined=1)}, "Spool lines that could not be read (1)"),
    "collector errors": ({"collector": statuses.collector(errors=4)}, "The collector met errors (4)"),
    "an open circuit": (
        {"collector": statuses.collector(sinks={"erp": {"circuit": "open", "last_error": "connection refused"}})},
        "Sink erp: circuit open, its leads wait. connection refused",
    ),
    "dead letters": ({"collector": statuses.collector(sinks={"erp": {"dead": 2}})}, "ropo leads retry"),
}


@pytest.mark.parametrize("name", WARNINGS)
def test_what_wants_a_look_is_a_warning_and_not_an_outage(name):
    changed, reason = WARNINGS[name]
    health = health_of(seen(statuses.house(**changed)))
    assert (health.word, health.http_status) == ("warning", 200)
    assert len(health.warnings) == 1
    assert reason in health.warnings[0]


def test_a_log_that_falls_behind_and_a_disk_that_fills_are_warnings():
    behind, filling = health_of(seen(spool=Spool(files=90, oldest_secs=95.0, free_octets=400_000_000))).warnings
    assert "2 min behind: spool files wait for the collector (90)" in behind
    assert "400 MB" in filling


def test_a_ledger_that_stays_out_of_balance_is_a_warning():
    row = {"node": "n", "worker": "worker-1", "epoch": EPOCH - 1, "received": 5, "logged": 3, "missing": 2}
    log = Log(ledger=[row])
    assert health_of(seen(log=log)).word == "ok"
    since = {("n", "worker-1", EPOCH - 1): NOW - timedelta(seconds=GAP_SECS)}
    (warning,) = health_of(seen(log=log, missing_since=since)).warnings
    assert "does not balance: exchanges of worker-1 are neither logged nor dropped (2)" in warning
    old = Log(ledger=[{**row, "last_file_at": NOW - timedelta(days=2)}])
    assert health_of(seen(log=old, missing_since=since)).word == "ok"


def test_what_a_worker_lost_is_told_for_a_day_after_it_is_gone():
    row = {"node": "n", "worker": "worker-1", "received": 5, "logged": 2, "dropped": 3}
    row |= {"drops": {"excluded": 1, "disk_full": 2}, "last_file_at": NOW - timedelta(hours=1)}
    (warning,) = health_of(seen(log=Log(ledger=[{**row, "epoch": EPOCH - 1}]))).warnings
    assert "Records of worker-1 were lost while the disk could not be written (2)" in warning
    # One that runs says it itself, from its counters.
    assert health_of(seen(log=Log(ledger=[{**row, "epoch": EPOCH}]))).word == "ok"
    assert health_of(seen(log=Log(ledger=[{**row, "last_file_at": NOW - timedelta(days=2)}]))).word == "ok"


def test_healthz_names_every_process_and_its_last_word():
    body = healthz(seen(statuses.house(worker_1=statuses.worker(seen_secs=42))))
    assert body["status"] == "problem"
    assert body["processes"]["worker-1"] == {"kind": "worker", "pid": 4711, "seen_secs": 42.0}
    assert set(body["processes"]) == {"supervisor", "collector", "worker-1", "worker-2"}
