"""What readers of log.duckdb are promised: no error, no gap, no double, no step backwards, whatever happens to the writer."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest

from storage import door, migrations, sql
from storage.crash import POINTS
from storage.layout import Layout
from storage.read import open_log
from storage.settings import StorageSettings
from storage.store import Store
from storage.tables import TABLES
from tests.support import log_proof
from tests.support.rows import Time, a_store, batch, event, layout_of, lead, promote_all

REPOSITORY = Path(__file__).resolve().parents[2]
CLI = Path(sys.executable).parent / "duckdb"

# At these points the next writer has most to put right; a small chance at each, often passed.
CHANCES = {
    "rows-inserted": 0.01,
    "batch-committed": 0.02,
    "image-copied": 0.01,
    "intent-committed": 0.1,
    "part-written": 0.005,
    "part-named": 0.005,
    "parts-committed": 0.1,
    "watermark-moved": 0.1,
    "rows-forgotten": 0.1,
}


class Writer:
    """The process that writes the log, started again whenever it was killed."""

    def __init__(self, folder: Path, chances: dict[str, float], mutation: str = "") -> None:
        self.folder = folder
        self.mutation = mutation
        text = ",".join(f"{point}={chance}" for point, chance in chances.items())
        self.environment = os.environ | {"ROPO_CRASH_POINTS": text}
        self.kills = 0
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.support.log_proof", "write", str(self.folder), self.mutation]
        with open(self.folder / "writer.log", "ab") as log:
            self.process = subprocess.Popen(command, cwd=REPOSITORY, env=self.environment, stdout=log, stderr=log)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.kills += 1
        self.start()

    def until_door(self) -> None:
        until(lambda: self.look() or (self.folder / "log.duckdb").exists())

    def look(self) -> None:
        """Starts it again if it died at a crash point. Anything else that ends it is a failure."""
        code = self.process.poll()
        if code is not None:
            assert code == -signal.SIGKILL, (self.folder / "writer.log").read_text()
            self.kills += 1
            self.start()


@contextmanager
def reading(folder: Path, kinds: list[str], secs: float) -> Iterator[list[subprocess.Popen[str]]]:
    readers = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.support.log_proof", "read", str(folder), kind, str(secs)],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            text=True,
        )
        for kind in kinds
    ]
    try:
        yield readers
    finally:
        for reader in readers:
            reader.kill()
            reader.communicate()


def until(condition: Callable[[], object], secs: float = 60) -> None:
    end = time.monotonic() + secs
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def seen_by(reader: subprocess.Popen[str]) -> dict:
    return json.loads(reader.communicate(timeout=30)[0])


@pytest.mark.timeout(180)
def test_readers_miss_nothing_while_the_writer_is_killed_again_and_again(tmp_path: Path) -> None:
    kinds = ["held", "prepared", "fresh", "cli"] if CLI.exists() else ["held", "prepared", "fresh"]
    assert set(CHANCES) == set(POINTS)
    parts = tmp_path / "cold" / "events"
    writer = Writer(tmp_path, CHANCES)
    try:
        writer.until_door()
        with reading(tmp_path, kinds, secs=100) as readers:
            end, next_kill = time.monotonic() + 100, time.monotonic() + 1
            # Until enough has happened: how long that takes depends on what else the machine does.
            while writer.kills < 4 or len({path.name for path in parts.glob("day=*/*.parquet")}) < 3:
                assert time.monotonic() < end, f"{writer.kills} kills, parts {sorted(parts.glob('day=*/*.parquet'))}"
                time.sleep(0.02)
                writer.look()
                if time.monotonic() > next_kill:
                    writer.kill()
                    next_kill = time.monotonic() + random.uniform(1, 6)
            (tmp_path / "enough").touch()
            for reader in readers:
                seen = seen_by(reader)
                assert not (seen["wrong"] or seen["backwards"] or seen["errors"]), json.dumps(seen)
                assert seen["queries"] > 10, json.dumps(seen)
    finally:
        writer.process.kill()
        writer.process.wait()
    # What was acknowledged is in the log, and in it once.
    acknowledged = int((tmp_path / "acknowledged").read_text())
    store = log_proof.open_store(tmp_path)
    try:
        names = [log_proof.name_of(k) for k in range(acknowledged)]
        assert store.ingested(names) == set(names)
    finally:
        store.close()
    with open_log(log_proof.layout_of(tmp_path)) as con:
        found = con.execute(log_proof.CHECK).fetchall()[0]
    assert len(set(found[:3])) == len(set(found[3:6])) == 1
    assert found[0] >= acknowledged * log_proof.ROWS


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "mutation, chances",
    [
        ("forgetful", {"batch-committed": 0.2}),
        ("hasty", {}),
        ("unmarked", {}),
    ],
)
def test_the_readers_of_the_test_above_would_notice(tmp_path: Path, mutation: str, chances: dict[str, float]) -> None:
    """The same proof fails for a store that keeps no ledger, forgets too early, or shows rows past the watermark."""
    writer = Writer(tmp_path, chances, mutation)
    noticed = 0
    try:
        writer.until_door()
        con = duckdb.connect(str(tmp_path / "log.duckdb"), read_only=True)
        end = time.monotonic() + 40
        while not noticed and time.monotonic() < end:
            writer.look()
            found = con.execute(log_proof.CHECK).fetchall()[0]
            noticed += any(len(set(found[at : at + 3])) > 1 for at in range(0, 15, 3))
        con.close()
    finally:
        writer.process.kill()
        writer.process.wait()
    assert noticed


def part(store: Store, now: Time) -> None:
    promote_all(store, now)
    assert store.mark.forgotten == store.mark.b


def test_each_view_answers_before_any_part_was_written(tmp_path: Path) -> None:
    with a_store(tmp_path) as store, open_log(layout_of(tmp_path)) as log:
        assert store.mark.promoted == 0
        for view in (*(table.name for table in TABLES), *door.DERIVED):
            assert log.execute(f"select count(*) from {view}").fetchall() == [(0,)], view


def test_the_door_can_only_be_read(tmp_path: Path) -> None:
    with a_store(tmp_path):
        pass
    path = layout_of(tmp_path).log_db
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    assert not list(path.parent.glob(".door-*"))
    with duckdb.connect(str(path), read_only=True) as log:
        assert log.execute("select count(*) from duckdb_tables()").fetchall() == [(0,)]


def test_the_door_is_made_again_only_if_its_views_changed(tmp_path: Path) -> None:
    layout = layout_of(tmp_path)
    with a_store(tmp_path):
        first = layout.log_db.stat().st_ino
    with a_store(tmp_path):
        assert layout.log_db.stat().st_ino == first
    layout.hot_db.parent.rename(tmp_path / "elsewhere")
    moved = Layout(layout.root, hot_path=tmp_path / "elsewhere" / "hot.duckdb")
    store = Store.open(moved, StorageSettings(path=str(layout.root)))
    store.close()
    assert layout.log_db.stat().st_ino != first
    shutil.rmtree(layout.hot_db.parent, ignore_errors=True)
    with open_log(layout) as log:
        assert log.execute("select count(*) from events").fetchall() == [(0,)]


def test_a_door_that_is_no_door_is_replaced(tmp_path: Path) -> None:
    layout = layout_of(tmp_path)
    layout.create()
    layout.log_db.write_bytes(b"x" * 20_000)
    with a_store(tmp_path), open_log(layout) as log:
        assert log.execute("select count(*) from events").fetchall() == [(0,)]


def test_views_find_one_another_under_another_name_and_beside_other_tables(tmp_path: Path) -> None:
    with a_store(tmp_path) as store:
        store.write(batch(event(name="form_submit", lead_id="l"), lead("l", 0)))
    with duckdb.connect() as con:
        con.execute("create table events as select 'mine' as event_id")
        con.execute("create table lead_states as select 'mine' as lead_id")
        con.execute(f"attach {sql.literal(layout_of(tmp_path).log_db)} as ours (read_only)")
        assert con.execute("select lead_id from ours.leads").fetchall() == [("l",)]
        assert con.execute("select lead_id from ours.journeys").fetchall() == [("l",)]


def test_a_session_sees_parts_that_were_written_after_it_began(tmp_path: Path) -> None:
    now = Time()
    with a_store(tmp_path, now, part_rows=1) as store, open_log(layout_of(tmp_path)) as log:
        for round in range(1, 4):
            store.write(batch(event(round)))
            part(store, now)
            store.publish()
            assert log.execute("select count(*) from events").fetchall() == [(round,)]
            assert len(list(layout_of(tmp_path).cold.glob("events/day=*/*.parquet"))) == round


def test_a_new_column_is_shown_by_a_new_door_and_old_sessions_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = Time()
    with a_store(tmp_path, now, part_rows=1) as store:
        store.write(batch(event()))
        part(store, now)
        store.write(batch(event(1)))
    # Another process, as analysts are: within one, DuckDB would hand out the old door again.
    layout, held = layout_of(tmp_path), Session(layout_of(tmp_path).log_db)
    try:
        assert held.ask("select count(*) from events") == "2"
        folder = tmp_path / "migrations"
        shutil.copytree(migrations.FOLDER, folder)
        (folder / "999_score.sql").write_text("alter table events add column score integer; -- of another version")
        monkeypatch.setattr(migrations, "FOLDER", folder)
        with a_store(tmp_path, now, part_rows=1) as store:
            store.write(batch(event(2)))
            store.connection.execute("update work.events set score = 7 where b = 3")
            store._is_changed = True
            store.publish()
            assert held.ask("select count(*) from events") == "3"
            fresh = Session(layout.log_db)
            assert fresh.ask("select count(*), count(score), max(score) from events") == "3,1,7"
            fresh.close()
            part(store, now)
            assert store.connection.execute("select count(*), sum(score) from events").fetchall() == [(3, 7)]
            assert held.ask("select count(*) from events") == "3"
    finally:
        held.close()


class Session:
    """A session of DuckDB's own in another process, held open."""

    CODE = (
        "import sys, duckdb\n"
        "con = duckdb.connect(sys.argv[1], read_only=True)\n"
        "for line in sys.stdin: print(*con.execute(line).fetchall()[0], sep=',', flush=True)\n"
    )

    def __init__(self, path: Path) -> None:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen([sys.executable, "-c", self.CODE, str(path)], **pipes)

    def ask(self, statement: str) -> str:
        assert self.process.stdin and self.process.stdout
        print(statement, file=self.process.stdin, flush=True)
        return self.process.stdout.readline().strip()

    def close(self) -> None:
        self.process.communicate("")


@pytest.mark.skipif(not CLI.exists(), reason="duckdb-cli is not installed")
def test_duckdbs_own_command_reads_every_view(tmp_path: Path) -> None:
    now = Time()
    with a_store(tmp_path, now, part_rows=1) as store:
        store.write(
            batch(event(name="form_submit", lead_id="l", click_ids={"gclid": "x"}, properties={"a": 1}), lead("l", 0))
        )
        part(store, now)
        store.write(batch(event(1)))
    for view in (*(table.name for table in TABLES), *door.DERIVED):
        command = [CLI, "-readonly", "-json", str(layout_of(tmp_path).log_db), "-c", f"from {view}"]
        found = subprocess.run(command, capture_output=True, text=True, check=True)
        assert found.stderr == ""
        if view == "events":
            rows = json.loads(found.stdout)
            assert sorted(row["name"] for row in rows) == ["form_submit", "page_view"]


def test_the_collector_has_the_same_views_with_the_same_columns(tmp_path: Path) -> None:
    with a_store(tmp_path) as store, open_log(layout_of(tmp_path)) as log:
        for view in (*(table.name for table in TABLES), *door.DERIVED):
            asked = f"select column_name, column_type from (describe {view})"
            assert store.connection.execute(asked).fetchall() == log.execute(asked).fetchall()


def test_a_view_says_in_the_log_what_it_answers(tmp_path: Path) -> None:
    with a_store(tmp_path), open_log(layout_of(tmp_path)) as log:
        found = dict(log.execute("select view_name, comment from duckdb_views() where not internal").fetchall())
    assert found["leads"] == sql.question(sql.read("views/leads"))
    assert all(found.values())


def test_a_query_that_names_few_columns_reads_few(tmp_path: Path) -> None:
    """DuckDB 1.5 read every column of every part when the watermark was a materialized CTE; and both did for count(*)."""
    now = Time()
    with a_store(tmp_path, now, part_rows=1) as store:
        store.write(batch(*(event(row) for row in range(10))))
        part(store, now)
        with open_log(layout_of(tmp_path)) as log:
            for statement in ("select count(*) from events", "select count(seq) from events"):
                plan = log.execute(f"explain {statement}").fetchall()[0][1]
                assert "user_agent" not in plan, statement
