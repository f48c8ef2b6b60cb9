"""What every process below the supervisor has in common, shown on a real process."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ropo.child import StatusWriter, first_of, say_ready
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


async def test_the_first_of_several_events_or_the_time_ends_the_waiting():
    one, other = asyncio.Event(), asyncio.Event()
    other.set()
    await first_of(one, other)
    await first_of(one, secs=0.01)
    assert not one.is_set()


def test_readiness_is_said_once_through_the_pipe_even_if_nobody_listens():
    told, tell = os.pipe()
    say_ready(tell)
    assert os.read(told, 9) == b"1"
    assert os.read(told, 9) == b""  # closed
    os.close(told)
    told, tell = os.pipe()
    os.close(told)
    say_ready(tell)
    say_ready(None)


FILES = """
import resource, sys
from ropo.child import log_to_stderr, raise_open_files
log_to_stderr("w")
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 200))
raise_open_files(int(sys.argv[1]))
print(resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize("needed, warned", [(200, False), (201, True)])
def test_a_worker_takes_as_many_files_as_it_may_and_warns_if_that_is_too_few(needed: int, warned: bool):
    done = subprocess.run(
        [sys.executable, "-c", FILES, str(needed)], cwd=REPOSITORY, capture_output=True, text=True, timeout=50
    )
    assert done.stdout == "(200, 200)\n"
    assert ("event=few_open_files limit=200 needed=201" in done.stderr) == warned
