"""Gives work.duckdb a new file with the same rows, and so gets rid of the bytes of those it no longer has.

Knows that DuckDB leaves deleted rows in the file, after DELETE, CHECKPOINT and VACUUM alike (measured), and that only a
copy of the database is clean. The new file gets its name when it is whole and on the disk; who is killed before finds
the old one, and who is killed after the new one. Knows nothing of what is in the tables.
"""

from __future__ import annotations

import os
from pathlib import Path

import duckdb

from storage.crash import crash_point
from storage.parts import sync
from storage.sql import literal, name

_FRESH = "fresh"


def rotate(con: duckdb.DuckDBPyConnection, database: str, path: Path) -> None:
    """`database` is attached from `path` by `con` before and after, and open nowhere else.

    Raises duckdb.Error or OSError when the disk refuses. The rows are safe then, but `database` may not be attached:
    close the connection and open it again.
    """
    fresh = path.with_name(path.name + ".new")
    _remove(fresh)
    con.execute(f"checkpoint {name(database)}")
    con.execute(f"attach {literal(fresh)} as {_FRESH}")
    try:
        con.execute(f"copy from database {name(database)} to {_FRESH}")
        if _counts(con, database) != _counts(con, _FRESH):
            raise RuntimeError(f"{fresh} does not hold what {path} does; it is not used")
        con.execute(f"checkpoint {_FRESH}")
    finally:
        con.execute(f"detach {_FRESH}")
    sync(fresh)
    crash_point("work-copied")
    con.execute(f"detach {name(database)}")
    if (wal := _wal(path)).exists():
        # After a checkpoint there is none. Beside a new file it would be played into it.
        con.execute(f"attach {literal(path)} as {name(database)}")
        raise RuntimeError(f"{wal} is still there after a checkpoint; {path} stays as it is")
    os.replace(fresh, path)
    sync(path.parent)
    crash_point("work-rotated")
    con.execute(f"attach {literal(path)} as {name(database)}")
    _remove(fresh)


def _counts(con: duckdb.DuckDBPyConnection, database: str) -> dict[str, int]:
    found = con.execute("select table_name from duckdb_tables() where database_name = ?", [database]).fetchall()
    return {
        table: con.execute(f"select count(*) from {name(database)}.{name(table)}").fetchall()[0][0]
        for (table,) in found
    }


def _remove(fresh: Path) -> None:
    fresh.unlink(missing_ok=True)
    _wal(fresh).unlink(missing_ok=True)


def _wal(path: Path) -> Path:
    return path.with_name(path.name + ".wal")
