"""Text of SQL: statements kept in files, and values put into statements that take no parameters.

DuckDB takes no parameters in DDL, in COPY targets and in the table functions of a view; what goes there goes through here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from os import PathLike, fspath
from pathlib import Path

import duckdb

ROOM = Path(__file__).parent


@cache
def read(name: str) -> str:
    """The statement in `storage/<name>.sql`."""
    return (ROOM / f"{name}.sql").read_text(encoding="utf-8")


def question(statement: str) -> str:
    """The first comment of a statement: what it answers."""
    first = statement.lstrip().partition("\n")[0]
    return first.removeprefix("--").strip() if first.startswith("--") else ""


def literal(value: str | PathLike[str]) -> str:
    """A text, or a path that is taken as it is."""
    return "'" + fspath(value).replace("'", "''") + "'"


def name(identifier: str) -> str:
    """A column or table whatever it is called: `at` and `count` are words of DuckDB's own."""
    return '"' + identifier.replace('"', '""') + '"'


def files(folder: Path, pattern: str) -> str:
    """A pattern below a folder, whose own path may hold characters that patterns give a meaning."""
    return literal(f"{_one(folder)}/{pattern}")


def file(path: Path) -> str:
    """A single file for a function that would take a pattern."""
    return literal(_one(path))


def _one(path: Path) -> str:
    # DuckDB's globs know no escape, but a class of one character stands for itself.
    return re.sub(r"([*?\[])", r"[\1]", fspath(path))


@contextmanager
def transaction(con: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """All of the block or nothing. A COMMIT that fails has rolled back by itself."""
    con.execute("begin")
    try:
        yield
        con.execute("commit")
    except BaseException:
        with suppress(duckdb.Error):
            con.execute("rollback")
        raise
