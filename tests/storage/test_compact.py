"""Small parts become bigger ones, and no session ever misses a row, meets it twice, or fails."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from storage import checksums, compact, shelves
from storage.compact import CannotCompactError, Merge, Part, plan
from storage.layout import Layout
from storage.parts import Range
from storage.read import open_log
from storage.store import Store
from tests.support import log_proof
from tests.support.rows import Time, a_store, batch, event, layout_of, lead, promote_all, spool_file
from tests.support.waiting import until

REPOSITORY = Path(__file__).resolve().parents[2]
CLI = Path(sys.executable).parent / "duckdb"
LATER = datetime(2027, 1, 15, tzinfo=UTC)


def a_part(after: int, to: int, when: str, rows: int = 10) -> Part:
    kind = "day" if len(when) == 10 else "month"
    return compact.part_at(Path(f"cold/events/{kind}={when}/{Range(after, to).file_name}"), rows)


@pytest.mark.parametrize(
    "parts, merged",
    [
        ([], []),
        ([a_part(0, 1, "2026-11-01")], []),
        # Days of a month become one part, ranges that lie in both of two months one in each.
        ([a_part(0, 1, "2026-11-01"), a_part(1, 2, "2026-11-02")], ["month=2026-11 0-2"]),
        (
            [
                a_part(0, 1, "2026-11-29"),
                a_part(1, 2, "2026-11-30"),
                a_part(1, 2, "2026-12-01"),
                a_part(2, 3, "2026-12-02"),
            ],
            ["month=2026-11 0-2", "month=2026-12 1-3"],
        ),
        # What is being written, or may still come, is left alone: with all that its range has.
        ([a_part(0, 1, "2026-12-18"), a_part(1, 2, "2026-12-19"), a_part(1, 2, "2026-12-20")], []),
        ([a_part(0, 1, "2026-12-18"), a_part(98, 101, "2026-12-19")], []),
        # A big one stays as it is, and nothing is merged across it.
        (
            [
                a_part(0, 1, "2026-11-01"),
                a_part(1, 2, "2026-11-02"),
                a_part(2, 3, "2026-11-03", 50),
                a_part(3, 4, "2026-11-04"),
                a_part(4, 5, "2026-11-05"),
            ],
            ["month=2026-11 0-2", "month=2026-11 3-5"],
        ),
        # None gets bigger than was asked for.
        ([a_part(n, n + 1, f"2026-11-{n + 1:02}", 40) for n in range(5)], ["month=2026-11 0-2", "month=2026-11 2-4"]),
        # A month that was merged before takes in what came late.
        ([a_part(0, 9, "2026-11", 40), a_part(9, 10, "2026-11-30", 1)], ["month=2026-11 0-10"]),
    ],
)
def test_small_parts_that_follow_one_another_are_merged_by_month(parts: list[Part], merged: list[str]) -> None:
    merges = plan("events", parts, upto=100, today="2026-12-20", part_rows=100)
    found = [f"{merge.place.parent.name} {merge.parts[0].span.after}-{merge.parts[-1].span.to}" for merge in merges]
    assert found == merged


def test_a_merged_part_is_named_for_the_batches_in_it() -> None:
    merge = Merge("events", (a_part(3, 5, "2026-11-01"), a_part(5, 9, "2026-11-02")))
    assert merge.place == Path("events/month=2026-11/000000000003-000000000009.parquet")


def filled(store: Store, now: Time, days: int = 6) -> None:
    for day in range(days):
        minute = day * 24 * 60
        store.write(
            batch(*(event(minute + row, path=f"/{day}") for row in range(20)), spool_file(f"w1-1-{day}", minute))
        )
        store.write(batch(lead(f"lead-{day}", minute), event(minute + 30, properties={"day": day})))
        promote_all(store, now)
    store.write(batch(event(days * 24 * 60)))
    store.publish()


def content(store_or_log) -> list:
    return [
        store_or_log.execute(f"select * from {table} order by all").fetchall()
        for table in ("events", "lead_facts", "spool_files")
    ]


def parts_in(layout: Layout, table: str = "events") -> list[str]:
    return sorted(path.parent.name for path in (layout.cold / table).glob("*/*.parquet"))


def test_the_log_holds_the_same_rows_in_fewer_parts(tmp_path: Path) -> None:
    now, layout = Time(), layout_of(tmp_path)
    with a_store(tmp_path, now, part_rows=1) as store:
        filled(store, now)
        before = content(store.connection)
        assert len(parts_in(layout)) == 6
        done = compact.compact(layout, part_rows=1000, now=LATER)
        assert parts_in(layout) == ["month=2026-11"]
        assert (done.parts_before - done.parts_after, len(done.merges)) == (15, 3)
        # Before it noticed, and after.
        assert content(store.connection) == before
        store.promote(now.unix)
        store.publish()
        assert content(store.connection) == before
        assert store.ingested(["w1-1-0", "w1-1-5", "w1-1-6"]) == {"w1-1-0", "w1-1-5"}
        with open_log(layout) as log:
            assert content(log) == before
            assert (
                "shelves/0002/"
                in log.execute("select sql from duckdb_views() where view_name = 'events'").fetchall()[0][0]
            )
        assert compact.compact(layout, part_rows=1000, now=datetime(2026, 11, 28, tzinfo=UTC)).merges == []
    for path in layout.cold.rglob("month=*/*.parquet"):
        assert checksums.kept(path) == checksums.of(path)
    with a_store(tmp_path, now) as store:
        assert content(store.connection) == before
        assert store.mark.promoted == 13


def test_a_dry_run_tells_and_leaves_everything(tmp_path: Path) -> None:
    now, layout = Time(), layout_of(tmp_path)
    with a_store(tmp_path, now, part_rows=1) as store:
        filled(store, now)
    before = parts_in(layout)
    assert len(compact.compact(layout, part_rows=1000, now=LATER, dry_run=True).merges) == 3
    assert parts_in(layout) == before


def test_parts_of_today_wait_until_the_day_is_over(tmp_path: Path) -> None:
    now, layout = Time(), layout_of(tmp_path)
    with a_store(tmp_path, now, part_rows=1) as store:
        filled(store, now, days=2)
    assert compact.compact(layout, part_rows=1000, now=datetime(2026, 11, 23, 23, tzinfo=UTC)).merges == []


def test_a_part_that_changes_meanwhile_ends_it_without_harm(tmp_path: Path) -> None:
    now, layout = Time(), layout_of(tmp_path)
    with a_store(tmp_path, now, part_rows=1) as store:
        filled(store, now)
        before = parts_in(layout)

        def rewrite(done: int, of: int) -> None:
            if done == of:
                path = next(layout.cold.glob("events/day=*/*.parquet"))
                other = path.with_name("other")
                other.write_bytes(path.read_bytes())
                other.rename(path)

        with pytest.raises(CannotCompactError, match="meanwhile"):
            compact.compact(layout, part_rows=1000, now=LATER, progress=rewrite)
        assert parts_in(layout) == before
        assert not (layout.root / "cold.new").exists()


def test_a_merge_that_lost_a_row_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, layout = Time(), layout_of(tmp_path)
    with a_store(tmp_path, now, part_rows=1) as store:
        filled(store, now)
    before = parts_in(layout)
    known = compact._content
    monkeypatch.setattr(compact, "_content", lambda con, source: known(con, source) + ("month=" in source,))
    with pytest.raises(RuntimeError, match="is not used"):
        compact.compact(layout, part_rows=1000, now=LATER)
    assert parts_in(layout) == before


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    layout = layout_of(tmp_path)
    with a_store(tmp_path), compact._alone(layout), pytest.raises(CannotCompactError, match="already"):
        compact.compact(layout, part_rows=1000)


def test_a_file_system_that_cannot_exchange_names_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, layout = Time(), layout_of(tmp_path)
    with a_store(tmp_path, now, part_rows=1) as store:
        filled(store, now)
    monkeypatch.setattr(shelves, "_renameat2", None)
    with pytest.raises(CannotCompactError, match="ext4, xfs"):
        compact.compact(layout, part_rows=1000, now=LATER)


class Reader:
    """A session of an analyst in another process, held open."""

    CODE = (
        "import sys, duckdb\n"
        "con = duckdb.connect(sys.argv[1], read_only=True)\n"
        "for line in sys.stdin: print(*(con.execute(line).fetchall() or [()])[0], sep=',', flush=True)\n"
    )

    def __init__(self, layout: Layout) -> None:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen([sys.executable, "-c", self.CODE, str(layout.log_db)], **pipes)

    def ask(self, statement: str) -> str:
        print(statement, file=self.process.stdin, flush=True)
        return self.process.stdout.readline().strip()

    def close(self) -> None:
        self.process.communicate("")


def test_old_parts_go_when_the_last_session_on_them_has_ended(tmp_path: Path) -> None:
    now, layout = Time(), layout_of(tmp_path)
    with a_store(tmp_path, now, part_rows=1, grace_secs=0) as store:
        filled(store, now)
        reader = Reader(layout)
        try:
            reader.ask("prepare counted as select count(*), count(distinct event_id) from events")
            assert reader.ask("execute counted") == "127,127"
            compact.compact(layout, part_rows=1000, now=LATER)
            store.promote(now.unix)
            store.publish()
            store.tidy()
            # What comes now is seen on both shelves.
            store.write(batch(*(event(9000 + row) for row in range(10))))
            promote_all(store, now)
            promote_all(store, now)
            assert store.mark.forgotten == store.mark.b
            assert reader.ask("execute counted") == "137,137"
            fresh = Reader(layout)
            assert fresh.ask("select count(*), count(distinct event_id) from events") == "137,137"
            store.tidy()
            assert (layout.root / "shelves" / "0001.parts").exists()
        finally:
            reader.close()
        store.tidy()
        assert not (layout.root / "shelves" / "0001").is_symlink()
        assert not (layout.root / "shelves" / "0001.parts").exists()
        assert fresh.ask("select count(*), count(distinct event_id) from events") == "137,137"
        fresh.close()


def command(folder: Path, *arguments: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        *arguments[:1],
        *(["write"] if arguments[0].endswith("log_proof") else []),
        str(folder),
        *arguments[1:],
    ]


class Restarted:
    """A process that is started again whenever it was killed."""

    def __init__(self, folder: Path, *arguments: str, chances: dict[str, float]) -> None:
        self.folder, self.arguments = folder, arguments
        text = ",".join(f"{point}={chance}" for point, chance in chances.items())
        self.environment = os.environ | {"ROPO_CRASH_POINTS": text}
        self.kills = 0
        self.start()

    def start(self) -> None:
        with open(self.folder / "processes.log", "ab") as log:
            self.process = subprocess.Popen(
                command(self.folder, *self.arguments), cwd=REPOSITORY, env=self.environment, stdout=log, stderr=log
            )

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.kills += 1
        self.start()

    def look(self) -> None:
        if (code := self.process.poll()) is not None:
            assert code == -signal.SIGKILL, (self.folder / "processes.log").read_text()
            self.kills += 1
            self.start()


@contextmanager
def world(folder: Path, kinds: list[str], merger: list[str], chances: dict[str, float], writer: str = "") -> Iterator:
    """A writer, a merger and readers; all are ended."""
    write = Restarted(folder, "tests.support.log_proof", *filter(None, [writer]), chances={})
    processes = [write]
    readers: list[subprocess.Popen[str]] = []
    try:
        until(lambda: (folder / "log.duckdb").exists(), "there is a log", deadline_secs=60)
        for kind in kinds:
            asked = [sys.executable, "-m", "tests.support.log_proof", "read", str(folder), kind, "150"]
            readers.append(subprocess.Popen(asked, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True))
        merge = Restarted(folder, "tests.support.compact_proof", *merger, chances=chances)
        processes.append(merge)
        yield write, merge, readers
    finally:
        for process in [process.process for process in processes] + readers:
            process.kill()
            process.communicate()


def merges(folder: Path) -> int:
    return (folder / "merges").stat().st_size if (folder / "merges").exists() else 0


POINTS = {"merge-written": 0.02, "tree-linked": 0.2, "shelf-apart": 0.2, "tree-exchanged": 0.2, "shelf-made": 0.2}


@pytest.mark.timeout(240)
def test_readers_notice_nothing_of_merges_that_are_killed_again_and_again(tmp_path: Path) -> None:
    kinds = ["held", "prepared", "fresh", "cli"] if CLI.exists() else ["held", "prepared", "fresh"]
    with world(tmp_path, kinds, [], POINTS) as (write, merge, readers):
        end, next_kill = time.monotonic() + 150, time.monotonic() + 3
        while merge.kills < 4 or merges(tmp_path) < 2 or write.kills < 1:
            assert time.monotonic() < end, f"{merges(tmp_path)} merges, {merge.kills} and {write.kills} kills"
            time.sleep(0.02)
            merge.look()
            write.look()
            if time.monotonic() > next_kill:
                write.kill()
                next_kill = time.monotonic() + random.uniform(2, 8)
        (tmp_path / "enough").touch()
        for reader in readers:
            seen = json.loads(reader.communicate(timeout=60)[0])
            assert not (seen["wrong"] or seen["backwards"] or seen["errors"]), json.dumps(seen)
            assert seen["queries"] > 10, json.dumps(seen)
    # The log is whole, and nothing is left but what the present door reads.
    layout = log_proof.layout_of(tmp_path)
    store = log_proof.open_store(tmp_path)
    try:
        store.publish()
        time.sleep(log_proof.GRACE_SECS + 0.1)
        store.tidy()
    finally:
        store.close()
    with open_log(layout) as log:
        found = log.execute(log_proof.CHECK).fetchall()[0]
    assert len(set(found[:3])) == len(set(found[3:6])) == 1
    assert not (tmp_path / "cold.new").exists()
    left = sorted(path.name for path in (tmp_path / "shelves").iterdir())
    assert len(left) == 2, left


@pytest.mark.timeout(150)
@pytest.mark.parametrize("merger, writer", [("in place", ""), ("", "unshared"), ("", "careless")])
def test_the_readers_of_the_test_above_would_notice(tmp_path: Path, merger: str, writer: str) -> None:
    """Old parts that go under their readers, new ones that only one shelf gets, or a shelf that goes too early."""
    noticed = False
    with world(tmp_path, [], [merger] * bool(merger), {}, writer) as (_, merge, _):
        ask = log_proof.asking("held", tmp_path / "log.duckdb")
        end = time.monotonic() + 90
        while not noticed and time.monotonic() < end:
            merge.look()
            try:
                found = ask()
                noticed = any(len(set(found[at : at + 3])) > 1 for at in range(0, 15, 3))
            except duckdb.Error:
                noticed = True
    assert noticed
