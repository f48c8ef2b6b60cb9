from __future__ import annotations

import csv
import io
import json
import re
import signal
import subprocess
from pathlib import Path

import duckdb
import psutil
import pytest
from rich.cells import cell_len

from ropo.cli.sql import bare
from tests.ropo.cli.conftest import Ropo, on_terminal
from tests.support.ropo_process import REPOSITORY, ROPO, environment, run_ropo
from tests.support.sample_log import ERIKA, SampleLog
from tests.support.waiting import until

# Bold and dim are no colours: they stay with NO_COLOR.
STYLE = re.compile(r"\x1b\[[0-9;]*m")

# Long enough for any machine; nobody waits for its end.
FOR_EVER = "select count(*) from range(100000000000) a, range(1000) b where hash(a.range + b.range) = 5"


def test_a_pipe_gets_plain_aligned_text(ropo: Ropo, shared_log: SampleLog):
    query = "select seq, path, touch_source from events order by seq limit 2"
    done = ropo("sql", query, "--config", shared_log.config)
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        "seq  path       touch_source",
        "  1  /pumps     google",
        "  2  /pumps/p1  NULL",
    ]


def test_csv_is_csv(ropo: Ropo, shared_log: SampleLog):
    query = "select occurred_at, click_ids, touch_medium, 'a\"b,\n;' as odd from events order by seq limit 2"
    rows = list(csv.reader(io.StringIO(ropo("sql", "--csv", query, "--config", shared_log.config).stdout)))
    assert rows == [
        ["occurred_at", "click_ids", "touch_medium", "odd"],
        ["2026-11-20T08:12:03.000000Z", '{"gclid":"Cj0K-1"}', "cpc", 'a"b,\n;'],
        ["2026-11-20T08:13:00.500000Z", "", "", 'a"b,\n;'],
    ]


def test_json_is_an_array_of_objects_with_moments_of_rfc_3339(ropo: Ropo, shared_log: SampleLog):
    query = (
        "select occurred_at, click_ids, properties, visitor_id, null as nothing, is_bot, 1.50::decimal(18, 2) as value "
        "from events order by seq limit 1"
    )
    done = ropo("sql", "--json", query, "--config", shared_log.config)
    assert json.loads(done.stdout) == [
        {
            "occurred_at": "2026-11-20T08:12:03.000000Z",
            "click_ids": {"gclid": "Cj0K-1"},
            "properties": {"n": 1},
            "visitor_id": ERIKA,
            "nothing": None,
            "is_bot": False,
            "value": 1.5,
        }
    ]
    assert '"value":1.50' in done.stdout


def test_no_rows_and_the_same_name_twice_are_json_too(ropo: Ropo, shared_log: SampleLog):
    assert json.loads(ropo("sql", "--json", "from events where false", "--config", shared_log.config).stdout) == []
    twice = ropo("sql", "--json", "select 1 as a, 2 as a, 3 as a_1", "--config", shared_log.config).stdout
    assert json.loads(twice) == [{"a": 1, "a_1": 2, "a_1_1": 3}]


def test_more_rows_than_one_fetch_come_all_and_in_order(ropo: Ropo, shared_log: SampleLog):
    query = "select range as n from range(5000)"
    rows = json.loads(ropo("sql", "--json", query, "--config", shared_log.config).stdout)
    assert [row["n"] for row in rows] == list(range(5000))
    assert len(ropo("sql", query, "--config", shared_log.config).stdout.splitlines()) == 5001


def test_a_query_comes_from_stdin_or_a_file(ropo: Ropo, shared_log: SampleLog, tmp_path: Path):
    (tmp_path / "query.sql").write_text("-- How many?\nselect 'ä' as x")
    assert ropo("sql", "-", "--config", shared_log.config, input="select 42 as x").stdout.split() == ["x", "42"]
    from_file = ropo("sql", "--file", tmp_path / "query.sql", "--config", shared_log.config)
    assert from_file.stdout.split() == ["x", "ä"]


def test_of_several_statements_the_last_one_answers(ropo: Ropo, shared_log: SampleLog):
    query = "set timezone = 'Asia/Tokyo'; select occurred_at from events order by 1 limit 1;"
    assert "17:12:03+09:00" in ropo("sql", query, "--config", shared_log.config).stdout
    assert ropo("sql", "set threads = 1", "--config", shared_log.config).stdout == ""


@pytest.mark.parametrize("arguments", [(), ("select 1", "--file", __file__), ("  ",), ("-- nothing",)])
def test_no_query_is_a_misuse(ropo: Ropo, shared_log: SampleLog, arguments: tuple[str, ...]):
    done = ropo("sql", *arguments, "--config", shared_log.config)
    assert done.exit_code == 2
    assert done.stdout == ""


WRONG = {
    "no SQL": ("selec 1", ["syntax error", "selec"]),
    "no such view": ("from visitz", ['Did you mean "visits"', "views events, visits, touchpoints"]),
    "no such column": ("select campain from touchpoints", ["campain", 'ropo sql "describe events"']),
    "another file": ("from read_csv('/etc/passwd')", ["reads the log and nothing else"]),
    "a new file": ("copy (select 1) to 'x.csv'", ["writes no files", "--csv"]),
    "an export": ("export database 'x'", ["writes no files"]),
    "writing": ("create table x (i int)", ["read-only", "written by ropo alone"]),
    "no number": ("select 'x'::int", ["Conversion Error"]),
}


@pytest.mark.parametrize("query, words", WRONG.values(), ids=WRONG)
def test_what_goes_wrong_is_said_in_duckdbs_words_with_a_hint_and_no_traceback(
    ropo: Ropo, shared_log: SampleLog, query: str, words: list[str]
):
    done = ropo("sql", query, "--config", shared_log.config)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("ropo: ")
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr


def test_an_error_in_the_middle_of_the_answer_ends_with_1(ropo: Ropo, shared_log: SampleLog):
    query = "select case when range < 100000 then 1 else error('too far') end from range(200000)"
    done = ropo("sql", "--csv", query, "--config", shared_log.config)
    assert done.exit_code == 1 and "too far" in done.stderr


def test_without_a_log_it_says_how_to_get_one(tmp_path: Path):
    (tmp_path / "config.yaml").write_text("storage: {path: data}\n")
    done = run_ropo("sql", "select 1", "--config", str(tmp_path / "config.yaml"))
    assert done.returncode == 1
    assert "Start `ropo serve`" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("form", [[], ["--csv"], ["--json"]])
def test_ctrl_c_interrupts_the_query_and_ends_with_130(shared_log: SampleLog, form: list[str]):
    process = subprocess.Popen(
        [*ROPO, "sql", *form, FOR_EVER, "--config", str(shared_log.config)],
        cwd=REPOSITORY, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # Who runs the tests in the background has Ctrl-C ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    try:
        # Starting costs less than a second of CPU; after three it is the query that burns it, however slow the machine.
        until(lambda: psutil.Process(process.pid).cpu_times().user > 3, "the query runs")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert (out, err) == ("", "ropo: interrupted\n")


def test_a_reader_that_has_seen_enough_ends_it_quietly(shared_log: SampleLog):
    command = [*ROPO, "sql", "--csv", "from range(100000000)", "--config", str(shared_log.config)]
    process = subprocess.Popen(
        command, cwd=REPOSITORY, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "range\n"
    process.stdout.close()
    assert process.wait(timeout=30) == 1
    assert process.stderr.read() == ""
    process.stderr.close()


def test_on_a_terminal_rows_are_counted_and_what_is_missing_is_dim(shared_log: SampleLog):
    query = "select path, touch_source from events order by seq limit 2"
    code, said = on_terminal("sql", query, "--config", shared_log.config)
    assert code == 0
    assert "\x1b[1mpath" in said and "\x1b[2mNULL" in said
    assert "2 rows in " in said


def test_a_terminal_shows_the_first_rows_and_tells_of_the_others(shared_log: SampleLog):
    _, said = on_terminal("sql", "select range as n from range(1234)", "--config", shared_log.config, NO_COLOR="1")
    assert "1,234 rows in " in said and "the first 100 shown" in said
    assert "\n99\n" in said and "\n100\n" not in said
    _, said = on_terminal("sql", "from range(300)", "--rows", "0", "--config", shared_log.config, NO_COLOR="1")
    assert "\n  299\n" in said and "shown" not in said


@pytest.mark.parametrize("columns", [60, 100, 200])
def test_no_line_is_wider_than_the_terminal(shared_log: SampleLog, columns: int):
    for query in ("from events", "select '日本語' || repeat(' wörter', 50) as text, visitor_id, path from events"):
        code, said = on_terminal("sql", query, "--config", shared_log.config, columns=columns, NO_COLOR="1")
        assert code == 0
        assert max(cell_len(line) for line in STYLE.sub("", said).splitlines()) <= columns


def test_a_terminal_is_not_steered_by_what_strangers_sent(shared_log: SampleLog):
    query = "select chr(27) || ']0;owned' || chr(7) as path"
    _, said = on_terminal("sql", query, "--config", shared_log.config, NO_COLOR="1")
    assert r"\x1b]0;owned\x07" in said and "\x1b]" not in said
    _, said = on_terminal("sql", "select error(chr(27) || ']0;owned')", "--config", shared_log.config)
    assert r"\x1b]0;owned" in said and "\x1b]" not in said


def test_lines_of_json_are_objects_and_nothing_else(ropo: Ropo, shared_log: SampleLog):
    done = ropo("sql", "--ndjson", "select seq, path from events order by seq limit 2", "--config", shared_log.config)
    assert done.stdout == '{"seq":1,"path":"/pumps"}\n{"seq":2,"path":"/pumps/p1"}\n'


def test_parquet_is_a_file_of_the_answer(ropo: Ropo, shared_log: SampleLog, tmp_path: Path):
    out = tmp_path / "it's.parquet"
    query = "create temp table t as from visits; select visit_id, click_ids from t join touchpoints using (visit_id); -- all"
    done = ropo("sql", "--parquet", out, query, "--config", shared_log.config)
    assert (done.exit_code, done.stdout) == (0, "")
    assert "2 rows, " in done.stderr
    with duckdb.connect() as con:
        found = con.execute("select click_ids from read_parquet($file) order by all", {"file": str(out)}).fetchall()
    assert found == [({"gclid": "Cj0K-1"},), (None,)]
    assert list(tmp_path.iterdir()) == [out]


def test_a_parquet_file_that_is_there_stays_but_for_force(ropo: Ropo, shared_log: SampleLog, tmp_path: Path):
    out = tmp_path / "x.parquet"
    out.write_text("mine")
    asked = ["sql", "--parquet", out, "from visits", "--config", shared_log.config]
    assert (ropo(*asked).exit_code, out.read_text()) == (2, "mine")
    assert ropo(*asked, "--force").exit_code == 0
    assert out.read_bytes()[:4] == b"PAR1"


@pytest.mark.parametrize("query, code", [("set threads = 1", 2), ("from nowhere", 1), ("select error('x')", 1)])
def test_a_parquet_file_that_is_not_whole_is_not_there(
    ropo: Ropo, shared_log: SampleLog, tmp_path: Path, query: str, code: int
):
    done = ropo("sql", "--parquet", tmp_path / "x.parquet", query, "--config", shared_log.config)
    assert done.exit_code == code
    assert list(tmp_path.iterdir()) == []


def test_two_forms_at_once_are_a_misuse(ropo: Ropo, shared_log: SampleLog):
    done = ropo("sql", "--csv", "--parquet", "x.parquet", "from visits", "--config", shared_log.config)
    assert (done.exit_code, "not both" in done.stderr) == (2, True)


def test_an_error_shows_its_line_and_the_place_in_it(ropo: Ropo, shared_log: SampleLog):
    query = "select 1;\nselect path\nfrom events\nwhere campain = 1"
    said = ropo("sql", query, "--config", shared_log.config).stderr.splitlines()
    line = next(number for number, text in enumerate(said) if text.startswith("LINE "))
    assert said[line] == "LINE 4: where campain = 1"
    assert said[line + 1].index("^") == said[line].index("campain")


@pytest.mark.parametrize(
    "query", ["with x as (copy (select 1) to '/tmp/x') select 1", "explain analyze copy (select 1) to '/tmp/x'",
              "set log_query_path = '/tmp/x'", "attach '/tmp/x'", "call enable_logging(storage = 'file')"]
)  # fmt: skip
def test_what_does_more_than_ask_is_refused(ropo: Ropo, shared_log: SampleLog, query: str):
    done = ropo("sql", query, "--config", shared_log.config)
    assert (done.exit_code, done.stdout) == (1, "")
    # DuckDB 1.5 knows no COPY inside a query.
    assert any(
        words in done.stderr
        for words in ("`ropo sql` only asks", "reads the log and nothing else", "A CTE needs a SELECT")
    )


BARE = [
    ("from x", "from x"),
    ("from x;", "from x"),
    ("from x ; -- all", "from x"),
    ("from x -- all", "from x"),
    ("from x /* all; */ ;\n", "from x"),
    ("select '; -- it''s'", "select '; -- it''s'"),
    ('select ";--";;', 'select ";--"'),
    ("select $$;--$$ ;", "select $$;--$$"),
    ("select 1 -- one\n, 2;", "select 1 -- one\n, 2"),
    ("select 4 / 2 - 1 -", "select 4 / 2 - 1 -"),
]


@pytest.mark.parametrize("statement, found", BARE)
def test_a_statement_is_taken_without_its_end(statement: str, found: str):
    assert bare(statement) == found
