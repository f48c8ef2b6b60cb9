from __future__ import annotations

from pathlib import Path

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage import sql

STATEMENTS = sorted(sql.ROOM.glob("*/*.sql"))


@given(st.text().filter(lambda text: "\0" not in text))
def test_a_literal_is_the_text_it_was_made_of(text: str) -> None:
    with duckdb.connect() as con:
        assert con.execute(f"select {sql.literal(text)}").fetchall() == [(text,)]


@pytest.mark.parametrize("column", ["at", "count", 'a"b', "select", "'"])
def test_a_name_can_be_any_word(column: str) -> None:
    with duckdb.connect() as con:
        con.execute(f"create table t ({sql.name(column)} integer)")
        con.execute("insert into t values (1)")
        assert con.execute(f"select {sql.name(column)} from t").fetchall() == [(1,)]


@pytest.mark.parametrize("folder", ["plain", "it's", "a [1] b", "what?", "*", "[!x]", "ümläut", "{a,b}"])
def test_a_folder_can_have_any_name_and_only_its_files_are_read(tmp_path: Path, folder: str) -> None:
    here, decoy = tmp_path / folder, tmp_path / "a 1 b"
    here.mkdir()
    decoy.mkdir(exist_ok=True)
    (decoy / "x.csv").write_text("decoy\n")
    (here / "x.csv").write_text("right\n")
    with duckdb.connect() as con:
        for place in (sql.file(here / "x.csv"), sql.files(here, "*.csv")):
            assert con.execute(f"from read_csv({place}, header = false)").fetchall() == [("right",)]


@pytest.mark.parametrize("path", STATEMENTS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_statement_in_a_file_begins_with_what_it_is_for(path: Path) -> None:
    asked = sql.question(sql.read(f"{path.parent.name}/{path.stem}"))
    assert len(asked) > 10
    if path.parent.name == "questions":
        assert asked.rstrip(" .").count("?"), asked


def test_a_statement_without_a_comment_has_no_question() -> None:
    assert sql.question("select 1") == ""


def test_a_transaction_keeps_all_or_nothing() -> None:
    with duckdb.connect() as con:
        con.execute("create table t (n integer)")
        with sql.transaction(con):
            con.execute("insert into t values (1)")
        with pytest.raises(ZeroDivisionError), sql.transaction(con):
            con.execute("insert into t values (2)")
            raise ZeroDivisionError
        with pytest.raises(duckdb.ConversionException), sql.transaction(con):
            con.execute("insert into t values (3)")
            con.execute("insert into t values ('x')")
        assert con.execute("from t").fetchall() == [(1,)]
