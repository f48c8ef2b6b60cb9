from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest

from storage.read import NoLogError, open_log
from tests.support.rows import a_store, batch, event, layout_of


def test_a_log_is_read_with_times_in_utc_and_cannot_be_written(tmp_path: Path) -> None:
    with a_store(tmp_path) as store:
        store.write(batch(event()))
    with open_log(layout_of(tmp_path)) as log:
        (moment,) = log.execute("select occurred_at from events").fetchall()[0]
        assert (moment.utcoffset(), moment.hour) == (timedelta(0), 12)
        with pytest.raises(duckdb.InvalidInputException, match="read-only"):
            log.execute("create table t (n integer)")


def test_where_no_log_is_yet_it_is_said_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(NoLogError, match=r"no log at .*log\.duckdb yet\. Start `ropo serve`"):
        open_log(layout_of(tmp_path))


def test_what_is_no_log_is_told(tmp_path: Path) -> None:
    layout = layout_of(tmp_path)
    layout.create()
    layout.log_db.write_bytes(b"hello" * 10_000)
    with pytest.raises(NoLogError, match="cannot be opened"):
        open_log(layout)


def test_after_a_restart_of_the_machine_it_is_said_what_puts_the_rows_back(tmp_path: Path) -> None:
    with a_store(tmp_path):
        pass
    shutil.rmtree(layout_of(tmp_path).hot_db.parent)
    with pytest.raises(NoLogError, match="After a restart of the machine"):
        open_log(layout_of(tmp_path))
    with a_store(tmp_path):
        pass
    with open_log(layout_of(tmp_path)) as log:
        assert log.execute("select count(*) from events").fetchall() == [(0,)]
