"""What the processes of this room have in common: a line of settings on stdin, its end, and where they listen.

Knows the pipe to the supervisor: one line of JSON, then nothing; its end means that the supervisor is gone.
"""

from __future__ import annotations

import asyncio
import errno
import os
from contextlib import suppress
from pathlib import Path

import msgspec
from aiohttp import web

from storage.layout import Layout


class LayoutPaths(msgspec.Struct):
    root: str
    hot_path: str | None = None

    def as_layout(self) -> Layout:
        return Layout(Path(self.root), hot_path=None if self.hot_path is None else Path(self.hot_path))


def listening(runner: web.AppRunner) -> str:
    """The address that was bound; for port 0, the port the system chose."""
    host, port = runner.addresses[0][:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def cannot_listen(listen: str, failure: OSError, setting: str = "dashboard.listen") -> str:
    if failure.errno == errno.EADDRINUSE:
        return f"{setting}: {listen} is in use; stop the other program or choose another port (0: any free one)"
    if failure.errno == errno.EACCES:
        return f"{setting}: not allowed to listen on {listen}; choose a port above 1023"
    return f"{setting}: cannot listen on {listen}: {failure.strerror or failure}"


def first_line() -> bytes:
    """The settings line. Read from the descriptor: nothing may stay in a buffer."""
    line = bytearray()
    while not line.endswith(b"\n") and (octet := os.read(0, 1)):
        line += octet
    return bytes(line)


def stop_at_end_of_stdin(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """Sets `stop` when whoever started us closes the pipe, or is gone.

    On the loop, not in a thread: one that still waits at the end of the process keeps modules alive, which DuckDB's
    binding takes for a leak and says so at length.
    """

    def readable() -> None:
        with suppress(OSError):
            if os.read(0, 4096):
                return
        loop.remove_reader(0)
        stop.set()

    # epoll takes no plain files: they have no end to wait for.
    with suppress(PermissionError):
        loop.add_reader(0, readable)
