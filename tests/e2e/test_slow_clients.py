"""Slow headers, slow bodies, slow readers: some hundred connections that want to stay, and a visitor who notices nothing.

Each attack twice: as slowhttptest does it (https://github.com/shekyan/slowhttptest, in Debian), where that is installed,
and in a small version of our own that always runs. Nothing is said of absolute times: a visitor beside the attack is
compared with one without, generously, for the machine may be busy with other things.
"""

from __future__ import annotations

import asyncio
import http.client
import shutil
import socket
import statistics
import subprocess
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress

import psutil
import pytest

from tests.support.origins import Origin
from tests.support.ropo_process import RopoProcess
from tests.support.waiting import until

ATTACKERS, PAUSE_SECS = 300, 0.5
PIECE, PIECES = bytes(200_000), 80
ASKED = 200  # requests whose median counts
SLOWER = 10  # times, at most
# A tenth and less of what they are by default, so that a test need not wait.
LIMITS = {
    "workers": 1,
    "head_timeout_secs": 2,
    "stall_timeout_secs": 2,
    "idle_timeout_secs": 3,
    "response_timeout_secs": 30,  # the site runs in this process, and is slow itself on a busy machine
    "max_connections_per_address": 0,
}


class LargeSite(Origin):
    """A page, a download larger than all socket buffers on the way, and an upload whose rest is waited for."""

    async def serve(self) -> Callable[[], Awaitable[None]]:
        open_ones: set[asyncio.BaseTransport] = set()

        class Connection(asyncio.Protocol):
            left = 0
            paused = False

            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                self.transport = transport
                open_ones.add(transport)

            def pause_writing(self) -> None:
                self.paused = True

            def resume_writing(self) -> None:
                self.paused = False
                self.go_on()

            def go_on(self) -> None:
                while self.left and not self.paused:
                    self.left -= 1
                    self.transport.write(PIECE)

            def connection_lost(self, error: Exception | None) -> None:
                open_ones.discard(self.transport)

            def data_received(self, data: bytes) -> None:
                if data.startswith(b"GET /large "):
                    self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (PIECES * len(PIECE)))
                    self.left = PIECES
                    self.go_on()
                elif data.startswith(b"GET "):
                    self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\na page")

        server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", self.port, backlog=1000)

        async def stop() -> None:
            server.close()
            for transport in list(open_ones):
                transport.abort()
            while open_ones:  # noqa: ASYNC110 - a set of transports tells nobody
                await asyncio.sleep(0.01)

        return stop


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RopoProcess]:
    with (
        LargeSite() as site,
        RopoProcess(tmp_path_factory.mktemp("slow"), upstream=site.url, proxy=LIMITS) as ropo,
    ):
        yield ropo


@pytest.fixture(scope="module")
def calm_secs(house: RopoProcess) -> float:
    """What an answer takes when nobody else is there."""
    visit(house)
    return visit(house)


def visit(ropo: RopoProcess) -> float:
    """Median of the seconds an answer takes, on new connections."""
    taken = []
    for _ in range(ASKED):
        connection = http.client.HTTPConnection("127.0.0.1", ropo.port, timeout=30)
        began = time.perf_counter()
        connection.request("GET", "/")
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, b"a page")
        taken.append(time.perf_counter() - began)
        connection.close()
    return statistics.median(taken)


def connected(ropo: RopoProcess) -> int:
    """Visitors' connections the worker holds."""
    held = psutil.Process(ropo.pid("worker")).net_connections("tcp")
    return sum(1 for one in held if one.laddr.port == ropo.port and one.status != psutil.CONN_LISTEN)


# -- our own versions

# What each says first, what again and again, and how many bytes it reads as often.
OWN = {
    "slow headers": (b"GET / HTTP/1.1\r\nHost: a\r\n", b"X-a: b\r\n", 0),
    "slow body": (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n", b"a", 0),
    "slow read": (b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n", b"", 64),
    "no request at all": (b"", b"", 0),
}


@contextmanager
def own_attackers(ropo: RopoProcess, how: str) -> Iterator[None]:
    """ATTACKERS connections from a thread, which never leave by themselves."""
    first, more, read = OWN[how]
    sockets = []
    for _ in range(ATTACKERS):
        attacker = socket.create_connection(("127.0.0.1", ropo.port), timeout=30)
        attacker.sendall(first)
        attacker.setblocking(False)
        sockets.append(attacker)
    enough = threading.Event()

    def go_on() -> None:
        while not enough.wait(PAUSE_SECS):
            for attacker in sockets:
                with suppress(OSError):
                    if more:
                        attacker.send(more)
                    if read:
                        attacker.recv(read)

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join()
        for attacker in sockets:
            attacker.close()


@pytest.mark.parametrize("how", OWN)
def test_slow_clients_disturb_nobody_and_must_go(house: RopoProcess, calm_secs: float, how: str) -> None:
    with own_attackers(house, how):
        until(lambda: connected(house) >= ATTACKERS * 0.9, "the attackers are there")
        assert visit(house) < SLOWER * calm_secs
        # The attackers still hold their ends: it is ropo that lets go.
        until(lambda: connected(house) == 0, "they are gone", deadline_secs=90)
    assert visit(house) < SLOWER * calm_secs


# -- slowhttptest

TOOL = {
    "slow headers": ["-H", "-i", "1", "-x", "24"],
    "slow body": ["-B", "-i", "1", "-s", "8192", "-x", "10"],
    "slow read": ["-X", "-w", "512", "-y", "1024", "-n", "1", "-z", "32", "-k", "1"],
}


@pytest.mark.skipif(shutil.which("slowhttptest") is None, reason="slowhttptest is not installed")
@pytest.mark.parametrize("how", TOOL)
def test_slowhttptest_disturbs_nobody(house: RopoProcess, calm_secs: float, how: str) -> None:
    target = house.url + ("/large" if how == "slow read" else "/")
    command = ["slowhttptest", *TOOL[how], "-c", str(ATTACKERS), "-r", "200", "-l", "8", "-p", "5", "-u", target]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as tool:
        until(lambda: connected(house) >= ATTACKERS / 3, "the attackers are there")
        assert visit(house) < SLOWER * calm_secs
        tool.wait(60)
    until(lambda: connected(house) == 0, "they are gone", deadline_secs=90)
    assert visit(house) < SLOWER * calm_secs
