"""Starts the demo site and its ERP. Says where they are in one line of JSON on stdout, and runs until told to stop."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from pathlib import Path

from aiohttp import web

from dashboard.settings import address
from ropo.child import stop_at_end_of_stdin
from ropo.demo.erp import make_erp
from ropo.demo.site import make_site


def main(arguments: list[str] | None = None) -> int:
    """0: stopped in order; 1: could not listen; argparse exits with 2 for wrong arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m ropo.demo", description="A small company site, and an ERP that receives leads, for trying ropo."
    )
    parser.add_argument("--listen", default="127.0.0.1:9000", type=listen, help="the site, host:port; port 0: any")
    parser.add_argument("--erp-listen", type=listen, help="the ERP, host:port; without it there is none")
    parser.add_argument("--erp-secret-file", type=Path, help="file with the webhook's secret, whsec_…")
    parser.add_argument("--stdin-eof", action="store_true", help="stop when stdin ends")
    options = parser.parse_args(arguments)
    try:
        asyncio.run(serve(options))
    except OSError as failure:
        print(f"ropo.demo: {failure.strerror or failure}", file=sys.stderr)
        return 1
    return 0


def listen(text: str) -> tuple[str, int]:
    try:
        return address(text)
    except ValueError as failure:
        raise argparse.ArgumentTypeError(str(failure)) from None


async def serve(options: argparse.Namespace) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    runners: list[web.AppRunner] = []
    try:
        places = {"site": await start(make_site(), options.listen, runners), "erp": None}
        if options.erp_listen:
            erp = make_erp(options.erp_secret_file, listen_host=options.erp_listen[0])
            places["erp"] = await start(erp, options.erp_listen, runners)
        print(json.dumps(places), flush=True)
        if options.stdin_eof:
            stop_at_end_of_stdin(loop, stop)
        await stop.wait()
    finally:
        for runner in runners:
            await runner.cleanup()


async def start(app: web.Application, where: tuple[str, int], runners: list[web.AppRunner]) -> str:
    """Serves `app` and answers its URL."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)
    runners.append(runner)
    await runner.setup()
    host, port = where
    await web.TCPSite(runner, host, port).start()
    bound = runner.addresses[0]
    return f"http://[{bound[0]}]:{bound[1]}" if ":" in bound[0] else f"http://{bound[0]}:{bound[1]}"


if __name__ == "__main__":
    sys.exit(main())
