"""Looks whether the log is what it should be. Changes nothing, and works beside a running ropo.

Knows what each file of the log promises, and how to see whether it keeps it:

    parts         a day, a range of batches, a checksum; readable to the last row group; no range twice, none missing
    work.duckdb   opens; has the tables and columns of its migrations; its rows and the parts' agree where both have them
    log.duckdb    opens, and every view answers
    spool         files are named and end as they should
    archive       unpacks; and what is in it is in the log
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import duckdb

from storage import archive, checksums, door, migrations, rebuild
from storage.compact import Part, part_at
from storage.layout import Layout
from storage.parts import LAST, Range, range_of
from storage.promote import Mark, read_mark, shown_mark
from storage.publish import room_at
from storage.read import NoLogError, open_log
from storage.recovery import whole_size
from storage.settings import StorageSettings
from storage.spool_file import OPEN, PART, SEALED, parse
from storage.sql import file, literal, name
from storage.tables import DROPS, TABLES, Table
from storage.work import is_lost

State = Literal["ok", "warning", "failed", "not looked at"]

LOW_SPACE_BYTES = 1 << 30
# Files that came into the archive since then may not be published yet.
UNPUBLISHED_SECS = 60.0

_FOLDER = re.compile(r"day=\d{4}-\d{2}-\d{2}|month=\d{4}-\d{2}")
_RESTORE = "restore this file from a backup (`ropo storage restore`), or move it away: its rows are missing then"


@dataclass(frozen=True)
class Finding:
    """`detail` says what was found; `todo` what to do about it, empty when all is well."""

    name: str
    state: State
    detail: str
    todo: str = ""


def check(layout: Layout, settings: StorageSettings, *, serving: bool, now: float) -> Iterator[Finding]:
    """Each finding as soon as it is known. `serving`: a ropo runs, and work.duckdb is its own. `now` in Unix seconds."""
    yield space(layout)
    with closing(_connect(settings)) as con:
        mark = _shown(con, layout)
        found = Parts(con, layout)
        yield from found.check(mark)
        if serving:
            yield _not_looked_at(layout, mark)
        else:
            yield work(con, layout, settings)
    yield views(layout)
    yield spool(layout, serving=serving)
    yield from archived(layout, settings, serving=serving, now=now)
    yield quarantined(layout)


def space(layout: Layout) -> Finding:
    free = room_at(layout.root)
    detail = f"{free >> 20:,} MB free at {layout.root}"
    if free < LOW_SPACE_BYTES:
        return Finding("space", "warning", detail, "make room: without it rows wait in the spool")
    return Finding("space", "ok", detail)


class Parts:
    """The Parquet parts, and what is wrong with them."""

    def __init__(self, con: duckdb.DuckDBPyConnection, layout: Layout) -> None:
        self.con = con
        self.layout = layout
        self.without_checksum = 0

    def check(self, mark: Mark | None) -> Iterator[Finding]:
        spans: set[Range] = set()
        by_table: dict[str, list[Part]] = {}
        for table in TABLES:
            self.without_checksum = 0
            parts: list[Part] = []
            wrong: list[Finding] = []
            for path in sorted((self.layout.cold / table.name).rglob("*.parquet")):
                try:
                    parts += filter(None, [self.part(table, path)])
                except (duckdb.Error, OSError, ValueError) as error:
                    wrong.append(Finding(f"parts of {table.name}", "failed", f"{path}: {_first_line(error)}", _RESTORE))
            yield from wrong
            yield from (Finding(f"parts of {table.name}", "failed", text, _RESTORE) for text in overlaps(parts))
            by_table[table.name] = parts
            if not wrong:
                yield self.told(table, parts)
        spans = {part.span for part in by_table[LAST.name]}
        yield ranges(spans, {part.span for parts in by_table.values() for part in parts}, mark)

    def told(self, table: Table, parts: Sequence[Part]) -> Finding:
        detail = f"{len(parts)} with {sum(part.rows for part in parts):,} rows"
        if self.without_checksum:
            detail += f"; {self.without_checksum} have no checksum (from an older ropo), every row of them was read"
        return Finding(f"parts of {table.name}", "ok", detail)

    def part(self, table: Table, path: Path) -> Part | None:
        """What is there, if it is whole. Raises ValueError, duckdb.Error or OSError if it is not."""
        digest = checksums.kept(path)
        if digest is not None and checksums.of(path) != digest:
            raise ValueError("its checksum is not the one that was kept when it was written")
        source = f"read_parquet({file(path)}, hive_partitioning = false)"
        if digest is None:
            self.without_checksum += range_of(path) is not None
            columns = [row[0] for row in self.con.execute(f"describe from {source}").fetchall()]
            self.con.execute(f"select bit_xor(hash({', '.join(map(name, columns))})) from {source}").fetchall()
        if path.name.startswith("base-"):
            return None
        asked = f"select count(*), min(b), max(b), min({name(table.time)}), max({name(table.time)}) from {source}"
        rows, first, last, since, until = self.con.execute(asked).fetchall()[0]
        part = part_at(path, rows)
        if part is None or not _FOLDER.fullmatch(path.parent.name) or path.parent.parent.name != table.name:
            raise ValueError("it is not named like a part: <table>/day=YYYY-MM-DD/<after>-<to>.parquet")
        if rows and not part.span.after < first <= last <= part.span.to:
            raise ValueError(f"it holds the batches {first} to {last}, and its name says {path.stem}")
        if rows and not all(f"{moment:%Y-%m-%d}".startswith(part.day or part.month) for moment in (since, until)):
            raise ValueError(f"it holds rows of {since:%Y-%m-%d} to {until:%Y-%m-%d}, and lies in {path.parent.name}")
        return part


def overlaps(parts: Sequence[Part]) -> Iterator[str]:
    """Parts of one table that claim the same batches of the same day.

    Of `drops` one may stand beside another: counts that retention left of other rows (see storage.rewrite).
    """
    ordered = sorted(parts, key=lambda part: (part.month, part.span.after, part.span.to))
    for number, one in enumerate(ordered):
        for other in ordered[number + 1 :]:
            if other.month != one.month or other.span.after >= one.span.to:
                break
            is_of_drops = one.path.parent.parent.name == DROPS.name
            if is_of_drops and (_is_numbered(one.path) or _is_numbered(other.path)):
                continue
            if one.day is None or other.day is None or one.day == other.day:
                yield f"{one.path} and {other.path} hold the same batches: rows are counted twice"


def _is_numbered(path: Path) -> bool:
    """Whether a part was written in the place of another, or beside it: `<after>-<to>.<number>.parquet`."""
    return "." in path.stem


def ranges(filed: Iterable[Range], named: Iterable[Range], mark: Mark | None) -> Finding:
    """Whether the ranges of the parts follow one another without a gap, and end where the log says they do."""
    end = start = None
    for span in sorted(filed, key=lambda span: (span.after, span.to)):
        if end is not None and span.after > end:
            return Finding("ranges", "failed", f"no part holds the batches {end + 1} to {span.after}", _RESTORE)
        start = span.after if start is None else start
        end = span.to if end is None else max(end, span.to)
    promoted = mark.promoted if mark else None
    if promoted and (end or 0) < promoted:
        return Finding("ranges", "failed", f"the parts go to batch {end or 0}, and the log to {promoted}", _RESTORE)
    beyond = sum(span.to > (end or 0) for span in named)
    if beyond and mark and mark.intent == mark.promoted:
        return Finding(
            "ranges",
            "warning",
            f"{beyond} parts are of a range that is not whole",
            "start `ropo serve`: it puts them aside",
        )
    if end is None:
        return Finding("ranges", "ok", "no part yet")
    return Finding("ranges", "ok", f"batches {(start or 0) + 1} to {end}, each once")


def work(con: duckdb.DuckDBPyConnection, layout: Layout, settings: StorageSettings) -> Finding:
    """work.duckdb, while nobody else has it open."""
    if not layout.work_db.exists() and not is_lost(layout):
        return Finding("work.duckdb", "ok", "not made yet")
    if why := rebuild.damage(layout, settings, frozenset()):
        return Finding("work.duckdb", "failed", why, "`ropo storage rebuild` makes it anew and keeps this one")
    con.execute(f"attach {literal(layout.work_db)} as work (read_only)")
    try:
        if why := unlike_migrations(con):
            return Finding("work.duckdb", "failed", *why)
        mark = read_mark(con, "work")
        for table in TABLES:
            if why := _disagreement(con, layout, table, mark):
                return Finding("work.duckdb", "failed", why, _RESTORE)
        counts = (f"(select count(*) from work.{name(table.name)})" for table in TABLES)
        rows = con.execute(f"select {' + '.join(counts)}").fetchall()[0][0]
    finally:
        con.execute("detach work")
    return Finding("work.duckdb", "ok", f"{rows:,} rows, batches up to {mark.b}, of which {mark.promoted} are in parts")


def unlike_migrations(con: duckdb.DuckDBPyConnection) -> tuple[str, str] | None:
    """What the tables of `work` lack or have too much, beside the migrations that they have had; and what to do."""
    newest = max((number for (number,) in con.execute("select number from work.migrations").fetchall()), default=0)
    con.execute("attach ':memory:' as wanted")
    try:
        if migrations.migrate(con, "wanted", upto=newest) < newest:
            return f"it has had migration {newest}, which this ropo does not know", "start the newer version again"
        asked = (
            "select table_name, column_name, data_type from duckdb_columns() where database_name = ? and not internal"
        )
        wanted, there = (set(con.execute(asked, [database]).fetchall()) for database in ("wanted", "work"))
    finally:
        con.execute("detach wanted")
    if wanted != there:
        lacks = ", ".join(sorted(f"{table}.{column}" for table, column, _ in wanted ^ there))
        return f"its columns are not what its migrations made: {lacks}", "`ropo storage rebuild --anyway`"
    return None


def _disagreement(con: duckdb.DuckDBPyConnection, layout: Layout, table: Table, mark: Mark) -> str | None:
    """Rows that are in parts and not yet gone from the tables stand in both."""
    span = f"b > {mark.forgotten} and b <= {mark.promoted}"
    fresh = con.execute(f"select count(*) from work.{name(table.name)} where {span}").fetchall()[0][0]
    paths = [
        path
        for path in (layout.cold / table.name).rglob("*.parquet")
        if (found := range_of(path)) and found.to > mark.forgotten and found.to <= mark.promoted
    ]
    if not paths:
        filed = 0
    else:
        source = f"read_parquet([{', '.join(map(file, paths))}], union_by_name = true, hive_partitioning = false)"
        filed = con.execute(f"select count(*) from {source} where {span}").fetchall()[0][0]
    if filed != fresh:
        return (
            f"{table.name}: of batches {mark.forgotten + 1} to {mark.promoted} it has {fresh} rows, the parts {filed}"
        )
    return None


def views(layout: Layout) -> Finding:
    """log.duckdb: each view answers."""
    try:
        with closing(open_log(layout)) as con:
            found = con.execute("select view_name from duckdb_views() where not internal order by 1").fetchall()
            for (view,) in found:
                con.execute(f"from {name(view)} limit 1").fetchall()
            lacking = {*(table.name for table in TABLES), *door.DERIVED} - {view for (view,) in found}
    except (NoLogError, duckdb.Error) as error:
        return Finding("log.duckdb", "failed", _first_line(error), "start `ropo serve`: it makes the door anew")
    if lacking:
        todo = "restart `ropo serve`: it makes the door anew"
        return Finding("log.duckdb", "warning", f"it lacks the views {', '.join(sorted(lacking))}", todo)
    return Finding("log.duckdb", "ok", f"all {len(found)} views answer")


def spool(layout: Layout, *, serving: bool) -> Finding:
    """What waits for the log. A file that is being written is its writer's business."""
    waiting = size = 0
    torn, strange, dead = [], [], 0
    for path in sorted(layout.spool.iterdir()) if layout.spool.is_dir() else []:
        if path.suffix not in (SEALED, OPEN, PART) or parse(path.stem) is None:
            strange.append(path.name)
        elif path.suffix == SEALED:
            try:
                text = path.read_bytes()
            except FileNotFoundError:
                continue  # taken in while we looked
            waiting, size = waiting + 1, size + len(text)
            if whole_size(text) < len(text):
                torn.append(path.name)
        else:
            dead += not serving
    detail = f"{waiting} files with {size:,} bytes wait"
    if torn:
        todo = "nothing to do: the rest of each is taken in, and bad lines go to the quarantine"
        return Finding("spool", "warning", f"{detail}; {len(torn)} end in a torn line: {', '.join(torn[:3])}", todo)
    if strange:
        todo = "look at them; ropo passes over what is not named like a spool file"
        return Finding("spool", "warning", f"{detail}; not spool files: {', '.join(strange[:3])}", todo)
    return Finding("spool", "ok", f"{detail}{f'; {dead} of dead writers are sealed at the next start' if dead else ''}")


def archived(layout: Layout, settings: StorageSettings, *, serving: bool, now: float) -> Iterator[Finding]:
    """What could build work.duckdb anew, and whether it is in the log."""
    fresh = {path.name for path in layout.archive.glob(f"*{SEALED}") if now - path.stat().st_ctime < UNPUBLISHED_SECS}
    packed = archive.contents(layout)
    for bundle, why in packed.damaged.items():
        todo = "it is a safety copy: move it away, and see to the disk it lies on"
        yield Finding("archive", "failed", f"{bundle} cannot be unpacked to its end ({why})", todo)
    names = packed.names - (fresh if serving else frozenset())
    lost = _unknown(layout, settings, names)
    if lost is None:
        yield Finding(
            "archive", "not looked at", "whether its files are in the log cannot be told: no image of the log"
        )
    elif lost:
        detail = f"{len(lost)} files were taken in and are not in the log: {', '.join(sorted(lost)[:3])}"
        yield Finding("archive", "failed", detail, "stop ropo, and `ropo storage rebuild` takes them in again")
    elif not packed.damaged:
        yield Finding("archive", "ok", f"{len(packed.names)} files, all of them in the log")


def _unknown(layout: Layout, settings: StorageSettings, names: frozenset[str]) -> frozenset[str] | None:
    try:
        with closing(_connect(settings)) as con:
            rows = con.execute(f"select name from read_duckdb({file(layout.hot_db)}, table_name = 'spool_files')")
            rest = names - {row for (row,) in rows.fetchall()}
        return rest - rebuild.filed(layout, rest)
    except duckdb.Error:
        return None


def quarantined(layout: Layout) -> Finding:
    """Lines that could not be read."""
    files = sorted(layout.quarantine.glob("*.ndjson"))
    lines = sum(path.read_bytes().count(b"\n") for path in files)
    if not lines:
        return Finding("quarantine", "ok", "empty")
    todo = f"look at them in {layout.quarantine}; they go after storage.quarantine_days"
    return Finding("quarantine", "warning", f"{lines} lines of {len(files)} days could not be read", todo)


def _not_looked_at(layout: Layout, mark: Mark | None) -> Finding:
    if mark is None:
        todo = "look at stderr of `ropo serve`: it says why it does not publish"
        return Finding("work.duckdb", "failed", f"ropo serves, and its image {layout.hot_db} cannot be read", todo)
    detail = f"ropo serves and has it open; its image {layout.hot_db} has batches up to {mark.b}"
    return Finding("work.duckdb", "not looked at", detail)


def _shown(con: duckdb.DuckDBPyConnection, layout: Layout) -> Mark | None:
    try:
        return shown_mark(con, layout.hot_db)
    except duckdb.Error:
        return None


def _connect(settings: StorageSettings) -> duckdb.DuckDBPyConnection:
    con = duckdb.connect(config={"memory_limit": f"{settings.memory_limit_mb}MB", "threads": 1})
    con.execute("set timezone = 'UTC'")
    con.execute("set enable_progress_bar = false")
    return con


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
