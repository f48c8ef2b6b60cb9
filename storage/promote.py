"""Moves rows from the hot tables to Parquet parts, so that no reader ever misses a row or meets it twice.

Knows the order of the steps and the waits between them:

    intend   the range is committed to `mark`; whatever happens now, this range and no other is written next
    write    its parts are written under their final names, then committed as promoted
    pass     a grace later the watermark passes the range: every list of files taken meanwhile has its parts
    forget   a grace after readers can see that watermark, its rows leave the hot tables

A query reads the watermark, lists the parts and reads the hot rows one after the other, and may meet two images of the
hot rows (measured: 15 of 2,383 queries at 7 images a second). Any two moments less than a grace apart give each row once.
After a crash the waits begin again: they may be longer, never shorter.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, auto
from pathlib import Path

import duckdb

from storage.crash import crash_point
from storage.parts import Parts, Range
from storage.publish import room_at
from storage.sql import file, name, transaction
from storage.tables import TABLES

logger = logging.getLogger(__name__)

# Below this much room on the disk no part is begun: what is left is for the spool.
RESERVE_BYTES = 128 * 1024 * 1024
# The last spool files of a day still come in after midnight.
SETTLE_SECS = 60


@dataclass(frozen=True)
class Mark:
    """The one row of `mark`; storage/migrations/001_log.sql says what each number means."""

    w: int
    promoted: int
    intent: int
    forgotten: int
    b: int
    since: str | None


class Step(Enum):
    INTEND = auto()
    WRITE = auto()
    PASS = auto()
    FORGET = auto()


def read_mark(con: duckdb.DuckDBPyConnection, database: str) -> Mark:
    return _mark(con, f"{database}.mark")


def shown_mark(con: duckdb.DuckDBPyConnection, image: Path) -> Mark:
    """The mark in a published image: never further than the log itself."""
    return _mark(con, f"read_duckdb({file(image)}, table_name = 'mark')")


def _mark(con: duckdb.DuckDBPyConnection, source: str) -> Mark:
    return Mark(*con.execute(f"select w, promoted, intent, forgotten, b, since from {source}").fetchall()[0])


def next_step(mark: Mark, *, rows: int, part_rows: int, now: float) -> Step | None:
    """What is due after what was done; whether its wait is over is not asked here.

    `rows` came after the last range that was intended; `now` is Unix seconds.
    """
    if mark.intent > mark.promoted:
        return Step.WRITE
    if mark.promoted > mark.w:
        return Step.PASS
    if mark.w > mark.forgotten:
        return Step.FORGET
    if mark.b > mark.intent and (rows >= part_rows or is_another_day(mark.since, now)):
        return Step.INTEND
    return None


def is_another_day(since: str | None, now: float) -> bool:
    """Whether the day `since` is over, and has been for `SETTLE_SECS`."""
    return since is not None and day_of(now) != since and day_of(now - SETTLE_SECS) != since


def day_of(now: float) -> str:
    """The day in UTC, `YYYY-MM-DD`."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d")


class Promotion:
    """The steps at work on the tables of `database`. `monotonic` gives seconds for the waits."""

    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        database: str,
        parts: Parts,
        *,
        part_rows: int,
        grace_secs: float,
        monotonic: Callable[[], float],
    ) -> None:
        self.con = con
        self.database = database
        self.parts = parts
        self.part_rows = part_rows
        self.grace_secs = grace_secs
        self.monotonic = monotonic
        mark = self.mark()
        counts = (f"(select count(*) from {self._table(table.name)} where b > {mark.intent})" for table in TABLES)
        self.rows: int = con.execute(f"select {' + '.join(counts)}").fetchall()[0][0]
        # When the wait that is on began. Of parts that were promoted before, it begins now.
        self.waiting_since: float | None = monotonic()
        # All that is in the tables now shall be filed, however little it is.
        self.is_urged = False
        if mark.promoted == mark.w:
            self.waiting_since = None
        self.is_short_of_room = False

    def mark(self) -> Mark:
        return read_mark(self.con, self.database)

    def advance(self, now: float) -> bool:
        """Takes the step that is due, if its wait is over. True if the tables or `mark` changed.

        Raises duckdb.Error or OSError when the disk refuses, RuntimeError if a part is not what it should be; the
        same step is then taken again the next time.
        """
        mark = self.mark()
        rows = self.part_rows if self.is_urged else self.rows
        step = next_step(mark, rows=rows, part_rows=self.part_rows, now=now)
        if step is Step.INTEND and self._has_room():
            self.is_urged = False
            self._set("intent = b, since = null")
            self.rows = 0
            crash_point("intent-committed")
            self._write(self.mark())
        elif step is Step.WRITE and self._has_room():
            self._write(mark)
        elif step is Step.PASS and self._is_over():
            self._set("w = promoted")
            # The next wait begins when readers can see this: see `published`.
            self.waiting_since = None
            crash_point("watermark-moved")
        elif step is Step.FORGET and self._is_over():
            with transaction(self.con):
                for table in TABLES:
                    self.con.execute(f"delete from {self._table(table.name)} where b <= {mark.w}")
                self._set("forgotten = w")
            self.waiting_since = None
            crash_point("rows-forgotten")
        else:
            return False
        return True

    def published(self) -> None:
        """Readers can see the tables as they are now."""
        if self.waiting_since is None:
            mark = self.mark()
            if mark.w > mark.forgotten:
                self.waiting_since = self.monotonic()

    def _write(self, mark: Mark) -> None:
        span = Range(mark.promoted, mark.intent)
        self.parts.write(span)
        self._set("promoted = intent")
        self.waiting_since = self.monotonic()
        crash_point("parts-committed")
        logger.info("part written batches=%d-%d", span.after + 1, span.to)

    def _is_over(self) -> bool:
        return self.waiting_since is not None and self.monotonic() - self.waiting_since >= self.grace_secs

    def _has_room(self) -> bool:
        short = room_at(self.parts.cold) < RESERVE_BYTES
        if short and not self.is_short_of_room:
            logger.error(
                "promotion waits: less than %d MB free at %s; make room, nothing is lost meanwhile",
                RESERVE_BYTES >> 20,
                self.parts.cold,
            )
        elif self.is_short_of_room and not short:
            logger.info("promotion goes on: there is room again at %s", self.parts.cold)
        self.is_short_of_room = short
        return not short

    def _set(self, change: str) -> None:
        self.con.execute(f"update {self._table('mark')} set {change}")

    def _table(self, table: str) -> str:
        return f"{name(self.database)}.{name(table)}"
