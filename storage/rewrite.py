"""Takes rows out of parts, or changes them, while ropo runs and sessions are open: for retention and erasure.

Knows how conditions over rows become a new tree of parts, and how that tree takes the place of the old one:

    write      each part with a row that is concerned is written anew, under a new name, in a tree beside `cold`; one whose
               rows all go is left out. What has to be kept of them, the counts for the ledger, is a part in it, too
    exchange   the other parts are linked into it, and it changes places with `cold` in one step: no moment has the rows
               and their counts, or neither. Sessions keep the old tree, on their shelf (see `shelves`)
    replace    a grace later the shelves that are still held get the new parts, and the last names of the old are gone

Because no name ever stands for two contents, a query sees the old rows or the new ones. Only one that is under way on a
held session while its shelf is replaced can fail, and then it says that a file is not there; asked again it is right.
Whoever is killed before the exchange has changed nothing, and after it all that is left to do is to replace, which needs
no knowledge of what was erased. Knows nothing of why rows go, and touches no database but the parts.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from storage import checksums, shelves
from storage.crash import crash_point
from storage.layout import Layout
from storage.parts import make_folder, range_of, sync
from storage.sql import file, literal, name
from storage.tables import DROPS

logger = logging.getLogger(__name__)


class CannotRewriteError(Exception):
    """Nothing was changed. The message says why and what to do."""


@dataclass(frozen=True)
class Change:
    """What becomes of the rows of a table for which `concerned`, a condition in SQL, is true.

    `values` are expressions for the columns that get another value; None: the rows go. `reason` names the count that
    is told. `counted` is a statement over `$rows` that gives rows for `drops`: what the ledger keeps of those that go.
    """

    table: str
    reason: str
    concerned: str
    values: Mapping[str, str] | None = None
    counted: str = ""

    @property
    def goes(self) -> bool:
        return self.values is None


@dataclass
class Rewritten:
    """How many rows were concerned, by `Change.reason`; and how many parts were written anew, or are gone."""

    rows: dict[str, int] = field(default_factory=dict)
    parts: int = 0
    gone: int = 0

    def __bool__(self) -> bool:
        return bool(self.parts or self.gone)


@contextmanager
def alone(layout: Layout) -> Iterator[None]:
    """Held while a new tree is made; `ropo storage compact` makes them as well. Raises CannotRewriteError."""
    fd = os.open(layout.root / "compact.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise CannotRewriteError("parts are being merged by another process; it is tried again later") from None
    finally:
        os.close(fd)


class Rewrite:
    """One run over the parts. `con` is a connection of its own, in memory; conditions may name its tables.

    Call `write` for every one of `parts()`, then `exchange`; each raises duckdb.Error or OSError when the disk refuses.
    The caller holds `alone`.
    """

    def __init__(self, con: duckdb.DuckDBPyConnection, layout: Layout, changes: Sequence[Change], *, upto: int) -> None:
        self.con = con
        self.layout = layout
        self.changes = changes
        self.upto = upto
        self.done = Rewritten()
        self._fresh = layout.cold.with_name("cold.new")
        self._old: dict[Path, os.stat_result] = {}
        shutil.rmtree(self._fresh, ignore_errors=True)

    def parts(self) -> list[Path]:
        """The parts that may hold rows to change: of the tables concerned, and filed for good (up to `upto`)."""
        found = (
            path
            for table in {change.table for change in self.changes}
            for path in (self.layout.cold / table).rglob("*.parquet")
        )
        return sorted(path for path in found if (span := range_of(path)) and span.to <= self.upto)

    def write(self, part: Path) -> None:
        """Writes this part anew if one of its rows is concerned."""
        stat = part.stat()
        table = part.relative_to(self.layout.cold).parts[0]
        rows = f"read_parquet({file(part)}, hive_partitioning = false)"
        described = self.con.execute(f"select column_name from (describe from {rows})").fetchall()
        columns = [column for (column,) in described]
        changes = [change for change in self.changes if change.table == table]
        going = " or ".join(f"coalesce({change.concerned}, false)" for change in changes if change.goes) or "false"
        concerned = [change.concerned if change.goes else f"{change.concerned} and not ({going})" for change in changes]
        told = ", ".join(f"count(*) filter ({condition})" for condition in concerned)
        asked = f"select count(*) filter (not ({going})), {told} from {rows}"
        left, *counts = self.con.execute(asked).fetchall()[0]
        if not any(counts):
            return
        for change, count in zip(changes, counts, strict=True):
            self.done.rows[change.reason] = self.done.rows.get(change.reason, 0) + count
        for change in changes:
            if change.goes and change.counted:
                self._keep_counts(part, change.counted.replace("$rows", f"(from {rows} where {change.concerned})"))
        chosen = ", ".join(self._value(column, changes) for column in columns)
        if left:
            self._copy(f"select {chosen} from {rows} where not ({going})", self._place(part), left)
            self.done.parts += 1
        else:
            self.done.gone += 1
        self._old[part] = stat
        logger.debug("part rewritten path=%s left=%d", part, left)

    def exchange(self) -> bool:
        """Puts the new tree in place. False if there is nothing to change.

        Raises CannotRewriteError if the file system cannot do it, or parts were changed by somebody else meanwhile.
        """
        if not self._old:
            return False
        layout, old = self.layout, self._old
        if not shelves.can_exchange(layout.root):
            raise CannotRewriteError(
                f"the file system of {layout.root} cannot exchange two folders in one step or link files (renameat2(2), "
                "link(2)); without that parts cannot be rewritten under readers. ext4, xfs, btrfs and tmpfs can"
            )
        with shelves.moving(layout.cold):
            if any(not _is_same(path, stat) for path, stat in old.items()):
                raise CannotRewriteError("parts were changed meanwhile; it is tried again later")
            leave = frozenset(old) | {checksums.beside(path) for path in old} | frozenset(_orphans(layout.cold))
            shelves.link_tree(layout.cold, self._fresh, leave=leave)
            crash_point("erased-linked")
            # Made if a run before this one was killed between the exchange and the next shelf.
            shelves.set_apart(layout.cold)
            crash_point("erased-apart")
            shelves.exchange(layout.cold, self._fresh)
            crash_point("erased-exchanged")
            shelves.make(layout.cold)
        shutil.rmtree(self._fresh, ignore_errors=True)
        return True

    def _value(self, column: str, changes: Sequence[Change]) -> str:
        cases = [
            f"when {change.concerned} then {change.values[column]}"
            for change in changes
            if change.values and column in change.values
        ]
        return f"case {' '.join(cases)} else {name(column)} end as {name(column)}" if cases else name(column)

    def _keep_counts(self, part: Path, statement: str) -> None:
        """Counts as rows of `drops`, in a part of the same range: where that range's rows are read, they are."""
        span = range_of(part)
        folder = self.layout.cold / DROPS.name / part.parent.name
        base = files_of(self.layout.cold / DROPS.name)
        rows = (
            f"select * replace ({span.to}::bigint as b) from ("
            f"from read_parquet({base}, union_by_name = true, hive_partitioning = false) limit 0) "
            f"union all by name select counts.*, {span.to}::bigint as b from ({statement}) as counts"
        )
        count = self.con.execute(f"select count(*) from ({rows})").fetchall()[0][0]
        if count:
            self._copy(rows, self._free(folder / span.file_name), count)

    def _place(self, part: Path) -> Path:
        return self._free(part.with_name(range_of(part).file_name))

    def _free(self, path: Path) -> Path:
        """The path in the new tree with the first number that no tree has, so that no name ever has two contents."""
        place, number = path.relative_to(self.layout.cold), 0
        trees = [self.layout.cold, self._fresh, *shelves.trees(self.layout.cold)]
        while True:
            number += 1
            numbered = place.with_name(f"{place.stem.partition('.')[0]}.{number}.parquet")
            if not any((tree / numbered).exists() for tree in trees):
                return self._fresh / numbered

    def _copy(self, rows: str, path: Path, count: int) -> None:
        make_folder(path.parent)
        self.con.execute(f"copy ({rows}) to {literal(path)} (format parquet, compression zstd)")
        there = self.con.execute(f"select num_rows from parquet_file_metadata({file(path)})").fetchall()[0][0]
        if there != count:
            raise RuntimeError(f"{path} holds {there} rows of {count}; it is not used")
        sync(path)
        checksums.keep(path, checksums.of(path))
        sync(path.parent)
        crash_point("erased-written")


def connect(layout: Layout, *, memory_limit_mb: int = 512) -> duckdb.DuckDBPyConnection:
    """A connection for `Rewrite`: on one core, beside the collector's own."""
    config = {
        "memory_limit": f"{memory_limit_mb}MB",
        "threads": 1,
        "temp_directory": str(layout.root / "rewrite.tmp"),
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }
    con = duckdb.connect(":memory:", config=config)
    con.execute("set timezone = 'UTC'")
    con.execute("set enable_progress_bar = false")
    return con


def replace(layout: Layout) -> int:
    """Gives every shelf that is still held the parts as `cold` has them. Repeating it is harmless; how many it were.

    What the shelves had before is then nowhere any more. Call it when a door that reads `cold` is in place.
    """
    replaced = 0
    with shelves.moving(layout.cold):
        shutil.rmtree(layout.root / "rewrite.tmp", ignore_errors=True)
        for orphan in _orphans(layout.cold):
            orphan.unlink(missing_ok=True)
        wanted = _content(layout.cold)
        for tree in shelves.trees(layout.cold):
            if _content(tree) != wanted:
                shelves.set_again(layout.cold, tree)
                replaced += 1
                crash_point("shelf-replaced")
    return replaced


def files_of(folder: Path) -> str:
    """The base parts of a table, which every one has: its columns."""
    return "[" + ", ".join(file(path) for path in sorted(folder.glob("base-*.parquet"))) + "]"


def has_old_parts(layout: Layout) -> bool:
    """Whether some shelf still has parts that `cold` has not."""
    wanted = _content(layout.cold)
    return any(_content(tree) != wanted for tree in shelves.trees(layout.cold))


def _content(tree: Path) -> dict[Path, int]:
    """The parts in a tree, by where they lie; the number says that it is the same file."""
    found = {}
    for path in tree.rglob("*.parquet"):
        try:
            found[path.relative_to(tree)] = path.stat().st_ino
        except FileNotFoundError:
            continue
    return found


def _orphans(cold: Path) -> list[Path]:
    """Parts that were put aside: their rows came again from the spool."""
    return list(cold.rglob("*.orphan"))


def _is_same(path: Path, stat: os.stat_result) -> bool:
    try:
        now = path.stat()
    except OSError as error:
        if error.errno == errno.ENOENT:
            return False
        raise
    return os.path.samestat(now, stat) and now.st_mtime_ns == stat.st_mtime_ns
