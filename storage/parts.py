"""Parquet parts: cold/<table>/day=YYYY-MM-DD/<after>-<to>.parquet holds the rows of one day in a range of batches.

Knows how a part gets its name only when it is whole and on the disk, and how to tell from the names alone what is filed.
A part under its name is never written again and never removed: readers may be in it (a replaced Parquet file failed
10 % of the queries that were reading it, measured on DuckDB 1.5 and 2.0). Small ones become one of
month=YYYY-MM/<after>-<to>.parquet, on another shelf than their readers': see `compact` and `shelves`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import duckdb

from storage import checksums, shelves
from storage.crash import crash_point
from storage.sql import file, files, literal, name
from storage.tables import SPOOL_FILES, TABLES, Table

# Written last in every range, if need be without a row: where it stands, the parts of all tables stand.
LAST = SPOOL_FILES


@dataclass(frozen=True)
class Range:
    """The batches after `after`, up to and with `to`."""

    after: int
    to: int

    @property
    def file_name(self) -> str:
        return f"{self.after:012d}-{self.to:012d}.parquet"


def range_of(path: Path) -> Range | None:
    """The range that a part's name says, or None for a base part. One that was rewritten has a number behind the range."""
    after, dash, to = path.stem.partition(".")[0].partition("-")
    return Range(int(after), int(to)) if dash and after.isdigit() and to.isdigit() else None


class Parts:
    """The parts below `cold`, filled from the tables of `database`."""

    def __init__(self, con: duckdb.DuckDBPyConnection, database: str, cold: Path) -> None:
        self.con = con
        self.database = database
        self.cold = cold

    def every(self, table: Table) -> str:
        """All parts of a table, for read_parquet."""
        return files(self.cold / table.name, "**/*.parquet")

    def lay_base(self, number: int) -> None:
        """A part without rows for each table, with the columns of migration `number`.

        DuckDB 1.5 refuses a pattern that no file matches; and a column that no part has cannot be asked for.
        """
        with shelves.moving(self.cold):
            self._lay_base(number)

    def _lay_base(self, number: int) -> None:
        for table in TABLES:
            self._write(f"from {self._table(table)} limit 0", self.cold / table.name / f"base-{number:03d}.parquet")

    def write(self, span: Range) -> None:
        """The parts of a range, one per table and day. Repeated after a crash it goes on where it stopped.

        Raises duckdb.Error or OSError when the disk refuses, RuntimeError if the parts do not hold what the tables do.
        """
        with shelves.moving(self.cold):
            self.sweep()
            days: set[str] = set()
            for table in (*(table for table in TABLES if table is not LAST), LAST):
                days |= self._write_table(table, span, days)

    def _write_table(self, table: Table, span: Range, before: set[str]) -> set[str]:
        # Without functions of time zones, so that a day is a day in UTC whatever the session says.
        day_of = f"strftime(make_timestamp(epoch_us({name(table.time)})), '%Y-%m-%d')"
        rows = f"from {self._table(table)} where b > {span.after} and b <= {span.to}"
        counts = dict(self.con.execute(f"select {day_of}, count(*) {rows} group by 1").fetchall())
        if table is LAST and not counts:
            counts = {min(before, default="1970-01-01"): 0}
        for day, count in sorted(counts.items()):
            path = self.cold / table.name / f"day={day}" / span.file_name
            self._write(f"{rows} and {day_of} = {literal(day)} order by {name(table.time)}", path)
            (there,) = self.con.execute(f"select num_rows from parquet_file_metadata({file(path)})").fetchall()[0]
            if there != count:
                raise RuntimeError(f"{path} holds {there} rows of {count}; it is not used, move it away")
        return set(counts)

    def _write(self, rows: str, path: Path) -> None:
        if path.exists():
            shelves.share(self.cold, path)
            return
        make_folder(path.parent)
        fresh = path.with_name(path.name + ".tmp")
        self.con.execute(f"copy ({rows}) to {literal(fresh)} (format parquet, compression zstd)")
        sync(fresh)
        checksums.keep(path, checksums.of(fresh))
        crash_point("part-written")
        os.rename(fresh, path)
        sync(path.parent)
        crash_point("part-named")
        shelves.share(self.cold, path)

    def _table(self, table: Table) -> str:
        return f"{name(self.database)}.{name(table.name)}"

    def sweep(self) -> None:
        """Removes what a crash left under a temporary name."""
        for path in self.cold.glob("*/**/*.parquet.tmp"):
            path.unlink(missing_ok=True)

    def filed(self) -> int:
        """The last batch of the last range whose parts are all there; 0 without any."""
        found = map(range_of, (self.cold / LAST.name).glob("**/*.parquet"))
        return max((span.to for span in found if span), default=0)

    def beyond(self, batch: int) -> list[Path]:
        """The parts that hold batches after `batch`."""
        found = ((path, range_of(path)) for table in TABLES for path in (self.cold / table.name).glob("**/*.parquet"))
        return sorted(path for path, span in found if span and span.to > batch)


def make_folder(folder: Path) -> None:
    """Makes a folder so that it is there after a power cut."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(mode=0o750, exist_ok=True)
        sync(folder.parent)


def sync(path: Path) -> None:
    """Forces a file or a folder's list of names to the disk."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
