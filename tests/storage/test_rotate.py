"""work.duckdb gets a new file: the same rows, and none of the bytes of those that are gone."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from storage import rotate
from tests.support.rows import a_store, batch, event, layout_of, spool_file

NEEDLE = "needle-0123456789-" * 3


def filled(store) -> None:
    # Short texts in a few rows are packed; of many different ones there are bytes to be found.
    store.write(batch(*(event(n, path=f"/{n}/{NEEDLE}{n * 7919}") for n in range(300)), spool_file("w1-1-1")))
    store.publish()
    store.write(batch(event(1000, path="/stays")))


def test_deleted_rows_stay_in_the_file_until_it_is_rotated(tmp_path: Path) -> None:
    path = layout_of(tmp_path).work_db
    with a_store(tmp_path) as store:
        filled(store)
        store.connection.execute("delete from work.events where path <> '/stays'")
        store.connection.execute("checkpoint work")
        assert NEEDLE[:9].encode() in path.read_bytes()
        mark = store.mark
        store.rotate()
        assert NEEDLE[:9].encode() not in path.read_bytes()
        store.publish()
        assert NEEDLE[:9].encode() not in layout_of(tmp_path).hot_db.read_bytes()
        # It goes on as if nothing had happened, with what it knew.
        store.write(batch(event(2000)))
        assert store.connection.execute("select count(*) from events").fetchall() == [(2,)]
        assert store.ingested(["w1-1-1"]) == {"w1-1-1"}
        assert store.mark.b == mark.b + 1
        with pytest.raises(duckdb.ConstraintException):
            store.connection.execute("insert into work.events (b) values (1)")
    with a_store(tmp_path) as store:
        assert store.connection.execute("select count(*) from events").fetchall() == [(2,)]
    assert [file.name for file in path.parent.glob("work.duckdb*")] == ["work.duckdb"]


def test_a_copy_that_lacks_rows_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = rotate._counts
    with a_store(tmp_path) as store:
        filled(store)
        monkeypatch.setattr(rotate, "_counts", lambda con, database: {**counts(con, database), "database": database})
        with pytest.raises(RuntimeError, match="is not used"):
            store.rotate()
        monkeypatch.undo()
        assert store.connection.execute("select count(*) from events").fetchall() == [(301,)]
        store.rotate()
        assert store.connection.execute("select count(*) from events").fetchall() == [(301,)]
