"""The nursery by itself, spoken to over its socket."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import duckdb
import msgspec
import psutil
import pytest

from dashboard.reader.frames import HEADER_BYTES, Kind, Order, header, of_order
from tests.support.logs import a_visit, layout_of, write_log
from tests.support.ropo_process import environment
from tests.support.waiting import until


@pytest.fixture
def nursery():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-m", "dashboard.reader.nursery", str(theirs.fileno()), str(os.getpid())],
                pass_fds=[theirs.fileno()], env=environment(),
            )  # fmt: skip
        yield process, ours
    assert process.wait(20) == 0


def told(control, octets):
    """All frames that come back for an order."""
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            socket.send_fds(control, [b"q"], [theirs.fileno()])
        ours.sendall(octets)
        ours.settimeout(60)
        said = b""
        while some := ours.recv(65536):
            said += some
    frames = []
    while said:
        kind, size = header(said[:HEADER_BYTES])
        frames.append((kind, said[HEADER_BYTES : HEADER_BYTES + size]))
        said = said[HEADER_BYTES + size :]
    return frames


def test_each_socket_that_comes_is_a_query_of_its_own(nursery, tmp_path):
    process, control = nursery
    layout = layout_of(tmp_path)
    write_log(layout, a_visit())
    door = str(layout.log_db)
    (_, (_, said), _) = told(control, of_order(Order(door=door, limit_secs=20, secs=20)))
    files, folders = msgspec.json.decode(said)
    there = os.stat(door)
    order = Order(
        door=door, limit_secs=20, secs=20, sql="select count(*) as n from events", form="csv", files=files, folders=folders,
        place=(there.st_ino, there.st_mtime_ns), trees=[str(layout.cold)],
    )  # fmt: skip
    for _ in range(3):
        kinds, bodies = zip(*told(control, of_order(order)), strict=True)
        assert kinds == (Kind.HEAD, Kind.DATA, Kind.DATA, Kind.END)
        assert b"".join(bodies[1:3]) == b"n\r\n3\r\n"
    until(lambda: not psutil.Process(process.pid).children(), "no process is left, dead ones included")


def test_nonsense_ends_one_query_and_not_the_nursery(nursery):
    process, control = nursery
    for octets in (b"", b"\x00\x00\x00\x02{}", b"\x00\x00\x00\x04junk"):
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                socket.send_fds(control, [b"q"], [theirs.fileno()])
            ours.sendall(octets)
            ours.shutdown(socket.SHUT_WR)
            assert ours.recv(100) == b""
    control.send(b"without a socket")
    until(lambda: not psutil.Process(process.pid).children(), "none is left")
    assert process.poll() is None


def test_it_has_one_thread_and_no_right_to_write(nursery):
    process, control = nursery
    seen = psutil.Process(process.pid)
    until(lambda: seen.nice() == 15, "it has stepped back")
    until(lambda: seen.rlimit(psutil.RLIMIT_FSIZE) == (0, 0), "it may not write")
    if not duckdb.__version__.startswith("1."):  # which starts one that sleeps
        assert seen.num_threads() == 1


def test_without_its_reader_it_does_not_begin():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        done = subprocess.run(
            [sys.executable, "-m", "dashboard.reader.nursery", str(theirs.fileno()), "1"],
            pass_fds=[theirs.fileno()], env=environment(),
        )  # fmt: skip
    assert done.returncode == 1
