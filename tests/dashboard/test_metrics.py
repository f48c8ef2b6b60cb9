from datetime import timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from dashboard.metrics import metrics_text
from dashboard.state import GAP_SECS, Log, Spool, snapshot
from tests.support import statuses
from tests.support.statuses import NOW


def metrics(states=None, *, spool=None, sinks=("erp",), log=None, missing_since=None):
    seen = snapshot(
        statuses.house() if states is None else states,
        sinks=sinks,
        spool=spool or Spool(),
        log=log or Log(),
        now=NOW,
        missing_since=missing_since,
    )
    families = list(text_string_to_metric_families(metrics_text(seen).decode()))
    values = {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for one in families
        for sample in one.samples
    }
    return families, values


def test_workers_count_under_their_names():
    _, values = metrics()
    assert values["ropo_requests_total", "worker-1"] == 1203
    assert values["ropo_observer_errors_total", "worker-2"] == 0
    assert values["ropo_spool_pending", "worker-1"] == 0
    assert values["ropo_spool_lost_total", "worker-1"] == 0
    assert values["ropo_spool_sync_errors_total", "worker-1"] == 0
    assert values["ropo_responses_total", "5xx", "worker-1"] == 3
    assert values["ropo_refusals_total", "upstream_down", "worker-1"] == 2


def test_every_server_behind_has_figures_of_each_worker():
    two = [
        statuses.upstream("http://a:1"),
        statuses.upstream("unix:/run/b", "unhealthy", idle=0, running=1, failures=7),
    ]
    _, values = metrics(statuses.house(worker_1=statuses.worker(upstreams=two)))
    assert values["ropo_upstream_up", "http://a:1", "worker-1"] == 1
    assert values["ropo_upstream_up", "unix:/run/b", "worker-1"] == 0
    assert values["ropo_upstream_idle_connections", "http://a:1", "worker-1"] == 4
    assert values["ropo_upstream_running", "unix:/run/b", "worker-1"] == 1
    assert values["ropo_upstream_failures_total", "unix:/run/b", "worker-1"] == 7
    assert values["ropo_upstream_failures_total", "http://127.0.0.1:9000", "worker-2"] == 2


@pytest.mark.parametrize("odd", [None, {}, "x", [None, 1, "x"]])
def test_a_worker_that_says_nothing_of_its_servers_has_no_figures_of_them(odd):
    _, values = metrics(statuses.house(worker_1=statuses.worker(upstreams=odd)))
    assert values["ropo_up", "worker-1"] == 1
    assert not [key for key in values if key[0].startswith("ropo_upstream") and key[-1] == "worker-1"]


def test_the_collector_and_the_spool_tell_how_far_the_log_is():
    _, values = metrics(spool=Spool(files=4, octets=4000, oldest_secs=2.5, free_octets=10**9))
    assert values["ropo_events_total",] == 1200
    assert values["ropo_collector_lag_seconds",] == 2.5
    assert values["ropo_spool_waiting_files",] == 4
    assert values["ropo_disk_free_bytes",] == 1e9


def test_the_ledger_is_told_when_the_log_has_answered():
    assert ("ropo_ledger_balanced",) not in metrics()[1]
    row = {"node": "n", "received": 10, "logged": 5, "dropped": 3, "missing": 2}
    rows = [
        {**row, "worker": "worker-1", "epoch": 5, "drops": {"excluded": 1, "disk_full": 2}},
        {**row, "worker": "worker-1", "epoch": 6, "missing": 0, "drops": {"write_error": 3}},
        {**row, "worker": "worker-9", "epoch": 7, "missing": 0, "drops": {"quarantined": 3}},
    ]
    log = Log(ledger=rows)
    _, values = metrics(log=log)
    assert (values["ropo_ledger_balanced",], values["ropo_ledger_missing", "worker-1"]) == (1, 0)
    _, values = metrics(log=log, missing_since={("n", "worker-1", 5): NOW - timedelta(seconds=GAP_SECS)})
    assert (values["ropo_ledger_balanced",], values["ropo_ledger_received",], values["ropo_ledger_logged",]) == (
        0,
        30,
        15,
    )
    assert (values["ropo_ledger_missing", "worker-1"], values["ropo_ledger_missing", "worker-9"]) == (2, 0)
    assert (values["ropo_ledger_lost", "disk_full"], values["ropo_ledger_lost", "write_error"]) == (2, 3)
    assert (values["ropo_ledger_dropped", "excluded"], values["ropo_ledger_dropped", "quarantined"]) == (1, 3)


def test_deliveries_are_told_by_sink_and_state():
    _, values = metrics()
    assert values["ropo_deliveries", "erp", "delivered"] == 4
    assert values["ropo_deliveries", "erp", "owed"] == 1
    assert values["ropo_sink_open", "erp"] == 0


def test_a_process_that_is_gone_is_down_and_the_house_unhealthy():
    _, values = metrics(statuses.house(worker_1=statuses.worker(seen_secs=60)))
    assert (values["ropo_up", "worker-1"], values["ropo_up", "worker-2"]) == (0, 1)
    assert values["ropo_healthy",] == 0
    assert values["ropo_restarts_total", "worker-2"] == 1


def test_before_anyone_has_reported_there_are_metrics_all_the_same():
    _, values = metrics({}, sinks=())
    assert values["ropo_healthy",] == 0
    assert ("ropo_events_total",) not in values


def test_every_metric_has_a_line_of_help_and_the_prefix():
    families, _ = metrics()
    assert len(families) > 20
    for family in families:
        assert family.name.startswith("ropo_")
        assert family.documentation.endswith(".")


def test_a_hostile_label_stays_one_label():
    reason = 'x"} 1\nropo_up{process="forged"} 0\n'
    families, values = metrics(statuses.house(worker_1=statuses.worker(refusals={reason: 9})))
    assert values["ropo_refusals_total", reason, "worker-1"] == 9
    assert ("ropo_up", "forged") not in values


def test_nothing_about_visitors_is_in_the_metrics():
    log = Log(visits=[{"landing_page": "/secret-page"}], leads=[{"lead_id": "L1", "contact": "sealed"}])
    seen = snapshot(statuses.house(), sinks=["erp"], spool=Spool(), log=log, now=NOW)
    assert b"secret" not in metrics_text(seen)
    assert b"L1" not in metrics_text(seen)
