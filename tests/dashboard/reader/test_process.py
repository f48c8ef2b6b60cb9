"""The reader as a process: how it starts, what it survives, and how it ends."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import threading

import psutil
import pytest

from dashboard.orders import cannot_listen
from dashboard.reader.process import memory_bytes
from storage import status
from tests.support import log_proof
from tests.support.logs import a_visit, layout_of, write_log
from tests.support.reader_process import ReaderProcess
from tests.support.ropo_process import environment
from tests.support.waiting import until

ENDLESS = "select sum(hash(range)) from range(1000000000000)"
SQL = {"Content-Type": "application/sql"}


@pytest.fixture
def layout(tmp_path):
    layout = layout_of(tmp_path)
    write_log(layout, a_visit())
    return layout


def test_it_says_of_itself_what_it_does(layout):
    with ReaderProcess(layout) as reader:
        assert reader.ask("select 1").status == 200
        assert reader.ask("selec").status == 400
        state = until(lambda: reader.state if reader.state["queries"] else None, "it has counted")
        assert (state["kind"], state["pid"], state["queries"]) == ("reader", reader.process.pid, 1)
        assert (state["problems"], state["running"], state["waiting"], state["lost"]) == ({"sql": 1}, 0, 0, 0)
        assert state["landlock"] >= 0
    assert status.read_all(layout) == {}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, None])
def test_it_stops_in_order_and_takes_its_queries_along(layout, number):
    with ReaderProcess(layout, timeout_secs=600) as reader:
        connection = reader.connect()
        connection.request("POST", "/sql", ENDLESS.encode(), SQL)
        until(reader.queries, "a query runs")
        family = reader.children()
        if number is None:
            reader.process.stdin.close()
        else:
            reader.process.send_signal(number)
        assert reader.process.wait(20) == 0
        assert psutil.wait_procs(family, timeout=20)[1] == []
        connection.close()
        assert "Traceback" not in reader.said()


def test_when_it_is_killed_nothing_of_it_stays(layout):
    with ReaderProcess(layout, timeout_secs=600) as reader:
        connection = reader.connect()
        connection.request("POST", "/sql", ENDLESS.encode(), SQL)
        until(reader.queries, "a query runs")
        family = reader.children()
        reader.process.kill()
        reader.process.wait()
        assert psutil.wait_procs(family, timeout=20)[1] == []
        connection.close()


def test_a_query_whose_process_is_killed_is_told_as_lost_and_the_next_one_is_answered(layout):
    with ReaderProcess(layout, timeout_secs=600) as reader:
        connection = reader.connect()
        connection.request("POST", "/sql", ENDLESS.encode(), SQL)
        until(reader.queries, "a query runs")[0].kill()
        with connection.getresponse() as answer:
            assert answer.status == 503
            assert b'"lost"' in answer.read()
        connection.close()
        assert reader.ask("select 1").rows == [[1]]
        until(lambda: reader.state["lost"] == 1, "it is counted")


def test_a_killed_nursery_is_replaced(layout):
    with ReaderProcess(layout, timeout_secs=600) as reader:
        assert reader.ask("select 1").rows == [[1]]
        connection = reader.connect()
        connection.request("POST", "/sql", ENDLESS.encode(), SQL)
        queries = until(reader.queries, "a query runs")
        psutil.Process(reader.process.pid).children()[0].kill()
        with connection.getresponse() as answer:
            assert answer.status == 503
        connection.close()
        assert psutil.wait_procs(queries, timeout=20)[1] == []
        assert reader.ask("select 1").rows == [[1]]


def test_while_the_log_is_written_and_promoted_every_answer_is_right(tmp_path):
    layout = log_proof.layout_of(tmp_path / "data")
    layout.root.mkdir()
    layout.status.mkdir()
    writer = subprocess.Popen(
        [sys.executable, "-m", "tests.support.log_proof", "write", str(layout.root)], env=environment()
    )
    try:
        with ReaderProcess(layout, timeout_secs=60, memory_limit_mb=512) as reader:
            until(lambda: reader.ask("select count(*) from events").status == 200, "there is a log")
            wrong: list[object] = []
            enough = threading.Event()
            threads = [threading.Thread(target=check, args=(reader, wrong, enough, slow)) for slow in (False, True)]
            for thread in threads:
                thread.start()
            parts = layout.cold / "events"
            until(lambda: len(list(parts.glob("day=*/*.parquet"))) > 8, "parts were promoted", deadline_secs=45)
            enough.set()
            for thread in threads:
                thread.join()
            assert wrong == []
            assert reader.ask("select count(*) > 0 from events").rows == [[True]]
    finally:
        writer.kill()
        writer.wait()


def check(reader, wrong, enough, slow):
    """Rows, different rows, and as many as the highest numbers ask for: see tests.support.log_proof."""
    last = [0] * 15
    while not enough.is_set():
        sql = log_proof.CHECK.rstrip().removesuffix(";")
        if slow:
            # The files are chosen when it begins, and read after a second of something else.
            sql = sql.replace("select\n  (select count(*) from events),", SLOW, 1)
        answer = reader.ask(sql)
        if answer.status != 200:
            wrong.append(answer.body)
            return
        (found,) = answer.rows
        found = found[:15]
        if any(not rows == other == asked for rows, other, asked in zip(*[iter(found)] * 3, strict=True)):
            wrong.append(found)
        if any(now < before for now, before in zip(found, last, strict=True)):
            wrong.append((last, found))
        last = found


SLOW = "select\n  (select count(*) from events cross join (select max(hash(range)) from range(20000000))),"


def test_a_port_in_use_is_told_with_what_to_do(layout):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(AssertionError, match=f"dashboard.sql.listen: {listen} is in use"):
            ReaderProcess(layout, listen=listen).__enter__()


@pytest.mark.parametrize(
    "line", [b"", b"{}", b"not json", b'{"layout": {"root": "/x"}, "sql": {"listen": "0.0.0.0:1"}}']
)
def test_a_line_that_is_no_settings_ends_it_with_2(line):
    done = subprocess.run(
        [sys.executable, "-m", "dashboard.reader"], input=line + b"\n", capture_output=True, env=environment()
    )
    assert done.returncode == 2
    assert b"not a line of settings" in done.stderr


def test_a_reader_that_has_grown_ends_and_says_so(layout, monkeypatch):
    import asyncio

    from dashboard.reader import process
    from dashboard.settings import SqlSettings

    monkeypatch.setattr(process, "MOST_MEMORY_BYTES", 1)
    monkeypatch.setattr(process, "stop_at_end_of_stdin", lambda loop, stop: None)
    orders = process.Orders(
        process.LayoutPaths(str(layout.root), str(layout.hot_db)), SqlSettings(listen="127.0.0.1:0")
    )
    assert asyncio.run(process.serve(orders)) == 1


def test_memory_is_what_the_system_counts():
    assert memory_bytes() == pytest.approx(psutil.Process(os.getpid()).memory_info().rss, rel=0.2)


def test_each_reason_not_to_listen_names_the_setting():
    assert cannot_listen("h:1", OSError(errno.EACCES, "no"), "dashboard.sql.listen").startswith(
        "dashboard.sql.listen: "
    )
