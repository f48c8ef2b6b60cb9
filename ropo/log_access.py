"""The log as `ropo sql` and `ropo export-log` open it: read-only, with no way to other files, and none to write any.

Knows the layers that see to that, each of which lets something through that another stops:

    statements      a closed list of kinds (`refused`). DuckDB 2.0 hides writing in what calls itself a SELECT, so where
                    the word copy occurs the plan is looked at as well
    DuckDB          log.duckdb is opened read-only; of files only those that the views read: the Parquet parts and the
                    published hot.duckdb; no extensions, no network, no variables of this program. DuckDB has no way to
                    let a folder be read and not written
    Linux           the thread that asks gives up the right to write files, all DuckDB's threads with it (`landlock`)

Open it on a thread of its own: what the thread gave up does not come back. On a kernel without Landlock (before 5.13, or
switched off) the first two have to do; they guard against slips, and are no prison for an enemy.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb

from storage import landlock, read, sql
from storage.layout import Layout

# Compare with ==: on DuckDB 1.5 there are several of each.
Kind = duckdb.StatementType

# What asks, and what works on temporary tables: log.duckdb itself is open read-only.
# MULTI is PIVOT.
_ASKS = {Kind.SELECT, Kind.MULTI}
_IN_MEMORY = {
    Kind.CREATE,
    Kind.INSERT,
    Kind.UPDATE,
    Kind.DELETE,
    Kind.DROP,
    Kind.ALTER,
    Kind.MERGE_INTO,
    Kind.TRANSACTION,
}
_SETS = {Kind.SET, Kind.VARIABLE_SET}
_WRITES_FILES = {Kind.COPY, Kind.EXPORT}

# Others name files, or switch something on that writes them.
_SETTINGS = {
    "timezone", "time", "calendar", "variable", "threads", "memory_limit", "max_memory", "default_order",
    "default_null_order", "preserve_insertion_order", "integer_division", "ieee_floating_point_ops", "search_path", "schema",
}  # fmt: skip
_PRAGMAS = {"table_info", "show_tables", "show_tables_expanded", "version", "database_size", "database_list"}
_COMMENTS = r"(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/)*"
_SETTING = re.compile(
    rf"^{_COMMENTS}(?:set|reset)\s+(?:(?:session|local|global)\s+)?\"?(\w+)", re.IGNORECASE | re.DOTALL
)
_PRAGMA = re.compile(rf"^{_COMMENTS}pragma\s+(\w+)", re.IGNORECASE | re.DOTALL)
_EXPLAINED = re.compile(rf"^{_COMMENTS}explain\b(?:\s*\([^)]*\)|\s+analyze\b)?", re.IGNORECASE | re.DOTALL)

_FILES = re.compile(r"read_(duckdb|parquet)\('((?:[^']|'')*)'")
_GLOB = "/**/*.parquet"


def open_confined(layout: Layout, *, scratch: Path, writable: Sequence[Path] = ()) -> duckdb.DuckDBPyConnection:
    """A connection that reads the log and nothing else. Call it on the thread that asks, and have it end with that.

    `scratch` is a folder for what does not fit into memory; it and the folders `writable`, for DuckDB's COPY, can be
    written, all else cannot. Raises storage.read.NoLogError.
    """
    landlock.write_nothing_but([scratch, *writable])
    con = read.open_log(layout)
    files, folders = _read_by_views(con)
    con.execute(f"set temp_directory = {sql.literal(scratch)}")
    con.execute("set autoinstall_known_extensions = false")
    con.execute("set autoload_known_extensions = false")
    con.execute("set python_enable_replacements = false")
    con.execute(f"set allowed_paths = [{', '.join(map(sql.literal, files))}]")
    con.execute(f"set allowed_directories = [{', '.join(map(sql.literal, [*folders, *map(str, writable)]))}]")
    # The last one: from here on DuckDB refuses to change the three around it.
    con.execute("set enable_external_access = false")
    return con


def refused(con: duckdb.DuckDBPyConnection, statement: duckdb.Statement) -> str | None:
    """Why this statement is not run, or None. Looks and runs nothing. Raises duckdb.Error if it is not sound."""
    kind, text = statement.type, statement.query
    if kind == Kind.EXPLAIN:
        # EXPLAIN ANALYZE does what it explains.
        inner = con.extract_statements(_EXPLAINED.sub("", text, count=1))
        return refused(con, inner[0]) if len(inner) == 1 and inner[0].type != Kind.EXPLAIN else "it explains too much"
    if kind in _WRITES_FILES or (re.search("copy", text, re.IGNORECASE) and kind not in _SETS and _copies(con, text)):
        return "it writes no files"
    if kind in _SETS:
        return _unless_listed(_SETTING.match(text), _SETTINGS, "it does not set")
    if kind == Kind.PRAGMA:
        return _unless_listed(_PRAGMA.match(text), _PRAGMAS, "it has no pragma")
    return None if kind in _ASKS | _IN_MEMORY else f"it runs no {kind.name.replace('_', ' ')}"


def _unless_listed(found: re.Match[str] | None, listed: set[str], said: str) -> str | None:
    name = found[1].lower() if found else "this"
    return None if name in listed else f"{said} {name}"


def _copies(con: duckdb.DuckDBPyConnection, text: str) -> bool:
    """Whether the plan has a COPY in it. `with x as (copy ...)` is a SELECT by its type."""
    if _is_drawn_up_only(text):
        return False
    found = con.execute(f"explain (format json) {text}").fetchall()
    return any("COPY" in name for _, plan in found for name in _operators(json.loads(plan)))


def _is_drawn_up_only(text: str) -> bool:
    # DuckDB takes no COPY into a view or a macro, and has no plan of making one.
    return (
        re.match(
            rf"^{_COMMENTS}(?:create\b[^(]*?\b(?:view|macro|function)|drop|alter|begin|commit|rollback)\b",
            text,
            re.I | re.S,
        )
        is not None
    )


def _operators(plan: Any) -> Iterator[str]:
    if isinstance(plan, list):
        for part in plan:
            yield from _operators(part)
    elif isinstance(plan, dict):
        yield str(plan.get("name", "")).upper()
        yield from _operators(plan.get("children", []))


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
