from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

from storage import columns, door
from storage.tables import TABLES
from tests.support.rows import a_store, layout_of

VIEWS = (*(table.name for table in TABLES), *door.DERIVED)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    folder = tmp_path_factory.mktemp("log")
    with a_store(folder):
        pass
    with duckdb.connect(str(layout_of(folder).log_db), read_only=True) as con:
        yield con


@pytest.mark.parametrize("view", VIEWS)
def test_every_column_says_in_the_log_itself_what_it_says(log: duckdb.DuckDBPyConnection, view: str) -> None:
    """Tools such as DBeaver show it beside the column."""
    found = log.execute(
        "select column_name, comment from duckdb_columns() where table_name = ? order by column_index", [view]
    ).fetchall()
    assert [name for name, comment in found if not comment] == []
    assert dict(found) == {name: columns.told(view)[name] for name, _ in found}


def test_a_view_that_takes_all_columns_of_another_takes_what_they_say() -> None:
    assert columns.told("attribution_linear").keys() - columns.told("conversion_touchpoints").keys() == {
        "credit",
        "credited_value",
    }
