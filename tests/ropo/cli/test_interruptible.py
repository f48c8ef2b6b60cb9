from __future__ import annotations

import signal
import subprocess
import sys
import threading

import pytest

from ropo.cli.interruptible import Work
from tests.support.ropo_process import REPOSITORY, environment


def test_it_returns_what_the_work_returns_from_a_thread_of_its_own():
    assert Work[bool]().run(lambda _: threading.current_thread() is not threading.main_thread()) is True


def test_it_raises_what_the_work_raises():
    with pytest.raises(ZeroDivisionError):
        Work[float]().run(lambda _: 1 / 0)


def test_meanwhile_the_main_thread_is_called():
    called = threading.Event()
    assert Work[bool]().run(lambda _: called.wait(30), every=called.set) is True


WORK = """
import time, duckdb
from ropo.cli.interruptible import Work
def work(work):
    try:
        {between}
        with work.connected(duckdb.connect()) as con:
            print("begun", flush=True)
            con.execute("select count(*) from range(100000000000) a, range(1000) b where hash(a.range + b.range) = 5")
    finally:
        print("cleaned up", flush=True)
Work().run(work)
"""


@pytest.mark.parametrize("between", ["pass", "print('begun', flush=True); time.sleep(0.3)"])
def test_ctrl_c_is_heard_whenever_it_comes_and_the_work_may_clean_up(between: str):
    process = subprocess.Popen(
        [sys.executable, "-c", WORK.format(between=between)],
        cwd=REPOSITORY, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, "ropo: interrupted\n")
    assert out.endswith("cleaned up\n")
