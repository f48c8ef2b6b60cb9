from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from storage import checksums, migrations
from storage.ingest import Inserter
from storage.parts import LAST, Parts, Range, make_folder, range_of
from storage.tables import EVENTS, LEAD_FACTS, TABLES
from tests.support.rows import batch, event, lead, spool_file
from tracker.model import Batch

Connection = duckdb.DuckDBPyConnection

MIDNIGHT = 12 * 60  # minutes after noon


@pytest.fixture
def con(tmp_path: Path) -> Iterator[Connection]:
    with duckdb.connect() as con:
        # A day of parts is a day in UTC, whatever the session thinks.
        con.execute("set timezone = 'Pacific/Auckland'")
        con.execute(f"attach '{tmp_path / 'work.duckdb'}' as work")
        migrations.migrate(con, "work")
        yield con


@pytest.fixture
def parts(con: Connection, tmp_path: Path) -> Parts:
    parts = Parts(con, "work", tmp_path / "cold")
    parts.lay_base(1)
    return parts


def put(con: Connection, folder: Path, b: int, rows: Batch) -> None:
    con.execute("set timezone = 'UTC'")
    for table in TABLES:
        Inserter(con, "work", table, folder).insert(table.rows(rows), b)
    con.execute("set timezone = 'Pacific/Auckland'")


def names(folder: Path) -> list[str]:
    """Without the checksums beside the parts."""
    return sorted(
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")
    )


def rows_in(parts: Parts, path: Path) -> int:
    return parts.con.execute(f"select count(*) from read_parquet('{path}')").fetchall()[0][0]


def test_a_range_has_one_part_for_each_day_and_table_with_rows(con: Connection, parts: Parts, tmp_path: Path) -> None:
    put(con, tmp_path, 1, batch(event(0), event(0), spool_file("a")))
    put(
        con,
        tmp_path,
        2,
        batch(event(MIDNIGHT - 0.001), event(MIDNIGHT), lead("l", MIDNIGHT), spool_file("b", MIDNIGHT)),
    )
    put(con, tmp_path, 3, batch(event(0), spool_file("c")))
    parts.write(Range(0, 2))
    part = Range(0, 2).file_name
    assert names(tmp_path / "cold") == sorted(
        [f"{table.name}/base-001.parquet" for table in TABLES]
        + [f"events/day=2026-11-22/{part}", f"events/day=2026-11-23/{part}", f"lead_facts/day=2026-11-23/{part}"]
        + [f"spool_files/day=2026-11-22/{part}", f"spool_files/day=2026-11-23/{part}"]
    )
    for name in names(tmp_path / "cold"):
        path = tmp_path / "cold" / name
        assert checksums.kept(path) == checksums.of(path)
    assert rows_in(parts, tmp_path / "cold/events/day=2026-11-22" / part) == 3
    assert rows_in(parts, tmp_path / "cold/events/day=2026-11-23" / part) == 1


def test_a_range_without_spool_files_has_their_part_all_the_same(con: Connection, parts: Parts, tmp_path: Path) -> None:
    put(con, tmp_path, 1, batch(lead("l", MIDNIGHT)))
    parts.write(Range(0, 1))
    last = tmp_path / "cold" / LAST.name / "day=2026-11-23" / Range(0, 1).file_name
    assert rows_in(parts, last) == 0
    assert parts.filed() == 1


def test_a_range_that_was_interrupted_goes_on_where_it_stopped(con: Connection, parts: Parts, tmp_path: Path) -> None:
    put(con, tmp_path, 1, batch(event(0), event(MIDNIGHT), spool_file("a")))
    parts.write(Range(0, 1))
    first = tmp_path / "cold/events/day=2026-11-22" / Range(0, 1).file_name
    second = tmp_path / "cold/events/day=2026-11-23" / Range(0, 1).file_name
    was = first.stat()
    second.rename(second.with_name(second.name + ".tmp"))
    (tmp_path / "cold/events/day=2026-11-22/half.parquet.tmp").write_bytes(b"half")
    parts.write(Range(0, 1))
    assert (first.stat().st_ino, first.stat().st_mtime_ns) == (was.st_ino, was.st_mtime_ns)
    assert rows_in(parts, second) == 1
    assert not [name for name in names(tmp_path / "cold") if name.endswith(".tmp")]


def test_a_part_that_is_not_what_the_tables_hold_is_told(con: Connection, parts: Parts, tmp_path: Path) -> None:
    put(con, tmp_path, 1, batch(event(0), spool_file("a")))
    parts.write(Range(0, 1))
    put(con, tmp_path, 1, batch(event(1)))
    with pytest.raises(RuntimeError, match="holds 1 rows of 2"):
        parts.write(Range(0, 1))


def test_what_is_filed_ends_with_the_last_range_that_is_whole(con: Connection, parts: Parts, tmp_path: Path) -> None:
    assert parts.filed() == 0
    for b in (1, 2, 3):
        put(con, tmp_path, b, batch(event(b), spool_file(f"f{b}")))
        parts.write(Range(b - 1, b))
    (last,) = (tmp_path / "cold" / LAST.name).rglob(Range(2, 3).file_name)
    last.unlink()
    assert parts.filed() == 2
    assert [path.name for path in parts.beyond(2)] == [Range(2, 3).file_name]
    assert parts.beyond(3) == []


def test_parts_hold_batch_numbers_and_columns_of_every_type(con: Connection, parts: Parts, tmp_path: Path) -> None:
    put(
        con,
        tmp_path,
        1,
        batch(event(0, click_ids={"gclid": "x"}, properties={"a": 1}), lead("l", 0, lead_fields=["e"])),
    )
    parts.write(Range(0, 1))
    for table in (EVENTS, LEAD_FACTS):
        described = con.execute(
            f"describe from read_parquet({parts.every(table)}, union_by_name = true, hive_partitioning = false)"
        )
        of_parts = [(row[0], row[1]) for row in described.fetchall()]
        of_table = [(row[0], row[1]) for row in con.execute(f"describe work.{table.name}").fetchall()]
        assert of_parts == of_table


@pytest.mark.parametrize(
    "name, found",
    [
        ("000000000000-000000000007.parquet", Range(0, 7)),
        ("base-001.parquet", None),
        ("000000000001.parquet", None),
        ("x-2.parquet", None),
    ],
)
def test_a_range_is_told_from_the_name(name: str, found: Range | None) -> None:
    assert range_of(Path("cold/events/day=2026-11-22") / name) == found
    assert found is None or found.file_name == name


def test_names_of_ranges_sort_as_the_ranges_do() -> None:
    spans = [Range(0, 9), Range(9, 10), Range(10, 1_000_000)]
    assert sorted(span.file_name for span in spans) == [span.file_name for span in spans]


def test_folders_are_closed_to_others(tmp_path: Path) -> None:
    old = os.umask(0o022)
    try:
        make_folder(tmp_path / "a" / "b")
    finally:
        os.umask(old)
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o750
