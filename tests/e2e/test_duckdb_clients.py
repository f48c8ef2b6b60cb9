"""Analysts' own clients beside the writer: the DuckDB CLI and Python read log.duckdb while visitors come."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from tests.support.load import Load
from tests.support.origins import Site
from tests.support.ropo_process import RopoProcess
from tests.support.waiting import until

VIEWS = ("events", "visits", "touchpoints", "conversions", "leads", "journeys", "deliveries", "ledger")

# PyPI's duckdb-cli lays the binary beside Python.
CLI = Path(sys.executable).parent / "duckdb"


def ask_cli(log: Path, query: str) -> list[dict]:
    done = subprocess.run([CLI, "-readonly", "-json", str(log), query], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout or "[]")


@pytest.fixture
def ropo(tmp_path: Path, site: Site) -> Iterator[RopoProcess]:
    """With its published copy where ropo puts it by itself, on tmpfs if there is one."""
    with RopoProcess(tmp_path, upstream=site.url, storage={"hot_path": None}) as running:
        yield running
        with duckdb.connect(str(running.log), read_only=True) as connection:
            places = " ".join(sql for (sql,) in connection.execute("select sql from duckdb_views()").fetchall())
    if found := re.search(r"(/dev/shm/ropo-[^/']+)/hot\.duckdb", places):
        shutil.rmtree(found[1])


def test_the_cli_and_python_read_the_log_while_it_is_written(ropo: RopoProcess):
    counts: dict[str, list[int]] = {"cli": [], "python": [], "python, opened again": []}
    count = "select count(*) as n from events"
    with duckdb.connect(str(ropo.log), read_only=True) as kept, Load(ropo.port, form_every=25) as load:
        while len(load.answered) < 2000:
            counts["cli"].append(ask_cli(ropo.log, count)[0]["n"])
            counts["python"].append(kept.execute(count).fetchone()[0])
            counts["python, opened again"].append(ropo.sql(count)[0][0])
            for view in VIEWS:
                kept.execute(f"select * from {view} limit 5").fetchall()
        load.stop()
        until(lambda: kept.execute(count).fetchone()[0] == len(load.answered), "the open connection sees all of it")
    for client, seen in counts.items():
        assert seen == sorted(seen), f"rows went away from under {client}"
        assert len(set(seen)) > 2, f"{client} did not see the log grow"
    assert ask_cli(ropo.log, count) == [{"n": len(load.answered)}]


def test_the_cli_reads_every_view(ropo: RopoProcess):
    with Load(ropo.port, form_every=5) as load:
        load.more(50)
    until(lambda: ropo.sql("select count(*) from leads where state = 'accepted'") == [(len(load.leads),)], "leads")
    answers = {view: ask_cli(ropo.log, f"select * from {view} limit 3") for view in VIEWS}
    assert [view for view, rows in answers.items() if not rows] == ["deliveries"]  # no sink is configured


def test_nobody_can_write_through_the_door(ropo: RopoProcess):
    with duckdb.connect(str(ropo.log), read_only=True) as connection, pytest.raises(duckdb.Error):
        connection.execute("delete from events")
    assert ropo.log.stat().st_mode & 0o222 == 0
