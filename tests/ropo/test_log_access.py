from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from ropo.log_access import open_confined
from storage.layout import Layout
from storage.read import NoLogError
from tests.support import sample_log

VIEWS = ("events", "visits", "touchpoints", "conversions", "leads", "journeys", "deliveries", "ledger")


# A `[` in a path has a meaning of its own in DuckDB's patterns.
@pytest.fixture(scope="module", params=["plain", "a b'[1]"])
def layout(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Layout:
    folder = tmp_path_factory.mktemp("log") / request.param
    folder.mkdir()
    return sample_log.write(folder).layout


@pytest.fixture
def con(layout: Layout) -> Iterator[duckdb.DuckDBPyConnection]:
    con = open_confined(layout)
    yield con
    con.close()


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_can_be_asked(con: duckdb.DuckDBPyConnection, view: str):
    assert con.execute(f"select count(*) >= 0 from {view}").fetchall() == [(True,)]


def test_the_rows_are_there(con: duckdb.DuckDBPyConnection):
    assert con.execute("select count(*) from events").fetchall() == [(6,)]
    assert con.execute("select count(*) from leads").fetchall() == [(2,)]


ATTEMPTS = {
    "another file": "from read_csv('{outside}')",
    "a file by its name": "from '{outside}'",
    "a file as text": "from read_text('{outside}')",
    "a list of files": "from glob('{root}/*')",
    "the database of the collector": "attach '{root}/work.duckdb'",
    "its tables": "from read_duckdb('{root}/work.duckdb', table_name = 'events')",
    "the secrets": "from read_text('{root}/secrets/contact.keys')",
    "the network": "from read_csv('http://127.0.0.1:9/x.csv')",
    "an extension": "install httpfs",
    "turning it on again": "set enable_external_access = true",
    "resetting it": "reset enable_external_access",
    "another folder": "set allowed_directories = ['/']",
    "a file elsewhere": "copy (select 1) to '{outside}.new'",
    "a file elsewhere, from inside": "with x as (copy (select 1) to '{outside}.new') select 1",
    "a table": "create table x (i int)",
    "a variable of Python": "from outside",
}


@pytest.mark.parametrize("query", ATTEMPTS.values(), ids=ATTEMPTS)
def test_nothing_else_can_be_read_or_written(
    con: duckdb.DuckDBPyConnection, layout: Layout, tmp_path: Path, query: str
):
    outside = tmp_path / "outside.csv"
    outside.write_text("a,b\n1,2\n")
    with pytest.raises(duckdb.Error):
        con.execute(query.format(outside=outside, root=str(layout.root).replace("'", "''"))).fetchall()
    assert [path.name for path in tmp_path.iterdir()] == ["outside.csv"]


def test_a_session_may_have_its_own_zone_and_tables(con: duckdb.DuckDBPyConnection):
    con.execute("set timezone = 'Europe/Berlin'")
    con.execute("create temp table mine as from visits")
    assert con.execute("select count(*) from mine").fetchall() == [(2,)]


def test_without_a_log_it_is_told_what_to_do(tmp_path: Path):
    with pytest.raises(NoLogError, match=re.escape("Start `ropo serve`")):
        open_confined(Layout(tmp_path))
