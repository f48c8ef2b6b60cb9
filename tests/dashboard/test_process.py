import errno
import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from dashboard.orders import cannot_listen
from storage import status
from tests.support.logs import layout_of


@pytest.fixture
def layout(tmp_path):
    return layout_of(tmp_path)


@pytest.fixture
def start():
    running = []

    def start(line):
        process = subprocess.Popen(
            [sys.executable, "-m", "dashboard.process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        running.append(process)
        process.stdin.write(line + b"\n")
        process.stdin.flush()
        return process

    yield start
    for process in running:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stderr.close()


def orders(layout, listen="127.0.0.1:0"):
    paths = {"root": str(layout.root), "hot_path": str(layout.hot_db)}
    return json.dumps({"layout": paths, "dashboard": {"listen": listen}, "sinks": ["erp"]}).encode()


def reported(layout, process):
    while process.poll() is None:
        if state := status.read_all(layout).get("dashboard"):
            return state
        time.sleep(0.02)
    raise AssertionError(process.stderr.read().decode())


def ended(process):
    """The exit code and what was said."""
    code = process.wait(20)
    return code, process.stderr.read().decode()


def test_it_serves_and_reports_itself_until_sigterm(start, layout):
    process = start(orders(layout))
    state = reported(layout, process)
    assert (state["kind"], state["pid"]) == ("dashboard", process.pid)
    with pytest.raises(urllib.error.HTTPError, match="503"):
        urllib.request.urlopen(f"http://{state['listen']}/healthz", timeout=10).close()
    with urllib.request.urlopen(f"http://{state['listen']}/", timeout=10) as answer:
        assert "There is no log yet." in answer.read().decode()
    process.send_signal(signal.SIGTERM)
    assert ended(process) == (0, "")
    assert status.read_all(layout) == {}


def test_it_stops_when_the_supervisor_is_gone(start, layout):
    process = start(orders(layout))
    reported(layout, process)
    process.stdin.close()
    assert ended(process) == (0, "")


def test_a_port_in_use_is_told_with_what_to_do(start, layout):
    first = start(orders(layout))
    taken = reported(layout, first)["listen"]
    code, said = ended(start(orders(layout, listen=taken)))
    assert code == 1
    assert f"dashboard.listen: {taken} is in use" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("line", [b"", b"{}", b"not json", b'{"layout": {"root": "/x"}, "dashboard": {"listen": "x"}}'])
def test_a_line_that_is_no_settings_ends_it_with_2(start, line):
    code, said = ended(start(line))
    assert code == 2
    assert "not a line of settings" in said


@pytest.mark.parametrize(
    ("number", "hint"),
    [(errno.EADDRINUSE, "port 0|0: any free one"), (errno.EACCES, "above 1023"), (errno.EADDRNOTAVAIL, "10.9.9.9:1")],
)
def test_each_reason_not_to_listen_says_what_to_do(number, hint):
    said = cannot_listen("10.9.9.9:1", OSError(number, "no"))
    assert any(part in said for part in hint.split("|"))
