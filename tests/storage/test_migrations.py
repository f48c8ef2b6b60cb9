from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from storage import migrations
from storage.migrations import FOLDER, NewerLogError, migrate
from storage.settings import StorageSettings
from storage.store import Store
from tests.support import old_log, whole_log
from tests.support.rows import Time, a_store, batch, event, layout_of, open_store, promote_all


@pytest.fixture
def con(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as con:
        con.execute(f"attach '{tmp_path / 'work.duckdb'}' as work")
        yield con


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name.lstrip('_')}.sql").write_text(text)
    return folder


def applied(con: duckdb.DuckDBPyConnection) -> list[tuple]:
    return con.execute("select number, file from work.migrations order by number").fetchall()


def test_each_migration_runs_once_and_in_order(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    folder = write(tmp_path / "m", _002_more="insert into t values (2);", _001_first="create table t (n integer);")
    assert migrate(con, "work", folder) == 2
    assert migrate(con, "work", folder) == 2
    assert con.execute("from work.t").fetchall() == [(2,)]
    assert applied(con) == [(1, "001_first.sql"), (2, "002_more.sql")]
    write(folder, _010_later="alter table t add column extra varchar;")
    assert migrate(con, "work", folder) == 10
    assert con.execute("from work.t").fetchall() == [(2, None)]


def test_a_migration_that_fails_leaves_nothing_and_is_tried_again(
    con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    folder = write(tmp_path / "m", _001_bad="create table t (n integer); insert into nowhere values (1);")
    with pytest.raises(duckdb.CatalogException):
        migrate(con, "work", folder)
    assert applied(con) == []
    write(folder, _001_bad="create table t (n integer);")
    assert migrate(con, "work", folder) == 1
    # The session is back where it was, not in the database that was migrated.
    assert con.execute("select current_database()").fetchall() == [("memory",)]


def test_a_log_of_a_newer_version_is_refused(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    folder = write(tmp_path / "m", _001_first="create table t (n integer);", _002_more="select 1;")
    migrate(con, "work", folder)
    (folder / "002_more.sql").unlink()
    with pytest.raises(NewerLogError, match="migration 2.*ends at 1"):
        migrate(con, "work", folder)


def test_a_migrated_database_holds_nothing_in_its_wal(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    migrate(con, "work")
    wal = tmp_path / "work.duckdb.wal"
    assert not wal.exists() or wal.stat().st_size == 0


def test_the_shipped_migrations_are_numbered_without_gaps_or_doubles() -> None:
    numbers = sorted(int(path.name[:3]) for path in FOLDER.glob("*.sql"))
    assert numbers == list(range(1, len(numbers) + 1))
    assert all(path.name[3] == "_" for path in FOLDER.glob("*.sql"))


def test_the_folder_is_looked_up_when_it_is_needed(
    con: duckdb.DuckDBPyConnection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "FOLDER", write(tmp_path / "m", _007_only="create table t (n integer);"))
    assert migrate(con, "work") == 7


def with_one_more(folder: Path, text: str) -> Path:
    """The shipped migrations and another after them."""
    shutil.copytree(FOLDER, folder)
    (folder / "900_more.sql").write_text(text)
    return folder


MORE = "alter table events add column score integer; create table notes (text varchar, b bigint not null);"


def test_a_migration_breaks_no_statement_that_a_session_has_prepared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, layout = Time(), layout_of(tmp_path)
    with a_store(tmp_path, now, part_rows=1) as store:
        store.write(batch(event()))
        promote_all(store, now)
        store.write(batch(event(1)))
    code = (
        "import sys, duckdb\n"
        "con = duckdb.connect(sys.argv[1], read_only=True)\n"
        "con.execute('prepare counted as select count(*), count(distinct event_id) from events')\n"
        "con.execute('prepare whole as select count(*) from (select * from events)')\n"
        "for line in sys.stdin:\n"
        "    print(*con.execute('execute counted').fetchall(), *con.execute('execute whole').fetchall(), flush=True)\n"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    session = subprocess.Popen([sys.executable, "-c", code, str(layout.log_db)], **pipes)

    def asked() -> str:
        print("again", file=session.stdin, flush=True)
        return session.stdout.readline().strip()

    try:
        assert asked() == "(2, 2) (2,)"
        door = layout.log_db.stat().st_ino
        monkeypatch.setattr(migrations, "FOLDER", with_one_more(tmp_path / "m", MORE))
        with a_store(tmp_path, now, part_rows=1) as store:
            assert layout.log_db.stat().st_ino != door
            assert asked() == "(2, 2) (2,)"
            store.write(batch(event(2)))
            store.publish()
            assert asked() == "(3, 3) (3,)"
            # New rows, old rows and both in one part, with the new column and without it.
            promote_all(store, now)
            store.publish()
            assert store.mark.forgotten == 3
            assert asked() == "(3, 3) (3,)"
            assert store.connection.execute("select count(score) from events").fetchall() == [(0,)]
    finally:
        session.communicate("")


@pytest.mark.parametrize("archive", sorted(old_log.FOLDER.glob("*.tar.xz")), ids=lambda path: path.name)
@pytest.mark.parametrize("more", ["", MORE])
def test_the_log_of_an_older_ropo_is_opened_and_goes_on(
    tmp_path: Path, archive: Path, more: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = old_log.unpack(archive, tmp_path)
    if more:
        monkeypatch.setattr(migrations, "FOLDER", with_one_more(tmp_path / "m", more))
    now = Time()
    store = open_store(tmp_path, now, part_rows=1)
    try:
        there = whole_log.every_view(layout_of(tmp_path))
        assert {view: len(there[view]) for view in about["rows"]} == about["rows"]
        whole_log.take_day(store, layout_of(tmp_path), 5)
        before = whole_log.rows_of(store.connection)
        promote_all(store, now)
        promote_all(store, now)
        assert store.mark.forgotten == store.mark.b
        assert whole_log.rows_of(store.connection) == before
        assert len(before["leads"]) == about["rows"]["leads"] + 1
    finally:
        store.close()


def test_there_is_a_log_of_every_migration_to_try() -> None:
    """If this fails, run `python -m tests.support.old_log` and keep the file."""
    numbers = {int(path.name[10:13]) for path in old_log.FOLDER.glob("migration-*.tar.xz")}
    assert numbers == {int(path.name[:3]) for path in FOLDER.glob("*.sql")}


def test_the_log_of_a_newer_ropo_is_refused_and_not_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = layout_of(tmp_path)
    with a_store(tmp_path) as store:
        store.write(batch(event()))
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "FOLDER", with_one_more(tmp_path / "m", MORE))
        open_store(tmp_path).close()
    before = layout.work_db.read_bytes()
    with pytest.raises(NewerLogError, match=r"has had migration 900.*start the newer version again"):
        Store.open(layout, StorageSettings(path=str(layout.root), memory_limit_mb=256))
    assert layout.work_db.read_bytes() == before
