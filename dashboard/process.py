"""The dashboard as a process: settings from stdin, its own status file once per second, a clean stop.

The supervisor writes one JSON line, `{"layout": {"root", "hot_path"}, "dashboard": {...}, "sinks": [names]}`, and keeps
the pipe open. SIGTERM, SIGINT or the end of stdin stop it.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from contextlib import suppress

import msgspec
from aiohttp import web

from dashboard.app import REQUESTS, make_app
from dashboard.orders import LayoutPaths, cannot_listen, first_line, listening, stop_at_end_of_stdin
from dashboard.settings import DashboardSettings, address
from storage import status
from storage.layout import Layout

logger = logging.getLogger(__name__)

STATUS_NAME = "dashboard"


class Orders(msgspec.Struct):
    """What the supervisor says on stdin."""

    layout: LayoutPaths
    dashboard: DashboardSettings
    sinks: list[str] = []


def main() -> int:
    """Runs until it is told to stop. 0: in order; 1: it could not listen; 2: the settings line is not understood."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    try:
        orders = msgspec.json.decode(first_line(), type=Orders)
    except msgspec.DecodeError as failure:
        print(f"dashboard: stdin is not a line of settings: {failure}", file=sys.stderr)
        return 2
    return asyncio.run(serve(orders))


async def serve(orders: Orders) -> int:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    stop_at_end_of_stdin(loop, stop)

    layout = orders.layout.as_layout()
    app = make_app(layout, orders.dashboard, sinks=orders.sinks)
    # Requests are rare here, and their lines would name whoever looks.
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)
    await runner.setup()
    try:
        host, port = address(orders.dashboard.listen)
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as failure:
            logger.error("%s", cannot_listen(orders.dashboard.listen, failure))
            return 1
        state = {"kind": "dashboard", "listen": listening(runner)}
        await report(layout, state, app[REQUESTS], stop)
    finally:
        await runner.cleanup()
    return 0


async def report(layout: Layout, state: dict, requests: list[int], stop: asyncio.Event) -> None:
    """Writes the status file each second until `stop`. A disk that refuses is told once per change."""
    refused = ""
    while True:
        try:
            await asyncio.to_thread(status.write, layout, STATUS_NAME, state | {"requests": requests[0]})
            error = ""
        except OSError as failure:
            error = failure.strerror or type(failure).__name__
        if error != refused:
            refused = error
            logger.warning("status file: %s", f"error={error!r}, look at {layout.status}" if error else "written again")
        try:
            async with asyncio.timeout(1.0):
                await stop.wait()
            break
        except TimeoutError:
            continue
    with suppress(OSError):
        status.remove(layout, STATUS_NAME)


if __name__ == "__main__":
    sys.exit(main())
