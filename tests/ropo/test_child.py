"""What every process below the supervisor has in common, shown on a real process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ropo.child import StatusWriter
from storage import status
from storage.layout import Layout

CHILD = """
import asyncio, msgspec
from ropo.child import read_orders, stop_event
class Orders(msgspec.Struct):
    name: str
async def main(orders):
    stop = stop_event(asyncio.get_running_loop())
    print("ready", orders.name, flush=True)
    await stop.wait()
    print("stopped", flush=True)
asyncio.run(main(read_orders(Orders)))
"""
REPOSITORY = Path(__file__).resolve().parents[2]


def start() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD], cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip


@pytest.mark.parametrize("how", ["sigterm", "sigint", "supervisor gone"])
def test_a_child_stops_when_told_and_when_its_supervisor_is_gone(how: str) -> None:
    with start() as child:
        child.stdin.write(b'{"name": "w"}\n')
        child.stdin.flush()
        assert child.stdout.readline() == b"ready w\n"
        if how == "supervisor gone":
            child.stdin.close()
        else:
            child.send_signal(signal.SIGTERM if how == "sigterm" else signal.SIGINT)
        assert child.stdout.readline() == b"stopped\n"
        assert child.wait(20) == 0


def test_a_child_started_by_hand_says_who_starts_it() -> None:
    with start() as child:
        _, said = child.communicate(b"", timeout=20)
        assert child.returncode == 2
        assert b"started by `ropo serve`" in said


def test_a_disk_that_refuses_the_status_is_told_once(tmp_path: Path, caplog) -> None:
    layout = Layout(tmp_path / "data", hot_path=tmp_path / "hot")
    writer = StatusWriter(layout, "worker-1", lambda: {"kind": "worker"})
    writer.write()
    writer.write()
    assert caplog.text.count("event=status_refused") == 1
    layout.create()
    writer.write()
    assert status.read_all(layout)["worker-1"]["kind"] == "worker"
    writer.remove()
    assert status.read_all(layout) == {}
