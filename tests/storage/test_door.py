"""What readers of log.duckdb are promised: no error, no gap, no double, no step backwards, whatever happens to the writer."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest

from storage.crash import POINTS
from storage.read import open_log
from tests.support import log_proof

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


def until(condition, secs: float = 30) -> None:
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
        until(lambda: (tmp_path / "log.duckdb").exists())
        with reading(tmp_path, kinds, secs=100) as readers:
            end, next_kill = time.monotonic() + 100, time.monotonic() + 1
            # Until enough has happened: how long that takes depends on what else the machine does.
            while writer.kills < 5 or len({path.name for path in parts.glob("day=*/*.parquet")}) < 4:
                assert time.monotonic() < end, f"{writer.kills} kills, parts {sorted(parts.glob('day=*/*.parquet'))}"
                time.sleep(0.02)
                writer.look()
                if time.monotonic() > next_kill:
                    writer.kill()
                    next_kill = time.monotonic() + random.uniform(1, 6)
            (tmp_path / "enough").touch()
            for reader in readers:
                seen = seen_by(reader)
                assert (seen["wrong"], seen["backwards"], seen["errors"]) == (0, 0, 0), seen
                assert seen["queries"] > 10, seen
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
        until(lambda: (tmp_path / "log.duckdb").exists())
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
