import duckdb
import pytest

from dashboard.reader.problem import Refused
from dashboard.reader.statement import checked, closed


@pytest.fixture
def con():
    with duckdb.connect() as con:
        con.execute("set errors_as_json = true")
        con.execute("create table events as select 1 as a")
        yield con


def refusal(con, sql):
    with pytest.raises(Refused) as caught:
        checked(con, sql)
    return caught.value.problem


@pytest.mark.parametrize(
    "sql",
    [
        "select 1",
        "from events",
        "select 1 ;",
        "-- first\nselect 1 /* and */ -- last",
        "with x as (select 1) select * from x union select 2",
        "with recursive r as (select 1 as n union all select n from r) select * from r",
        "values (1), (2)",
        "table events",
        "describe events",
        "summarize events",
        "show tables",
        "explain select 1",
        "EXPLAIN ANALYZE select 1",
        "explain (format json) select 1",
        "/* why */ -- slow\n explain analyze select 1",
        "select * from range(3), unnest([1])",
        "from information_schema.tables",
        "pivot events on a in (1) using count(*)",
        "select sum(a) over (order by a), lower('X'), 'read_text(''x'')' from events",
    ],
)
def test_a_question_is_one_statement_that_asks(con, sql):
    assert checked(con, sql).type.name in ("SELECT", "EXPLAIN")


@pytest.mark.parametrize(
    ("sql", "status", "says"),
    [
        ("", 400, "no statement"),
        ("-- nothing", 400, "no statement"),
        ("select 1; select 2", 400, "2 statements"),
        ("selec 1", 400, "selec"),
        ("insert into events values (1)", 403, "no insert statement"),
        ("copy (select 1) to 'x'", 403, "no copy statement"),
        ("attach 'x'", 403, "no attach statement"),
        ("set threads = 1", 403, "no "),
        ("explain insert into events values (1)", 403, "Only questions"),
        ("explain analyze delete from events", 403, "Only questions"),
        ("explain analyze copy (select 1) to 'x'", 403, "Only questions"),
        ("select * from read_text('x')", 403, "read_text()"),
        ("select * from READ_CSV('x')", 403, "read_csv()"),
        ("select * from main.read_text('x')", 403, "read_text()"),
        ("explain select * from read_text('x')", 403, "read_text()"),
        ("select (select max(content) from read_text('x'))", 403, "read_text()"),
        ("select 1 where exists (from glob('*'))", 403, "glob()"),
        ("describe from read_text('x')", 403, "read_text()"),
        ("from query('select 1')", 403, "query()"),
        ("select current_setting('threads')", 403, "current_setting()"),
        ("select Current_Setting('threads') from events", 403, "current_setting()"),
        ("from duckdb_settings()", 403, "duckdb_settings()"),
        ("from duckdb_views", 403, "duckdb_views"),
        ("from pg_catalog.pg_class", 403, "pg_class"),
        ("from information_schema.views", 403, "views"),
        ("show databases; show tables", 400, "2 statements"),
    ],
)
def test_what_is_more_or_less_than_a_question_is_refused_with_its_reason(con, sql, status, says):
    problem = refusal(con, sql)
    assert problem.status == status
    assert says in problem.message


@pytest.mark.skipif(duckdb.__version__.startswith("1."), reason="DuckDB 1.5 does not parse it")
@pytest.mark.parametrize(
    "sql",
    [
        "with x as (delete from events returning *) select * from x",
        "with x as (insert into events values (2) returning *) select * from x",
        "with x as (update events set a = 2 returning *) select * from x",
        "with x as (copy (select 1) to '/nowhere/x') select 1",
        "select * from (with x as (copy (select 1) to '/nowhere/x') select 1)",
        "explain with x as (delete from events returning *) select * from x",
        "explain analyze with x as (copy (select 1) to '/nowhere/x') select 1",
    ],
)
def test_what_only_calls_itself_a_select_is_refused(con, sql):
    assert con.extract_statements(sql)[0].type.name in ("SELECT", "EXPLAIN")
    assert refusal(con, sql).status == 403
    assert con.execute("from events").fetchall() == [(1,)]


def test_where_the_closed_part_stands_is_told(con):
    problem = refusal(con, "select *\nfrom\n  read_text('ü')")
    assert (problem.line, problem.column, problem.position) == (3, 3, 16)


@pytest.mark.parametrize(
    "tree", [None, 1, "x", [], {}, {"type": 7}, [{"type": "TABLE_FUNCTION"}], {"function_name": None}]
)
def test_a_tree_of_another_shape_is_no_error(tree):
    list(closed(tree))
