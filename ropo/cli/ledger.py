"""`ropo ledger`: is all that was received in the log, and if not, how much is missing, since when, and of which worker.

The log counts; what a worker that runs has under way it says itself, and what still lies in the spool is not missing yet.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import duckdb

from dashboard.state import Balance, Log, Snapshot, snapshot
from dashboard.watch import spool_of
from ropo.cli import options, values
from ropo.cli.moments import Moments, for_terminal
from ropo.cli.since import Since
from ropo.cli.terminal import Cells, Failure, console, plain
from storage import questions, status
from storage.layout import Layout
from storage.read import NoLogError, open_log

# The record of an exchange that has just ended is on its way for a moment: who looks twice does not take it for lost.
LOOKS, LOOK_AGAIN_SECS = 4, 1.5

Row = dict[str, Any]


@dataclass(frozen=True)
class Hour:
    """What one worker received in one hour: logged + dropped + missing + on_the_way. `lost`, `quarantined`: of dropped."""

    hour: datetime
    worker: str
    received: int = 0
    logged: int = 0
    dropped: int = 0
    missing: int = 0
    on_the_way: int = 0
    lost: int = 0
    quarantined: int = 0

    def __add__(self, other: Hour) -> Hour:
        figures = {name: getattr(self, name) + getattr(other, name) for name in FIGURES}
        return replace(self, **figures)


FIGURES = ("received", "logged", "dropped", "missing", "on_the_way", "lost", "quarantined")


@click.command()
@click.option(
    "--since", type=Since(), default="24h", show_default=True, metavar="WHEN",
    help="From the hour of this moment on: 90m, 24h, 7d, 2026-11-22 or 2026-11-22T10:00.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One object with the verdict and the hours.")
@options.config
@options.storage
def ledger(since: datetime, as_json: bool, config: Path, storage: str | None) -> None:
    """Is all that was received in the log? Hour by hour: received = logged + dropped + missing + on the way.

    Exit code 1 if something is missing. Lost is what a worker could not keep because its disk refused; it is counted
    among the dropped, with its reason.

    \b
    ropo ledger
    ropo ledger --since 7d
    ropo ledger --since 2026-11-22 --json | jq .missing
    """
    place = options.place(config, storage)
    seen, rows = _settled(lambda: _look(place.layout, since))
    hours = by_hour(seen.ledger, rows)
    missing = sum(hour.missing for hour in hours)
    if as_json:
        _write_json(seen, hours, since)
    else:
        _show(seen, hours)
    if missing:
        sys.exit(1)


def _settled(look: Callable[[], tuple[Snapshot, list[Row]]]) -> tuple[Snapshot, list[Row]]:
    for again in range(LOOKS):
        if again:
            time.sleep(LOOK_AGAIN_SECS)
        found = look()
        if not any(one.live and one.missing and not one.waits for one in found[0].ledger):
            break
    return found


def _look(layout: Layout, since: datetime) -> tuple[Snapshot, list[Row]]:
    # The workers' own word and the spool before the log: what moves on between the two is then rather there twice.
    states, spool = status.read_all(layout), spool_of(layout, datetime.now(UTC))
    try:
        con = open_log(layout)
    except NoLogError as error:
        raise Failure(str(error)) from None
    try:
        writers, hours = questions.ledger_since(con, since)
    except duckdb.Error as error:
        raise Failure(f"the log could not be read: {error}") from None
    finally:
        con.close()
    return snapshot(states, sinks=(), spool=spool, log=Log(ledger=writers), now=datetime.now(UTC)), hours


def by_hour(balances: Iterable[Balance], rows: Sequence[Row]) -> list[Hour]:
    """Rows of the view `ledger_hours` by hour and worker, with what is known of the writers now.

    Of what has no row in the log, the oldest is missing: what is under way came later.
    """
    judged = {(one.worker, one.epoch): one for one in balances}
    gaps: dict[tuple[str, int], int] = {}
    for row in rows:
        key = row["worker"], row["epoch"]
        gaps[key] = gaps.get(key, 0) + row["missing"] + row["in_flight"]
    left: dict[tuple[str, int], int] = {}
    for key, shown in gaps.items():
        one = judged.get(key)
        if one is None or one.waits:
            left[key] = 0
        else:
            # Of hours before those that are shown.
            earlier = one.missing + one.running - shown
            left[key] = max(0, one.missing - max(0, earlier))
    found: dict[tuple[datetime, str], Hour] = {}
    for row in sorted(rows, key=lambda row: row["hour"]):
        key = row["worker"], row["epoch"]
        gap = row["missing"] + row["in_flight"]
        missing = min(gap, left[key])
        left[key] -= missing
        figures = {name: row[name] for name in ("received", "logged", "dropped", "lost", "quarantined")}
        hour = Hour(row["hour"], row["worker"], **figures, missing=missing, on_the_way=gap - missing)
        place = hour.hour, hour.worker
        found[place] = found[place] + hour if place in found else hour
    return [found[place] for place in sorted(found)]


def verdict(hours: Sequence[Hour], moments: Moments) -> str:
    """One sentence: it balances, or what is missing since when."""
    total = {name: sum(getattr(hour, name) for hour in hours) for name in FIGURES}
    parts = [f"{total['logged']:,} logged"]
    parts += [
        f"{total[name]:,} {name.replace('_', ' ')}" for name in ("dropped", "missing", "on_the_way") if total[name]
    ]
    sums = f"{total['received']:,} received = {' + '.join(parts)}"
    lost = f" The disk refused {total['lost']:,} of the dropped: they are lost." if total["lost"] else ""
    if not total["missing"]:
        return f"It balances: {sums}.{lost}"
    gaps: dict[str, list[Hour]] = {}
    for hour in hours:
        if hour.missing:
            gaps.setdefault(hour.worker, []).append(hour)
    told = [
        f"{sum(gap.missing for gap in gaps[worker]):,} of {plain(worker)} since {moments.minute(gaps[worker][0].hour)}"
        for worker in gaps
    ]
    return f"It does not balance: missing are {', '.join(told)}. {sums}.{lost}"


def notes(seen: Snapshot) -> list[str]:
    """What the sums cannot tell."""
    found = []
    if seen.spool.files:
        found.append(f"{seen.spool.files:,} spool files wait for the collector: what is in them is not counted yet.")
    killed = [one for one in seen.ledger if not (one.stopped or one.live or one.waits)]
    if killed:
        names = ", ".join(dict.fromkeys(plain(one.worker) for one in killed))
        found.append(f"Not stopped in order: {names}. What they had begun after their last record, nobody knows.")
    return found


def _show(seen: Snapshot, hours: Sequence[Hour]) -> None:
    out = console()
    moments = for_terminal(out.is_terminal)
    if not hours:
        click.echo("No exchange is in the log of that time.")
    else:
        cells = [
            [moments.minute(one.hour), one.worker, *(f"{getattr(one, name):,}" for name in FIGURES)] for one in hours
        ]
        names = ["hour", "worker", *(name.replace("_", " ") for name in FIGURES)]
        Cells(names, cells, right=range(2, len(names)), whole=(0,)).show(out)
        click.echo()
        click.echo(verdict(hours, moments))
    for note in notes(seen):
        click.echo(note)


def _write_json(seen: Snapshot, hours: Sequence[Hour], since: datetime) -> None:
    total = {name: sum(getattr(hour, name) for hour in hours) for name in FIGURES}
    first = next((hour.hour for hour in hours if hour.missing), None)
    answer = {
        "since": since,
        "balanced": not total["missing"],
        **total,
        "missing_since": first,
        "waiting_files": seen.spool.files,
        "hours": [asdict(hour) for hour in hours],
    }
    click.echo(values.to_json(values.as_json(answer)))
