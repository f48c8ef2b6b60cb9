from __future__ import annotations

import csv
import gzip
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import psutil
import pytest

from ropo.cli import export_log
from storage import door
from storage.tables import TABLES
from tests.ropo.cli.conftest import Ropo, on_terminal
from tests.support.ropo_process import REPOSITORY, ROPO, environment
from tests.support.sample_log import SampleLog
from tests.support.waiting import until


@pytest.fixture
def asked() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as con:
        con.execute("set timezone = 'UTC'")
        yield con


def test_a_folder_has_a_folder_for_each_day_and_parquet_in_it(
    ropo: Ropo, shared_log: SampleLog, tmp_path: Path, asked: duckdb.DuckDBPyConnection
):
    done = ropo("export-log", "--zone", "UTC", "--out", tmp_path / "events", "--config", shared_log.config)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "day (UTC)   rows",
        "2026-11-20     3",
        "2026-11-22     3",
        f"6 rows of events from the beginning: {tmp_path / 'events'}",
    ]
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.parquet")) == [
        "events/day=2026-11-20/events_0.parquet",
        "events/day=2026-11-22/events_0.parquet",
    ]
    found = asked.execute(
        f"select day::varchar, seq, occurred_at, click_ids from read_parquet('{tmp_path}/events/*/*.parquet') order by seq"
    ).fetchall()
    assert len(found) == 6
    assert found[0] == ("2026-11-20", 1, datetime(2026, 11, 20, 8, 12, 3, tzinfo=UTC), {"gclid": "Cj0K-1"})
    assert os.listdir(tmp_path) == ["events"]


def test_days_are_those_of_the_zone(ropo: Ropo, shared_log: SampleLog, tmp_path: Path):
    # Erika's form came at 10:01 UTC of the 22nd: past midnight in Kiritimati, where it is 14 hours later.
    out = tmp_path / "leads"
    arguments = ["--view", "leads", "--zone", "Pacific/Kiritimati", "--out", out, "--config", shared_log.config]
    assert ropo("export-log", *arguments, "--since", "2026-11-24").stdout.startswith("0 rows of leads")
    assert [path.name for path in out.iterdir()] == []
    ropo("export-log", *arguments, "--since", "2026-11-23", "--until", "2026-11-24")
    assert [path.name for path in out.iterdir()] == ["day=2026-11-23"]


BOUNDS = [
    (["--since", "2026-11-22"], 3),
    (["--until", "2026-11-22"], 3),
    (["--since", "2026-11-20", "--until", "2026-11-21"], 3),
    (["--since", "2026-11-22T10:01:00.123456"], 2),
    (["--until", "2026-11-22T10:01:00.123456"], 4),
    (["--since", "2026-11-22T11:01:00.123456+01:00"], 2),
    (["--since", "2026-11-22T10:05:00Z"], 1),
    (["--since", "2026-11-22 10:05:01Z"], 0),
]


@pytest.mark.parametrize("bounds, count", BOUNDS)
def test_since_is_part_of_it_and_until_is_not(
    ropo: Ropo, shared_log: SampleLog, tmp_path: Path, bounds: list[str], count: int
):
    out = tmp_path / "events.csv"
    done = ropo("export-log", "--format", "csv", "--zone", "UTC", *bounds, "--out", out, "--config", shared_log.config)
    assert done.stdout.startswith(f"{count} row")
    with open(out, newline="") as file:
        assert len(list(csv.reader(file))) == count + 1


def test_csv_has_maps_as_json_and_times_in_utc(ropo: Ropo, shared_log: SampleLog, tmp_path: Path):
    out = tmp_path / "touchpoints.csv"
    ropo("export-log", "--view", "touchpoints", "--format", "csv", "--out", out, "--config", shared_log.config)
    with open(out, newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["click_ids"], first["occurred_at"]) == ('{"gclid":"Cj0K-1"}', "2026-11-20 08:12:03+00")
    assert (second["channel"], second["click_ids"]) == ("Direct", "")


def test_json_is_an_object_a_line_and_can_be_packed(ropo: Ropo, shared_log: SampleLog, tmp_path: Path):
    out = tmp_path / "visits.json.gz"
    ropo("export-log", "--view", "visits", "--format", "json", "--out", out, "--config", shared_log.config)
    rows = [json.loads(line) for line in gzip.decompress(out.read_bytes()).splitlines()]
    assert sorted(row["page_views"] for row in rows) == [1, 2]


@pytest.mark.parametrize("view", sorted(export_log.TIMES))
def test_every_view_can_be_exported(
    ropo: Ropo, shared_log: SampleLog, tmp_path: Path, asked: duckdb.DuckDBPyConnection, view: str
):
    ropo("export-log", "--view", view, "--out", tmp_path / "x.parquet", "--config", shared_log.config)
    exported = asked.execute(f"select count(*) from '{tmp_path}/x.parquet'").fetchall()
    with duckdb.connect(str(shared_log.layout.log_db), read_only=True) as log:
        assert exported == log.execute(f"select count(*) from {view}").fetchall()


def test_every_view_of_the_log_is_among_them():
    assert {table.name for table in TABLES} | set(door.DERIVED) == export_log.TIMES.keys()


def test_what_is_there_stays_unless_it_is_forced_and_was_an_export(ropo: Ropo, shared_log: SampleLog, tmp_path: Path):
    out, file = tmp_path / "events", tmp_path / "x.csv"
    wanted = ["--config", shared_log.config, "--out"]
    (out / "day=2026-01-01").mkdir(parents=True)
    file.write_text("mine")
    for place, form in ((out, "parquet"), (file, "csv")):
        done = ropo("export-log", "--format", form, *wanted, place)
        assert (done.exit_code, "--force replaces it" in done.stderr) == (2, True)
    assert file.read_text() == "mine"
    assert ropo("export-log", "--format", "csv", *wanted, file, "--force").exit_code == 0
    assert ropo("export-log", *wanted, out, "--force").exit_code == 0
    assert "day=2026-01-01" not in os.listdir(out)
    (out / "thesis.doc").write_text("mine")
    done = ropo("export-log", *wanted, out, "--force")
    assert (done.exit_code, "thesis.doc is in it" in done.stderr) == (2, True)
    assert (out / "thesis.doc").read_text() == "mine"


MISUSES = {
    "no moment": ["--since", "yesterweek", "--out", "x"],
    "no zone": ["--zone", "Moon/Tycho", "--out", "x"],
    "no view": ["--view", "invoices", "--out", "x"],
    "nothing between": ["--since", "2026-11-22", "--until", "2026-11-22", "--out", "x"],
    "no folder": ["--out", "nowhere/x"],
    "no place": [],
    "a name of another format": ["--format", "csv", "--out", "x.parquet"],
    "a folder for a file": ["--format", "csv", "--out", "folder.csv"],
}


@pytest.mark.parametrize("arguments", MISUSES.values(), ids=MISUSES)
def test_what_is_asked_wrongly_ends_with_2_and_writes_nothing(
    ropo: Ropo, shared_log: SampleLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.csv").mkdir()
    done = ropo("export-log", *arguments, "--config", shared_log.config)
    assert (done.exit_code, done.stdout, bool(done.stderr)) == (2, "", True)
    assert os.listdir(tmp_path) == ["folder.csv"]


def test_without_a_log_it_fails_and_leaves_nothing(ropo: Ropo, tmp_path: Path):
    (tmp_path / "config.yaml").write_text("storage: {path: data}\n")
    done = ropo("export-log", "--out", tmp_path / "x", "--config", tmp_path / "config.yaml")
    assert (done.exit_code, "Start `ropo serve`" in done.stderr) == (1, True)
    assert os.listdir(tmp_path) == ["config.yaml"]


def test_ctrl_c_leaves_nothing_behind(shared_log: SampleLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    # A view that takes for ever, in a log of its own.
    slow = tmp_path / "data"
    slow.mkdir()
    with duckdb.connect(str(slow / "log.duckdb")) as con:
        con.execute("create view spool_files as select 1")
        con.execute(
            "create view events as select now() as occurred_at, count(*) as n from range(100000000000) a, range(1000) b "
            "where hash(a.range + b.range) = 5"
        )
    process = subprocess.Popen(
        [*ROPO, "export-log", "--out", tmp_path / "x", "--config", tmp_path / "none.yaml", "--storage", slow],
        cwd=REPOSITORY, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    try:
        until(lambda: psutil.Process(process.pid).cpu_times().user > 3, "it runs")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, out, err) == (130, "", "ropo: interrupted\n")
    assert os.listdir(tmp_path) == ["data"]


def test_a_terminal_is_told_whose_days_these_are(shared_log: SampleLog, tmp_path: Path):
    code, said = on_terminal("export-log", "--out", tmp_path / "x", "--config", shared_log.config, NO_COLOR="1")
    assert code == 0
    assert "day (Europe/Berlin)" in said


def test_days_are_asked_for_by_literals_so_that_other_parts_are_skipped():
    order = export_log.Order(
        "events", datetime(2026, 11, 1, tzinfo=UTC), None, export_log.ZoneInfo("UTC"), "csv", None, by_day=False
    )
    assert export_log.statement(order, [("seq", "BIGINT"), ("click_ids", "MAP(VARCHAR, VARCHAR)")], Path("/x.csv")) == (
        'copy (select "seq", to_json("click_ids") as "click_ids" from events '
        "where \"occurred_at\" >= timestamptz '2026-11-01 00:00:00.000000+00') to '/x.csv' (format csv, compression none)"
    )
