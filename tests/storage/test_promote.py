from __future__ import annotations

import logging
from pathlib import Path

import duckdb
import pytest

from storage import promote
from storage.promote import Mark, Step, day_of, is_another_day, next_step
from storage.read import open_log
from storage.store import Store
from tests.support.rows import NOON_US, Time, a_store, batch, event, layout_of, promote_all, spool_file

NOON = NOON_US / 1e6
MIDNIGHT = NOON + 12 * 3600


def mark(
    w: int = 0, promoted: int = 0, intent: int = 0, forgotten: int = 0, b: int = 0, since: str | None = None
) -> Mark:
    return Mark(w, promoted, intent, forgotten, b, since)


@pytest.mark.parametrize(
    "mark, rows, now, step",
    [
        (mark(), 0, NOON, None),
        (mark(b=3, since="2026-11-22"), 99, NOON, None),
        (mark(b=3, since="2026-11-22"), 100, NOON, Step.INTEND),
        (mark(b=3, since="2026-11-22"), 1, MIDNIGHT + 30, None),
        (mark(b=3, since="2026-11-22"), 1, MIDNIGHT + 61, Step.INTEND),
        (mark(b=3, since="2026-11-21"), 1, NOON, Step.INTEND),
        # Everything is filed: a new day alone makes no part.
        (mark(w=3, promoted=3, intent=3, forgotten=3, b=3), 0, MIDNIGHT + 999, None),
        # One range after the other, and each to its end, however many rows wait.
        (mark(intent=3, b=5), 1000, NOON, Step.WRITE),
        (mark(promoted=3, intent=3, b=5), 1000, NOON, Step.PASS),
        (mark(w=3, promoted=3, intent=3, b=5), 1000, NOON, Step.FORGET),
        (mark(w=3, promoted=3, intent=3, forgotten=3, b=5, since="2026-11-22"), 1000, NOON, Step.INTEND),
    ],
)
def test_what_is_due_follows_from_what_was_done(mark: Mark, rows: int, now: float, step: Step | None) -> None:
    assert next_step(mark, rows=rows, part_rows=100, now=now) == step


@pytest.mark.parametrize(
    "since, now, over",
    [
        ("2026-11-22", NOON, False),
        ("2026-11-22", MIDNIGHT, False),
        ("2026-11-22", MIDNIGHT + 59, False),
        ("2026-11-22", MIDNIGHT + 60, True),
        # A clock that was wrong, or was put back, must not keep rows for ever.
        ("2035-01-01", NOON, True),
        (None, NOON, False),
    ],
)
def test_a_day_is_over_when_its_last_files_have_come(since: str | None, now: float, over: bool) -> None:
    assert is_another_day(since, now) == over


def test_days_are_days_in_utc() -> None:
    assert (day_of(MIDNIGHT - 1), day_of(MIDNIGHT)) == ("2026-11-22", "2026-11-23")


def fill(store: Store, rows: int = 10) -> None:
    number = store.mark.b
    store.write(batch(*(event(number + row / 100) for row in range(rows)), spool_file(f"w1-1-{number}")))


def hot_rows(store: Store) -> int:
    return store.connection.execute("select count(*) from work.events").fetchall()[0][0]


def test_rows_go_from_the_tables_to_parts_step_by_step(tmp_path: Path) -> None:
    time = Time()
    with a_store(tmp_path, time, part_rows=20) as store:
        fill(store)
        store.promote(time.unix)
        assert store.mark.intent == 0
        fill(store)
        store.promote(time.unix)
        assert store.mark == mark(promoted=2, intent=2, b=2)
        fill(store)
        # Not before a grace has passed: a reader may have listed the parts before.
        time.pass_by(59)
        store.promote(time.unix)
        assert store.mark.w == 0
        time.pass_by(1)
        store.promote(time.unix)
        assert store.mark.w == 2
        # Not before a grace has passed in which readers could see the watermark: publishing may have failed.
        time.pass_by(1000)
        store.promote(time.unix)
        assert hot_rows(store) == 30
        assert store.publish()
        time.pass_by(59)
        store.promote(time.unix)
        assert hot_rows(store) == 30
        time.pass_by(1)
        store.promote(time.unix)
        assert hot_rows(store) == 10
        assert store.mark == mark(w=2, promoted=2, intent=2, forgotten=2, b=3, since="2026-11-22")
        assert store.connection.execute("select count(*) from events").fetchall() == [(30,)]


def test_a_jump_of_the_wall_clock_shortens_no_wait(tmp_path: Path) -> None:
    time = Time()
    with a_store(tmp_path, time, part_rows=1) as store:
        fill(store)
        store.promote(time.unix)
        store.promote(time.unix + 1e9)
        assert store.mark.w == 0


def test_after_a_restart_every_wait_begins_again(tmp_path: Path) -> None:
    time = Time()
    with a_store(tmp_path, time, part_rows=1) as store:
        fill(store)
        store.promote(time.unix)
        time.pass_by(59)
    with a_store(tmp_path, time) as store:
        time.pass_by(59)
        store.promote(time.unix)
        assert store.mark.w == 0
        time.pass_by(1)
        store.promote(time.unix)
        assert store.mark.w == 1
    # The watermark was shown, and its wait was not over, when the process ended.
    with a_store(tmp_path, time) as store:
        time.pass_by(59)
        store.promote(time.unix)
        assert hot_rows(store) == 10
        time.pass_by(1)
        store.promote(time.unix)
        assert hot_rows(store) == 0


def test_a_range_that_was_intended_is_written_first_after_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    time = Time()
    with a_store(tmp_path, time, part_rows=1) as store:
        fill(store)
        with monkeypatch.context() as patch:
            patch.setattr(store._parts, "write", lambda span: (_ for _ in ()).throw(OSError("no disk")))
            with pytest.raises(OSError, match="no disk"):
                store.promote(time.unix)
        fill(store)
        assert store.mark == mark(intent=1, b=2, since="2026-11-22")
    with a_store(tmp_path, time) as store:
        assert store.mark == mark(promoted=1, intent=1, b=2, since="2026-11-22")
        promote_all(store, time)
        assert store.connection.execute("select count(*) from events").fetchall() == [(20,)]


def test_readers_see_each_row_once_after_every_single_step(tmp_path: Path) -> None:
    time = Time()
    with a_store(tmp_path, time, part_rows=25) as store, open_log(layout_of(tmp_path)) as log:
        steps = set()
        for _ in range(40):
            fill(store)
            published = store.mark.b
            store.publish()
            assert log.execute("select count(*), count(distinct event_id) from events").fetchall()[0] == (
                published * 10,
                published * 10,
            )
            before = store.mark
            time.pass_by(61)
            store.promote(time.unix)
            steps.add(
                tuple(now != then for now, then in zip(vars(store.mark).values(), vars(before).values(), strict=True))
            )
            count = store.connection.execute("select count(*), count(distinct event_id) from events").fetchall()[0]
            assert count == (published * 10, published * 10)
        assert len(steps) >= 4


def test_at_the_days_end_what_there_is_becomes_a_part(tmp_path: Path) -> None:
    time = Time()
    with a_store(tmp_path, time) as store:
        fill(store)
        time.pass_by(12 * 3600 + 61)
        store.promote(time.unix)
        assert store.mark.promoted == 1
        fill(store)
        promote_all(store, time)
        store.promote(time.unix)
        # What came after midnight waits for the next one.
        assert store.mark == mark(w=1, promoted=1, intent=1, forgotten=1, b=2, since="2026-11-23")


def test_without_room_nothing_is_begun_and_it_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    time = Time()
    caplog.set_level(logging.INFO, "storage.promote")
    with a_store(tmp_path, time, part_rows=1) as store:
        fill(store)
        monkeypatch.setattr(promote, "room_at", lambda folder: promote.RESERVE_BYTES - 1)
        for _ in range(3):
            store.promote(time.unix)
        assert store.mark.intent == 0
        monkeypatch.setattr(promote, "room_at", lambda folder: promote.RESERVE_BYTES)
        store.promote(time.unix)
        assert store.mark.promoted == 1
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "promotion waits",
        "promotion goes on",
        "part written batches=1-1",
    ]


def test_work_duckdb_does_not_grow_with_what_passes_through_it(tmp_path: Path) -> None:
    time = Time()
    sizes = []
    with a_store(tmp_path, time, part_rows=1) as store:
        for round in range(4):
            store.write(batch(*(event(round, path=f"/{round}/{row}") for row in range(20_000))))
            promote_all(store, time)
            sizes.append(layout_of(tmp_path).work_db.stat().st_size)
    assert sizes[-1] <= 2 * sizes[0]


def test_a_part_of_an_older_schema_lacks_a_column_and_is_read_all_the_same(tmp_path: Path) -> None:
    time = Time()
    with a_store(tmp_path, time, part_rows=1) as store:
        fill(store)
        promote_all(store, time)
        assert store.mark.forgotten == 1
    with duckdb.connect(str(layout_of(tmp_path).work_db)) as con:
        con.execute("alter table events add column score integer")
        con.execute("insert into migrations values (1, '001b', now())")
    layout = layout_of(tmp_path)
    (layout.cold / "events" / "base-001.parquet").rename(layout.cold / "events" / "base-000.parquet")
    with a_store(tmp_path, time) as store:
        fill(store)
        found = store.connection.execute("select count(*), count(score) from events").fetchall()
        assert found == [(20, 0)]
