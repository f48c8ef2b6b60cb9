"""The way from the spool into the log, killed at every one of its steps in turn, and what the log then holds.

    python -m tests.support.intake_proof FOLDER [every]

prints as JSON how often it was killed at each place, and after which kills the log was wrong, with what was wrong. A run
takes in a small world of spool files, publishes, promotes and packs until nothing is left to do. It is killed at the n-th
passing of a crash point; while it is dead another file comes; then a run carries on to the end. That is repeated for every
point and some n (`every`: all of them, which takes minutes), and then with one promise after the other taken away.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from export.outbox import delivery_id
from ropo import intake
from ropo.intake import Intake
from storage import archive, crash, promote, recovery, store
from storage.layout import Layout
from storage.sealed import drop_file
from storage.settings import StorageSettings
from storage.store import Store
from tests.tracker.records import EPOCH, START_US, exchange, submitted
from tracker import clock
from tracker.model import LossRecord, StopRecord, encode_line
from tracker.pipeline import Pipeline
from tracker.settings import TrackerSettings

WORKERS = ("worker-1", "worker-2")
ROUNDS = 3
ROWS = 5
# The first parts that are written are those without rows.
FIRST_PART = 7
SOME = {
    "part-written": (FIRST_PART,),
    "part-named": (1, FIRST_PART),
    "batch-committed": (1, 3),
    "file-put-away": (1, 2),
}
# What each promise is there for: the place at which its lack shows.
MUTATIONS = {
    "forgets files": ("batch-committed", 1),
    "no intent": ("part-named", FIRST_PART),
    "puts away first": ("rows-inserted", 1),
    "no transaction": ("rows-inserted", 1),
    "does not cut": ("file-cut", 1),
    "cuts too much": ("file-cut", 1),
}


def layout_of(folder: Path) -> Layout:
    return Layout(folder, hot_path=folder / "image" / "hot.duckdb")


def lay(folder: Path) -> Layout:
    """Two workers of three files each, the last of one torn; a form, a broken line, a loss, a stop."""
    layout = layout_of(folder)
    layout.create()
    for number, worker in enumerate(WORKERS):
        for n in range(ROUNDS):
            lay_file(layout, worker, n, torn=number == 1 and n == ROUNDS - 1)
    return layout


def lay_file(layout: Layout, worker: str, n: int, *, torn: bool = False) -> Path:
    first = n * ROWS
    moment = first / 10
    lines = [
        encode_line(exchange(first + row + 1, moment + row / 100, visitor_id=f"{worker}-v")) for row in range(ROWS)
    ]
    if n == 0:
        lines[1] = encode_line(submitted(2, moment + 0.01, f"lead-{worker}"))
        lines.insert(3, b'{"t":"exchange","seq":"three"}')
    if n == 1:
        lines[ROWS - 1] = encode_line(
            LossRecord(clock.text_of(START_US + 1_000_000), first + ROWS, first + ROWS, 1, "disk_full")
        )
    if n == ROUNDS - 1 and not torn:
        lines.append(encode_line(StopRecord(clock.text_of(START_US + 9_000_000), first + ROWS)))
    path = drop_file(layout.spool, node="n1", worker=worker, epoch=EPOCH + n, version="1", lines=lines)
    mtime = (START_US // 1_000_000 + n) * 1_000_000_000
    if torn:
        with path.open("ab") as file:
            file.write(encode_line(exchange(first + ROWS + 1))[:-30])
        path = path.rename(path.with_suffix(".open"))
    os.utime(path, ns=(mtime, mtime))
    return path


def run(layout: Layout, mutation: str = "") -> dict[str, Any]:
    """All there is to do, in the collector's order. What the log then holds."""
    mutate(mutation)
    intake.MAX_FILES = 2
    recovery.recover(layout.spool)
    settings = StorageSettings(path=str(layout.root), part_rows=8, grace_secs=0, memory_limit_mb=256)
    now = START_US / 1e6 + 60
    log = Store.open(layout, settings, clock=lambda: now)
    taker = Intake(layout, log, new_pipeline)
    while True:
        taken = taker.take(everything=True)
        log.publish()
        before = log.mark
        log.promote(now)
        if not taken.files and log.mark == before:
            break
    archive.PACK_AFTER = timedelta(0)
    archive.prune(layout, hours=10**6, now=datetime.now(UTC) + timedelta(seconds=1))
    try:
        return found(layout, log)
    finally:
        log.close()


def new_pipeline() -> Pipeline:
    return Pipeline(TrackerSettings(), sinks=("csv",), version="1", delivery_id=delivery_id)


def mutate(mutation: str) -> None:
    """One promise taken away."""
    if mutation == "forgets files":

        def write(self: Store, batch: Any, write: Any = Store.write) -> None:
            batch.spool_files = []
            write(self, batch)

        Store.write = write
    elif mutation == "no intent":

        def set_(self: promote.Promotion, change: str, set_: Any = promote.Promotion._set) -> None:
            if change.startswith("intent"):
                self.unkept = self.mark().b
            elif change == "promoted = intent":
                set_(self, f"intent = {self.unkept}, promoted = {self.unkept}")
            else:
                set_(self, change)

        def mark(self: promote.Promotion, mark: Any = promote.Promotion.mark) -> promote.Mark:
            found = mark(self)
            wanted = getattr(self, "unkept", 0)
            if wanted <= found.intent:
                return found
            return promote.Mark(found.w, found.promoted, wanted, found.forgotten, found.b, found.since)

        def advance(self: promote.Promotion, now: float, advance: Any = promote.Promotion.advance) -> bool:
            # A log that is opened goes on at once with what it had begun; here there is no room just then.
            self.tried = getattr(self, "tried", 0) + 1
            return self.tried > 1 and advance(self, now)

        promote.Promotion._set, promote.Promotion.mark, promote.Promotion.advance = set_, mark, advance
    elif mutation == "puts away first":

        def write(self: Store, batch: Any, write: Any = Store.write) -> None:
            for file in batch.spool_files:
                archive.put(self._layout, self._layout.spool / file.name)
            write(self, batch)

        Store.write = write
    elif mutation == "no transaction":
        store.transaction = nullcontext

        def insert(self: Store, table: Any, rows: Any, b: int, insert: Any = Store._insert) -> None:
            # It would have to be killed between two of its statements.
            if table is store.SPOOL_FILES:
                crash.crash_point("rows-inserted")
            insert(self, table, rows, b)

        Store._insert = insert
    elif mutation == "does not cut":
        recovery.whole_size = len
    elif mutation == "cuts too much":
        recovery.whole_size = lambda data: data[:-1].rfind(b"\n", 0, data.rfind(b"\n")) + 1


def found(layout: Layout, log: Store) -> dict[str, Any]:
    """What the log holds, as far as it must be the same however often it was killed."""
    ask = lambda query: [list(row) for row in log.connection.execute(query).fetchall()]  # noqa: E731
    answers = {
        "events": ask("select worker, epoch::varchar, seq, event_id from events order by all"),
        "leads": ask("select lead_id, fact from lead_facts order by all"),
        "deliveries": ask("select delivery_id, fact from delivery_facts order by all"),
        "drops": ask("select worker, epoch::varchar, reason, count, first_seq, last_seq from drops order by all"),
        "files": ask("select name from spool_files order by all"),
        "ledger": ask("select worker, epoch::varchar, received, logged, dropped, missing + in_flight from ledger order by all"),
    }  # fmt: skip
    answers["spool"] = sorted(path.name for path in layout.spool.iterdir())
    kept = [path.name for path in layout.archive.glob("*.ndjson")]
    answers["archive"] = [sorted(kept), len(list(layout.archive.glob("*.part")))]
    return answers


def proof(folder: Path, passings: Callable[[str], Iterable[int]]) -> dict[str, Any]:
    laid = folder / "laid"
    lay(laid)
    expected = in_child(lambda: at_the_end(folder / "whole", laid, ""))
    wrong, kills = {}, {}
    for point in (*crash.POINTS, *crash.SPOOL_POINTS):
        kills[point] = 0
        for n in passings(point):
            status, differs = killed_once(folder / f"{point}-{n}", laid, point, n, "", expected)
            if differs:
                wrong[f"{point}#{n}"] = differs
            if not os.WIFSIGNALED(status):
                break
            kills[point] += 1
    caught = {
        mutation: killed_once(folder / mutation, laid, point, n, mutation, expected)[1]
        for mutation, (point, n) in MUTATIONS.items()
    }
    return {"kills": kills, "wrong": wrong, "caught": caught}


def killed_once(
    place: Path, laid: Path, point: str, n: int, mutation: str, expected: dict[str, Any]
) -> tuple[int, list[str]]:
    """How the run ended that was to be killed there, and in what the log differs at the end."""
    shutil.copytree(laid, place)
    status = forked(lambda: killed_at(place, point, n, mutation))
    if os.WIFSIGNALED(status):
        answers = in_child(lambda: at_the_end(place, None, mutation))
        differs = [key for key in expected if answers.get(key) != expected[key]]
    else:
        # It does not pass there so often; but neither may it fail.
        differs = ["failed"] if os.WEXITSTATUS(status) else []
    shutil.rmtree(place)
    return status, differs


def killed_at(place: Path, point: str, n: int, mutation: str) -> None:
    crash.plant(point, n)
    run(layout_of(place), mutation)


def at_the_end(place: Path, laid: Path | None, mutation: str) -> dict[str, Any]:
    """Another file comes while nobody is there; then one run to the end. What the log holds."""
    if laid is not None:
        shutil.copytree(laid, place)
    layout = layout_of(place)
    lay_file(layout, WORKERS[0], ROUNDS)
    return run(layout, mutation)


def forked(work: Any) -> int:
    """Runs it in a process of its own, which has all modules already. Its wait status."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            # What it says of cut files and new databases is not the matter here.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1]


def in_child(work: Any) -> dict[str, Any]:
    """What it returns; without anything if it failed."""
    reading, writing = os.pipe()

    def told() -> None:
        os.write(writing, json.dumps(work()).encode())

    status = forked(told)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        text = answer.read()
    return json.loads(text) if status == 0 and text else {}


def every(point: str) -> Iterable[int]:
    return itertools.count(1)


def some(point: str) -> Iterable[int]:
    return SOME.get(point, (1,))


if __name__ == "__main__":
    print(json.dumps(proof(Path(sys.argv[1]), every if "every" in sys.argv[2:] else some)))
