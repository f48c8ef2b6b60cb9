"""Opens work.duckdb. Knows DuckDB's switches for it, and what to say to the operator when it cannot be used.

Knows nothing of when and by whom it is written: that is the store's.
"""

from __future__ import annotations

import duckdb

from storage import door
from storage.layout import Layout
from storage.parts import range_of
from storage.settings import StorageSettings
from storage.sql import literal
from storage.tables import Table

WORK = "work"

REBUILD = (
    "Stop ropo and run `ropo storage rebuild`: it makes work.duckdb anew from the parts, the archive and the spool, and "
    "keeps the old one"
)


class UnusableLogError(Exception):
    """work.duckdb cannot be used. The message says why and what to do."""


def connect(layout: Layout, settings: StorageSettings) -> duckdb.DuckDBPyConnection:
    """A connection with work.duckdb attached. Views are made in the database in memory, so that none is published."""
    if "\\" in f"{layout.root}{layout.hot_db}":
        raise UnusableLogError(
            f"{layout.root}: DuckDB takes a backslash for a slash; choose a storage.path without one"
        )
    con = duckdb.connect(
        ":memory:",
        config={
            "storage_compatibility_version": door.STORAGE_VERSION,
            "memory_limit": f"{settings.memory_limit_mb}MB",
            # The workers need the other cores; a second thread would cost half as much CPU again for each small batch.
            "threads": 1,
            "temp_directory": str(layout.root / "work.duckdb.tmp"),
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        },
    )
    try:
        # Times without an offset are read and shown as UTC.
        con.execute("set timezone = 'UTC'")
        # It would be drawn on the operator's terminal whenever a statement takes two seconds.
        con.execute("set enable_progress_bar = false")
        con.execute(f"attach {literal(layout.work_db)} as {WORK}")
    except duckdb.Error as error:
        con.close()
        if is_locked(error):
            raise UnusableLogError(
                f"{layout.work_db} is open in another process: close it there; log.duckdb is the file to look into "
                f"({error})"
            ) from error
        raise UnusableLogError(f"{layout.work_db} cannot be opened ({error}). {REBUILD}") from error
    return con


def is_locked(error: duckdb.Error) -> bool:
    """Whether another process has the database open. (A damaged block is told with a word that holds "lock" as well.)"""
    return "could not set lock on file" in str(error).lower()


def is_lost(layout: Layout) -> bool:
    """Whether there is no work.duckdb, and has been one: it left parts or an archive."""
    return not layout.work_db.exists() and (
        any(map(range_of, layout.cold.rglob("*.parquet"))) or any(layout.archive.iterdir())
    )


def is_damaged(error: BaseException) -> bool:
    """Whether this is DuckDB's word for a file that is not what was written."""
    text = str(error).lower()
    return isinstance(error, duckdb.Error) and ("corrupt" in text or "could not read enough bytes" in text)


def columns_of(con: duckdb.DuckDBPyConnection, table: Table) -> list[str]:
    """The columns of a table as analysts see them."""
    found = con.execute(
        "select column_name from duckdb_columns() where database_name = ? and table_name = ? order by column_index",
        [WORK, table.name],
    ).fetchall()
    return [name for (name,) in found if name != "b"]
