import json
import signal
import subprocess
import sys
import urllib.request

import pytest

PROGRAM = [sys.executable, "-m", "ropo.demo", "--listen", "127.0.0.1:0"]


@pytest.fixture
def started():
    running = []

    def start(*arguments):
        process = subprocess.Popen(
            [*PROGRAM, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        running.append(process)
        return process, json.loads(process.stdout.readline())

    yield start
    for process in running:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            pipe.close()


def test_the_demo_says_where_it_is_and_stops_on_sigterm(started, tmp_path):
    process, places = started("--erp-listen", "127.0.0.1:0", "--erp-secret-file", str(tmp_path / "keys"))
    for url, word in ((places["site"] + "/de/", "Musterwerk"), (places["erp"], "ERP inbox")):
        with urllib.request.urlopen(url, timeout=10) as answer:
            assert word in answer.read().decode()
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    assert process.stderr.read() == ""


def test_the_demo_stops_when_whoever_started_it_is_gone(started):
    process, places = started("--stdin-eof")
    assert places["erp"] is None
    process.stdin.close()
    assert process.wait(10) == 0


def test_a_port_in_use_is_told_and_ends_with_1(started):
    _, places = started()
    taken = places["site"].removeprefix("http://")
    second = subprocess.run(
        [sys.executable, "-m", "ropo.demo", "--listen", taken], capture_output=True, text=True, timeout=30
    )
    assert second.returncode == 1
    assert "address already in use" in second.stderr
    assert "Traceback" not in second.stderr


def test_a_wrong_address_ends_with_2():
    second = subprocess.run(
        [sys.executable, "-m", "ropo.demo", "--listen", "8080"], capture_output=True, text=True, timeout=30
    )
    assert second.returncode == 2
    assert "host:port" in second.stderr
