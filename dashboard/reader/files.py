"""Which files the views of a door read. Asked of the door itself: whoever reads may see other defaults than the writer."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import duckdb

from dashboard.reader.problem import Refused, no_log

_READS = re.compile(r"read_(duckdb|parquet)\('((?:[^']|'')*)'")
_GLOB = "/**/*.parquet"


def of_door(door: Path) -> tuple[list[str], list[str]]:
    """The files and the folders. Raises `Refused` (503) where there is no door to open."""
    try:
        with closing(duckdb.connect(str(door), read_only=True)) as con:
            statements = con.execute("select sql from duckdb_views() where not internal").fetchall()
    except duckdb.Error:
        raise Refused(no_log()) from None
    return read_by(text for (text,) in statements)


def read_by(statements: Iterable[str]) -> tuple[list[str], list[str]]:
    """The files and folders that stand in these statements.

    With a `[` in its path a file is asked for both as the views write it and as it is called.
    """
    names: set[str] = set()
    folders: set[str] = set()
    for function, quoted in (found for text in statements for found in _READS.findall(text)):
        path = quoted.replace("''", "'")
        if function == "duckdb":
            # DuckDB looks for a WAL beside it.
            names |= {path, _as_it_is(path), path + ".wal", _as_it_is(path) + ".wal"}
        else:
            folder = path.removesuffix(_GLOB)
            folders |= {folder, _as_it_is(folder)}
    return sorted(names), sorted(folders)


def _as_it_is(pattern: str) -> str:
    return re.sub(r"\[(.)\]", r"\1", pattern)
