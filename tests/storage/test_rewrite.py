"""Rows leave the parts in one step, and nobody who reads meets half of it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import duckdb
import pytest

from storage import checksums, compact, rewrite, shelves
from storage.layout import Layout
from storage.read import open_log
from storage.rewrite import CannotRewriteError, Change, Rewrite
from storage.store import Store
from tests.support.rows import Time, a_store, batch, event, layout_of, promote_all, spool_file

GONE = Change("events", "gone", "visitor_id = 'a'")
NOBODY = Change("events", "nobody", "visitor_id = 'a'", {"visitor_id": "null"})
EVERYBODY = Change("events", "all", "true")


def filled(store: Store, now: Time, days: int = 3) -> None:
    for day in range(days):
        minute = day * 24 * 60
        store.write(
            batch(*(event(minute + n, visitor_id="ab"[n % 2]) for n in range(10)), spool_file(f"w1-1-{day}", minute))
        )
        promote_all(store, now)
        store.urge()
        promote_all(store, now)


def changed(layout: Layout, *changes: Change, upto: int = 10**9) -> Rewrite:
    with rewrite.alone(layout), closing(rewrite.connect(layout)) as con:
        run = Rewrite(con, layout, changes, upto=upto)
        for part in run.parts():
            run.write(part)
        run.exchange()
        return run


def visitors(con: duckdb.DuckDBPyConnection) -> list[tuple]:
    return con.execute("select visitor_id, count(*) from events group by all order by all").fetchall()


@pytest.mark.parametrize(
    "change, left, parts, gone",
    [
        (GONE, [("b", 15)], 3, 0),
        (NOBODY, [("b", 15), (None, 15)], 3, 0),
        (EVERYBODY, [], 0, 3),
        (Change("events", "none", "visitor_id = 'c'"), [("a", 15), ("b", 15)], 0, 0),
    ],
)
def test_rows_go_or_change_in_all_parts_at_once(tmp_path: Path, change: Change, left, parts: int, gone: int) -> None:
    now, layout = Time(), layout_of(tmp_path)
    with a_store(tmp_path, now) as store:
        filled(store, now)
        run = changed(layout, change)
        assert (run.done.parts, run.done.gone) == (parts, gone)
        store.promote(now.unix)
        store.publish()
        assert visitors(store.connection) == left
        with open_log(layout) as log:
            assert visitors(log) == left
        assert store.ingested(["w1-1-0", "w1-1-2"]) == {"w1-1-0", "w1-1-2"}
    for part in layout.cold.rglob("events/day=*/*.parquet"):
        assert checksums.kept(part) == checksums.of(part)
    with a_store(tmp_path, now) as store:
        assert visitors(store.connection) == left


def test_a_session_keeps_the_old_rows_until_its_shelf_is_replaced(tmp_path: Path) -> None:
    now, layout = Time(), layout_of(tmp_path)
    with a_store(tmp_path, now) as store:
        filled(store, now)
        with open_log(layout) as held:
            whole = visitors(held)
            changed(layout, GONE)
            store.promote(now.unix)
            store.publish()
            assert visitors(held) == whole
            assert visitors(store.connection) == [("b", 15)]
            assert rewrite.has_old_parts(layout)
            assert rewrite.replace(layout) == 1
            assert visitors(held) == [("b", 15)]
            # What comes later is on both shelves.
            store.write(batch(event(9 * 24 * 60, visitor_id="c")))
            store.urge()
            promote_all(store, now)
            assert visitors(held) == [("b", 15), ("c", 1)]
            changed(layout, NOBODY, Change("events", "c", "visitor_id = 'c'"))
            assert rewrite.replace(layout) == 2
            assert visitors(held) == [("b", 15)]
        assert not rewrite.has_old_parts(layout)


def test_parts_that_may_still_be_in_hot_tables_are_left_alone(tmp_path: Path) -> None:
    now, layout = Time(), layout_of(tmp_path)
    with a_store(tmp_path, now) as store:
        filled(store, now)
        assert changed(layout, GONE, upto=2).done.parts == 2


def test_a_part_never_gets_a_name_that_had_another_content(tmp_path: Path) -> None:
    now, layout = Time(), layout_of(tmp_path)
    with a_store(tmp_path, now) as store:
        filled(store, now, days=1)
        changed(layout, NOBODY)
        changed(layout, Change("events", "b", "visitor_id = 'b'"))
        [part] = layout.cold.glob("events/day=*/*.parquet")
        assert part.name == "000000000000-000000000001.2.parquet"


def test_rewritten_parts_can_be_merged_and_rewritten_again(tmp_path: Path) -> None:
    now, layout = Time(), layout_of(tmp_path)
    with a_store(tmp_path, now) as store:
        filled(store, now, days=6)
        changed(layout, GONE)
        compact.compact(layout, part_rows=1000, now=compact.datetime(2027, 1, 1, tzinfo=compact.UTC))
        store.promote(now.unix)
        assert visitors(store.connection) == [("b", 30)]
        changed(layout, Change("events", "half", "visitor_id = 'b' and minute(occurred_at) < 5"))
        store.promote(now.unix)
        assert visitors(store.connection) == [("b", 18)]


def test_where_folders_cannot_be_exchanged_nothing_is_changed_and_it_says_why(tmp_path: Path, monkeypatch) -> None:
    now, layout = Time(), layout_of(tmp_path)
    monkeypatch.setattr(shelves, "can_exchange", lambda folder: False)
    with a_store(tmp_path, now) as store:
        filled(store, now, days=1)
        with pytest.raises(CannotRewriteError, match="ext4"):
            changed(layout, GONE)
        assert visitors(store.connection) == [("a", 5), ("b", 5)]


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    layout = layout_of(tmp_path)
    layout.create()
    with rewrite.alone(layout), pytest.raises(CannotRewriteError, match="later"), rewrite.alone(layout):
        pass


def test_parts_that_were_put_aside_go_with_it(tmp_path: Path) -> None:
    now, layout = Time(), layout_of(tmp_path)
    with a_store(tmp_path, now) as store:
        filled(store, now, days=1)
        orphan = layout.cold / "events" / "x.parquet.orphan"
        orphan.write_bytes(b"rows")
        changed(layout, GONE)
        rewrite.replace(layout)
        assert not orphan.exists()
