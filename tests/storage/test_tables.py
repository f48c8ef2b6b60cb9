from __future__ import annotations

import dataclasses
import types
import typing
from pathlib import Path

import msgspec
import pytest

from storage.tables import TABLES, Table
from tests.support.rows import a_store, at, batch, event, spool_file
from tracker.model import Batch

TYPES = {
    str: {"VARCHAR"},
    int: {"BIGINT", "INTEGER"},
    bool: {"BOOLEAN"},
    list[str]: {"VARCHAR[]"},
    dict[str, str]: {"MAP(VARCHAR, VARCHAR)"},
    dict[str, str | int | float | bool | None]: {"JSON"},
}
TIMES = {"occurred_at", "ingested_at", "next_attempt_at"}
# Numbers that are given or measured without a bound of ours.
WIDE = {"epoch", "seq", "first_seq", "last_seq", "request_bytes", "response_bytes", "duration_us", "wait_us", "count"}


def bare(kind: object) -> object:
    """The type without the None."""
    if isinstance(kind, types.UnionType):
        kinds = [one for one in typing.get_args(kind) if one is not types.NoneType]
        return kinds[0] if len(kinds) == 1 else kind
    return kind


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_a_table_has_the_fields_of_its_rows_in_their_order_and_the_batch_number(tmp_path: Path, table: Table) -> None:
    with a_store(tmp_path) as store:
        columns = store.connection.execute(
            "select column_name, data_type from duckdb_columns() where database_name = 'work' and table_name = ? "
            "order by column_index",
            [table.name],
        ).fetchall()
    assert [name for name, _ in columns] == [field.name for field in table.fields] + ["b"]
    declared = typing.get_type_hints(table.row)
    for name, kind in columns[:-1]:
        if name in TIMES:
            assert kind == "TIMESTAMP WITH TIME ZONE"
        else:
            assert kind in TYPES[bare(declared[name])], name
        if name in WIDE:
            assert kind == "BIGINT", name


def test_every_list_of_a_batch_has_its_table() -> None:
    assert [field.name for field in dataclasses.fields(Batch)] == [table.name for table in TABLES]
    assert all(issubclass(table.row, msgspec.Struct) for table in TABLES)


def test_a_table_finds_its_rows_in_a_batch() -> None:
    one, file = event(), spool_file("f")
    rows = {table.name: table.rows(batch(one, file)) for table in TABLES}
    assert rows == {"events": [one], "lead_facts": [], "delivery_facts": [], "drops": [], "spool_files": [file]}


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_every_row_says_when_in_the_column_it_is_filed_by(table: Table) -> None:
    assert table.time in TIMES & {field.name for field in table.fields if field.required}


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_a_table_takes_its_plain_row(tmp_path: Path, table: Table) -> None:
    with a_store(tmp_path) as store:
        store.write(batch(table.plain_row(at())))
        assert store.connection.execute(f"select count(*) from {table.name}").fetchall() == [(1,)]
        assert store.counters["refused"] == 0
