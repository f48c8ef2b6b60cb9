"""Processes that are kept running, on real ones."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from ropo import children as module
from ropo.child import RETIRE
from ropo.children import Child, Children

# Says that it is ready, then waits for a signal that ends it.
SERVES = "import json, os, sys, signal; os.write(json.loads(sys.stdin.readline())['ready'], b'1'); signal.pause()"
DIES = "raise SystemExit(3)"
ENDS_WHEN_RETIRED = (
    "import json, os, sys, signal; signal.signal(signal.SIGUSR1, lambda *_: sys.exit(0));"
    "os.write(json.loads(sys.stdin.readline())['ready'], b'1'); signal.pause()"
)
NEVER_ENDS = (
    "import json, os, sys, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "os.write(json.loads(sys.stdin.readline())['ready'], b'1'); time.sleep(600)"
)


def child(program: str, name: str = "one") -> Child:
    return Child(name, ["-c", program], {"name": name}, says_ready=True)


async def until(question) -> None:
    async with asyncio.timeout(50):
        while not question():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_WAIT_SECS", 0.005)


async def test_a_child_says_that_it_works_and_ends_when_told():
    children, one = Children(), child(SERVES)
    children.start(one)
    await until(lambda: one.ready)
    await children.end([one], patience_secs=50, hurry=asyncio.Event())
    assert (one.runs, one.process.returncode, children.restarts) == (False, -signal.SIGTERM, {"one": 0})


async def test_a_child_that_dies_is_started_again_and_is_not_ready_until_the_next_says_so():
    children, one = Children(), child(SERVES)
    children.start(one)
    await until(lambda: one.ready)
    first = one.process.pid
    one.process.kill()
    await until(lambda: one.process.pid != first and one.ready)
    assert (one.deaths, children.restarts) == (1, {"one": 1})
    await children.end([one], patience_secs=50, hurry=asyncio.Event())


async def test_one_that_dies_again_and_again_never_becomes_ready_and_can_be_ended_between_two_lives(caplog):
    children, one = Children(), child(DIES)
    children.start(one)
    await until(lambda: one.deaths >= 3)
    assert not one.ready
    await children.end([one], patience_secs=50, hurry=asyncio.Event())
    assert "event=process_died name=one exit=3" in caplog.text
    # Its name goes on counting when another gets it.
    deaths = children.restarts["one"]
    children.start(another := child(SERVES))
    assert children.restarts["one"] == deaths
    await children.end([another], patience_secs=50, hurry=asyncio.Event())


async def test_a_program_that_cannot_be_started_is_tried_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog):
    monkeypatch.setattr(module.sys, "executable", str(tmp_path / "none"))
    children, one = Children(), child(SERVES)
    children.start(one)
    await until(lambda: one.deaths >= 2)
    await children.end([one], patience_secs=50, hurry=asyncio.Event())
    assert "not started: No such file" in caplog.text


@pytest.mark.parametrize("why", ["patience", "hurry"])
async def test_one_that_does_not_end_is_killed_when_the_patience_ends_or_somebody_is_in_a_hurry(why: str, caplog):
    children, one, hurry = Children(), child(NEVER_ENDS), asyncio.Event()
    children.start(one)
    await until(lambda: one.ready)
    if why == "hurry":
        asyncio.get_running_loop().call_later(0.1, hurry.set)
    await children.end([one], patience_secs=0.1 if why == "patience" else 50, hurry=hurry)
    assert one.process.returncode == -signal.SIGKILL
    assert "event=killed name=one" in caplog.text


async def test_it_may_be_told_to_retire_and_then_to_stop_and_both_wait_for_the_same_end():
    children, one = Children(), child(ENDS_WHEN_RETIRED)
    children.start(one)
    await until(lambda: one.ready)
    hurry = asyncio.Event()
    await asyncio.gather(
        children.end([one], patience_secs=50, hurry=hurry, number=RETIRE),
        children.end([one], patience_secs=50, hurry=hurry),
    )
    assert not one.runs
    await children.end([one], patience_secs=50, hurry=hurry)  # it has ended already


async def test_one_that_is_told_to_end_while_it_is_being_started_ends():
    children, one = Children(), child(SERVES)
    children.start(one)
    await asyncio.sleep(0)
    await children.end([one], patience_secs=50, hurry=asyncio.Event())
    assert not one.runs
