"""The log as `ropo sql` opens it: read-only, and with no way to other files.

Knows DuckDB's switches for that. They guard against slips, and against a query somebody was talked into; they are no
prison for an enemy, and DuckDB has none (https://duckdb.org/docs/stable/operations_manual/securing_duckdb/overview).

    files           only what the views read: the Parquet parts and the published hot.duckdb. No CSV, no ATTACH
    network         none: extensions are neither installed nor loaded
    Python          variables of this program are no tables
    writing         log.duckdb is opened read-only, and statements that write files are refused. DuckDB 2.0 also knows
                    `with x as (copy ...) select`, which this does not see; it could write beside the parts, nowhere else
"""

from __future__ import annotations

import re

import duckdb

from storage import read, sql
from storage.layout import Layout

WRITES_FILES = frozenset({duckdb.StatementType.COPY, duckdb.StatementType.EXPORT})

_FILES = re.compile(r"read_(duckdb|parquet)\('((?:[^']|'')*)'")
_GLOB = "/**/*.parquet"


def open_confined(layout: Layout) -> duckdb.DuckDBPyConnection:
    """A connection that reads the log and nothing else. Raises storage.read.NoLogError."""
    con = read.open_log(layout)
    files, folders = _read_by_views(con)
    con.execute("set autoinstall_known_extensions = false")
    con.execute("set autoload_known_extensions = false")
    con.execute("set python_enable_replacements = false")
    con.execute(f"set allowed_paths = [{', '.join(map(sql.literal, files))}]")
    con.execute(f"set allowed_directories = [{', '.join(map(sql.literal, folders))}]")
    # The last one: from here on DuckDB refuses to change the three around it.
    con.execute("set enable_external_access = false")
    return con


def _read_by_views(con: duckdb.DuckDBPyConnection) -> tuple[list[str], list[str]]:
    """The files and folders that stand in the views. Asked of the log itself: who reads may see other defaults."""
    statements = con.execute("select sql from duckdb_views() where not internal").fetchall()
    files: set[str] = set()
    folders: set[str] = set()
    for function, quoted in (found for (text,) in statements for found in _FILES.findall(text)):
        path = quoted.replace("''", "'")
        if function == "duckdb":
            # DuckDB looks for a WAL beside it.
            files |= {path, _as_it_is(path), path + ".wal", _as_it_is(path) + ".wal"}
        else:
            # With a `[` in its path a folder is asked for both as the views write it and as it is called.
            folder = path.removesuffix(_GLOB)
            folders |= {folder, _as_it_is(folder)}
    return sorted(files), sorted(folders)


def _as_it_is(pattern: str) -> str:
    return re.sub(r"\[(.)\]", r"\1", pattern)
