"""work.duckdb can be lost: the parts, the archive and the spool hold the log, and rebuilt it is what it was."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from ropo.intake import Intake
from storage import archive, rebuild
from storage.layout import Layout
from storage.migrations import NewerLogError
from storage.rebuild import NothingToRebuildError, Rebuilt
from storage.settings import StorageSettings
from storage.store import Store
from storage.work import UnusableLogError
from tests.support import whole_log
from tests.support.rows import Time, layout_of, open_store, promote_all
from tests.support.whole_log import drop_day, every_view

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of 6 days, 4 of them in parts, with the files of a seventh in the spool."""
    folder = tmp_path_factory.mktemp("original")
    layout, _ = whole_log.write(folder)
    archive.prune(layout, hours=48, now=datetime.now(UTC).replace(year=2030))
    archive_again(layout)
    return folder


def archive_again(layout: Layout) -> None:
    """A part of the archive is packed, as after some minutes, and nothing of it is old."""
    for path in archive.restore(layout):
        archive.put(layout, path)
    archive.prune(layout, hours=48 * 365 * 20, now=datetime.now(UTC) + (archive.PACK_AFTER * 2))
    assert list(layout.archive.glob("*.tar.zst"))


@pytest.fixture
def layout(original: Path, tmp_path: Path) -> Layout:
    """A copy of it of one's own."""
    shutil.copytree(original, tmp_path, dirs_exist_ok=True, symlinks=True)
    # The door names its files by their whole path.
    made = layout_of(tmp_path)
    made.log_db.unlink()
    for link in (made.root / "shelves").glob("*.door"):
        link.unlink()
    store = Store.open(made, settings(made))
    store.close()
    return made


def settings(layout: Layout) -> StorageSettings:
    return StorageSettings(path=str(layout.root), memory_limit_mb=256)


def run(layout: Layout, **options: object) -> Rebuilt:
    begun = rebuild.begin(layout, settings(layout), now=NOW, **options)
    try:
        intake = Intake(layout, begun.store, whole_log.a_pipeline)
        while intake.take(everything=True).files:
            pass
        return rebuild.finish(layout, begun)
    finally:
        begun.store.close()


def gone(layout: Layout) -> None:
    layout.work_db.unlink()


def cut(layout: Layout) -> None:
    os.truncate(layout.work_db, layout.work_db.stat().st_size // 3)


def flipped(layout: Layout) -> None:
    """One bit in each block, as a bad disk does it."""
    with open(layout.work_db, "r+b") as file:
        for at in range(12_288, layout.work_db.stat().st_size, 100_000):
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes([byte ^ 4]))


def emptied(layout: Layout) -> None:
    layout.work_db.write_bytes(b"")


def old(layout: Layout) -> None:
    """One that lost what came last: as when its WAL was damaged where DuckDB does not notice."""
    with duckdb.connect(str(layout.work_db)) as con:
        last = con.execute("select max(b) from events").fetchall()[0][0]
        for table in ("events", "lead_facts", "delivery_facts", "drops", "spool_files"):
            con.execute(f"delete from {table} where b >= {last}")
        con.execute(f"update mark set b = {last - 1}")


@pytest.mark.parametrize("damage", [gone, cut, flipped, emptied, old])
def test_a_rebuilt_log_is_row_by_row_what_it_was(layout: Layout, damage) -> None:
    before = every_view(layout)
    damage(layout)
    was = layout.work_db.read_bytes() if layout.work_db.exists() else None
    rebuilt = run(layout)
    after = every_view(layout)
    assert before.keys() == after.keys()
    for view, rows in before.items():
        assert after[view] == rows, view
    assert len(before["leads"]) == 6 and {row[-3] for row in before["leads"]} == {1}, "each lead was delivered once"
    assert rebuilt.in_parts["events"] and rebuilt.taken_in["events"]
    assert rebuilt.in_parts["events"] + rebuilt.taken_in["events"] == len(before["events"])
    # Nothing was destroyed.
    aside = sorted(layout.root.glob("work.duckdb.damaged-*"))
    assert [path.read_bytes() for path in aside] == ([] if was is None else [was])
    assert all(path.name == "work.duckdb.damaged-20261130T120000" for path in aside)
    # And from here on it is an ordinary log.
    with pytest.raises(NothingToRebuildError):
        rebuild.begin(layout, settings(layout))


def test_what_waits_in_the_spool_comes_in_as_well(layout: Layout) -> None:
    before = len(every_view(layout)["events"])
    drop_day(layout, 6)
    cut(layout)
    begun = rebuild.begin(layout, settings(layout))
    assert (begun.waiting, begun.restored) == (1, 6)
    begun.store.close()
    run(layout)
    assert len(every_view(layout)["events"]) == before + 11


def test_a_rebuilt_log_goes_on_and_is_filed_like_any_other(layout: Layout) -> None:
    cut(layout)
    run(layout)
    now = Time()
    store = open_store(layout.root.parent, now, part_rows=1)
    try:
        whole_log.take_day(store, layout, 7)
        before = whole_log.rows_of(store.connection)
        promote_all(store, now)
        assert store.mark.forgotten == store.mark.b
        assert whole_log.rows_of(store.connection) == before
    finally:
        store.close()


def test_a_whole_one_is_left_alone_unless_it_is_asked_for(layout: Layout) -> None:
    before, inode = every_view(layout), layout.work_db.stat().st_ino
    with pytest.raises(NothingToRebuildError, match="whole"):
        rebuild.begin(layout, settings(layout))
    assert layout.work_db.stat().st_ino == inode
    run(layout, anyway=True)
    assert every_view(layout) == before


def test_readers_keep_what_they_have_until_it_is_done(layout: Layout) -> None:
    before = every_view(layout)
    cut(layout)
    begun = rebuild.begin(layout, settings(layout))
    begun.store.publish()
    begun.store.close()
    assert every_view(layout) == before


def test_a_file_that_another_process_has_open_is_not_touched(layout: Layout) -> None:
    code = (
        f"import duckdb, sys; c = duckdb.connect({str(layout.work_db)!r}); print('open', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "open\n"
        with pytest.raises(UnusableLogError, match="another process"):
            rebuild.begin(layout, settings(layout))
    finally:
        other.communicate("")
    assert layout.work_db.exists()


def test_a_bundle_that_is_damaged_is_named_and_the_rest_comes_back(layout: Layout) -> None:
    bundle = next(layout.archive.glob("*.tar.zst"))
    os.truncate(bundle, bundle.stat().st_size // 2)
    cut(layout)
    begun = rebuild.begin(layout, settings(layout))
    begun.store.close()
    assert begun.damaged_bundles == [bundle]
    run(layout)


def test_the_log_of_a_newer_ropo_is_left_to_that(layout: Layout) -> None:
    gone(layout)
    base = next(layout.cold.glob("events/base-*.parquet"))
    shutil.copy(base, base.with_name("base-999.parquet"))
    with pytest.raises(NewerLogError, match="migration 999.*newer version"):
        rebuild.begin(layout, settings(layout))
    assert not (layout.root / "rebuild.json").exists()


SCRIPT = """
import sys
from pathlib import Path
from tests.storage.test_rebuild import layout_of, run
run(layout_of(Path(sys.argv[1])))
"""


def run_killed_at(folder: Path, point: str) -> int:
    environment = os.environ | {"ROPO_CRASH_POINTS": f"{point}=1"}
    root = Path(__file__).resolve().parents[2]
    return subprocess.run([sys.executable, "-c", SCRIPT, str(folder)], cwd=root, env=environment, timeout=60).returncode


@pytest.mark.parametrize("damage", [gone, cut])
@pytest.mark.parametrize("point", ["spool-restored", "work-aside", "work-begun", "rows-inserted", "batch-committed"])
def test_one_that_was_killed_is_run_again(layout: Layout, point: str, damage) -> None:
    before = every_view(layout)
    damage(layout)
    assert run_killed_at(layout.root.parent, point) == -signal.SIGKILL
    run(layout)
    assert every_view(layout) == before
    assert len(list(layout.root.glob("work.duckdb.damaged-*"))) == (damage is cut)


@pytest.mark.parametrize("point", ["spool-restored", "work-aside", "work-begun", "batch-committed"])
def test_ropo_that_is_started_after_a_killed_one_loses_nothing(layout: Layout, point: str) -> None:
    before = every_view(layout)
    cut(layout)
    assert run_killed_at(layout.root.parent, point) == -signal.SIGKILL
    try:
        store = Store.open(layout, settings(layout))
    except UnusableLogError as error:
        assert point in ("spool-restored", "work-aside") and "ropo storage rebuild" in str(error)
        return
    intake = Intake(layout, store, whole_log.a_pipeline)
    while intake.take(everything=True).files:
        pass
    store.publish()
    store.close()
    assert every_view(layout) == before


def test_without_what_makes_it_whole_the_proof_fails(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison has teeth: a rebuild that leaves the archive out does not get past it."""
    before = every_view(layout)
    cut(layout)
    monkeypatch.setattr(archive, "restore", lambda layout, wanted: [])
    run(layout)
    assert every_view(layout) != before
