from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from storage import migrations
from storage.migrations import FOLDER, NewerLogError, migrate


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
