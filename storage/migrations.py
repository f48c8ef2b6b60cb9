"""Brings the tables of work.duckdb to the columns that this version writes.

Knows numbered files of SQL, `storage/migrations/NNN_*.sql`, each run once and recorded in the transaction that ran it.
A migration adds tables or columns. It never changes or takes one away: parts that were written before stay as they are,
and a column they lack reads as null.
"""

from __future__ import annotations

import logging
from pathlib import Path

import duckdb

from storage.sql import ROOM, name, transaction

logger = logging.getLogger(__name__)

FOLDER = ROOM / "migrations"


class NewerLogError(Exception):
    """The log was written by a newer ropo than this one."""


def newest(folder: Path | None = None) -> int:
    """The number of the last migration that this version knows."""
    return max((int(path.name.partition("_")[0]) for path in (folder or FOLDER).glob("*.sql")), default=0)


def migrate(
    con: duckdb.DuckDBPyConnection, database: str, folder: Path | None = None, *, upto: int | None = None
) -> int:
    """Runs what the attached `database` lacks, in order. Returns the number of the last migration, `upto` at most.

    Raises `NewerLogError` if it has run one that this version does not know.
    """
    record = f"{name(database)}.migrations"
    con.execute(f"create table if not exists {record} (number integer, file varchar, applied_at timestamptz)")
    applied = {number for (number,) in con.execute(f"select number from {record}").fetchall()}
    known = {int(path.name.partition("_")[0]): path for path in sorted((folder or FOLDER).glob("*.sql"))}
    if upto is not None:
        known = {number: path for number, path in known.items() if number <= upto}
    if unknown := applied - known.keys():
        raise NewerLogError(
            f"this log has had migration {max(unknown)}, and this version of ropo ends at {max(known, default=0)}; "
            "start the newer version again"
        )
    for number in sorted(known.keys() - applied):
        con.execute(f"use {name(database)}")
        try:
            with transaction(con):
                con.execute(known[number].read_text(encoding="utf-8"))
                con.execute(f"insert into {record} values (?, ?, now())", [number, known[number].name])
        finally:
            con.execute("use memory")
        # A WAL that holds ALTER beside rows has been seen not to replay: duckdb/duckdb#25928.
        con.execute(f"checkpoint {name(database)}")
        logger.info("log migrated file=%s", known[number].name)
    return max(known, default=0)
