"""What a query's process may do: answer, and nothing else. Every attack runs against a real reader over a real log.

And with layers taken away, to see that the ones below hold by themselves: `tests.support.reader_layers`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest

from storage import landlock
from storage.layout import Layout
from tests.support import log_proof
from tests.support.logs import a_visit, layout_of, write_log
from tests.support.reader_process import ReaderProcess, listing
from tests.support.ropo_process import environment
from tests.support.sql_attacks import ATTACKS, PLANTED
from tests.support.waiting import until

IS_2 = duckdb.__version__.startswith("2.")


def places_of(layout: Layout) -> dict[str, object]:
    """Where attacks aim at, with a secret in each place."""
    out = layout.root.parent / "out"
    out.mkdir(exist_ok=True)
    secret = layout.secrets / "contact.keys"
    layout.secrets.mkdir(exist_ok=True)
    secret.write_text(PLANTED)
    (layout.root / "config.csv").write_text(f"a\n{PLANTED}\n")
    return {"root": layout.root, "cold": layout.cold / "events", "hot": layout.hot_db, "out": out, "secret": secret}


@contextmanager
def written(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A real store writes, publishes and promotes in `folder` meanwhile."""
    folder.mkdir(exist_ok=True)
    writer = subprocess.Popen(
        [sys.executable, "-m", "tests.support.log_proof", "write", str(folder)], env=environment()
    )
    try:
        until(lambda: len(list((folder / "cold" / "events").glob("day=*/*.parquet"))) > 2, "parts are written")
        yield writer
    finally:
        writer.kill()
        writer.wait()


def test_the_attacks_are_of_every_kind_and_each_is_another():
    assert len({attack.sql for attack in ATTACKS}) == len(ATTACKS) >= 50
    assert len({attack.kind for attack in ATTACKS}) >= 9


def test_no_attack_succeeds_or_leaves_a_trace_while_the_log_is_written_and_when_it_rests(tmp_path: Path):
    layout = log_proof.layout_of(tmp_path / "data")
    with written(layout.root) as writer:
        layout.status.mkdir(exist_ok=True)
        places = places_of(layout)
        with ReaderProcess(layout, env={"PLANTED": PLANTED, "AWS_SECRET_ACCESS_KEY": PLANTED}) as reader:
            parts = {path: path.read_bytes() for path in layout.cold.rglob("*.parquet")}
            assert succeeded(reader, places) == []
            assert {path: path.read_bytes() for path in parts} == parts
            writer.send_signal(signal.SIGKILL)
            writer.wait()
            before = listing(tmp_path)
            assert succeeded(reader, places) == []
            assert listing(tmp_path) | {"reader.log": b""} == before | {"reader.log": b""}
            # And it answers still, from the very files that were aimed at.
            ((count,),) = reader.ask("select count(*) from events").rows
            assert count > 0
            assert PLANTED not in reader.said()
    assert list((tmp_path / "out").iterdir()) == []


def succeeded(reader: ReaderProcess, places: dict[str, object]) -> list[tuple[str, int, bytes]]:
    """Which attacks were answered, or told a secret."""
    found = []
    with ThreadPoolExecutor(4) as pool:
        answers = pool.map(lambda attack: reader.ask(attack.on(**places)), ATTACKS)
    for attack, answer in zip(ATTACKS, answers, strict=True):
        refused = answer.status in (400, 403) and json.loads(answer.body)["error"]["kind"] in ("sql", "not_allowed")
        if not refused or PLANTED.encode() in answer.body:
            found.append((attack.sql, answer.status, answer.body[:300]))
    return found


def without(layout: Layout, gone: str, asked: list[str]) -> list[str]:
    """How these statements end where some layers are gone."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.reader_layers", str(layout.root), gone],
        input=json.dumps(asked), env=environment(), capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    outcomes = json.loads(done.stdout)
    assert len(outcomes) == len(asked)
    return outcomes


def test_the_attacks_are_real_without_any_layer_they_find_secrets_and_leave_traces(tmp_path: Path):
    layout = layout_of(tmp_path)
    write_log(layout, a_visit())
    places = places_of(layout)
    kinds = {"read a file", "write a file", "change within a question", "run text as a statement"}
    asked = [attack.on(**places) for attack in ATTACKS if attack.kind in kinds and (IS_2 or not attack.only_2)]
    asked = [sql for sql in asked if "://" not in sql and "$hot" not in sql and str(layout.hot_db) not in sql]
    outcomes = without(layout, "statement transaction duckdb system", asked)
    assert sum(PLANTED in outcome for outcome in outcomes) > 5
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"x.csv", "all", "new.duckdb"}
    assert (layout.cold / "events" / "x.parquet").exists()
    if IS_2:
        assert (tmp_path / "out" / "cte.csv").exists()


@pytest.mark.parametrize("gone", ["statement", "statement transaction", "statement transaction duckdb"])
def test_the_layers_below_hold_by_themselves(tmp_path: Path, gone: str):
    if "duckdb" in gone and not landlock.version():
        pytest.skip("this kernel has no Landlock")
    layout = layout_of(tmp_path)
    write_log(layout, a_visit())
    places = places_of(layout)
    before = listing(tmp_path)
    asked = [attack for attack in ATTACKS if IS_2 or not attack.only_2]
    outcomes = without(layout, gone, [attack.on(**places) for attack in asked])
    told = [attack.sql for attack, outcome in zip(asked, outcomes, strict=True) if PLANTED in outcome]
    assert told == []
    assert listing(tmp_path) == before
    ran = {attack.kind for attack, outcome in zip(asked, outcomes, strict=True) if outcome.startswith("ran")}
    # The test has teeth: some do run now, and find nothing to harm.
    assert "look behind the log" in ran
    if gone == "statement":
        assert not ran & {"change within a question", "several statements", "explain something that is done"}


def test_what_may_be_asked_is_answered(tmp_path: Path):
    layout = layout_of(tmp_path)
    write_log(layout, a_visit())
    with ReaderProcess(layout) as reader:
        for sql in (
            "from events", "from visits", "from leads", "from journeys", "describe events", "summarize events",
            "show tables", "explain select * from visits", "explain analyze select count(*) from events", "values (1)",
            "table events", "(select 1)", "select 1;", "-- a comment\nselect 1 -- and another",
            "with x as (select 1 as a) select * from x union all select 2", "select unnest([1, 2])",
            "with recursive r as (select 1 as n union all select n + 1 from r where n < 5) select * from r",
            "pivot events on name in ('page_view') using count(*)", "select list_transform([1], lambda x: x + 1)",
            "select * from information_schema.columns", "select name, histogram(status) from events group by all",
        ):  # fmt: skip
            answer = reader.ask(sql)
            assert (answer.status, answer.is_whole) == (200, True), (sql, answer.body)
        assert reader.ask("select timezone(), current_setting('TimeZone')").status == 403
        assert reader.ask("select occurred_at from events order by 1 limit 1").rows == [["2026-11-22T10:00:20Z"]]


@pytest.mark.parametrize(
    ("sql", "status", "kind"),
    [
        ("select sum(hash(range)) from range(1000000000000)", 504, "time_limit"),
        ("select sleep_ms(60000)" if IS_2 else "select max(sqrt(range)) from range(1000000000000)", 504, "time_limit"),
        ("with recursive r as (select 1 as n union all select n + 1 from r) select max(n) from r", 504, "time_limit"),
        ("select unnest(range(400000000)) limit 1", 413, "out_of_memory"),
        ("select list(range) from range(1000000000)", 413, "out_of_memory"),
        ("select repeat(repeat('x', 1000000), 2000)", 413, "out_of_memory"),
        ("select length(string_agg(repeat('x', 10000), '')) from range(1000000)", 413, "out_of_memory"),
    ],
)
def test_a_query_gets_no_more_time_and_memory_than_it_may(tmp_path: Path, sql: str, status: int, kind: str):
    layout = layout_of(tmp_path)
    write_log(layout, a_visit())
    with ReaderProcess(layout, timeout_secs=3, memory_limit_mb=64) as reader:
        answer = reader.ask(sql)
        assert (answer.status, answer.kind) == (status, kind), answer.body
        assert reader.ask("select 1").rows == [[1]]
        until(lambda: not reader.queries(), "its process is gone")


def test_rows_published_into_the_storage_path_itself_are_met_however_often_they_are_replaced(tmp_path: Path):
    # Beside the secrets no folder can be opened to a query, only the very file, which another replaces meanwhile.
    layout = layout_of(tmp_path)
    write_log(layout, a_visit())
    stop = threading.Event()

    def replace() -> None:
        image = layout.hot_db.read_bytes()
        while not stop.wait(0.3):
            fresh = layout.root / "hot.duckdb.tmp"
            fresh.write_bytes(image)
            os.replace(fresh, layout.hot_db)

    thread = threading.Thread(target=replace)
    with ReaderProcess(layout) as reader:
        thread.start()
        try:
            asked = "select count(*) from events cross join (select count(*) from range(3000000))"
            assert {str(reader.ask(asked).rows) for _ in range(15)} == {"[[3]]"}
        finally:
            stop.set()
            thread.join()


def test_a_door_that_is_replaced_shows_its_new_views_to_the_next_query_and_the_old_to_those_that_run(tmp_path: Path):
    layout = layout_of(tmp_path)
    write_log(layout, a_visit())
    with ReaderProcess(layout) as reader:
        assert reader.ask("from fresh").kind == "sql"
        running = reader.connect()
        slow = "select count(*) from events, range(20000000) as r where hash(r.range) % 3 >= 0"
        running.request("POST", "/sql", slow.encode(), {"Content-Type": "application/sql"})
        until(reader.queries, "the slow one runs")
        replace_door(layout)
        assert reader.ask("from fresh").rows == [[1]]
        with running.getresponse() as response:
            assert json.loads(response.read())["rows"] == [[60_000_000]]
        running.close()


def replace_door(layout: Layout) -> None:
    """A newer ropo has one more view."""
    fresh = layout.root / "fresh" / layout.log_db.name
    fresh.parent.mkdir()
    shutil.copy(layout.log_db, fresh)
    fresh.chmod(0o644)
    with duckdb.connect(str(fresh)) as con:
        con.execute("create view fresh as select 1 as one")
    os.replace(fresh, layout.log_db)


def test_attacks_that_only_2_parses_are_marked_and_2_takes_them_for_selects():
    marked = [attack.on(root="/r", cold="/c", hot="/h", out="/o", secret="/s") for attack in ATTACKS if attack.only_2]
    with duckdb.connect() as con:
        for sql in marked:
            if IS_2:
                assert [one.type.name for one in con.extract_statements(sql)] == ["SELECT"]
            else:
                with pytest.raises(duckdb.ParserException):
                    con.extract_statements(sql)
