from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ropo import log_access
from ropo.log_access import open_confined
from storage import landlock
from storage.layout import Layout
from storage.read import NoLogError
from tests.support import sample_log
from tests.support.ropo_process import REPOSITORY

VIEWS = (
    "events",
    "visits",
    "touchpoints",
    "conversions",
    "leads",
    "journeys",
    "deliveries",
    "ledger",
    "attribution_linear",
)

Ask = Callable[[str], list[tuple]]


# A `[` in a path has a meaning of its own in DuckDB's patterns.
@pytest.fixture(scope="module", params=["plain", "a b'[1]"])
def layout(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Layout:
    folder = tmp_path_factory.mktemp("log") / request.param
    folder.mkdir()
    return sample_log.write(folder).layout


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    return sample_log.write(tmp_path_factory.mktemp("plain")).layout


@pytest.fixture
def asking(layout: Layout, tmp_path: Path) -> Iterator[Callable[[Callable[[duckdb.DuckDBPyConnection], Any]], Any]]:
    """Runs what it is given with a confined connection, on the thread that was confined for it."""
    (tmp_path / "scratch").mkdir()
    with ThreadPoolExecutor(1) as thread:
        con = thread.submit(open_confined, layout, scratch=tmp_path / "scratch").result()
        yield lambda work: thread.submit(work, con).result()
        thread.submit(con.close).result()


@pytest.fixture
def ask(asking: Callable[[Callable[[duckdb.DuckDBPyConnection], Any]], Any]) -> Ask:
    """Runs a statement whatever it is: with the layers of DuckDB and Linux, without the list of kinds."""
    return lambda query: asking(lambda con: con.execute(query).fetchall())


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_can_be_asked(ask: Ask, view: str):
    assert ask(f"select count(*) >= 0 from {view}") == [(True,)]


def test_the_rows_are_there(ask: Ask):
    assert ask("select count(*) from events") == [(6,)]
    assert ask("select count(*) from leads") == [(2,)]


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
def test_nothing_else_can_be_read_or_written(ask: Ask, layout: Layout, tmp_path: Path, query: str):
    outside = tmp_path / "outside.csv"
    outside.write_text("a,b\n1,2\n")
    with pytest.raises(duckdb.Error):
        ask(query.format(outside=outside, root=str(layout.root).replace("'", "''")))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["outside.csv", "scratch"]


# DuckDB lets a folder that may be read be written too: each of these wrote there before Linux was asked to see to it.
WRITES = {
    "copy": "copy (select 1) to '{parts}/x.csv'",
    "copy over a part": "copy (select 1) to '{part}' (format parquet)",
    "copy in a select": "with x as (copy (select 1) to '{parts}/x.csv') select 1",
    "copy in a select that reads it": "with x as materialized (copy (select 1) to '{parts}/x.csv') select * from x",
    "copy behind a comment": "/* harmless */ with x as (/* still */ CoPy (select 1) to '{parts}/x.csv') select 1",
    "copy in a new table": "create temp table t as with x as (copy (select 1) to '{parts}/x.csv') select 1",
    "copy, analyzed": "explain analyze copy (select 1) to '{parts}/x.csv'",
    "copy in a select, analyzed": "explain analyze with x as (copy (select 1) to '{parts}/x.csv') select 1",
    "copy, analyzed as JSON": "explain (analyze, format json) copy (select 1) to '{parts}/x.csv'",
    "copy, prepared": "prepare p as copy (select 1) to '{parts}/x.csv'",
    "a folder of files": "copy (select 1 as a) to '{parts}/x' (format csv, partition_by (a), write_partition_columns true)",
    "export": "export database '{parts}/x'",
    "another database": "attach '{parts}/x.duckdb' as x (read_write)",
    "a log of queries": "set log_query_path = '{parts}/x.log'",
    "a log": "call enable_logging(storage = 'file', storage_path = '{parts}/x')",
    "profiles": "set profiling_output = '{parts}/x.txt'",
    "secrets": "set secret_directory = '{parts}/x'",
}


@pytest.mark.parametrize("query", WRITES.values(), ids=WRITES)
def test_what_would_write_is_refused_before_it_runs(
    asking: Callable[[Callable[[duckdb.DuckDBPyConnection], Any]], Any], layout: Layout, query: str
):
    def work(con: duckdb.DuckDBPyConnection) -> list[str | None]:
        return [log_access.refused(con, statement) for statement in con.extract_statements(filled(query, layout))]

    before = files(layout)
    try:
        reasons = asking(work)
    except duckdb.Error:  # it is not even sound, or this version does not know it
        reasons = ["unsound"]
    assert all(reasons) and reasons
    assert files(layout) == before


# In a process of its own: DuckDB 2.0 aborts when it is closed with a log file that it could not write.
RUN = """
import sys, duckdb
from pathlib import Path
from ropo.log_access import open_confined
from storage.layout import Layout
con = open_confined(Layout(Path(sys.argv[1]), Path(sys.argv[2])), scratch=Path(sys.argv[3]))
for statement in sys.argv[4:]:
    try:
        con.execute(statement).fetchall()
    except duckdb.Error as error:
        print(type(error).__name__)
    else:
        print("done")
"""


@pytest.mark.skipif(not landlock.version(), reason="this kernel has no Landlock")
@pytest.mark.parametrize("query", WRITES.values(), ids=WRITES)
def test_and_would_not_write_if_it_ran(plain: Layout, tmp_path: Path, query: str):
    layout = plain
    before = files(layout)
    statements = [
        "from events",
        filled(query, layout),
        "execute p",
        "select 42",
        "create persistent secret (type http)",
    ]
    done = subprocess.run(
        [sys.executable, "-c", RUN, layout.root, layout.hot_db, tmp_path, *statements],
        capture_output=True, text=True, cwd=REPOSITORY, timeout=60,
    )  # fmt: skip
    assert done.stdout.startswith("done\n"), done.stderr
    assert files(layout) == before
    assert list(tmp_path.iterdir()) == []


def filled(query: str, layout: Layout) -> str:
    part = sorted(layout.cold.glob("events/**/*.parquet"))[0]
    return query.format(parts=str(part.parent).replace("'", "''"), part=str(part).replace("'", "''"))


def files(layout: Layout) -> dict[Path, tuple[int, int]]:
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in layout.root.rglob("*") if path.is_file()}


HARMLESS = [
    "from events", "with x as (select 1) from x", "describe events", "summarize visits", "show tables", "values (1)",
    "explain from events", "explain analyze from events", "explain (format json) from events",
    "set timezone = 'Europe/Berlin'", "set time zone 'UTC'", "reset timezone", "set variable since = 5", "set threads = 1",
    "-- which?\nset timezone = 'UTC'", "pragma table_info('events')", "pivot visits on channel using count(*)",
    "create temp table mine as from visits", "create temp macro f(x) as x + 1", "begin; rollback",
    "select 'copy' as copy", "create temp table copy as select 1", "create temp view copy as select 1",
    "with copy as (select 1) from copy", "explain select 'copy'",
]  # fmt: skip


@pytest.mark.parametrize("query", HARMLESS)
def test_what_only_asks_is_not_refused(asking: Callable[[Callable[[duckdb.DuckDBPyConnection], Any]], Any], query: str):
    def work(con: duckdb.DuckDBPyConnection) -> None:
        for statement in con.extract_statements(query):
            assert log_access.refused(con, statement) is None
            con.execute(statement).fetchall()

    asking(work)


@pytest.mark.parametrize(
    "query", ["pragma enable_profiling", "pragma database_list_nonsense", "load json", "vacuum", "checkpoint",
              "prepare p as select 1", "detach memory", "call pragma_version()", "set memory_limit_nonsense = 1",
              "explain explain select 1", "set secret_directory = '/tmp'", "reset lock_configuration"]
)  # fmt: skip
def test_what_is_on_no_list_is_refused(asking: Callable[[Callable[[duckdb.DuckDBPyConnection], Any]], Any], query: str):
    def work(con: duckdb.DuckDBPyConnection) -> list[str | None]:
        return [log_access.refused(con, statement) for statement in con.extract_statements(query)]

    try:
        assert all(asking(work))
    except duckdb.Error:  # nothing to refuse
        assert query.startswith(("explain explain", "pragma database_list_nonsense"))


def test_a_session_may_have_its_own_zone_and_tables(ask: Ask):
    ask("set timezone = 'Europe/Berlin'")
    ask("create temp table mine as from visits")
    assert ask("select count(*) from mine") == [(2,)]


def test_what_does_not_fit_into_memory_goes_to_the_scratch_folder(ask: Ask, tmp_path: Path):
    ask("set memory_limit = '40MB'")
    ask("set threads = 1")
    assert ask("select count(*) from (select distinct md5(range::varchar) from range(2_000_000))") == [(2_000_000,)]


def test_without_a_log_it_is_told_what_to_do(tmp_path: Path):
    with (
        ThreadPoolExecutor(1) as thread,
        pytest.raises(NoLogError, match=re.escape("Start `ropo serve`")),
    ):
        thread.submit(open_confined, Layout(tmp_path), scratch=tmp_path).result()
