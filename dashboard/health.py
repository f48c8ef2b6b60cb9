"""Whether the house does its job: a snapshot in, problems and warnings out. Pure.

A problem (503) means that visitors, or the log of what they do, may be harmed now. A warning (200) wants a look.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dashboard.reading import at
from dashboard.state import SEEN_SECS, Balance, Process, Snapshot
from dashboard.text import count, size, span

LAG_SECS = 60.0
# Answers SQL over HTTP. Neither visitors nor the log miss it.
READER = "reader"
FREE_OCTETS = 1_000_000_000


@dataclass(frozen=True)
class Health:
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def word(self) -> str:
        return "problem" if self.problems else "warning" if self.warnings else "ok"

    @property
    def http_status(self) -> int:
        return 503 if self.problems else 200


def health_of(seen: Snapshot) -> Health:
    return Health(tuple(problems(seen)), tuple(warnings(seen)))


def problems(seen: Snapshot) -> Iterator[str]:
    if all(worker.is_retiring for worker in seen.workers):
        yield "No worker has reported yet."
    if seen.collector is None:
        yield "The collector has not reported yet."
    for one in seen.processes:
        if one.kind != READER and not one.is_seen(seen.now):
            yield f"{named(one)} has not been seen for {silence(one, seen)} (limit {SEEN_SECS:g} s)."
    for worker in seen.workers:
        if pending := worker.number("spool", "pending"):
            yield (
                f"{named(worker)} cannot write its spool; records wait in memory ({count(pending)}). "
                "Look at the disk's free space and the folder's owner; its log lines say the error."
            )
        if hanging := worker.number("spool", "hanging_secs"):
            yield f"{named(worker)} waits for its disk ({span(hanging)}): what it writes does not get into the log."
    if seen.spool.error:
        yield f"The spool cannot be read: {seen.spool.error}."


def warnings(seen: Snapshot) -> Iterator[str]:
    for worker in seen.workers:
        if lost := worker.number("spool", "lost"):
            yield f"{named(worker)}: records lost while its disk could not be written ({count(lost)})."
        if refused := worker.number("spool", "sync_errors"):
            yield f"{named(worker)}: the disk refused to keep what was written ({count(refused)}). Look at the disk."
        if bugs := worker.number("bugs"):
            yield f"{named(worker)}: bugs cut exchanges short ({count(bugs)}). See its log lines."
        if errors := worker.number("observer_errors"):
            yield f"{named(worker)}: errors in tracking ({count(errors)}); visitors were served. See its log lines."
    yield from upstream_warnings(seen)
    if seen.lag_secs > LAG_SECS:
        yield f"The log is {span(seen.lag_secs)} behind: spool files wait for the collector ({count(seen.spool.files)})."
    if seen.spool.free_octets is not None and seen.spool.free_octets < FREE_OCTETS:
        yield f"Only {size(seen.spool.free_octets)} are free on the disk of the spool."
    if seen.collector:
        if quarantined := seen.collector.number("quarantined"):
            yield f"Spool lines that could not be read ({count(quarantined)}) lie in the quarantine folder."
        if errors := seen.collector.number("errors"):
            yield f"The collector met errors ({count(errors)}). See its log lines."
    for sink in seen.sinks:
        if sink.is_open:
            yield f"Sink {sink.name}: circuit {sink.circuit}, its leads wait. {sink.last_error}".rstrip()
        if sink.dead:
            yield (
                f"Sink {sink.name} has dead deliveries ({count(sink.dead)}); "
                "mend the cause and send them again with `ropo leads retry`."
            )
    yield from reader_warnings(seen)
    yield from ledger_warnings(seen)
    if seen.log.error:
        yield seen.log.error


def reader_warnings(seen: Snapshot) -> Iterator[str]:
    wanted = isinstance(seen.supervisor and at(seen.supervisor.state, "pids", READER), int)
    readers = [one for one in seen.others if one.kind == READER]
    if wanted and not readers:
        yield "The reader, which answers SQL over HTTP, has not reported yet. See its log lines."
    for one in readers:
        if not one.is_seen(seen.now):
            yield f"{named(one)}, which answers SQL over HTTP, has not been seen for {silence(one, seen)}."


def upstream_warnings(seen: Snapshot) -> Iterator[str]:
    # Each worker finds out for itself; what one of them finds is worth a look.
    down: dict[tuple[str, str], int] = {}
    serving = [worker for worker in seen.workers if not worker.is_retiring]
    for worker in serving:
        for server in worker.upstreams:
            if not server.is_up:
                down[server.url, server.state] = down.get((server.url, server.state), 0) + 1
    for (url, state), workers in down.items():
        why = "its health check fails" if state == "unhealthy" else "requests to it failed"
        yield (
            f"Upstream server {url} gets no new requests while others are up: {why} "
            f"(seen by {count(workers)} of {count(len(serving))} workers)."
        )


def ledger_warnings(seen: Snapshot) -> Iterator[str]:
    news = [one for one in seen.ledger if seen.is_news(one)]
    if gaps := [one for one in news if seen.is_gap(one)]:
        missing = sum(one.missing for one in gaps)
        yield (
            f"The ledger does not balance: exchanges of {names_of(gaps)} are neither logged nor dropped "
            f"({count(missing)}). `ropo ledger` says of which hours."
        )
    # A worker that runs says it itself.
    if lossy := [one for one in news if one.lost and not one.live]:
        lost = sum(sum(one.lost.values()) for one in lossy)
        yield (
            f"Records of {names_of(lossy)} were lost while the disk could not be written ({count(lost)}). "
            "`ropo ledger` says in which hours."
        )


def names_of(balances: list[Balance]) -> str:
    return ", ".join(dict.fromkeys(one.worker for one in balances[:5]))


def named(process: Process) -> str:
    """`Worker w1`, `The collector`: a process as a sentence begins with it."""
    if process.kind == "worker":
        return process.name.capitalize() if process.name.startswith("worker") else f"Worker {process.name}"
    return f"The {process.kind or process.name}"


def silence(process: Process, seen: Snapshot) -> str:
    return "ever" if process.seen_at is None else span((seen.now - process.seen_at).total_seconds())


def healthz(seen: Snapshot) -> dict[str, Any]:
    """The body of `/healthz`."""
    health = health_of(seen)
    return {
        "status": health.word,
        "problems": list(health.problems),
        "warnings": list(health.warnings),
        "lag_secs": round(seen.lag_secs, 3),
        "processes": {
            one.name: {
                "kind": one.kind,
                "pid": one.pid,
                "seen_secs": None if one.seen_at is None else round((seen.now - one.seen_at).total_seconds(), 3),
            }
            for one in seen.processes
        },
    }
