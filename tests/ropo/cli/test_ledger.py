from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dashboard.state import Balance, Log, Spool, snapshot
from ropo.cli import ledger as command
from ropo.cli.ledger import Hour, by_hour, notes, verdict
from ropo.cli.moments import Moments
from storage import status
from tests.ropo.cli.conftest import Ropo
from tests.support import statuses
from tests.support.logs import layout_of, write_log
from tests.support.sample_log import SampleLog
from tracker import clock
from tracker.model import Batch, Drop, Event, SpoolFile

TEN = datetime(2026, 11, 22, 10, tzinfo=UTC)
ELEVEN = TEN + timedelta(hours=1)


def row(hour: datetime = TEN, worker: str = "worker-1", epoch: int = 1, **figures: int) -> dict[str, Any]:
    plain = dict.fromkeys(("received", "logged", "dropped", "missing", "in_flight", "lost", "quarantined"), 0)
    return {"hour": hour, "worker": worker, "epoch": epoch, **plain, **figures}


def one(missing: int = 0, running: int = 0, epoch: int = 1, **more: Any) -> Balance:
    fields = {"worker": "worker-1", "node": "n", "started_at": TEN, "received": 0, "logged": 0, "dropped": 0}
    fields |= {"stopped": True, "live": False, "drops": {}}
    return Balance(epoch=epoch, missing=missing, running=running, **(fields | more))


CASES = {
    "nothing is missing": ([one()], [row(received=9, logged=9)], [(9, 0, 0)]),
    "a dead writer's": ([one(missing=2)], [row(received=9, logged=7, missing=2)], [(9, 2, 0)]),
    "not yet over, but nobody lives": ([one(missing=2)], [row(received=9, logged=7, in_flight=2)], [(9, 2, 0)]),
    "under way": ([one(running=2, live=True)], [row(received=9, logged=7, in_flight=2)], [(9, 0, 2)]),
    "the oldest is missing": (
        [one(missing=1, running=2, live=True)],
        [row(received=5, logged=4, in_flight=1), row(ELEVEN, received=5, logged=3, in_flight=2)],
        [(5, 1, 0), (5, 0, 2)],
    ),
    "missing before what is shown": (
        [one(missing=3)],
        [row(ELEVEN, received=5, logged=4, missing=1)],
        [(5, 1, 0)],
    ),
    "older gaps come first": (
        [one(missing=1, running=3, live=True)],
        [row(ELEVEN, received=5, logged=3, in_flight=2)],
        [(5, 0, 2)],
    ),
    "its files wait": ([one(missing=2, waits=True)], [row(received=9, logged=7, missing=2)], [(9, 0, 2)]),
    "two lives in an hour": (
        [one(missing=1), one(epoch=2)],
        [row(received=5, logged=4, missing=1), row(epoch=2, received=7, logged=7)],
        [(12, 1, 0)],
    ),
    "a writer nobody speaks of": ([], [row(received=5, logged=4, in_flight=1)], [(5, 0, 1)]),
}


@pytest.mark.parametrize("balances, rows, found", CASES.values(), ids=CASES)
def test_what_has_no_row_is_missing_or_on_its_way(balances: list, rows: list, found: list) -> None:
    assert [(hour.received, hour.missing, hour.on_the_way) for hour in by_hour(balances, rows)] == found


def test_the_verdict_says_how_many_since_when_and_of_whom() -> None:
    hours = [
        Hour(TEN, "worker-1", 1000, 990, 10, lost=4),
        Hour(TEN, "worker-2", 10, 9, 0, missing=1),
        Hour(ELEVEN, "worker-2", 10, 5, 0, missing=2, on_the_way=3),
    ]
    assert verdict(hours[:1], Moments(UTC)) == (
        "It balances: 1,000 received = 990 logged + 10 dropped. The disk refused 4 of the dropped: they are lost."
    )
    assert verdict(hours[1:], Moments(UTC)) == (
        "It does not balance: missing are 3 of worker-2 since 2026-11-22 10:00 UTC. "
        "20 received = 14 logged + 3 missing + 3 on the way."
    )


def test_what_nobody_can_know_is_said() -> None:
    def said(**states: dict) -> list[str]:
        ledger = [{"worker": "worker-1", "epoch": 7, "received": 5, "logged": 5, "stopped": False}]
        spool = Spool(files=3, oldest_secs=1)
        return notes(snapshot(states, sinks=(), spool=spool, log=Log(ledger=ledger), now=statuses.NOW))

    waiting, killed = said()
    assert "3 spool files wait" in waiting
    assert "Not stopped in order: worker-1" in killed
    assert len(said(worker_1=statuses.worker(epoch=7))) == 1


# -- the command


NOW_US = int(datetime.now(UTC).timestamp() * 1_000_000)


def exchanges(*numbers: int, epoch: int = 5, ago_secs: float = 10) -> list[Event]:
    at = clock.text_of(NOW_US - round(ago_secs * 1_000_000))
    return [
        Event(f"{epoch}-{n}", at, "page_view", "proxy", node="n", worker="worker-1", epoch=epoch, seq=n)
        for n in numbers
    ]


def file(*, epoch: int = 5, stopped: bool = True, last_seq: int) -> SpoolFile:
    at = clock.text_of(NOW_US)
    return SpoolFile(f"worker-1-{epoch}", at, "n", "worker-1", epoch, stopped=stopped, last_seq=last_seq)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(command, "LOOK_AGAIN_SECS", 0.01)
    return layout_of(tmp_path).root


def write(data: Path, *rows: Any) -> None:
    drops = [one for one in rows if isinstance(one, Drop)]
    files = [one for one in rows if isinstance(one, SpoolFile)]
    events = [one for part in rows if isinstance(part, list) for one in part]
    write_log(layout_of(data.parent), Batch(events=events, drops=drops, spool_files=files))
    config = data.parent / "config.yaml"
    config.write_text(
        f"proxy:\n  upstream: http://127.0.0.1:9\nstorage:\n  path: {data}\n  hot_path: {data}/hot.duckdb\n"
    )


def ask(ropo: Ropo, data: Path, *arguments: object) -> Any:
    return ropo("ledger", *arguments, "--config", data.parent / "config.yaml")


def test_a_ledger_that_balances(ropo: Ropo, data: Path) -> None:
    lost = Drop(clock.text_of(NOW_US), "n", "worker-1", 5, "disk_full", 2, 4, 5)
    write(data, exchanges(1, 2, 3), lost, file(last_seq=5))
    done = ask(ropo, data)
    assert done.exit_code == 0
    assert "It balances: 5 received = 3 logged + 2 dropped. The disk refused 2 of the dropped" in done.stdout
    answer = json.loads(ask(ropo, data, "--json").stdout)
    assert (answer["balanced"], answer["received"], answer["lost"], answer["missing_since"]) == (True, 5, 2, None)
    assert sum(hour["logged"] for hour in answer["hours"]) == 3


def test_one_that_does_not_is_a_failure(ropo: Ropo, data: Path) -> None:
    write(data, exchanges(1, 4), file(last_seq=4))
    done = ask(ropo, data)
    assert (done.exit_code, "does not balance: missing are 2 of worker-1 since 20" in done.stdout) == (1, True)
    answer = json.loads((done := ask(ropo, data, "--json")).stdout)
    assert (done.exit_code, answer["balanced"], answer["missing"]) == (1, False, 2)
    assert answer["missing_since"].endswith(":00:00.000000Z")


@pytest.mark.parametrize("in_flight, code", [(2, 0), (1, 1)])
def test_what_a_running_worker_has_under_way_is_not_missing(ropo: Ropo, data: Path, in_flight: int, code: int) -> None:
    # The first and second began long ago, and have not ended.
    write(data, exchanges(3, ago_secs=600), exchanges(64, 65), file(last_seq=65, stopped=False))
    now = datetime.now(UTC)
    write(data, exchanges(*range(4, 64), ago_secs=300), file(last_seq=65, stopped=False))
    status.write(layout_of(data.parent), "worker-1", statuses.worker(now=now, epoch=5, in_flight=in_flight))
    done = ask(ropo, data)
    assert done.exit_code == code, done.stdout
    assert f"{65:,} received = 63 logged" in done.stdout


def test_what_waits_in_the_spool_is_not_missing_yet(ropo: Ropo, data: Path) -> None:
    write(data, exchanges(1, 4), file(last_seq=4, stopped=False))
    assert ask(ropo, data).exit_code == 1  # nobody runs, and nothing waits
    waiting = data / "spool" / f"worker-1-{5:020d}-000002.ndjson"
    waiting.write_bytes(b"")
    done = ask(ropo, data)
    assert (done.exit_code, "1 spool files wait" in done.stdout) == (0, True)


def test_a_life_that_ropo_was_started_after_is_over(ropo: Ropo, data: Path) -> None:
    write(data, exchanges(1, 4), file(last_seq=4, stopped=False))
    started = SpoolFile("supervisor-6", clock.text_of(NOW_US), "n", "supervisor", 6, stopped=True, last_seq=0)
    write(data, started)
    done = ask(ropo, data)
    assert (done.exit_code, "Not stopped in order: worker-1" in done.stdout) == (1, True)


def test_nothing_to_tell_is_no_failure(ropo: Ropo, shared_log: SampleLog) -> None:
    done = ropo("ledger", "--since", "90m", "--config", shared_log.config)
    assert (done.exit_code, done.stdout) == (0, "No exchange is in the log of that time.\n")


def test_without_a_log_it_says_what_to_do(ropo: Ropo, tmp_path: Path) -> None:
    done = ropo("ledger", "--storage", tmp_path / "nowhere", "--config", tmp_path / "none.yaml")
    assert (done.exit_code, "Start `ropo serve`" in done.stderr) == (1, True)


def test_a_moment_that_is_none_is_asked_wrongly(ropo: Ropo, shared_log: SampleLog) -> None:
    assert ropo("ledger", "--since", "soon", "--config", shared_log.config).exit_code == 2
