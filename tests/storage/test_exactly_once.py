"""Each record is in the log once: wherever a process is killed, in whatever order files come, whatever the clock does.

Every promise stands beside a proof that its lack would be noticed.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ropo.intake import Intake
from storage import recovery, spool_sync
from storage.crash import POINTS, SPOOL_POINTS
from storage.recovery import recover
from storage.sealed import drop_file, read, ready, sealed
from storage.spool import SpoolWriter
from tests.support.intake_proof import MUTATIONS, new_pipeline
from tests.support.rows import Time, layout_of, open_store, promote_all
from tests.support.spools import line, open_writer, seqs_in
from tests.tracker.records import EPOCH, HEADER, at, exchange, submitted
from tracker.model import FactRecord, Record, StopRecord, encode_line

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.timeout(400)
def test_killed_at_every_step_the_log_is_the_same_in_the_end_and_without_any_of_its_promises_it_is_not(
    tmp_path: Path,
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.intake_proof", tmp_path], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    proof = json.loads(done.stdout)
    assert proof["wrong"] == {}
    assert [point for point in (*POINTS, *SPOOL_POINTS) if not proof["kills"][point]] == []
    assert {mutation: bool(differs) for mutation, differs in proof["caught"].items()} == dict.fromkeys(MUTATIONS, True)


# -- torn files


def whole_records(folder: Path) -> list[int]:
    return [seq for path in recover(folder) for seq in (record.seq for record in read(path)[1])]


TEXT = b"".join(text + b"\n" for text in (encode_line(HEADER), line(1), line(2), line(3, target='/ä?q="x"&é={}')))
LAST = len(TEXT) - len(line(3, target='/ä?q="x"&é={}')) - 1


def torn_at(cut: int, tail: bytes = b"") -> list[int]:
    with TemporaryDirectory() as name:
        (Path(name) / f"w1-{EPOCH:020d}-000001.open").write_bytes(TEXT[:cut] + tail)
        return whole_records(Path(name))


def test_a_file_torn_at_any_byte_of_its_last_record_gives_the_others_and_that_one_only_if_it_is_whole() -> None:
    for cut in range(LAST, len(TEXT) + 1):
        for tail in (b"", b"\0" * 37):
            assert torn_at(cut, tail) == ([1, 2, 3] if cut == len(TEXT) else [1, 2]), (cut, tail)


@pytest.mark.parametrize(
    "whole_size", [len, lambda data: data.rfind(b"\n") + 1 or len(data)], ids=["no cut", "by newline"]
)
def test_a_recovery_that_cuts_less_would_be_noticed(monkeypatch: pytest.MonkeyPatch, whole_size: Callable) -> None:
    monkeypatch.setattr(recovery, "whole_size", whole_size)
    with TemporaryDirectory() as name:
        (Path(name) / f"w1-{EPOCH:020d}-000001.open").write_bytes(TEXT[:-5] + b"\n\0")
        [path] = recover(Path(name))
        assert read(path)[2] != []


# -- a power cut


class Cut:
    """What a disk holds when the power fails: of each file what was synced of it, and perhaps some of the rest.

    Stands in for write and fdatasync of a writer. Names are kept as the journal of a file system keeps them: those
    that were not synced may be gone, or not.
    """

    def __init__(self, *, syncs: bool = True) -> None:
        self.safe: dict[int, int] = {}  # inode: bytes
        self.syncs = syncs

    def fdatasync(self, fd: int) -> None:
        if self.syncs:
            os.fdatasync(fd)
            stat = os.fstat(fd)
            self.safe[stat.st_ino] = stat.st_size

    def strike(self, folder: Path, more: int) -> None:
        for path in list(folder.iterdir()):
            stat = path.stat()
            safe = self.safe.get(stat.st_ino, 0)
            os.truncate(path, min(stat.st_size, safe + more))
            if more % 2 and path.suffix == ".ndjson":
                # The rename was not on the disk yet.
                path.rename(path.with_suffix(".open"))


async def lines_told_durable(folder: Path, steps: list[str], cut: Cut) -> tuple[list[int], int]:
    """Writes until the power fails: the numbers that were told durable by then, and the last one."""
    writer = open_writer(folder, fdatasync=cut.fdatasync, durable_seal_secs=0.001)
    durable, seq = [], 0
    for step in steps:
        seq += 1
        if step == "form":
            await writer.append_durable(line(seq), seq)
            durable.append(seq)
        else:
            writer.append(line(seq), seq)
        if step == "seal":
            await writer.seal()
            durable = list(range(1, seq + 1))
    # Its thread must not go on after the power has failed.
    stop(writer)
    cut.strike(folder, len(steps))
    return durable, seq


def stop(writer: SpoolWriter) -> None:
    """Its process is gone: nothing more comes of it."""
    if writer._fd >= 0:
        os.close(writer._fd)
        writer._fd = -1
    for timer in (writer._seal_timer, writer._retry_timer):
        if timer is not None:
            timer.cancel()
    writer._closing = True
    group = writer._group
    assert group._thread.stop(30)
    # Files that were left to a job that will not come: their locks go with their process.
    for step in (*group._left, *(group._job.steps if group._job else ())):
        if step.fd >= 0 and step.seal:
            os.close(step.fd)


STEPS = st.lists(st.sampled_from(["line", "line", "form", "seal"]), min_size=1, max_size=25)


@given(STEPS)
@settings(max_examples=60)
def test_what_was_told_durable_survives_a_power_cut_and_no_number_is_there_twice(steps: list[str]) -> None:
    with TemporaryDirectory() as name:
        durable, last = asyncio.run(lines_told_durable(Path(name), steps, Cut()))
        recover(Path(name))
        seqs = seqs_in(Path(name))
    assert set(durable) <= set(seqs) <= set(range(1, last + 1))
    assert seqs == sorted(set(seqs))


def test_a_writer_that_does_not_sync_would_be_noticed() -> None:
    with TemporaryDirectory() as name:
        durable, _ = asyncio.run(lines_told_durable(Path(name), ["form", "form"], Cut(syncs=False)))
        recover(Path(name))
        seqs = [record.seq for path in sealed(Path(name)) for record in read(path)[1]]
    assert not set(durable) <= set(seqs)


async def test_a_file_is_synced_before_it_gets_the_name_that_the_collector_looks_for(tmp_path: Path) -> None:
    order: list[str] = []
    job = spool_sync.Job([], sync=True)

    def fdatasync(fd: int) -> None:
        order.append("sync")
        os.fdatasync(fd)

    def rename(old: str, new: str) -> None:
        order.append("rename")
        os.rename(old, new)

    from storage.spool_file import create

    path = tmp_path / f"w1-{EPOCH:020d}-000001.open"
    job.steps = [spool_sync.Step(str(path), create(path), 0, dirty=True, fresh=True, seal=True)]
    spool_sync.perform(job, fdatasync=fdatasync, rename=rename)
    assert order == ["sync", "rename"]


# -- files in any order, more than once, by two workers


WORKERS = ("worker-1", "worker-2")


def lay(spool: Path, worker: str, n: int, *records: Record, epoch: int = EPOCH) -> Path:
    path = drop_file(spool, node="n1", worker=worker, epoch=epoch + n, version="1", lines=map(encode_line, records))
    return path


class World:
    """One log for many examples, each of which has lives of its own: to open a log takes longer than to fill it."""

    def __init__(self, folder: Path) -> None:
        self.time = Time()
        self.store = open_store(folder, self.time, part_rows=10)
        self.layout = layout_of(folder)
        self.intake = Intake(self.layout, self.store, new_pipeline)
        self.epoch = EPOCH

    def next_epoch(self) -> int:
        self.epoch += 1000
        return self.epoch

    def take_all(self) -> None:
        while self.intake.take(everything=True).files:
            pass

    def ask(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        return self.store.connection.execute(query, values).fetchall()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("world"))
    yield world
    world.store.close()


def no_space(batch: Any) -> None:
    raise OSError(28, "No space left on device")


@given(
    st.permutations([(worker, n) for worker in WORKERS for n in range(3)]),
    st.lists(st.sampled_from(["take", "take", "promote", "again", "refuse", "wait"]), min_size=6, max_size=6),
)
@settings(max_examples=25)
def test_in_any_order_and_offered_again_and_again_each_record_is_in_the_log_once(
    world: World, order: list[tuple[str, int]], doings: list[str]
) -> None:
    epoch, spool, kept = world.next_epoch(), world.layout.spool, {}
    for (worker, n), doing in zip(order, doings, strict=True):
        path = lay(spool, worker, n, *(exchange(3 * n + row, 9 * n + row) for row in (1, 2, 3)), epoch=epoch)
        kept[path.name] = path.read_bytes()
        if doing == "take":
            world.intake.take(everything=True)
        elif doing == "promote":
            promote_all(world.store, world.time)
        elif doing == "again":
            # A rename that a power cut took back, or somebody's copy.
            for old, text in kept.items():
                (spool / old).write_bytes(text)
        elif doing == "refuse":
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(world.store, "_commit", no_space)
                with pytest.raises(OSError, match="No space"):
                    world.intake.take(everything=True)
    world.take_all()
    found = world.ask(
        "select worker, epoch, seq from events where epoch between ? and ? order by all", epoch, epoch + 9
    )
    assert found == sorted(
        (worker, epoch + n, 3 * n + row) for worker in WORKERS for n in range(3) for row in (1, 2, 3)
    )
    names = world.ask("select name from spool_files where epoch between ? and ? order by all", epoch, epoch + 9)
    assert [name for (name,) in names] == sorted(kept)
    assert list(spool.iterdir()) == []


# -- a clock that is set back


DAY_SECS = 86_400


@pytest.mark.parametrize("back_secs", [3600 + 30, 5 * 3600, 3 * DAY_SECS], ids=["an hour", "hours", "days"])
def test_a_clock_that_is_set_back_in_a_run_breaks_nothing(tmp_path: Path, back_secs: int) -> None:
    time = Time()
    layout = layout_of(tmp_path)
    store = open_store(tmp_path, time, part_rows=4)
    intake = Intake(layout, store, new_pipeline)
    numbers = iter(range(1, 100))

    def work(secs: float, epoch_n: int, *more: Record) -> None:
        records = [exchange(next(numbers), secs + row, f"/{row}") for row in range(4)]
        lay(layout.spool, "worker-1", 0, *records, *more, epoch=EPOCH).rename(
            layout.spool / f"worker-1-{EPOCH:020d}-{epoch_n:06d}.ndjson"
        )
        while intake.take(everything=True).files:
            pass

    work(0, 1)
    work(
        60,
        2,
    )
    promote_all(store, time)
    time.unix -= back_secs  # what waits goes by another clock
    work(60 - back_secs, 3, submitted(99, 90 - back_secs, "lead-1"))
    promote_all(store, time)
    work(120 - back_secs, 4)
    ask = lambda query: store.connection.execute(query).fetchall()  # noqa: E731
    # Events keep what the clock said, and are filed under its day.
    moments = [
        moment for (moment,) in ask("select strftime(occurred_at, '%Y-%m-%d %H:%M:%S') from events order by seq")
    ]
    assert moments[7:9] == [at(63)[:19], at(60 - back_secs)[:19]]
    days = {path.parent.name for path in (layout.cold / "events").glob("day=*/*.parquet")}
    assert f"day={at(-back_secs)[:10]}" in days
    # Visits neither run backwards nor lose anybody.
    assert ask("select count(*) from visits where duration_secs < 0 or ended_at < started_at") == [(0,)]
    assert ask("select sum(requests) from visits") == [(17,)]
    assert ask("select count(*) from leads") == [(1,)]
    # 17..98 were never given to anybody: it is what a stop would say.
    assert ask("select received, logged, missing + in_flight from ledger") == [(99, 17, 82)]
    sums = ask(
        "select sum(received)::int, sum(logged)::int, sum(missing + in_flight)::int, min(missing + in_flight) >= 0 from ledger_hours"
    )
    assert sums == [(99, 17, 82, True)]
    assert sorted(path.suffix for path in layout.archive.iterdir()) == [".ndjson"] * 4
    store.close()


def test_seal_moments_do_not_wait_for_a_clock_that_was_set_back(tmp_path: Path) -> None:
    future = lay(tmp_path, "worker-1", 0, exchange(1))
    now = future.stat().st_mtime - 3600
    living = tmp_path / f"worker-2-{EPOCH:020d}-000001.open"
    living.write_bytes(b"")
    os.utime(living, (now, now))
    assert ready(tmp_path, seal_secs=1.0, now=now) == [future]


# -- any fact


@given(
    st.from_regex(r"[a-z]{1,12}(\.[a-z_]{1,12}){0,3}", fullmatch=True),
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12),
        st.one_of(
            st.none(),
            st.booleans(),
            st.integers(-(2**53), 2**53),
            st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
        ),
        max_size=4,
    ),
)
@settings(max_examples=15)
def test_a_fact_of_any_name_is_kept_once_as_it_was_said(world: World, name: str, properties: dict[str, Any]) -> None:
    """Outcomes, identity links, erasures and what nobody has thought of yet: the same door, the same rules."""
    epoch = world.next_epoch()
    path = lay(
        world.layout.spool, "cli", 0, FactRecord(f"fact-{epoch}", at(5), name, "operator", properties), epoch=epoch
    )
    text = path.read_bytes()
    world.take_all()
    path.write_bytes(text)
    world.take_all()
    asked = "select event_id, name, source, properties, seq, worker from events where epoch = ?"
    [(event_id, found, source, kept, seq, worker)] = world.ask(asked, epoch)
    assert (event_id, found, source, seq, worker) == (f"fact-{epoch}", name, "operator", None, "cli")
    assert json.loads(kept or "{}") == properties
    # It has no number, so it can leave no gap.
    assert world.ask("select count(*) from ledger where epoch = ?", epoch) == [(0,)]


FACTS = ["outcome.won", "identity.linked", "visitor.erased", "delivery.requeued", "lead.confirmed", "cost.spent"]


@pytest.mark.parametrize("name", FACTS)
def test_a_fact_adds_rows_and_changes_none(world: World, name: str) -> None:
    epoch, spool, lead_id = world.next_epoch(), world.layout.spool, f"lead-of-{name}"
    lay(spool, "worker-1", 0, submitted(1, 0, lead_id), StopRecord(at(1), 1), epoch=epoch)
    world.take_all()

    def rows() -> dict[str, set[str]]:
        return {
            table: {str(row) for row in world.ask(f"from {table}")}
            for table in ("events", "lead_facts", "delivery_facts")
        }

    before = rows()
    told = {"lead_id": lead_id, "sink": "csv", "visitor_id": "v1", "amount": 12}
    lay(spool, "cli", 1, FactRecord(f"fact-{epoch}", at(9), name, "operator", told), epoch=epoch)
    world.take_all()
    after = rows()
    assert all(before[table] <= after[table] for table in before)
    assert len(after["events"]) == len(before["events"]) + 1
    # The present state is a view over all of them.
    assert world.ask("select count(*) from leads where lead_id = ?", lead_id) == [(1,)]
