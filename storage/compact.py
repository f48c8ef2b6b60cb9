"""Merges small parts into bigger ones, while ropo runs and sessions are open.

Knows which parts are small, how they become one, and the order of the steps:

    merge      the rows of several parts are written into one, in a new tree beside `cold`, and compared with theirs
    link       all other parts are linked into the new tree
    set apart  the shelf that doors read through keeps the old parts
    exchange   `cold` and the new tree change places, in one step
    make       a new shelf leads to `cold`; the collector makes a door that reads through it, the next start at the latest

No path that somebody may have listed ever leads to another file or to none, and no shelf ever holds a row twice or not at
all: so a session has the old parts or the new ones, and each row once. Whoever kills it between two steps leaves a
log that is whole; the next run begins anew.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

import duckdb

from storage import checksums, shelves
from storage.crash import crash_point
from storage.layout import Layout
from storage.parts import Range, make_folder, range_of, sync
from storage.promote import shown_mark
from storage.sql import file, literal
from storage.tables import TABLES

logger = logging.getLogger(__name__)


class CannotCompactError(Exception):
    """Nothing was changed. The message says why and what to do."""


@dataclass(frozen=True)
class Part:
    """`day` is None for one that was merged: it holds days of the month."""

    path: Path
    span: Range
    month: str
    day: str | None
    rows: int


@dataclass(frozen=True)
class Merge:
    """Parts of one table and month that follow one another, oldest first."""

    table: str
    parts: tuple[Part, ...]

    @property
    def place(self) -> Path:
        """Below `cold`."""
        span = Range(self.parts[0].span.after, self.parts[-1].span.to)
        return Path(self.table, f"month={self.parts[0].month}", span.file_name)

    @property
    def rows(self) -> int:
        return sum(part.rows for part in self.parts)


@dataclass
class Compacted:
    """What was done, or what would be."""

    merges: list[Merge] = field(default_factory=list)
    parts_before: int = 0
    parts_after: int = 0


def part_at(path: Path, rows: int) -> Part | None:
    """What a part's folder and name say; None for a base part and whatever else lies there."""
    kind, _, when = path.parent.name.partition("=")
    span = range_of(path)
    if span is None or kind not in ("day", "month"):
        return None
    return Part(path, span, when[:7], when if kind == "day" else None, rows)


def plan(table: str, parts: Sequence[Part], *, upto: int, today: str, part_rows: int) -> list[Merge]:
    """What to merge. Parts of less than half of `part_rows` are small, and no merged one has more than `part_rows`.

    Only ranges up to batch `upto` whose days are all over by `today` (`YYYY-MM-DD`): the others may still be written.
    Whole ranges that follow one another within a month, so that the new name says what is in it.
    """
    open_spans = {part.span for part in parts if part.span.to > upto or (part.day or "") >= today}
    months: defaultdict[str, list[Part]] = defaultdict(list)
    for part in parts:
        months[part.month].append(part)
    merges: list[Merge] = []
    for month in sorted(months):
        run: list[Part] = []
        of_month = sorted(months[month], key=lambda part: (part.span.after, part.span.to, part.day or ""))
        for span, found in groupby(of_month, key=lambda part: part.span):
            same = list(found)
            rows = sum(part.rows for part in same)
            is_small = span not in open_spans and rows * 2 < part_rows
            if run and (not is_small or rows + sum(part.rows for part in run) > part_rows):
                merges.append(Merge(table, tuple(run)))
                run = []
            if is_small:
                run += same
        merges.append(Merge(table, tuple(run)))
    return [merge for merge in merges if len(merge.parts) > 1]


def compact(
    layout: Layout,
    *,
    part_rows: int,
    memory_limit_mb: int = 512,
    now: datetime | None = None,
    dry_run: bool = False,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Compacted:
    """Merges what is small. `progress` is told how many of how many merges are done.

    Raises `CannotCompactError`, OSError or duckdb.Error; the log is whole then.
    """
    today = f"{(now or datetime.now(UTC)).astimezone(UTC):%Y-%m-%d}"
    with _alone(layout), closing(_connect(layout, memory_limit_mb)) as con:
        fresh = _fresh(layout)
        shutil.rmtree(fresh, ignore_errors=True)
        upto = _promoted(con, layout)
        done = Compacted()
        for table in TABLES:
            parts = parts_of(con, layout.cold, table.name)
            done.parts_before += len(parts)
            done.merges += plan(table.name, parts, upto=upto, today=today, part_rows=part_rows)
        merged = [part for merge in done.merges for part in merge.parts]
        done.parts_after = done.parts_before - len(merged) + len(done.merges)
        if dry_run or not done.merges:
            return done
        _look_before(layout)
        places = {merge: _free(layout, merge) for merge in done.merges}
        try:
            stats = {part.path: part.path.stat() for part in merged}
            for number, merge in enumerate(done.merges):
                progress(number, len(done.merges))
                _merge(con, merge, fresh / places[merge])
            progress(len(done.merges), len(done.merges))
            with shelves.moving(layout.cold):
                if any(not _is_same(path, stat) for path, stat in stats.items()):
                    raise CannotCompactError(
                        "parts were removed or rewritten meanwhile; nothing was changed, try again"
                    )
                _put_in_place(layout, fresh, frozenset(stats))
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        logger.info("parts merged from=%d to=%d", len(merged), len(done.merges))
        return done


def _free(layout: Layout, merge: Merge) -> Path:
    """Where it shall lie: under a name that no tree has had for something else."""
    place, number = merge.place, 0
    trees = [layout.cold, *shelves.trees(layout.cold)]
    while any((tree / place).exists() for tree in trees):
        number += 1
        place = merge.place.with_name(f"{merge.place.stem}.{number}.parquet")
    return place


def clear_up(layout: Layout) -> None:
    """Takes away the tree that an interrupted run left: it holds old parts, or half of the new ones."""
    with suppress(CannotCompactError), _alone(layout):
        shutil.rmtree(_fresh(layout), ignore_errors=True)


def _fresh(layout: Layout) -> Path:
    return layout.cold.with_name("cold.new")


def parts_of(con: duckdb.DuckDBPyConnection, cold: Path, table: str) -> list[Part]:
    """The parts of a table but for the base parts, with their rows. Raises duckdb.Error for one that cannot be read."""
    found = []
    for path in sorted((cold / table).glob("*/*.parquet")):
        if range_of(path) is not None:
            asked = con.execute(f"select num_rows from parquet_file_metadata({file(path)})")
            found += filter(None, [part_at(path, asked.fetchall()[0][0])])
    return found


def _put_in_place(layout: Layout, fresh: Path, merged: frozenset[Path]) -> None:
    cold = layout.cold
    shelves.link_tree(cold, fresh, leave=merged | {checksums.beside(path) for path in merged})
    crash_point("tree-linked")
    shelves.set_apart(cold)
    crash_point("shelf-apart")
    shelves.exchange(cold, fresh)
    crash_point("tree-exchanged")
    shelves.make(cold)
    crash_point("shelf-made")


def _merge(con: duckdb.DuckDBPyConnection, merge: Merge, path: Path) -> None:
    make_folder(path.parent)
    source = f"read_parquet([{', '.join(file(part.path) for part in merge.parts)}], union_by_name = true, hive_partitioning = false)"
    # The files one after the other, as they are: each is in order of time already.
    con.execute(f"copy (from {source}) to {literal(path)} (format parquet, compression zstd)")
    if _content(con, source) != _content(con, f"read_parquet({file(path)}, hive_partitioning = false)"):
        raise RuntimeError(f"{path} does not hold what its {len(merge.parts)} parts do; it is not used")
    sync(path)
    checksums.keep(path, checksums.of(path))
    sync(path.parent)
    crash_point("merge-written")


def _content(con: duckdb.DuckDBPyConnection, source: str) -> tuple[object, ...]:
    """How many rows there are, and what they are, in any order."""
    columns = con.execute(f"select column_name from (describe from {source})").fetchall()
    hashed = ", ".join('"' + name.replace('"', '""') + '"' for (name,) in columns)
    return con.execute(f"select count(*), sum(hash({hashed})::hugeint) from {source}").fetchall()[0]


def _promoted(con: duckdb.DuckDBPyConnection, layout: Layout) -> int:
    try:
        return shown_mark(con, layout.hot_db).promoted
    except duckdb.Error as error:
        raise CannotCompactError(
            f"{layout.hot_db} cannot be read, and it says which parts are finished; start `ropo serve` once ({error})"
        ) from error


def _look_before(layout: Layout) -> None:
    if not shelves.can_exchange(layout.root):
        raise CannotCompactError(
            f"the file system of {layout.root} cannot exchange two folders in one step or link files (renameat2(2), "
            "link(2)); without that parts cannot be merged under readers. ext4, xfs and btrfs can"
        )
    if not shelves.known(layout.cold):
        raise CannotCompactError("the log was written by an older ropo; start `ropo serve` once, then try again")
    if doors := shelves.open_former_doors(layout.cold):
        raise CannotCompactError(
            f"{len(doors)} sessions are open since before ropo was upgraded; they would miss the old parts. Close them: "
            f"`fuser {doors[0]}` names their processes"
        )


def _is_same(path: Path, stat: os.stat_result) -> bool:
    try:
        now = path.stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(now, stat) and now.st_mtime_ns == stat.st_mtime_ns


def _connect(layout: Layout, memory_limit_mb: int) -> duckdb.DuckDBPyConnection:
    config = {
        "memory_limit": f"{memory_limit_mb}MB",
        # The workers need the other cores.
        "threads": 1,
        "temp_directory": str(layout.root / "compact.tmp"),
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }
    con = duckdb.connect(":memory:", config=config)
    con.execute("set timezone = 'UTC'")
    con.execute("set enable_progress_bar = false")
    return con


@contextmanager
def _alone(layout: Layout) -> Iterator[None]:
    fd = os.open(layout.root / "compact.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise CannotCompactError("parts are being merged already, by another process") from None
    finally:
        os.close(fd)
