"""What tools see: answers, refusals, and how both behave when a client or the reader's own limits get in the way."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import psutil
import pytest

from dashboard.reader.app import MAX_BODY_BYTES, Idle, schema
from dashboard.reader.formats import has_arrow
from storage.layout import Layout
from tests.support.logs import a_visit, layout_of, write_log
from tests.support.reader_process import ReaderProcess, read
from tests.support.waiting import until

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "sql-over-http.md").read_text(encoding="utf-8")

SQL = {"Content-Type": "application/sql"}
JSON = {"Content-Type": "application/json"}
TOKEN = "a-token-that-is-long-enough"
# Work without end that DuckDB can be interrupted in.
ENDLESS = "select sum(hash(range)) from range(1000000000000)"


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    layout = layout_of(tmp_path_factory.mktemp("log"))
    write_log(layout, a_visit())
    return layout


@pytest.fixture(scope="module")
def reader(layout):
    with ReaderProcess(layout, max_rows=50_000) as reader:
        yield reader


def test_a_query_comes_as_text_as_json_or_on_this_machine_in_the_address(reader):
    assert reader.ask("select 1 as a").json == {
        "columns": [{"name": "a", "type": "INTEGER"}], "rows": [[1]], "row_count": 1,
    }  # fmt: skip
    body = {"sql": "select $1::int + $2::int as sum, $3 as text", "parameters": [1, 2, "x'; drop view events"]}
    asked = reader.request("POST", "/sql", json.dumps(body).encode(), JSON)
    assert asked.rows == [[3, "x'; drop view events"]]
    body = {"sql": "select name from events where name = $name limit 1", "parameters": {"name": "page_view"}}
    assert reader.request("POST", "/sql", json.dumps(body).encode(), JSON).rows == [["page_view"]]
    assert reader.request("GET", "/sql?q=select%20count(*)%20from%20events").rows == [[3]]


def test_the_form_is_chosen_by_accept_or_by_name(reader):
    sql = "select range as n from range(2)"
    assert reader.ask(sql, form="csv").body == b"n\r\n0\r\n1\r\n"
    assert reader.ask(sql, form="ndjson").body == b'{"n":0}\n{"n":1}\n'
    accepted = reader.request("POST", "/sql", sql.encode(), SQL | {"Accept": "text/csv"})
    assert accepted.headers["content-type"].startswith("text/csv")
    assert accepted.body == b"n\r\n0\r\n1\r\n"
    body = json.dumps({"sql": sql, "format": "csv"}).encode()
    assert reader.request("POST", "/sql", body, JSON).body == b"n\r\n0\r\n1\r\n"
    assert (reader.ask(sql, form="xml").status, reader.ask(sql, form="xml").kind) == (406, "format")


def test_an_arrow_stream_has_the_rows_or_says_what_is_missing(reader):
    sql = "select event_id, occurred_at, click_ids, 1.5::decimal(4, 1) as d from events order by seq"
    answer = reader.ask(sql, form="arrow")
    if not has_arrow():
        assert (answer.status, answer.kind) == (406, "format")
        assert "ropo[arrow]" in answer.json["error"]["message"]
        return
    import pyarrow.ipc

    assert answer.headers["content-type"] == "application/vnd.apache.arrow.stream"
    table = pyarrow.ipc.open_stream(answer.body).read_all()
    assert table.column_names == ["event_id", "occurred_at", "click_ids", "d"]
    assert table.num_rows == 3
    assert reader.ask("selec", form="arrow").status == 400
    assert reader.ask("select 1 where false", form="arrow").is_whole
    assert not reader.ask("from range(60000)", form="arrow").is_whole
    body = json.dumps({"sql": "select $1::int as a", "parameters": [7], "format": "arrow"}).encode()
    answer = reader.request("POST", "/sql", body, JSON)
    assert pyarrow.ipc.open_stream(answer.body).read_all().to_pylist() == [{"a": 7}]


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "kind"),
    [
        ("POST", "/sql", b"selec", SQL, 400, "sql"),
        ("POST", "/sql", b"", SQL, 400, "sql"),
        ("POST", "/sql", b"\xff", SQL, 400, "body"),
        ("POST", "/sql", b"{", JSON, 400, "body"),
        ("POST", "/sql", b'{"query": "x"}', JSON, 400, "body"),
        ("POST", "/sql", b'{"sql": "select 1", "more": 1}', JSON, 400, "body"),
        ("POST", "/sql", b'{"sql": "select $1", "parameters": 7}', JSON, 400, "body"),
        ("POST", "/sql", b'{"sql": "select $1"}', JSON, 400, "sql"),
        ("POST", "/sql", b"select 1", {}, 415, "content_type"),
        ("POST", "/sql", b"select 1", {"Content-Type": "text/plain"}, 415, "content_type"),
        ("POST", "/sql", b"select 1", SQL | {"Host": "evil.example"}, 421, "wrong_host"),
        ("POST", "/sql", b"select 1", SQL | {"Origin": "https://evil.example"}, 403, "cross_origin"),
        ("GET", "/sql?q=select%201", None, {"Sec-Fetch-Site": "cross-site"}, 403, "cross_origin"),
        ("GET", "/sql", None, {}, 400, "sql"),
        ("OPTIONS", "/sql", None, {"Access-Control-Request-Method": "POST"}, 405, "method"),
        ("HEAD", "/sql?q=select%201", None, {}, 405, None),
        ("GET", "/nowhere", None, {}, 404, "path"),
    ],
)
def test_what_cannot_be_answered_is_told_as_json(reader, method, path, body, headers, status, kind):
    answer = reader.request(method, path, body, headers)
    assert answer.status == status, answer.body
    assert answer.headers["content-type"].startswith("application/json")
    assert not any(name.startswith("access-control") for name in answer.headers)
    if kind:
        assert answer.kind == kind


def test_no_page_may_frame_read_or_keep_an_answer(reader):
    headers = reader.ask("select '<script>'").headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["cache-control"] == "no-store"
    assert headers["server"] == "ropo"


def test_the_schema_tells_of_views_their_columns_and_what_they_mean(reader):
    views = {view["name"]: view for view in reader.request("GET", "/schema").json["views"]}
    assert {"events", "visits", "leads", "journeys", "deliveries", "ledger"} <= views.keys()
    assert views["visits"]["comment"]
    assert "views " not in views["events"]["comment"].rpartition("(")[2]
    columns = {column["name"]: column for column in views["events"]["columns"]}
    assert columns["occurred_at"]["type"] == "TIMESTAMP WITH TIME ZONE"
    assert schema([["v", None, "a", "INTEGER", None]]) == (
        b'{"views":[{"name":"v","comment":null,"columns":[{"name":"a","type":"INTEGER","comment":null}]}]}'
    )


def test_an_answer_with_too_many_rows_breaks_off_so_that_nobody_takes_it_for_whole(reader):
    for form in ("json", "ndjson", "csv"):
        whole, cut = reader.ask("from range(50000)", form=form), reader.ask("from range(50001)", form=form)
        assert (whole.status, whole.is_whole) == (200, True)
        assert not cut.is_whole
        if form != "csv":
            assert b'"too_many_rows"' in cut.body
    assert len(reader.ask("from range(50000)").rows) == 50_000
    assert len(list(csv.reader(io.StringIO(reader.ask("from range(50000)", form="csv").body.decode())))) == 50_001


def test_an_error_after_the_first_rows_breaks_the_answer_off(reader):
    answer = reader.ask("select case when range > 40000 then error('late') else 'x' end from range(50000)")
    assert b"late" in answer.body
    assert answer.status == 400 or not answer.is_whole


def test_a_body_that_is_too_large_is_refused(reader):
    answer = reader.request("POST", "/sql", b"-" * (MAX_BODY_BYTES + 1), SQL)
    assert (answer.status, answer.kind) == (413, "too_large")


def test_the_largest_body_is_read(reader):
    assert reader.ask("select 1 --" + "x" * (MAX_BODY_BYTES - 20)).rows == [[1]]


def test_a_token_is_asked_of_everybody(layout):
    with ReaderProcess(layout, token=TOKEN) as reader:
        for path in ("/sql?q=select%201", "/schema", "/", "/nowhere"):
            answer = reader.request("GET", path)
            assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert reader.ask("select 1", headers={"Authorization": f"Bearer {TOKEN}x"}).status == 401
        assert reader.ask("select 1", headers={"Authorization": f"Bearer {TOKEN}"}).rows == [[1]]
        assert TOKEN not in reader.said()
        for one in reader.children():
            with suppress(psutil.Error):  # a query's process may just have ended
                assert TOKEN not in f"{one.cmdline()} {one.environ()}"


def test_without_a_log_it_says_so_and_answers_as_soon_as_there_is_one(tmp_path):
    layout = layout_of(tmp_path)
    with ReaderProcess(layout) as reader:
        assert (reader.ask("select 1").status, reader.ask("select 1").kind) == (503, "log")
        assert reader.request("GET", "/schema").status == 503
        write_log(layout, a_visit())
        assert reader.ask("select count(*) from events").rows == [[3]]
        layout.hot_db.unlink()  # as after a restart of the machine
        answer = reader.ask("select count(*) from events")
        assert (answer.status, answer.kind) == (503, "log")
        assert str(tmp_path) not in answer.body.decode()


# -- clients that are many, slow, gone or rude


def test_of_a_hundred_at_once_each_is_answered_or_told_that_there_are_too_many(layout):
    with ReaderProcess(layout, timeout_secs=60) as reader:
        with ThreadPoolExecutor(100) as pool:
            answers = list(pool.map(lambda n: reader.ask(f"select {n}, count(*) from events"), range(100)))
        counted = Counter(answer.status for answer in answers)
        assert set(counted) <= {200, 429}
        assert counted[200] >= 2
        assert all(answer.rows == [[n, 3]] for n, answer in enumerate(answers) if answer.status == 200)
        assert all(answer.headers["retry-after"] == "1" for answer in answers if answer.status == 429)
        assert reader.ask("select 1").rows == [[1]]
        until(lambda: not reader.queries(), "no process is left")


def test_a_client_that_goes_away_ends_its_query(layout):
    with ReaderProcess(layout, timeout_secs=600) as reader:
        for _ in range(3):
            connection = reader.connect()
            connection.request("POST", "/sql", ENDLESS.encode(), SQL)
            until(reader.queries, "the query runs")
            connection.close()
            until(lambda: not reader.queries(), "the query is gone")
        assert reader.ask("select 1").rows == [[1]]


def test_one_that_goes_away_while_waiting_takes_nobodys_turn(layout):
    with ReaderProcess(layout, max_concurrent=1, timeout_secs=600) as reader:
        first, second = reader.connect(), reader.connect()
        first.request("POST", "/sql", ENDLESS.encode(), SQL)
        until(reader.queries, "the query runs")
        second.request("POST", "/sql", ENDLESS.encode(), SQL)
        until(lambda: reader.state["waiting"] == 1, "the second one waits")
        second.close()
        until(lambda: reader.state["waiting"] == 0, "it does no more")
        first.close()
        assert reader.ask("select 1").rows == [[1]]


def test_an_answer_that_nobody_reads_costs_little_memory_and_ends_with_the_time_limit(layout):
    with ReaderProcess(layout, timeout_secs=4, max_rows=1_000_000_000) as reader:
        rude = reader.connect()
        rude.request("POST", "/sql", b"select repeat('x', 1000) from range(100000000)", SQL)
        until(reader.queries, "the query runs")
        process, peak = psutil.Process(reader.process.pid), 0
        while reader.queries():
            peak = max(peak, process.memory_info().rss, *(one.memory_info().rss for one in alive(reader.queries())))
            time.sleep(0.05)
        assert peak < 400 << 20
        assert not read(rude).is_whole
        rude.close()
        assert reader.ask("select 1").rows == [[1]]


def alive(processes):
    for one in processes:
        try:
            one.memory_info()
            yield one
        except psutil.NoSuchProcess:
            continue


def test_half_requests_hold_up_nobody_and_are_ended(layout):
    with ReaderProcess(layout) as reader:
        host, port = reader.listen.rsplit(":", 1)
        half = [
            b"",
            b"POST /sql HTT",
            b"POST /sql HTTP/1.1\r\nHost: localhost\r\n",
            b"POST /sql HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/sql\r\nContent-Length: 9\r\n\r\nselec",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"GET / HTTP/9.9\r\n\r\n",
        ]
        sockets = []
        for octets in half * 5:
            one = socket.create_connection((host, int(port)), timeout=60)
            one.sendall(octets)
            sockets.append(one)
        assert reader.ask("select 1").rows == [[1]]
        for one in sockets:
            while one.recv(4096):
                pass
            one.close()
        assert "Traceback" not in reader.said()


def test_pipelined_requests_are_answered_in_their_order(reader):
    host, port = reader.listen.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=60) as one:
        for n in range(3):
            one.sendall(b"GET /sql?q=select%%20%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % (100 + n))
        said = b""
        while said.count(b"row_count") < 3:
            said += one.recv(4096)
    assert said.index(b"[100]") < said.index(b"[101]") < said.index(b"[102]")


def test_while_one_query_works_hard_another_is_answered(layout):
    with ReaderProcess(layout, timeout_secs=600) as reader:
        hard = reader.connect()
        hard.request("POST", "/sql", ENDLESS.encode(), SQL)
        until(reader.queries, "the hard one runs")
        assert reader.ask("select count(*) from events").rows == [[3]]
        hard.close()


def test_idle_connections_are_those_that_asked_nothing_for_a_while():
    idle, one, other = Idle(secs=10), object(), object()
    assert idle.sweep([one], set(), 0) == []
    assert idle.sweep([one, other], {one}, 9) == []
    assert idle.sweep([one, other], set(), 18) == []
    assert idle.sweep([one, other], set(), 19.5) == [one, other]
    assert idle.sweep([], set(), 31) == []


def test_what_several_ask_at_once_is_not_mixed_up(reader: ReaderProcess, layout: Layout):
    wrong = []

    def ask(n: int) -> None:
        for k in range(5):
            if (rows := reader.ask(f"select {n}, {k} from range(100)").rows) != [[n, k]] * 100:
                wrong.append(rows)

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_the_log_can_be_opened_by_others_meanwhile(reader: ReaderProcess, layout: Layout):
    with duckdb.connect(str(layout.log_db), read_only=True) as con:
        assert reader.ask("select count(*) from events").rows == [
            list(con.execute("select count(*) from events").fetchone())
        ]


def manual(language: str) -> list[str]:
    """The blocks of the page about us in this language, as they would be asked of the reader of a test."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not here")
def test_every_curl_of_the_manual_is_answered(reader):
    lines = [line for block in manual("console") for line in block.splitlines()]
    assert len(lines) >= 6
    for line in lines:
        words = shlex.split(line.replace("127.0.0.1:8083", reader.listen))
        done = subprocess.run([*words, "--silent", "--show-error", "--fail-with-body"], capture_output=True, timeout=60)
        assert done.returncode == 0, (line, done.stdout, done.stderr)
        assert done.stdout


def test_the_python_of_the_manual_asks_as_it_says(reader, monkeypatch):
    asked = SimpleNamespace(read_csv=lambda file, parse_dates: list(csv.DictReader(io.TextIOWrapper(file))))
    monkeypatch.setitem(sys.modules, "pandas", asked)
    (code,) = manual("python")
    names: dict[str, Any] = {}
    exec(code.replace("127.0.0.1:8083", reader.listen), names)
    assert [row["channel"] for row in names["visits"]] == ["Paid Search"]


def test_the_body_that_the_manual_gives_grafana_is_answered_with_a_time_and_a_number(reader):
    (body,) = manual("json")
    answer = reader.request(
        "POST", "/sql?format=csv", body.replace("${__from:date:iso}", "2026-11-01T00:00:00.000Z").encode(), JSON
    )
    assert answer.body == b"time,visits\r\n2026-11-22T10:00:00Z,1\r\n"


def test_the_statuses_of_the_manual_are_ours():
    told = set(map(int, re.findall(r"\b[45]\d\d\b", " ".join(re.findall(r"^\| ([45][\d, ]+) \|", PAGE, re.MULTILINE)))))
    assert {400, 401, 403, 421, 406, 415, 413, 429, 503, 504} == told
