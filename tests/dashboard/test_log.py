import os
import time

import duckdb
import pytest

from dashboard.log import LogReader, first_line, the_page, time_limit
from tests.support.logs import EPOCH, LEAD, a_visit, layout_of, write_log

ENDLESS = "select count(*) from range(10_000_000) a, range(10_000_000) b where (a.range + b.range) % 7 = 3"


@pytest.fixture
def layout(tmp_path):
    return layout_of(tmp_path)


@pytest.fixture
def reader(layout):
    reader = LogReader(layout, time_limit_secs=20)
    yield reader
    reader.close()


def rows(con):
    return con.execute("select count(*) from events").fetchone()[0]


def test_without_a_log_there_is_no_answer_and_no_complaint(reader, caplog):
    log = reader.answer(the_page(5))
    assert log.absent
    assert log.error == ""
    assert caplog.text == ""


def test_every_question_of_the_page_is_answered(reader, layout):
    write_log(layout, a_visit())
    log = reader.answer(the_page(5))
    assert log.error == ""
    assert log.counts == {"events": 3, "visits": 1, "leads": 1}
    assert [row["lead_id"] for row in log.leads] == [LEAD]
    assert [row["campaign"] for row in log.visits] == ["spring"]
    assert [(row["worker"], row["logged"]) for row in log.ledger] == [("worker-1", 3)]
    assert log.deliveries["csv"]["delivered"] == 1


def test_a_held_connection_sees_what_is_published_later(reader, layout):
    write_log(layout, a_visit())
    assert reader.ask(rows) == 3
    held = reader.connection
    write_log(layout, a_visit(epoch=EPOCH + 1))
    assert reader.ask(rows) == 6
    assert reader.connection is held


def test_a_door_that_was_made_anew_is_opened_anew(reader, layout):
    write_log(layout, a_visit())
    reader.ask(rows)
    held = reader.connection
    fresh = layout.log_db.with_suffix(".fresh")
    fresh.write_bytes(layout.log_db.read_bytes())
    os.replace(fresh, layout.log_db)
    assert reader.ask(rows) == 3
    assert reader.connection is not held


def test_a_connection_that_fails_is_opened_again(reader, layout):
    write_log(layout, a_visit())
    reader.ask(rows)
    reader.connection.close()
    assert reader.ask(rows) == 3


def test_a_question_that_fails_leaves_the_others_their_answers(reader, layout, caplog):
    write_log(layout, a_visit())
    asked = the_page(5) | {"visits": lambda con: con.execute("select * from no_such_view").fetchall()}
    log = reader.answer(asked)
    assert log.visits is None
    assert log.counts["events"] == 3
    assert "no_such_view" in log.error
    reader.answer(asked)
    assert caplog.text.count("no_such_view") == 1


def test_a_log_that_is_no_database_is_told_in_one_line(reader, layout):
    layout.log_db.write_bytes(b"not a database" * 1000)
    log = reader.answer(the_page(5))
    assert not log.absent
    assert log.counts is None
    assert "cannot be opened" in log.error
    assert "\n" not in log.error


def test_a_question_that_takes_too_long_is_interrupted(layout):
    write_log(layout, a_visit())
    reader = LogReader(layout, time_limit_secs=0.2)
    log = reader.answer({"visits": lambda con: con.execute(ENDLESS).fetchall()})
    assert log.visits is None
    assert "longer than 0.2 s" in log.error
    assert reader.ask(rows) == 3
    reader.close()


def test_the_time_limit_holds_for_all_statements_of_a_question_together():
    with duckdb.connect() as con, pytest.raises(duckdb.InterruptException), time_limit(con, 0.1):
        time.sleep(0.15)  # the first interrupt comes while nothing runs, and is forgotten
        con.execute(ENDLESS).fetchall()


def test_the_log_cannot_be_changed_through_the_dashboard(reader, layout):
    write_log(layout, a_visit())
    with pytest.raises(duckdb.Error):
        reader.ask(lambda con: con.execute("create table t (x integer)").fetchall())


def test_long_errors_are_cut_to_a_line():
    assert first_line(ValueError("one\ntwo")) == "one"
    assert first_line(ValueError()) == "ValueError"
    assert len(first_line(ValueError("x" * 500))) == 200
