import asyncio
import errno
import os
from pathlib import Path

import pytest
from aiohttp import web

from dashboard import orders
from dashboard.orders import LayoutPaths, cannot_listen, first_line, listening, stop_at_end_of_stdin


def test_paths_are_a_layout():
    layout = LayoutPaths("/srv/ropo", "/run/ropo/hot.duckdb").as_layout()
    assert (layout.root, layout.hot_db) == (Path("/srv/ropo"), Path("/run/ropo/hot.duckdb"))
    assert LayoutPaths("/srv/ropo").as_layout().hot_path is None


@pytest.fixture
def stdin(monkeypatch):
    """The other end of this process's stdin."""
    read, write = os.pipe()
    kept = os.dup(0)
    os.dup2(read, 0)
    os.close(read)
    with os.fdopen(write, "wb", buffering=0) as pipe:
        yield pipe
    os.dup2(kept, 0)
    os.close(kept)


def test_of_stdin_one_line_is_read_and_nothing_after_it(stdin):
    stdin.write(b'{"a": 1}\nrest')
    assert first_line() == b'{"a": 1}\n'
    assert os.read(0, 10) == b"rest"


async def test_the_end_of_stdin_is_the_end(stdin):
    stop = asyncio.Event()
    stop_at_end_of_stdin(asyncio.get_running_loop(), stop)
    stdin.write(b"more")
    await asyncio.sleep(0.01)
    assert not stop.is_set()
    stdin.close()
    async with asyncio.timeout(20):
        await stop.wait()


async def test_what_was_bound_is_told_with_its_port():
    runner = web.AppRunner(web.Application())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    assert listening(runner) != "127.0.0.1:0"
    assert listening(runner).startswith("127.0.0.1:")
    await runner.cleanup()


@pytest.mark.parametrize(
    ("number", "hint"),
    [(errno.EADDRINUSE, "0: any free one"), (errno.EACCES, "above 1023"), (errno.EADDRNOTAVAIL, "h:1: no")],
)
def test_each_reason_not_to_listen_says_what_to_do(number, hint):
    assert hint in cannot_listen("h:1", OSError(number, "no"))
    assert cannot_listen("h:1", OSError(number, "no"), "dashboard.sql.listen").startswith("dashboard.sql.listen: ")
    assert orders.cannot_listen("h:1", OSError(number, "no")).startswith("dashboard.listen: ")
