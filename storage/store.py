"""The log as the collector writes it: work.duckdb, its parts, its published image and its door.

Knows in which order these are opened, written and shown, and what one transaction holds. All calls come from one thread.
Knows nothing of spool files but their names, and asks nothing of the log but which of those it has.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
from msgspec import to_builtins

from storage import compact, door, ingest, migrations, quarantine, rotate, shelves
from storage.crash import crash_point
from storage.layout import Layout
from storage.parts import Parts
from storage.promote import Mark, Promotion, day_of, read_mark
from storage.publish import publish_image, room_at
from storage.settings import StorageSettings
from storage.sql import files, transaction
from storage.tables import EVENTS, SPOOL_FILES, TABLES, Table
from storage.work import REBUILD, WORK, UnusableLogError, columns_of, connect, is_damaged, is_lost
from tracker import clock as moments
from tracker.model import Batch, Drop, SpoolFile

logger = logging.getLogger(__name__)

# Room that must be left beside a new image: on the disk of the spool, and on a tmpfs of its own.
RESERVE_ON_DISK_BYTES = 256 * 1024 * 1024
RESERVE_ON_TMPFS_BYTES = 16 * 1024 * 1024


class Store:
    """Opened by `Store.open`, used on one thread, closed by `close`.

    After duckdb.FatalException or duckdb.InternalException the database is invalid: close the store and open it again;
    all that was committed is there.
    """

    @classmethod
    def open(
        cls,
        layout: Layout,
        settings: StorageSettings,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        anew: bool = False,
    ) -> Store:
        """Opens the log, or makes it. Ends what a crash interrupted, shows the rows, and puts the door in place.

        `anew`: a work.duckdb that is lost is begun anew after the parts, and readers keep what they have until `show`.
        Raises `UnusableLogError`, `migrations.NewerLogError`, OSError.
        """
        layout.create()
        if not anew and is_lost(layout):
            raise UnusableLogError(f"{layout.work_db} is gone, and the log is older than that. {REBUILD}")
        con = connect(layout, settings)
        try:
            return cls(con, layout, settings, clock=clock, monotonic=monotonic, is_hidden=anew)
        except duckdb.Error as error:
            con.close()
            if not is_damaged(error):
                raise
            raise UnusableLogError(f"{layout.work_db} or a part cannot be read ({error}). {REBUILD}") from error
        except BaseException:
            con.close()
            raise

    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        layout: Layout,
        settings: StorageSettings,
        *,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        is_hidden: bool = False,
    ) -> None:
        self._con = con
        self._is_hidden = is_hidden
        self._layout = layout
        self._clock = clock
        self._parts = Parts(con, WORK, layout.cold)
        number = migrations.migrate(con, WORK)
        self._parts.sweep()
        self._parts.lay_base(number)
        self._begin()
        scratch = layout.hot_db.parent
        self._inserters = {table: ingest.Inserter(con, WORK, table, scratch) for table in TABLES}
        self._look_through(shelves.current(layout.cold))
        self._promotion = Promotion(
            con, WORK, self._parts, part_rows=settings.part_rows, grace_secs=settings.grace_secs, monotonic=monotonic
        )
        # The newest file name in the parts by its beginning (writer and epoch), as far as it was asked for.
        self._newest_filed: dict[str, str] = {}
        self._is_changed = True
        self._is_short_of_room = False
        self._grace_secs = settings.grace_secs
        self.counters = {"rows": 0, "batches": 0, "refused": 0, "published": 0, "parts": 0}
        try:
            self.promote(clock())
            self.publish()
        except (duckdb.IOException, OSError) as error:
            # A full disk must not keep the spool from being taken in.
            logger.error("log opened, but not shown yet error=%r; make room, it is tried again", error)

    @property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """For questions: it has the views of log.duckdb, over rows that are not published yet as well."""
        return self._con

    @property
    def mark(self) -> Mark:
        return read_mark(self._con, WORK)

    def ingested(self, names: Sequence[str]) -> set[str]:
        """Those of these spool files that are in the log, however long ago they came in."""
        found = self._con.execute(
            f"select name from {WORK}.spool_files where name in (select unnest($names::varchar[]))",
            {"names": list(names)},
        ).fetchall()
        known = {name for (name,) in found}
        # A file that could not be moved away after its rows were committed may come back after they were promoted.
        old = [name for name in names if name not in known and name <= self._newest_filed_like(name)]
        if old:
            found = self._con.execute(
                f"select name from {self._filed()} where name in (select unnest($names::varchar[]))", {"names": old}
            ).fetchall()
            known |= {name for (name,) in found}
        return known

    def write(self, batch: Batch) -> None:
        """One transaction: all rows of the batch, or none. They are on the disk when this returns.

        A row that a table refuses goes to the quarantine with its reason, and is counted among the drops; the others
        go in. Raises duckdb.Error or OSError when the disk refuses; nothing of the batch is in the log then.
        """
        if not batch:
            return
        try:
            self._commit(batch)
        except ingest.ROW_ERRORS:
            batch = self._without_refused(batch)
            self._commit(batch)
        self._is_changed = True
        rows = sum(len(table.rows(batch)) for table in TABLES)
        self._promotion.rows += rows
        self.counters["rows"] += rows
        self.counters["batches"] += 1

    def publish(self) -> bool:
        """Shows the rows to readers. False if nothing has changed since the last time, or there is no room.

        Raises duckdb.Error or OSError when the disk refuses; readers keep what they have.
        """
        hot = self._layout.hot_db
        if self._is_hidden or not (self._is_changed and self._has_room() or not hot.exists()):
            return False
        self._con.execute(f"checkpoint {WORK}")
        publish_image(self._layout.work_db, hot)
        self._is_changed = False
        self.counters["published"] += 1
        self._promotion.published()
        if not self._is_door_current:
            if not door.is_current(self._layout.log_db, self._views):
                door.build(self._layout.log_db, self._views, note=self._note_door)
                logger.info("door made path=%s", self._layout.log_db)
            self._is_door_current = True
        return True

    def show(self) -> None:
        """Ends what `anew` began: readers see the rows from here on."""
        self._is_hidden = False
        self.publish()

    def promote(self, now: float) -> None:
        """Takes the next step towards Parquet parts, if one is due. `now` is Unix seconds. Cheap if none is.

        Raises duckdb.Error or OSError when the disk refuses; the step is taken again the next time.
        """
        self._follow_shelf()
        filed = self.mark.promoted
        if self._promotion.advance(now):
            self._is_changed = True
            if self.mark.promoted > filed:
                self.counters["parts"] += 1
                self._newest_filed.clear()

    def tidy(self) -> None:
        """Takes away parts that were merged into bigger ones, once nobody reads them any more. Raises OSError."""
        self._follow_shelf()
        compact.clear_up(self._layout)
        shelves.sweep(self._layout.cold, self._layout.log_db, grace_secs=self._grace_secs)

    def urge(self) -> int:
        """All rows of now shall be in parts only, soon: the batch up to which. `mark.forgotten` tells when it is done."""
        self._promotion.is_urged = self.mark.b > self.mark.intent
        return self.mark.b

    def rotate(self) -> None:
        """Takes the bytes of rows that are gone out of the files. Raises like `rotate.rotate`; then open the store anew."""
        rotate.rotate(self._con, WORK, self._layout.work_db)
        self._is_changed = True

    def close(self) -> None:
        """Shows what is there and lets go of the files."""
        with closing(self._con), suppress(duckdb.ConnectionException):
            try:
                self.publish()
            except (duckdb.Error, OSError) as error:
                logger.warning("last rows not published error=%r", error)

    def _look_through(self, shelf: Path) -> None:
        """From here on the collector's views read the parts through this shelf, and so does the next door."""
        columns = {table.name: columns_of(self._con, table) for table in TABLES}
        door.create(self._con, door.views(columns=columns, cold=shelf, fresh=door.in_database(WORK)))
        self._views = door.views(columns=columns, cold=shelf, fresh=door.in_image(self._layout.hot_db))
        self._shelf = shelf
        self._is_door_current = False

    def _follow_shelf(self) -> None:
        if (shelf := shelves.current(self._layout.cold)) != self._shelf:
            self._look_through(shelf)
            self._is_changed = True

    def _note_door(self, fresh: Path) -> None:
        shelves.note_former_door(self._layout.cold, self._layout.log_db)
        shelves.note_door(self._shelf, fresh)

    def _begin(self) -> None:
        """Gives a new database its mark. Beside parts of an older one it goes on after them."""
        filed = self._parts.filed()
        if self._con.execute(f"select count(*) from {WORK}.mark").fetchall()[0][0]:
            mark = self.mark
            if filed > mark.intent:
                raise UnusableLogError(
                    f"{self._layout.work_db} ends at batch {mark.intent}, and the parts in {self._layout.cold} go to "
                    f"{filed}: it is an older copy. {REBUILD}"
                )
            return
        for path in self._parts.beyond(filed):
            # Of a range that was never whole; the rows come again from the spool.
            logger.warning("part put aside path=%s reason='its range is not complete'", path)
            os.rename(path, path.with_name(path.name + ".orphan"))
        self._con.execute(f"insert into {WORK}.mark values ($b, $b, $b, $b, $b, null)", {"b": filed})
        if filed:
            logger.warning("new work.duckdb beside older parts: it goes on after batch=%d", filed)

    def _commit(self, batch: Batch) -> None:
        with transaction(self._con):
            b = self.mark.b + 1
            for table in TABLES:
                if rows := table.rows(batch):
                    self._insert(table, rows, b)
            self._con.execute(
                f"update {WORK}.mark set b = $b, since = coalesce(since, $day)",
                {"b": b, "day": day_of(self._clock())},
            )
            crash_point("rows-inserted")
        crash_point("batch-committed")

    def _insert(self, table: Table, rows: Sequence[Any], b: int) -> None:
        self._inserters[table].insert(rows, b)

    def _without_refused(self, batch: Batch) -> Batch:
        """The batch without the rows that its tables refuse, and with a drop for each event among them."""
        kept, drops = Batch(), []
        for table in TABLES:
            rows = table.rows(batch)
            bad = list(ingest.refused(rows, lambda some, table=table: self._reason_against(table, some)))
            if bad and (reason := self._reason_against(table, [table.plain_row(moments.now_text())])):
                raise UnusableLogError(
                    f"the table {table.name} refuses whatever it is given ({reason.splitlines()[0]}): "
                    "this version of ropo does not fit this log"
                )
            self._quarantine(table, bad)
            gone = {id(row) for row, _ in bad}
            setattr(kept, table.name, [row for row in rows if id(row) not in gone])
            if table is EVENTS:
                drops = [drop for row, _ in bad if (drop := _drop_of(row))]
            if table is SPOOL_FILES:
                # Its name has to be kept, or the file would come in again and again.
                kept.spool_files += [SpoolFile(row.name, moments.now_text()) for row, _ in bad]
        kept.drops += drops
        return kept

    def _reason_against(self, table: Table, rows: Sequence[Any]) -> str | None:
        if not rows:
            return None
        self._con.execute("begin")
        try:
            self._insert(table, rows, 0)
        except ingest.ROW_ERRORS as error:
            return str(error)
        finally:
            self._con.execute("rollback")
        return None

    def _quarantine(self, table: Table, refused: Sequence[tuple[Any, str]]) -> None:
        lines = [(str(to_builtins(row)).encode("utf-8", "backslashreplace"), reason) for row, reason in refused]
        if quarantine.put(self._layout, f"table {table.name}", lines, now=datetime.fromtimestamp(self._clock(), UTC)):
            self.counters["refused"] += len(lines)
            logger.error("rows refused table=%s count=%d; see %s", table.name, len(lines), self._layout.quarantine)

    def _has_room(self) -> bool:
        hot = self._layout.hot_db
        is_apart = os.stat(hot.parent).st_dev != os.stat(self._layout.root).st_dev
        reserve = RESERVE_ON_TMPFS_BYTES if is_apart else RESERVE_ON_DISK_BYTES
        short = room_at(hot.parent) < self._layout.work_db.stat().st_size + reserve
        if short and not self._is_short_of_room:
            logger.error("publishing waits: too little room at %s; make room, nothing is lost meanwhile", hot.parent)
        elif self._is_short_of_room and not short:
            logger.info("publishing goes on: there is room again at %s", hot.parent)
        self._is_short_of_room = short
        return not short

    def _newest_filed_like(self, name: str) -> str:
        """The newest name in the parts with the same beginning as `name`, or nothing.

        Asked once for each life of a writer: the names of one count up, so a later one cannot be in a part.
        """
        beginning, dash, _ = name.rpartition("-")
        if beginning not in self._newest_filed:
            epoch = beginning.rpartition("-")[2]
            of_writer = "and (epoch is null or epoch = $epoch)" if epoch.isdigit() and int(epoch) < 2**63 else ""
            found = self._con.execute(
                f"select max(name) from {self._filed()} where starts_with(name, $beginning) {of_writer}",
                {"beginning": beginning + dash} | ({"epoch": int(epoch)} if of_writer else {}),
            ).fetchall()
            self._newest_filed[beginning] = found[0][0] or ""
        return self._newest_filed[beginning]

    def _filed(self) -> str:
        # Not `cold` itself, which compaction may exchange at any moment.
        parts = files(self._shelf / SPOOL_FILES.name, "**/*.parquet")
        return f"read_parquet({parts}, union_by_name = true, hive_partitioning = false)"


def _drop_of(event: Any) -> Drop | None:
    if not all(isinstance(number, int) and abs(number) < 2**63 for number in (event.epoch, event.seq)):
        return None
    return Drop(
        occurred_at=moments.now_text(),
        node=event.node,
        worker=event.worker,
        epoch=event.epoch,
        reason="quarantined",
        count=1,
        first_seq=event.seq,
        last_seq=event.seq,
    )
