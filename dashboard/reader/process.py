"""The reader as a process: settings from stdin, its own status file once per second, a clean stop.

The supervisor writes one JSON line, `{"layout": {"root", "hot_path"}, "sql": {...}}`, and keeps the pipe open. SIGTERM,
SIGINT or the end of stdin stop it. It opens no database: see `dashboard.reader.nursery`.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import signal
import sys
import time
from contextlib import suppress
from typing import Any

import msgspec
from aiohttp import web

from dashboard.orders import LayoutPaths, cannot_listen, first_line, listening, stop_at_end_of_stdin
from dashboard.reader.app import Idle, Reader
from dashboard.settings import SqlSettings, address
from storage import landlock, status
from storage.layout import Layout

logger = logging.getLogger(__name__)

STATUS_NAME = "reader"

IDLE_SECS = 15.0
# It holds no answer whole: beyond this something is wrong with it, and a new one is there in a second.
MOST_MEMORY_BYTES = 512 << 20


class Orders(msgspec.Struct):
    """What the supervisor says on stdin."""

    layout: LayoutPaths
    sql: SqlSettings


def main() -> int:
    """Runs until it is told to stop. 0: in order; 1: it could not listen, or grew; 2: the settings line is not understood."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    # What it would say at length of clients that speak no HTTP. Our own errors are logged where they happen.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    try:
        orders = msgspec.json.decode(first_line(), type=Orders)
    except msgspec.DecodeError as failure:
        print(f"reader: stdin is not a line of settings: {failure}", file=sys.stderr)
        return 2
    return asyncio.run(serve(orders))


async def serve(orders: Orders) -> int:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    stop_at_end_of_stdin(loop, stop)
    if not (known := landlock.version()):
        logger.warning(
            'event=no_landlock so="queries are kept from files by DuckDB and file rights alone" '
            'next="Linux 5.13 or newer, and no filter of system calls in its way, see docs/sql-over-http.md"'
        )
    layout = orders.layout.as_layout()
    reader = Reader(layout, orders.sql)
    # A client that goes away cancels what is done for it. Lines of requests would name whoever asks, and what.
    runner = web.AppRunner(
        reader.app, access_log=None, shutdown_timeout=2.0, handler_cancellation=True, keepalive_timeout=IDLE_SECS
    )
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, *address(orders.sql.listen)).start()
        except OSError as failure:
            logger.error("%s", cannot_listen(orders.sql.listen, failure, "dashboard.sql.listen"))
            return 1
        state = {"kind": "reader", "listen": listening(runner), "landlock": known}
        return await report(layout, lambda: state | reader.state(), runner, reader, stop)
    finally:
        await runner.cleanup()


async def report(layout: Layout, state: Any, runner: web.AppRunner, reader: Reader, stop: asyncio.Event) -> int:
    """Writes the status file and ends idle connections each second until `stop`. 1 if it has grown too large."""
    idle, refused = Idle(secs=IDLE_SECS), False
    try:
        while True:
            try:
                await asyncio.to_thread(status.write, layout, STATUS_NAME, state())
                refused = False
            except OSError as failure:
                if not refused:
                    logger.warning("event=status_refused folder=%s error=%r", layout.status, failure.strerror)
                refused = True
            for one in idle.sweep(runner.server.connections if runner.server else [], reader.busy, time.monotonic()):
                if one.transport is not None:
                    one.transport.abort()
            if (memory := memory_bytes()) > MOST_MEMORY_BYTES:
                logger.error("event=grown memory_mb=%d limit_mb=%d", memory >> 20, MOST_MEMORY_BYTES >> 20)
                return 1
            with suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await stop.wait()
                return 0
    finally:
        with suppress(OSError):
            status.remove(layout, STATUS_NAME)


def memory_bytes() -> int:
    """What this process takes of the machine's memory at the moment."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * resource.getpagesize()
