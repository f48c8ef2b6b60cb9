import duckdb
import msgspec
import pytest

from dashboard.reader.problem import Problem, at, of_duckdb, too_late, too_long


def told(sql):
    with duckdb.connect() as con:
        con.execute("set errors_as_json = true")
        with pytest.raises(duckdb.Error) as caught:
            con.execute(sql).fetchall()
    return of_duckdb(caught.value, sql)


@pytest.mark.parametrize(
    ("sql", "line", "column", "says"),
    [
        ("selec 1", 1, 1, "syntax error"),
        ("select 1\nfrom\n  nope", 3, 3, "nope does not exist"),
        ("select 'ü', b from (select 1 as a)", 1, 13, '"b" not found'),
        ("select 'x'::int", 1, 11, "Could not convert"),
    ],
)
def test_what_is_wrong_with_a_statement_is_told_with_its_place(sql, line, column, says):
    problem = told(sql)
    assert (problem.status, problem.kind) == (400, "sql")
    assert says in problem.message
    assert problem.line == line
    if "::" not in sql:  # DuckDB points at the whole cast
        assert problem.column == column


@pytest.mark.parametrize(
    ("type_", "status", "kind"),
    [
        ("Permission", 403, "not_allowed"),
        ("Invalid Configuration", 403, "not_allowed"),
        ("Out of Memory", 413, "out_of_memory"),
        ("INTERRUPT", 504, "time_limit"),
        ("IO", 503, "log"),
        ("INTERNAL", 500, "internal"),
        ("Whatever 3.0 has", 400, "sql"),
    ],
)
def test_each_of_duckdbs_errors_has_a_status(type_, status, kind):
    said = msgspec.json.encode({"exception_type": type_, "exception_message": "at /srv/ropo/data/hot.duckdb"}).decode()
    problem = of_duckdb(duckdb.Error(f"X Error: {said}"), "select 1")
    assert (problem.status, problem.kind) == (status, kind)
    if kind in ("log", "internal"):
        assert "/srv" not in problem.message


def test_an_error_in_plain_words_is_understood_too():
    assert of_duckdb(duckdb.Error("Out of Memory Error: no more"), "").status == 413
    assert of_duckdb(duckdb.Error("Parser Error: {not json"), "").status == 400
    assert len(of_duckdb(duckdb.Error("Parser Error: " + "x" * 9000), "").message) <= 2000


def test_a_place_beyond_the_statement_is_none():
    assert at("select 1", 99, 400, "sql", "x") == Problem(400, "sql", "x")
    assert at("a\nb", 2, 400, "sql", "x") == Problem(400, "sql", "x", 2, 2, 1)


def test_as_json_it_has_no_empty_fields():
    assert msgspec.json.decode(too_late(3).body())["error"].keys() == {"status", "kind", "message"}
    assert "1,000" in too_long(1000).message
