"""The house's counters in Prometheus' text format. From status files and the spool's folder; nothing about visitors.

Names follow Prometheus' naming rules (prometheus.io/docs/practices/naming): base units, `_total` on what only grows.
Counters start anew when a process does, as Prometheus expects.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from dashboard.health import health_of
from dashboard.state import LOSS_REASONS, Snapshot

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

# name, type, help, where in a worker's state
OF_A_WORKER = (
    ("ropo_requests", "counter", "Exchanges since the worker's start.", ("exchanges",)),
    ("ropo_requests_in_flight", "gauge", "Exchanges under way.", ("in_flight",)),
    ("ropo_connections", "gauge", "Open connections of visitors.", ("connections",)),
    ("ropo_observer_errors", "counter", "Errors in tracking that visitors did not notice.", ("observer_errors",)),
    ("ropo_proxy_bugs", "counter", "Exchanges that a bug of the proxy cut short.", ("bugs",)),
    ("ropo_spool_records", "counter", "Records written to the spool.", ("spool", "records")),
    ("ropo_spool_bytes", "counter", "Bytes written to the spool.", ("spool", "bytes")),
    ("ropo_spool_syncs", "counter", "Times the spool was flushed to the disk.", ("spool", "syncs")),
    ("ropo_spool_sync_errors", "counter", "Times the disk refused to do so.", ("spool", "sync_errors")),
    (
        "ropo_spool_not_durable",
        "counter",
        "Records that concerned: a power cut may take them.",
        ("spool", "not_durable"),
    ),
    (
        "ropo_spool_hanging_seconds",
        "gauge",
        "How long the disk has not answered; 0 if it does.",
        ("spool", "hanging_secs"),
    ),
    (
        "ropo_spool_pending",
        "gauge",
        "Records held in memory because the spool cannot be written.",
        ("spool", "pending"),
    ),
    ("ropo_spool_lost", "counter", "Records let go because the spool could not be written.", ("spool", "lost")),
)
# name, help, label, where in a worker's state the counts by that label lie
COUNTS_OF_A_WORKER = (
    ("ropo_responses", "Answers by class of status.", "class", ("statuses",)),
    ("ropo_refusals", "Answers of the proxy's own, by reason.", "reason", ("refusals",)),
    ("ropo_forms", "Submissions by what became of them in the worker.", "outcome", ("forms",)),
)
# name, type, help, which figure of the worker's server
OF_AN_UPSTREAM = (
    ("ropo_upstream_up", "gauge", "1 unless the worker finds the server resting or unhealthy.", "is_up"),
    ("ropo_upstream_running", "gauge", "Exchanges of the worker under way with the server.", "running"),
    ("ropo_upstream_idle_connections", "gauge", "Pooled connections of the worker to the server.", "idle"),
    ("ropo_upstream_failures", "counter", "Failed connections and exchanges with the server.", "failures"),
)
OF_THE_COLLECTOR = (
    ("ropo_events", "Events written to the log.", "events"),
    ("ropo_batches", "Transactions that brought them there.", "batches"),
    ("ropo_quarantined", "Spool lines that could not be read.", "quarantined"),
    ("ropo_collector_errors", "Errors of the collector.", "errors"),
)
DELIVERY_STATES = ("owed", "delivered", "failed", "dead")


def metrics_text(seen: Snapshot) -> bytes:
    """The body of `/metrics`."""
    # A registry of its own: the default one would add figures of this process, under names that look like ropo's.
    registry = CollectorRegistry(auto_describe=False)
    registry.register(SnapshotMetrics(seen))
    return generate_latest(registry)


class SnapshotMetrics(Collector):
    def __init__(self, seen: Snapshot) -> None:
        self.seen = seen

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        yield from self.of_processes()
        yield from self.of_workers()
        yield from self.of_upstreams()
        yield from self.of_the_collector()
        yield from self.of_the_spool()
        yield from self.of_the_ledger()
        yield from self.of_sinks()

    def of_processes(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("ropo_up", "1 if the process was seen within ten seconds.", labels=["process"])
        started = GaugeMetricFamily("ropo_start_time_seconds", "Unix time of the process's start.", labels=["process"])
        for one in self.seen.processes:
            up.add_metric([one.name], float(one.is_seen(self.seen.now)))
            if one.started_at:
                started.add_metric([one.name], one.started_at.timestamp())
        yield up
        yield started
        healthy = not health_of(self.seen).problems
        yield GaugeMetricFamily("ropo_healthy", "1 if /healthz has no problem to tell.", value=float(healthy))
        restarts = CounterMetricFamily("ropo_restarts", "Restarts of a process that died.", labels=["process"])
        if self.seen.supervisor:
            for name, value in self.seen.supervisor.counts("restarts").items():
                restarts.add_metric([name], value)
        yield restarts

    def of_workers(self) -> Iterator[Metric]:
        for name, kind, text, path in OF_A_WORKER:
            family = (CounterMetricFamily if kind == "counter" else GaugeMetricFamily)(name, text, labels=["worker"])
            for worker in self.seen.workers:
                family.add_metric([worker.name], worker.number(*path))
            yield family
        for name, text, label, path in COUNTS_OF_A_WORKER:
            family = CounterMetricFamily(name, text, labels=["worker", label])
            for worker in self.seen.workers:
                for key, value in worker.counts(*path).items():
                    family.add_metric([worker.name, key], value)
            yield family

    def of_upstreams(self) -> Iterator[Metric]:
        for name, kind, text, figure in OF_AN_UPSTREAM:
            family = (CounterMetricFamily if kind == "counter" else GaugeMetricFamily)(
                name, text, labels=["worker", "server"]
            )
            for worker in self.seen.workers:
                for server in worker.upstreams:
                    family.add_metric([worker.name, server.url], float(getattr(server, figure)))
            yield family

    def of_the_collector(self) -> Iterator[Metric]:
        collector = self.seen.collector
        if collector is None:
            return
        for name, text, key in OF_THE_COLLECTOR:
            yield CounterMetricFamily(name, text, value=collector.number(key))
        if published := collector.moment("last_publish_at"):
            yield GaugeMetricFamily(
                "ropo_last_publish_time_seconds", "Unix time of the newest image for readers.", published.timestamp()
            )

    def of_the_spool(self) -> Iterator[Metric]:
        spool = self.seen.spool
        yield GaugeMetricFamily("ropo_spool_waiting_files", "Sealed files that wait for the collector.", spool.files)
        yield GaugeMetricFamily("ropo_spool_waiting_bytes", "Bytes in them.", spool.octets)
        yield GaugeMetricFamily(
            "ropo_collector_lag_seconds", "Age of the oldest of them; 0 without.", self.seen.lag_secs
        )
        if spool.free_octets is not None:
            yield GaugeMetricFamily("ropo_disk_free_bytes", "Free space on the spool's disk.", spool.free_octets)

    def of_the_ledger(self) -> Iterator[Metric]:
        """Of the workers that wrote last, some hundred lives of them: so these are gauges. Not before the log answers."""
        if self.seen.log.ledger is None:
            return
        gaps = [one for one in self.seen.ledger if self.seen.is_gap(one)]
        yield GaugeMetricFamily(
            "ropo_ledger_balanced", "1 if received = logged + dropped for every worker.", value=float(not gaps)
        )
        missing = GaugeMetricFamily(
            "ropo_ledger_missing", "Exchanges that are neither logged nor dropped.", labels=["worker"]
        )
        for name in dict.fromkeys(one.worker for one in self.seen.ledger):
            missing.add_metric([name], sum(one.missing for one in gaps if one.worker == name))
        yield missing
        figures = (("received", "Exchanges received."), ("logged", "Exchanges in the log."))
        for figure, text in figures:
            value = sum(getattr(one, figure) for one in self.seen.ledger)
            yield GaugeMetricFamily(f"ropo_ledger_{figure}", text, value=value)
        drops: Counter[str] = Counter()
        for one in self.seen.ledger:
            drops.update(one.drops)
        dropped = GaugeMetricFamily("ropo_ledger_dropped", "Exchanges not in the log, by reason.", labels=["reason"])
        for reason, value in sorted(drops.items()):
            dropped.add_metric([reason], value)
        yield dropped
        lost = GaugeMetricFamily(
            "ropo_ledger_lost",
            "Those of them that a worker could not keep because its disk refused.",
            labels=["reason"],
        )
        for reason in LOSS_REASONS:
            lost.add_metric([reason], drops[reason])
        yield lost

    def of_sinks(self) -> Iterator[Metric]:
        deliveries = GaugeMetricFamily("ropo_deliveries", "Deliveries by state.", labels=["sink", "state"])
        paused = GaugeMetricFamily("ropo_sink_open", "1 if the sink's circuit is open or parked.", labels=["sink"])
        for sink in self.seen.sinks:
            for state in DELIVERY_STATES:
                deliveries.add_metric([sink.name, state], getattr(sink, state))
            paused.add_metric([sink.name], float(sink.is_open))
        yield deliveries
        yield paused
