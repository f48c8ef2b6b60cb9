"""What is wrong with a log is found, named, and comes with what to do."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from storage import archive, checksums
from storage.check import Finding, check, overlaps, ranges
from storage.compact import part_at
from storage.layout import Layout
from storage.parts import Range
from storage.promote import Mark
from storage.settings import StorageSettings
from storage.store import Store
from tests.support import whole_log
from tests.support.rows import layout_of


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("original")
    whole_log.write(folder)
    return folder


@pytest.fixture
def layout(original: Path, tmp_path: Path) -> Layout:
    shutil.copytree(original, tmp_path, dirs_exist_ok=True, symlinks=True)
    layout = layout_of(tmp_path)
    layout.log_db.unlink()
    for link in (layout.root / "shelves").glob("*.door"):
        link.unlink()
    Store.open(layout, settings(layout)).close()
    return layout


def settings(layout: Layout) -> StorageSettings:
    return StorageSettings(path=str(layout.root), memory_limit_mb=256)


def found(layout: Layout, *, serving: bool = False) -> list[Finding]:
    return list(check(layout, settings(layout), serving=serving, now=time.time() + 120))


def wrong(layout: Layout, **options) -> list[Finding]:
    return [finding for finding in found(layout, **options) if finding.state == "failed"]


def a_part(layout: Layout) -> Path:
    return sorted(layout.cold.glob("events/day=*/*.parquet"))[0]


def test_a_whole_log_is_told_to_be_whole(layout: Layout) -> None:
    findings = found(layout)
    assert {finding.state for finding in findings} <= {"ok", "warning"}
    # The torn lines that the pipeline put there.
    assert [finding.name for finding in findings if finding.state == "warning"] == ["quarantine"]
    assert all(finding.todo for finding in findings if finding.state == "warning")
    names = [finding.name for finding in findings]
    assert names[0] == "space" and names[-5:] == ["work.duckdb", "log.duckdb", "spool", "archive", "quarantine"]


def test_a_log_that_was_never_written_is_no_failure(tmp_path: Path) -> None:
    layout = layout_of(tmp_path)
    layout.create()
    assert [finding.name for finding in wrong(layout)] == ["log.duckdb"]


def flip(path: Path) -> None:
    text = bytearray(path.read_bytes())
    text[len(text) // 2] ^= 1
    path.write_bytes(text)


def without_checksum(path: Path) -> None:
    checksums.beside(path).unlink()


def drop_page(layout: Layout) -> None:
    without_checksum(a_part(layout))
    text = bytearray(a_part(layout).read_bytes())
    text[100:300] = bytes(200)
    a_part(layout).write_bytes(text)


def rename_range(layout: Layout) -> None:
    path = a_part(layout)
    other = path.with_name(Range(7000, 7001).file_name)
    path.rename(other)
    without_checksum(path)


def move_to_another_day(layout: Layout) -> None:
    path = a_part(layout)
    other = path.parent.with_name("day=2026-01-01") / path.name
    other.parent.mkdir()
    path.rename(other)


def strange_name(layout: Layout) -> None:
    shutil.copy(a_part(layout), a_part(layout).with_name("copy.parquet"))


def copied(layout: Layout) -> None:
    path = a_part(layout)
    span = Range(0, 9_000)
    other = path.with_name(span.file_name)
    shutil.copy(path, other)


DAMAGES: dict[str, tuple[Callable[[Layout], object], str, str]] = {
    "a bit that flipped": (lambda layout: flip(a_part(layout)), "parts of events", "checksum is not the one"),
    "a part that was cut": (
        lambda layout: os.truncate(a_part(layout), a_part(layout).stat().st_size - 10),
        "parts of events",
        "checksum",
    ),
    "a part without a checksum that cannot be read": (drop_page, "parts of events", ""),
    "a checksum that is none": (
        lambda layout: checksums.beside(a_part(layout)).write_text("x"),
        "parts of events",
        "not the checksum of",
    ),
    "rows of other batches": (rename_range, "parts of events", "its name says"),
    "rows of another day": (move_to_another_day, "parts of events", "and lies in day=2026-01-01"),
    "a file of another name": (strange_name, "parts of events", "not named like a part"),
    "rows twice": (copied, "parts of events", "rows are counted twice"),
    "a range that is gone": (
        lambda layout: shutil.rmtree(sorted(layout.cold.glob("spool_files/day=*"))[0]),
        "ranges",
        "the parts go to batch 0",
    ),
    "a database that is damaged": (lambda layout: flip_database(layout), "work.duckdb", ""),
    "a database that is gone": (lambda layout: layout.work_db.unlink(), "work.duckdb", "it is gone"),
    "a door that is none": (
        lambda layout: (layout.log_db.unlink(), layout.log_db.write_bytes(b"x" * 9000)),
        "log.duckdb",
        "",
    ),
    "an image that is gone": (lambda layout: layout.hot_db.unlink(), "log.duckdb", ""),
    "a bundle that is cut": (lambda layout: cut_bundle(layout), "archive", "cannot be unpacked to its end"),
    "files that are archived and not in the log": (
        lambda layout: forget_files(layout),
        "archive",
        "are not in the log",
    ),
    "a column too many": (lambda layout: add_column(layout), "work.duckdb", "drops.more"),
}


def flip_database(layout: Layout) -> None:
    with open(layout.work_db, "r+b") as file:
        file.seek(20_000)
        file.write(b"x" * 9)


def cut_bundle(layout: Layout) -> None:
    archive.prune(layout, hours=10_000)
    from datetime import UTC, datetime, timedelta

    archive.prune(layout, hours=10_000, now=datetime.now(UTC) + timedelta(hours=1))
    bundle = next(layout.archive.glob("*.tar.zst"))
    os.truncate(bundle, bundle.stat().st_size // 2)


def forget_files(layout: Layout) -> None:
    (layout.archive / "worker-9-00000000000000000001-000001.ndjson").write_bytes(b"{}\n")


def add_column(layout: Layout) -> None:
    with duckdb.connect(str(layout.work_db)) as con:
        con.execute("alter table drops add column more integer")


@pytest.mark.parametrize("what", DAMAGES)
def test_what_is_damaged_is_named(layout: Layout, what: str) -> None:
    damage, name, said = DAMAGES[what]
    damage(layout)
    findings = wrong(layout)
    assert [finding for finding in findings if finding.name == name and said in finding.detail], findings
    assert all(finding.todo for finding in findings)


def test_parts_of_an_older_ropo_have_no_checksum_and_are_read_instead(layout: Layout) -> None:
    for path in layout.cold.rglob(".*.sha256"):
        path.unlink()
    findings = found(layout)
    assert not [finding for finding in findings if finding.state == "failed"]
    assert any("have no checksum" in finding.detail for finding in findings if finding.name == "parts of events")


def test_while_ropo_serves_its_database_is_not_opened(layout: Layout) -> None:
    flip_database(layout)
    findings = found(layout, serving=True)
    (told,) = [finding for finding in findings if finding.name == "work.duckdb"]
    assert told.state == "not looked at" and str(layout.hot_db) in told.detail


def test_nothing_is_changed(layout: Layout) -> None:
    def state() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in layout.root.rglob("*") if path.is_file()}

    before = state()
    found(layout)
    assert state() == before


def test_names_and_ends_of_spool_files(layout: Layout) -> None:
    name = "worker-1-00000000000000000001-000001"
    (layout.spool / f"{name}.ndjson").write_bytes(b'{"t":"stop"}\n{"torn')
    (layout.spool / "notes.txt").touch()
    (told,) = [finding for finding in found(layout) if finding.name == "spool"]
    assert told.state == "warning" and "torn line" in told.detail
    (layout.spool / f"{name}.ndjson").unlink()
    (told,) = [finding for finding in found(layout) if finding.name == "spool"]
    assert told.state == "warning" and "notes.txt" in told.detail


def part(after: int, to: int, when: str, table: str = "events", number: str = ""):
    kind = "day" if len(when) == 10 else "month"
    return part_at(Path(f"cold/{table}/{kind}={when}/{after:012d}-{to:012d}{number}.parquet"), 1)


@pytest.mark.parametrize(
    "parts, doubles",
    [
        ([part(0, 2, "2026-11-01"), part(0, 2, "2026-11-02")], 0),
        ([part(0, 2, "2026-11-01"), part(2, 3, "2026-11-01")], 0),
        ([part(0, 2, "2026-11-01"), part(1, 3, "2026-11-01")], 1),
        ([part(0, 2, "2026-11-01"), part(1, 3, "2026-11-02")], 0),
        ([part(0, 9, "2026-11"), part(3, 4, "2026-11-02")], 1),
        ([part(0, 9, "2026-11"), part(3, 4, "2026-12-02")], 0),
        ([part(0, 9, "2026-11"), part(9, 10, "2026-11-02")], 0),
        # Rewritten and not taken away; counts beside other drops.
        ([part(0, 2, "2026-11-01"), part(0, 2, "2026-11-01", number=".1")], 1),
        ([part(0, 2, "2026-11-01", "drops"), part(0, 2, "2026-11-01", "drops", ".1")], 0),
    ],
)
def test_batches_of_a_day_lie_in_one_part(parts: list, doubles: int) -> None:
    assert len(list(overlaps(parts))) == doubles


@pytest.mark.parametrize(
    "spans, promoted, state",
    [
        ([], 0, "ok"),
        ([(0, 3), (3, 7)], 7, "ok"),
        ([(0, 3), (0, 3), (3, 7)], 7, "ok"),
        ([(0, 3), (4, 7)], 7, "failed"),
        ([(0, 3)], 7, "failed"),
        # Merged ranges may reach into one another, each of its own month.
        ([(0, 5), (4, 7)], 7, "ok"),
        ([(2, 5)], 5, "ok"),
    ],
)
def test_ranges_follow_one_another(spans: list[tuple[int, int]], promoted: int, state: str) -> None:
    found = {Range(*span) for span in spans}
    assert ranges(found, found, Mark(0, promoted, promoted, 0, promoted, None)).state == state
