"""What the page, `/healthz` and `/metrics` show, as values. Reads status files' content and rows of the log, both given.

Knows the fields that processes write about themselves, and that any of them may be absent or odd: a file may come from
an older version. Does no I/O, and never takes over a column with contact data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from dashboard.reading import at, is_number, moment, number

# Every process writes once per second: after ten silent ones it hangs, or is gone.
SEEN_SECS = 10.0

# The columns of the views that the page shows. Whatever else a row has, such as `contact`, goes no further.
LEAD_COLUMNS = (
    "lead_id", "occurred_at", "state", "host", "form", "page", "action", "page_views", "visits", "touchpoints",
    "first_touch_channel", "first_touch_source", "first_touch_medium", "first_touch_campaign",
    "last_touch_channel", "last_touch_source", "last_touch_medium", "last_touch_campaign",
    "delivered", "owed", "dead",
)  # fmt: skip
VISIT_COLUMNS = (
    "started_at", "duration_secs", "page_views", "landing_page", "channel", "source", "medium", "campaign",
    "referrer_host", "device", "browser", "os", "is_bot", "leads",
)  # fmt: skip

Row = Mapping[str, Any]
Writer = tuple[str, str, int]

# A gap in the ledger closes within the seal, ingest and publish intervals, a few seconds, unless it is real.
GAP_SECS = 30.0
# A gap stays in the ledger for ever; whoever watches has heard of it after a day.
NEWS_SECS = 86_400.0
LOSS_REASONS = ("disk_full", "write_error")


@dataclass(frozen=True)
class Upstream:
    """A server of a site. `failures` counts those since the worker's start."""

    url: str
    state: str
    idle: float = 0
    running: float = 0
    failures: float = 0

    @property
    def is_up(self) -> bool:
        return self.state not in {"resting", "unhealthy"}


@dataclass(frozen=True)
class Process:
    """A process by its own word. `state` is all it wrote; times are None if it did not say."""

    name: str
    kind: str
    pid: int
    started_at: datetime | None
    seen_at: datetime | None
    state: Mapping[str, Any] = field(repr=False)

    def is_seen(self, now: datetime) -> bool:
        # A word from the future was spoken before the clock was set back.
        return self.seen_at is not None and abs((now - self.seen_at).total_seconds()) <= SEEN_SECS

    def uptime_secs(self, now: datetime) -> float | None:
        return None if self.started_at is None else (now - self.started_at).total_seconds()

    def number(self, *path: str) -> float:
        """The number at `path` in the state, 0 if there is none."""
        return number(at(self.state, *path))

    def counts(self, *path: str) -> dict[str, float]:
        """The numbers by name at `path` in the state; what is no number is left out."""
        found = at(self.state, *path)
        return {str(k): number(v) for k, v in found.items() if is_number(v)} if isinstance(found, Mapping) else {}

    def moment(self, *path: str) -> datetime | None:
        return moment(at(self.state, *path))

    @property
    def upstreams(self) -> list[Upstream]:
        """The servers of the sites as this worker finds them."""
        found = self.state.get("upstreams")
        rows = [row for row in found if isinstance(row, Mapping)] if isinstance(found, list) else []
        return [
            Upstream(
                url=str(row.get("url", "")),
                state=str(row.get("state", "")),
                idle=number(row.get("idle")),
                running=number(row.get("running")),
                failures=number(row.get("failures")),
            )
            for row in rows
        ]

    @property
    def is_retiring(self) -> bool:
        """A worker that others have replaced at a reload: it finishes what it has, and goes."""
        return self.state.get("retiring") is True

    @property
    def server_errors(self) -> float:
        """Answers with 5xx."""
        return self.counts("statuses").get("5xx", 0)

    @property
    def refused(self) -> float:
        """Exchanges the proxy answered itself."""
        return sum(self.counts("refusals").values())


@dataclass(frozen=True)
class Sink:
    """A configured sink. The counts are of the whole log where it can be read, else since the collector's start."""

    name: str
    owed: float = 0
    delivered: float = 0
    failed: float = 0
    dead: float = 0
    circuit: str = ""
    last_error: str = ""

    @property
    def is_open(self) -> bool:
        """The dispatcher gives the remote a rest, or waits for the operator."""
        return self.circuit not in {"", "closed"}


@dataclass(frozen=True)
class Spool:
    """The sealed files that wait for the collector, and the room left on their disk.

    `writers` are those (worker, epoch) that have any file there, sealed or not.
    """

    files: int = 0
    octets: int = 0
    oldest_secs: float | None = None
    free_octets: int | None = None
    error: str = ""
    writers: frozenset[tuple[str, int]] = frozenset()


@dataclass(frozen=True)
class Balance:
    """One writer's line in the ledger.

    `running`: without a record, because its worker has them under way, or their records on their way to the log.
    `waits`: what is missing may still come. `last_at`: when its latest file came into the log.
    """

    worker: str
    node: str
    epoch: int
    started_at: datetime | None
    received: int
    logged: int
    dropped: int
    running: int
    missing: int
    stopped: bool
    live: bool
    drops: Mapping[str, int]
    waits: bool = False
    last_at: datetime | None = None

    @property
    def lost(self) -> dict[str, int]:
        """What its worker could not keep, by reason."""
        return {reason: self.drops[reason] for reason in LOSS_REASONS if self.drops.get(reason)}

    @property
    def balanced(self) -> bool:
        return self.missing == 0

    @property
    def key(self) -> Writer:
        return self.node, self.worker, self.epoch


@dataclass(frozen=True)
class Log:
    """What the log answered. None: not asked, or no answer; `error` then says why in words for an operator."""

    counts: Row | None = None
    ledger: Sequence[Row] | None = None
    visits: Sequence[Row] | None = None
    leads: Sequence[Row] | None = None
    deliveries: Sequence[Row] | Mapping[str, Row] | None = None
    error: str = ""
    absent: bool = False
    asked_at: datetime | None = None


@dataclass(frozen=True)
class Snapshot:
    """The house at one moment."""

    now: datetime
    workers: tuple[Process, ...]
    collector: Process | None
    supervisor: Process | None
    others: tuple[Process, ...]
    sinks: tuple[Sink, ...]
    spool: Spool
    log: Log
    ledger: tuple[Balance, ...]
    # Writers whose numbers have not added up, and since when.
    missing_since: Mapping[Writer, datetime] = field(default_factory=dict)

    def is_gap(self, one: Balance) -> bool:
        """Whether what this writer misses has been missing for so long that it will not come any more."""
        since = self.missing_since.get(one.key)
        return since is not None and (self.now - since).total_seconds() >= GAP_SECS

    def is_news(self, one: Balance) -> bool:
        """Whether this writer has written within the last day."""
        return one.last_at is None or (self.now - one.last_at).total_seconds() <= NEWS_SECS

    @property
    def leads(self) -> list[Row]:
        return [{column: row.get(column) for column in LEAD_COLUMNS} for row in self.log.leads or ()]

    @property
    def visits(self) -> list[Row]:
        return [{column: row.get(column) for column in VISIT_COLUMNS} for row in self.log.visits or ()]

    @property
    def processes(self) -> tuple[Process, ...]:
        single = tuple(process for process in (self.supervisor, self.collector) if process)
        return single + self.workers + self.others

    def total(self, *path: str) -> float:
        """The number at `path`, summed over the workers."""
        return sum(worker.number(*path) for worker in self.workers)

    @property
    def lag_secs(self) -> float:
        return self.spool.oldest_secs or 0.0


def snapshot(
    statuses: Mapping[str, Mapping[str, Any]],
    *,
    sinks: Sequence[str],
    spool: Spool,
    log: Log,
    now: datetime,
    missing_since: Mapping[Writer, datetime] | None = None,
) -> Snapshot:
    """Status files by name, what the spool's folder holds and what the log answered, as one value."""
    processes = current([process(name, state) for name, state in sorted(statuses.items())])
    of_kind = {kind: [one for one in processes if one.kind == kind] for kind in ("worker", "collector", "supervisor")}
    workers = tuple(sorted(of_kind["worker"], key=lambda one: (len(one.name), one.name)))
    collector = of_kind["collector"][-1] if of_kind["collector"] else None
    current_log = is_current(spool, collector, now)
    balances = tuple(balance(row, workers, spool, now, current_log=current_log) for row in log.ledger or ())
    return Snapshot(
        now=now,
        workers=workers,
        collector=collector,
        supervisor=of_kind["supervisor"][-1] if of_kind["supervisor"] else None,
        others=tuple(one for one in processes if one.kind not in of_kind),
        sinks=sinks_of(sinks, collector, log),
        spool=spool,
        log=log,
        ledger=tuple(sorted(balances, key=lambda one: (one.balanced, -one.epoch))),
        missing_since=missing_since_now(missing_since or {}, balances, now)
        if log.ledger is not None
        else dict(missing_since or {}),
    )


def process(name: str, state: Mapping[str, Any]) -> Process:
    return Process(
        name=name,
        kind=str(state.get("kind", "")),
        pid=int(number(state.get("pid"))),
        started_at=moment(state.get("started_at")),
        seen_at=moment(state.get("updated_at")),
        state=state,
    )


def current(processes: list[Process]) -> list[Process]:
    """Without those that an earlier run left behind: last seen before today's supervisor started, and not its own."""
    supervisors = [one for one in processes if one.kind == "supervisor" and one.started_at]
    if not supervisors:
        return processes
    today = max(supervisors, key=lambda one: one.started_at)
    # By number as well as by time, because the clock may have been set back since.
    pids = today.counts("pids")
    return [
        one
        for one in processes
        if one.seen_at is None or one.seen_at >= today.started_at or one is today or pids.get(one.name) == one.pid
    ]


def sinks_of(names: Sequence[str], collector: Process | None, log: Log) -> tuple[Sink, ...]:
    """Every configured sink, and every other one the log or the dispatcher still knows of."""
    working = at(collector.state, "sinks") if collector else None
    working = working if isinstance(working, Mapping) else {}
    logged = counts_by_sink(log.deliveries)
    found = []
    for name in dict.fromkeys([*names, *map(str, working), *logged]):
        state = working.get(name)
        state = state if isinstance(state, Mapping) else {}
        counted = logged.get(name, state if log.deliveries is None else {})
        found.append(
            Sink(
                name=name,
                **{key: number(counted.get(key)) for key in ("owed", "delivered", "failed", "dead")},
                circuit=str(state.get("circuit") or ""),
                last_error=str(state.get("last_error") or ""),
            )
        )
    return tuple(found)


def counts_by_sink(rows: Sequence[Row] | Mapping[str, Row] | None) -> dict[str, Row]:
    if isinstance(rows, Mapping):
        return {str(name): row for name, row in rows.items()}
    return {str(row.get("sink")): row for row in rows or ()}


def is_current(spool: Spool, collector: Process | None, now: datetime) -> bool:
    """Whether the log shows what workers wrote until a moment ago."""
    if spool.oldest_secs is not None and spool.oldest_secs > GAP_SECS:
        return False
    taken, shown = (collector.moment(f"last_{step}_at") if collector else None for step in ("batch", "publish"))
    return not (taken and shown and taken > shown and abs((now - shown).total_seconds()) > GAP_SECS)


def balance(row: Row, workers: Sequence[Process], spool: Spool, now: datetime, *, current_log: bool) -> Balance:
    """A row of the question `ledger`.

    The log cannot tell what a writer that still runs has under way from what it lost; the worker's own word can. The
    record of what has just ended may not be in the log yet, so of a running writer only older numbers count.
    """
    worker, epoch = str(row.get("worker") or ""), int(number(row.get("epoch")))
    live = next((one for one in workers if epoch and one.number("epoch") == epoch and one.is_seen(now)), None)
    gap = int(number(row.get("missing")) + number(row.get("in_flight")))
    missing = max(0, int(number(row.get("overdue")) - live.number("in_flight"))) if live else gap
    drops = row.get("drops")
    return Balance(
        worker=worker,
        node=str(row.get("node") or ""),
        epoch=epoch,
        started_at=moment(row.get("started_at")),
        received=int(number(row.get("received"))),
        logged=int(number(row.get("logged"))),
        dropped=int(number(row.get("dropped"))),
        running=gap - missing,
        missing=missing,
        stopped=bool(row.get("stopped")),
        live=live is not None,
        drops={str(k): int(number(v)) for k, v in drops.items()} if isinstance(drops, Mapping) else {},
        waits=not current_log if live else (worker, epoch) in spool.writers,
        last_at=moment(row.get("last_file_at")),
    )


def missing_since_now(
    before: Mapping[Writer, datetime], balances: Sequence[Balance], now: datetime
) -> dict[Writer, datetime]:
    """Since when each writer's numbers have not added up.

    The record of an exchange that has just ended may lie in a spool file that the log does not have yet, while that
    of a later one is in. So a gap counts when it stays.
    """
    # The earlier of the two, because the clock may have been set back.
    return {one.key: min(before.get(one.key, now), now) for one in balances if not (one.balanced or one.waits)}
