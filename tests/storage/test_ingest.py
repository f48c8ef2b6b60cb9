from __future__ import annotations

import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage import migrations
from storage.ingest import ROW_ERRORS, Inserter, refused
from storage.tables import DROPS, EVENTS, LEAD_FACTS, SPOOL_FILES, TABLES, Table
from tests.support.rows import at, event, lead
from tracker.clock import text_of
from tracker.model import Event

Connection = duckdb.DuckDBPyConnection


@pytest.fixture(scope="module")
def con(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    with duckdb.connect() as con:
        con.execute("set timezone = 'UTC'")
        con.execute(f"attach '{tmp_path_factory.mktemp('work') / 'work.duckdb'}' as work")
        migrations.migrate(con, "work")
        yield con


@pytest.fixture(autouse=True)
def emptied(con: Connection) -> None:
    for table in TABLES:
        con.execute(f"delete from work.{table.name}")


def insert(con: Connection, folder: Path, table: Table, rows: list[Any], b: int = 1) -> None:
    Inserter(con, "work", table, folder).insert(rows, b)


def stored(con: Connection, table: Table) -> list[dict[str, Any]]:
    result = con.execute(f"from work.{table.name}")
    names = [column[0] for column in result.description]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def test_what_a_row_leaves_out_has_its_default_and_not_null(con: Connection, tmp_path: Path) -> None:
    insert(con, tmp_path, EVENTS, [event()])
    insert(con, tmp_path, LEAD_FACTS, [lead("l", 0)])
    row, fact = stored(con, EVENTS)[0], stored(con, LEAD_FACTS)[0]
    assert (row["retries"], row["is_bot"], row["is_touchpoint"], row["visitor_id"]) == (0, False, False, None)
    assert (fact["reason"], fact["lead_fields"], fact["withheld"], fact["contact"]) == ("", [], 0, None)


def test_times_are_utc_whatever_the_machine_thinks(con: Connection, tmp_path: Path) -> None:
    insert(con, tmp_path, EVENTS, [event()])
    assert stored(con, EVENTS)[0]["occurred_at"] == datetime(2026, 11, 22, 12, tzinfo=UTC)


def test_maps_lists_and_json_come_out_as_they_went_in(con: Connection, tmp_path: Path) -> None:
    properties = {"value": 12.5, "won": True, "note": 'a "b"\n', "none": None, "big": 2**60}
    insert(
        con, tmp_path, EVENTS, [event(click_ids={"gclid": "Aß-x", "": "e"}, campaign_params={}, properties=properties)]
    )
    insert(con, tmp_path, LEAD_FACTS, [lead("l", 0, lead_fields=["email", "näme"])])
    row = stored(con, EVENTS)[0]
    assert row["click_ids"] == {"gclid": "Aß-x", "": "e"}
    assert row["campaign_params"] == {}
    assert msgspec.json.decode(row["properties"]) == properties
    assert stored(con, LEAD_FACTS)[0]["lead_fields"] == ["email", "näme"]


hostile = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@given(
    rows=st.lists(
        st.builds(
            Event,
            event_id=hostile,
            occurred_at=st.integers(0, 4_000_000_000_000_000).map(text_of),
            name=hostile,
            source=hostile,
            seq=st.none() | st.integers(-(2**63), 2**63 - 1),
            path=st.none() | hostile,
            is_bot=st.booleans(),
            click_ids=st.none() | st.dictionaries(hostile, hostile, max_size=3),
        ),
        max_size=8,
    )
)
def test_any_text_of_a_visitor_comes_out_as_it_went_in(
    con: Connection, tmp_path_factory: pytest.TempPathFactory, rows: list[Event]
) -> None:
    con.execute("delete from work.events")
    insert(con, tmp_path_factory.getbasetemp(), EVENTS, rows)
    fields = ("event_id", "name", "source", "seq", "path", "is_bot", "click_ids")
    found = [tuple(row[field] for field in fields) for row in stored(con, EVENTS)]
    assert found == [tuple(getattr(row, field) for field in fields) for row in rows]
    assert [row["occurred_at"].strftime("%Y-%m-%d %H:%M:%S.%f") for row in stored(con, EVENTS)] == [
        row.occurred_at for row in rows
    ]


def test_every_row_carries_the_number_of_its_batch(con: Connection, tmp_path: Path) -> None:
    insert(con, tmp_path, EVENTS, [event(), event()], b=7)
    assert [row["b"] for row in stored(con, EVENTS)] == [7, 7]


def test_the_temporary_file_is_for_its_owner_alone_and_gone_afterwards(
    con: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inserter = Inserter(con, "work", EVENTS, tmp_path)
    modes = []

    class Spy:
        def execute(self, *call: Any) -> None:
            modes.append(stat.S_IMODE(inserter.path.stat().st_mode))
            con.execute(*call)

    monkeypatch.setattr(inserter, "con", Spy())
    inserter.path.write_text("left by a crash")
    inserter.insert([event()], 1)
    with pytest.raises(ROW_ERRORS):
        inserter.insert([Event("e", "no time", "n", "s")], 1)
    assert modes == [0o600, 0o600]
    assert list(tmp_path.iterdir()) == []
    assert len(stored(con, EVENTS)) == 1


BAD = {
    "no time": Event("e", "yesterday", "n", "s"),
    "no end of time": Event("e", "infinity", "n", "s"),
    "too large a number": Event("e", at(), "n", "s", seq=2**70),
    "half a character": Event("e", at(), "n", "s", path="\ud800"),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_a_row_its_table_cannot_take_is_told_from_a_disk_that_fails(
    con: Connection, tmp_path: Path, bad: Event
) -> None:
    with pytest.raises(ROW_ERRORS):
        insert(con, tmp_path, EVENTS, [event(), bad])
    assert stored(con, EVENTS) == []


def test_a_table_that_is_not_what_the_code_thinks_is_no_fault_of_the_rows(con: Connection, tmp_path: Path) -> None:
    inserter = Inserter(con, "work", DROPS, tmp_path)
    inserter.statement = inserter.statement.replace('"reason"', '"season"')
    with pytest.raises(duckdb.BinderException) as caught:
        inserter.insert([], 1)
    assert not isinstance(caught.value, ROW_ERRORS)


@given(st.lists(st.integers(0, 9), max_size=40))
def test_exactly_the_rows_that_are_refused_are_found(rows: list[int]) -> None:
    def accepts(some: list[int]) -> str | None:
        bad = [row for row in some if row == 9]
        return f"{len(bad)} bad" if bad else None

    found = list(refused(rows, accepts))
    assert found == [(9, "1 bad")] * rows.count(9)


def test_a_name_with_every_kind_of_quote_is_stored(con: Connection, tmp_path: Path) -> None:
    file = msgspec.convert({"name": "'\"\\;--", "ingested_at": at()}, SPOOL_FILES.row)
    folder = tmp_path / "it's [a] folder"
    folder.mkdir()
    insert(con, folder, SPOOL_FILES, [file])
    assert stored(con, SPOOL_FILES)[0]["name"] == "'\"\\;--"
