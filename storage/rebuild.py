"""Makes work.duckdb anew from the Parquet parts, the archive of spool files, and the spool.

Knows what is in which of them, and the order that lets it be interrupted anywhere and begun again:

    restore    the spool files of the archive that no part holds go back into the spool
    put aside  what is left of work.duckdb gets a dated name; nothing of it is destroyed
    begin      a new one goes on after the parts
    take in    the spool, as the collector does: each file once, by its name
    show       readers, who kept what they had, see the new one

Killed before `begin`, ropo will not start and says so; killed after it, the spool holds all that is missing, and either
ropo or another rebuild takes it in. Knows nothing of what the records mean: `take in` is done by who calls this.
"""

from __future__ import annotations

import logging
import os
import shutil
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import msgspec

from storage import archive, migrations, sealed
from storage.crash import crash_point
from storage.layout import Layout
from storage.parts import range_of
from storage.promote import read_mark
from storage.recovery import recover
from storage.settings import StorageSettings
from storage.spool_file import sync_folder
from storage.sql import files, literal, name
from storage.store import Store
from storage.tables import SPOOL_FILES, TABLES
from storage.work import UnusableLogError, is_locked

logger = logging.getLogger(__name__)

NOTE = "rebuild.json"


class NothingToRebuildError(Exception):
    """work.duckdb is whole."""


@dataclass
class Rebuild:
    """A rebuild under way. `aside` are the files that were put aside, `restored` came from the archive into the spool."""

    store: Store
    aside: list[Path]
    restored: int
    waiting: int
    damaged_bundles: list[Path]


@dataclass
class Rebuilt:
    """Rows by table: those in parts, and those that were taken in from the archive and the spool."""

    in_parts: dict[str, int] = field(default_factory=dict)
    taken_in: dict[str, int] = field(default_factory=dict)
    missing: int = 0


def begin(layout: Layout, settings: StorageSettings, *, anyway: bool = False, now: datetime | None = None) -> Rebuild:
    """Everything up to a new work.duckdb. The caller holds the lock of the storage path.

    Raises `NothingToRebuildError` if it is whole, unless `anyway` or an interrupted rebuild goes on;
    migrations.NewerLogError, UnusableLogError, OSError, duckdb.Error.
    """
    layout.create()
    _refuse_newer(layout)
    recover(layout.spool)
    packed = archive.contents(layout)
    former = _read_note(layout)
    # The one that an interrupted rebuild has begun lacks what it has not taken in yet.
    is_begun = former is not None and _inode(layout.work_db) != former
    why = damage(layout, settings, frozenset() if is_begun else packed.names)
    if why is None and former is None and not anyway:
        raise NothingToRebuildError(f"{layout.work_db} is whole: every row can be read, and no spool file is missing")
    if former is None:
        former = _inode(layout.work_db)
        _write_note(layout, former)
    waiting = len(sealed.sealed(layout.spool))
    wanted = packed.names - filed(layout, packed.names)
    restored = archive.restore(layout, wanted=wanted)
    crash_point("spool-restored")
    aside = []
    if why is not None or not is_begun:
        aside = _put_aside(layout, now or datetime.now(UTC))
    crash_point("work-aside")
    store = Store.open(layout, settings, anew=True)
    crash_point("work-begun")
    return Rebuild(store, aside, len(restored), waiting, sorted(packed.damaged))


def _refuse_newer(layout: Layout) -> None:
    """The parts tell, too: there is an empty one for each migration that changed their columns."""
    bases = (path.stem.removeprefix("base-") for path in layout.cold.glob("*/base-*.parquet"))
    had, known = max((int(number) for number in bases if number.isdigit()), default=0), migrations.newest()
    if had > known:
        raise migrations.NewerLogError(
            f"this log has had migration {had}, and this version of ropo ends at {known}; rebuild it with the newer version"
        )


def finish(layout: Layout, rebuild: Rebuild) -> Rebuilt:
    """Shows the rows, once the spool has been taken in, and counts where they came from."""
    rebuild.store.show()
    con = rebuild.store.connection
    rebuilt = Rebuilt()
    for table in TABLES:
        filed_rows = (
            f"select coalesce(sum(num_rows), 0)::bigint from parquet_file_metadata({_parts(layout, table.name)})"
        )
        rebuilt.in_parts[table.name] = con.execute(filed_rows).fetchall()[0][0]
        taken = con.execute(f"select count(*) from work.{name(table.name)}").fetchall()[0][0]
        rebuilt.taken_in[table.name] = taken
    rebuilt.missing = con.execute("select coalesce(sum(missing), 0)::bigint from ledger").fetchall()[0][0]
    (layout.root / NOTE).unlink(missing_ok=True)
    sync_folder(layout.root)
    return rebuilt


def damage(layout: Layout, settings: StorageSettings, archived: frozenset[str]) -> str | None:
    """Why work.duckdb has to be made anew; None if every row can be read and every archived file is known.

    The file is only read. Raises UnusableLogError if another process has it open.
    """
    if not layout.work_db.exists():
        return "it is gone"
    try:
        with closing(_connect(settings)) as con:
            con.execute(f"attach {literal(layout.work_db)} as work (read_only)")
            mark = read_mark(con, "work")
            for table in TABLES:
                _read_all(con, table.name)
            known = {row for (row,) in con.execute("select name from work.spool_files").fetchall()}
    except duckdb.Error as error:
        if is_locked(error):
            raise UnusableLogError(f"{layout.work_db} is open in another process: close it there ({error})") from error
        return str(error).splitlines()[0]
    if (last := last_filed(layout)) > mark.intent:
        return f"it ends at batch {mark.intent}, and the parts go to {last}: it is an older copy"
    # A damaged WAL can lose the last transactions without a word (measured, DuckDB 1.5 and 2.0).
    lost = archived - known
    lost -= filed(layout, frozenset(lost))
    return f"{len(lost)} spool files of the archive are not in it" if lost else None


def filed(layout: Layout, names: frozenset[str]) -> frozenset[str]:
    """Those of these spool files whose rows are in the parts."""
    if not names or not any((layout.cold / SPOOL_FILES.name).rglob("*.parquet")):
        return frozenset()
    source = f"read_parquet({_parts(layout, SPOOL_FILES.name)}, union_by_name = true, hive_partitioning = false)"
    # Of a range that is not whole the rows come again from the spool.
    asked = f"select name from {source} where b <= $b and name in (select unnest($names::varchar[]))"
    with duckdb.connect() as con:
        found = con.execute(asked, {"b": last_filed(layout), "names": list(names)}).fetchall()
    return frozenset(row for (row,) in found)


def last_filed(layout: Layout) -> int:
    """The last batch in the parts; see storage.parts.Parts.filed."""
    found = map(range_of, (layout.cold / SPOOL_FILES.name).glob("**/*.parquet"))
    return max((span.to for span in found if span), default=0)


def _parts(layout: Layout, table: str) -> str:
    return files(layout.cold / table, "**/*.parquet")


def _read_all(con: duckdb.DuckDBPyConnection, table: str) -> None:
    asked = "select column_name from duckdb_columns() where database_name = 'work' and table_name = ?"
    columns = ", ".join(name(column) for (column,) in con.execute(asked, [table]).fetchall())
    con.execute(f"select count(*), bit_xor(hash({columns})) from work.{name(table)}").fetchall()


def _connect(settings: StorageSettings) -> duckdb.DuckDBPyConnection:
    return duckdb.connect(config={"memory_limit": f"{settings.memory_limit_mb}MB", "threads": 1})


def _put_aside(layout: Layout, now: datetime) -> list[Path]:
    ending = f"damaged-{now.astimezone(UTC):%Y%m%dT%H%M%S}"
    number = 1
    while any(layout.root.glob(f"*.{ending}")):
        number += 1
        ending = f"damaged-{now.astimezone(UTC):%Y%m%dT%H%M%S}-{number}"
    aside = []
    # The WAL first: left alone it would be played into the new database.
    for path in (layout.work_db.with_name(layout.work_db.name + ".wal"), layout.work_db):
        if path.exists():
            aside.append(path.rename(path.with_name(f"{path.name}.{ending}")))
            logger.warning("put aside path=%s", aside[-1])
    shutil.rmtree(layout.root / "work.duckdb.tmp", ignore_errors=True)
    sync_folder(layout.root)
    return aside


def _inode(path: Path) -> int:
    """0 for a file that is not there."""
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return 0


def _read_note(layout: Layout) -> int | None:
    """The inode that work.duckdb had when an interrupted rebuild began; None: there was none."""
    try:
        return msgspec.json.decode((layout.root / NOTE).read_bytes(), type=dict[str, int])["work_inode"]
    except FileNotFoundError:
        return None
    except (ValueError, KeyError):
        return 0


def _write_note(layout: Layout, inode: int) -> None:
    fresh = layout.root / f"{NOTE}.tmp"
    with open(fresh, "wb") as note:
        note.write(msgspec.json.encode({"work_inode": inode}))
        note.flush()
        os.fsync(note.fileno())
    os.replace(fresh, layout.root / NOTE)
    sync_folder(layout.root)
