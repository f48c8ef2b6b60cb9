from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest

from storage import store as store_module
from storage.parts import LAST, Range
from storage.read import open_log
from storage.store import Store, UnusableLogError
from storage.tables import EVENTS
from tests.support.rows import (
    Time,
    a_store,
    batch,
    event,
    exchanges,
    layout_of,
    lead,
    open_store,
    promote_all,
    spool_file,
)
from tracker.model import Batch, Event


def count(store: Store, what: str = "events") -> int:
    return store.connection.execute(f"select count(*) from {what}").fetchall()[0][0]


def name_of(n: int, epoch: int = 1, worker: str = "w1") -> str:
    return f"{worker}-{epoch:020d}-{n:06d}.ndjson"


def a_file(n: int, epoch: int = 1, worker: str = "w1") -> Batch:
    return batch(event(n), spool_file(name_of(n, epoch, worker), epoch=epoch, worker=worker))


def test_rows_of_all_tables_come_back_after_a_restart(tmp_path: Path) -> None:
    with a_store(tmp_path) as store:
        store.write(batch(event(), lead("l", 0), spool_file("f")))
        store.write(batch(event(1)))
        assert (store.mark.b, store.counters["rows"], store.counters["batches"]) == (2, 4, 2)
    with a_store(tmp_path) as store:
        assert [count(store, view) for view in ("events", "lead_facts", "spool_files", "leads")] == [2, 1, 1, 1]
        assert store.mark.b == 2


def test_a_batch_goes_in_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with a_store(tmp_path) as store:
        last = store._inserters[LAST]
        with monkeypatch.context() as patch:
            patch.setattr(last, "insert", lambda rows, b: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
            with pytest.raises(OSError, match="full"):
                store.write(batch(event(), lead("l", 0), spool_file("f")))
        assert [count(store, view) for view in ("events", "lead_facts", "spool_files")] == [0, 0, 0]
        assert (store.mark.b, store.ingested(["f"])) == (0, set())
        store.write(batch(event(), spool_file("f")))
        assert (count(store), store.mark.b) == (1, 1)


def test_an_empty_batch_is_no_batch(tmp_path: Path) -> None:
    with a_store(tmp_path) as store:
        store.publish()
        store.write(Batch())
        assert (store.mark.b, store.publish()) == (0, False)


def test_what_a_killed_process_had_committed_is_there(tmp_path: Path) -> None:
    code = f"""
import os, signal
from pathlib import Path
from tests.support.rows import *
store = open_store(Path({str(tmp_path)!r}))
store.write(batch(event(), spool_file("f")))
os.kill(os.getpid(), signal.SIGKILL)
"""
    repository = Path(__file__).resolve().parents[2]
    subprocess.run([sys.executable, "-c", code], cwd=repository, timeout=60)
    with a_store(tmp_path) as store:
        assert (count(store), store.ingested(["f", "g"])) == (1, {"f"})


def test_a_file_is_known_however_long_ago_it_came_in(tmp_path: Path) -> None:
    time = Time()
    with a_store(tmp_path, time, part_rows=1) as store:
        for n in (1, 2, 3):
            store.write(a_file(n))
        store.write(a_file(1, epoch=2, worker="w2"))
        promote_all(store, time)
        assert store.mark.forgotten == 4
        assert count(store, "work.spool_files") == 0
        store.write(a_file(4))
        asked = [name_of(n) for n in range(1, 7)] + [name_of(1, 2, "w2"), name_of(1, 3), "odd", "w1-x-1"]
        known = {name_of(n) for n in (1, 2, 3, 4)} | {name_of(1, 2, "w2")}
        assert store.ingested(asked) == known
    with a_store(tmp_path, time) as store:
        assert store.ingested(asked) == known
        assert store.ingested([]) == set()


def test_a_file_that_came_in_late_is_known_by_its_own_name(tmp_path: Path) -> None:
    """A later number in the parts does not stand for the earlier ones."""
    time = Time()
    with a_store(tmp_path, time, part_rows=1) as store:
        store.write(a_file(7))
        promote_all(store, time)
        assert store.ingested([name_of(6), name_of(7), name_of(8)]) == {name_of(7)}
        store.write(a_file(6))
        promote_all(store, time)
        assert store.ingested([name_of(6), name_of(7), name_of(8)]) == {name_of(6), name_of(7)}


def test_a_file_without_a_readable_header_is_known_after_it_was_promoted(tmp_path: Path) -> None:
    time = Time()
    with a_store(tmp_path, time, part_rows=1) as store:
        store.write(batch(spool_file(name_of(1), epoch=None)))
        promote_all(store, time)
        assert store.ingested([name_of(1)]) == {name_of(1)}


def quarantined(folder: Path) -> list[dict[str, Any]]:
    lines = [line for path in layout_of(folder).quarantine.glob("*.ndjson") for line in path.read_text().splitlines()]
    return [json.loads(line) for line in lines]


def test_a_row_that_is_refused_is_put_aside_and_counted_and_the_others_go_in(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bad = Event("bad", "yesterday at noon", "page_view", "proxy", node="n", worker="w1", epoch=1, seq=5, path="/secret")
    with a_store(tmp_path) as store:
        store.write(batch(*exchanges(1, 2, 3, 4), bad, *exchanges(6), lead("l", 0), spool_file("f", last_seq=6)))
        assert (count(store), count(store, "leads"), store.ingested(["f"])) == (5, 1, {"f"})
        assert store.counters["refused"] == 1
        ledger = store.connection.execute("select received, logged, dropped, drops from ledger").fetchall()
        assert ledger == [(6, 5, 1, {"quarantined": 1})]
    (line,) = quarantined(tmp_path)
    assert line["source"] == "table events"
    assert "'bad'" in line["line"]
    assert "/secret" not in caplog.text


def test_a_lone_surrogate_does_not_stop_the_log(tmp_path: Path) -> None:
    with a_store(tmp_path) as store:
        store.write(batch(event(), event(path="\ud800"), spool_file("f")))
        assert (count(store), len(quarantined(tmp_path))) == (1, 1)


def test_a_file_full_of_rows_that_are_refused_does_not_stop_the_log(tmp_path: Path) -> None:
    """A writer's epoch with a flipped bit is in every row of its file, and in the file's own row."""
    rows = exchanges(*range(1, 40), epoch=2**70)
    with a_store(tmp_path) as store:
        store.write(batch(event(), *rows, spool_file("broken", epoch=2**70)))
        assert (count(store), len(quarantined(tmp_path))) == (1, 40)
        # Or it would be taken in again and again.
        assert store.ingested(["broken"]) == {"broken"}


def test_a_table_that_refuses_everything_is_not_taken_for_bad_rows(tmp_path: Path) -> None:
    with a_store(tmp_path) as store:
        # As if a column had another type than this version thinks.
        inserter = store._inserters[EVENTS]
        inserter.statement = inserter.statement.replace("'name': 'VARCHAR'", "'name': 'BIGINT'")
        with pytest.raises(UnusableLogError, match="events refuses whatever it is given"):
            store.write(batch(event(), spool_file("f")))
        assert (store.ingested(["f"]), quarantined(tmp_path)) == (set(), [])


def test_readers_see_rows_when_they_are_published(tmp_path: Path) -> None:
    with a_store(tmp_path) as store, open_log(layout_of(tmp_path)) as log:
        store.write(batch(event()))
        assert log.execute("select count(*) from events").fetchall() == [(0,)]
        assert count(store) == 1
        assert store.publish()
        assert not store.publish()
        assert log.execute("select count(*) from events").fetchall() == [(1,)]


def test_closing_shows_what_there_is(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.write(batch(event()))
    store.close()
    store.close()
    with open_log(layout_of(tmp_path)) as log:
        assert log.execute("select count(*) from events").fetchall() == [(1,)]


def test_an_image_that_is_gone_is_published_again_though_nothing_changed(tmp_path: Path) -> None:
    with a_store(tmp_path) as store:
        store.write(batch(event()))
        store.publish()
        shutil.rmtree(layout_of(tmp_path).hot_db.parent)
        assert store.publish()
        with open_log(layout_of(tmp_path)) as log:
            assert log.execute("select count(*) from events").fetchall() == [(1,)]
        store.write(batch(event()))
        assert count(store) == 2


def test_without_room_nothing_is_published_and_it_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with a_store(tmp_path) as store:
        caplog.set_level(logging.INFO, "storage.store")
        store.write(batch(event()))
        monkeypatch.setattr(store_module, "room_at", lambda folder: 1000)
        assert [store.publish() for _ in range(3)] == [False] * 3
        monkeypatch.undo()
        assert store.publish()
    assert [record.message.partition(":")[0] for record in caplog.records] == ["publishing waits", "publishing goes on"]


def test_a_full_disk_keeps_the_log_from_being_shown_but_not_from_being_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(store_module, "publish_image", full)
        store = open_store(tmp_path)
        store.write(batch(event()))
        with pytest.raises(OSError, match="No space"):
            store.publish()
    assert not layout_of(tmp_path).log_db.exists()
    assert store.publish()
    store.close()
    with open_log(layout_of(tmp_path)) as log:
        assert log.execute("select count(*) from events").fetchall() == [(1,)]


def test_a_damaged_database_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with a_store(tmp_path) as store:
        store.write(batch(event()))
    layout_of(tmp_path).work_db.write_bytes(b"no database" * 1000)
    with pytest.raises(UnusableLogError, match=r"cannot be opened.*`ropo storage rebuild`"):
        open_store(tmp_path)


def test_a_database_that_is_open_elsewhere_is_told_as_that(tmp_path: Path) -> None:
    with a_store(tmp_path):
        pass
    code = f"import duckdb, sys; c = duckdb.connect({str(layout_of(tmp_path).work_db)!r}); print('open', flush=True); sys.stdin.read()"
    other = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "open\n"
        with pytest.raises(UnusableLogError, match="open in another process"):
            open_store(tmp_path)
    finally:
        other.communicate("")


def filed(folder: Path, time: Time) -> None:
    """A log with 2 batches in parts and 1 after them."""
    with a_store(folder, time, part_rows=2) as store:
        store.write(a_file(1))
        store.write(a_file(2))
        promote_all(store, time)
        store.write(a_file(3))
        assert store.mark.forgotten == 2


def test_a_lost_database_is_begun_anew_after_the_parts(tmp_path: Path) -> None:
    time = Time()
    filed(tmp_path, time)
    layout_of(tmp_path).work_db.unlink()
    with pytest.raises(UnusableLogError, match=r"is gone.*`ropo storage rebuild`"):
        open_store(tmp_path, time)
    with a_store(tmp_path, time, part_rows=1, anew=True) as store:
        assert not store.publish()
        store.show()
        assert (count(store), store.mark.b) == (2, 2)
        # Its files come again from the archive: those that are in the parts are known.
        assert store.ingested([name_of(n) for n in (1, 2, 3)]) == {name_of(1), name_of(2)}
        store.write(a_file(3))
        assert count(store) == 3
        promote_all(store, time)
        assert (count(store), store.mark.forgotten) == (3, 3)


def test_parts_of_a_range_that_was_not_whole_are_put_aside_with_a_lost_database(tmp_path: Path) -> None:
    time = Time()
    filed(tmp_path, time)
    layout = layout_of(tmp_path)
    (part,) = layout.cold.glob(f"events/day=*/{Range(0, 2).file_name}")
    shutil.copy(part, part.with_name(Range(2, 9).file_name))
    layout.work_db.unlink()
    with a_store(tmp_path, time, anew=True) as store:
        assert (count(store), store.mark.b) == (2, 2)
    assert part.with_name(Range(2, 9).file_name + ".orphan").exists()


def test_an_older_copy_of_the_database_is_refused(tmp_path: Path) -> None:
    time = Time()
    with a_store(tmp_path, time, part_rows=2) as store:
        store.write(a_file(1))
        store.publish()
        older = tmp_path / "backup"
        shutil.copy(layout_of(tmp_path).work_db, older)
        store.write(a_file(2))
        promote_all(store, time)
    shutil.copy(older, layout_of(tmp_path).work_db)
    with pytest.raises(UnusableLogError, match="older copy"):
        open_store(tmp_path)


def test_a_path_that_duckdb_cannot_read_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(UnusableLogError, match="backslash"):
        open_store(tmp_path / "back\\slash")


@pytest.mark.parametrize("folder", ["it's", "a [1] b", "*"])
def test_a_log_can_lie_in_a_folder_of_any_name(tmp_path: Path, folder: str) -> None:
    time = Time()
    with a_store(tmp_path / folder, time, part_rows=1) as store:
        store.write(a_file(1))
        promote_all(store, time)
        store.write(a_file(2))
        store.publish()
        assert count(store) == 2
        assert store.ingested([name_of(1), name_of(2), name_of(3)]) == {name_of(1), name_of(2)}
        with open_log(layout_of(tmp_path / folder)) as log:
            assert log.execute("select count(*) from events").fetchall() == [(2,)]


def test_the_files_can_be_read_by_the_oldest_duckdb_we_support(tmp_path: Path) -> None:
    with a_store(tmp_path) as store:
        versions = store.connection.execute(
            "select tags['storage_version'] from duckdb_databases() where database_name = 'work'"
        ).fetchall()
    assert versions[0][0].startswith("v1.5.0")
    with duckdb.connect(str(layout_of(tmp_path).log_db), read_only=True) as log:
        found = log.execute(
            "select tags['storage_version'] from duckdb_databases() where database_name = 'log'"
        ).fetchall()
    assert found[0][0].startswith("v1.5.0")
