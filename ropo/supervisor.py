"""The supervisor: starts the processes, restarts one that dies, and stops them in the order that loses nothing.

Knows processes, listening sockets and signals. It imports neither the proxy's loop nor DuckDB: the process that must
not fail does the least.

    start   lock ▸ keys ▸ listening sockets ▸ demo site (if used) ▸ collector, dashboard, workers
    stop    workers (they finish their answers) ▸ collector (it takes in what they wrote) ▸ dashboard, demo site
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

import ropo
from ropo import banner, secrets
from ropo.child import StatusWriter, log_to_stderr
from ropo.demo_process import Demo, demo_wanted
from ropo.listening import StartError, check_free, listen
from ropo.settings import Settings
from storage import status
from storage.layout import Layout
from storage.lock import BlockedError, hold
from storage.recovery import recover

log = logging.getLogger(__name__)

# After a process died young the next try waits, twice as long each time, so that a broken one does not eat the machine.
FIRST_WAIT_SECS, LONGEST_WAIT_SECS, LIVED_LONG_SECS = 0.1, 10.0, 5.0
# How long the collector may take to bring in what the workers left, and the others to end.
DRAIN_SECS, END_SECS = 60.0, 5.0
READY_SECS = 30.0


@dataclass
class Child:
    """One process to be kept running. `arguments` follow the Python interpreter, `orders` go to its stdin."""

    name: str
    arguments: list[str]
    orders: dict[str, Any] = field(repr=False)
    pass_fds: tuple[int, ...] = ()
    process: asyncio.subprocess.Process | None = None
    restarts: int = 0
    leaving: bool = False


def run(settings: Settings, *, config_path: Path) -> int:
    """Serves until SIGTERM or SIGINT. 0: stopped in order, 1: could not start."""
    log_to_stderr("supervisor")
    try:
        return asyncio.run(_run(settings, config_path))
    except (StartError, BlockedError, secrets.SecretsError) as error:
        print(f"ropo: {error}", file=sys.stderr)
        return 1


async def _run(settings: Settings, config_path: Path) -> int:
    storage = settings.storage
    layout = Layout.of(storage)
    try:
        layout.create()
    except OSError as error:
        raise StartError(
            f"storage.path: cannot use {layout.root} ({error.strerror}: {error.filename}); "
            "choose another path or correct its rights"
        ) from None
    with hold(layout):
        for name in status.read_all(layout):
            status.remove(layout, name)
        webhooks = tuple(sink.name for sink in settings.export.sinks if getattr(sink, "secret", None) == "")
        keys = secrets.read_or_make(layout.secrets, webhooks=webhooks, cookie=not settings.tracker.cookie.secrets)
        listeners = listen(settings.proxy)
        check_free("dashboard.listen", settings.dashboard.listen)
        # Files that dead workers left open: those of worker names that are no longer in use come only here.
        recover(layout.spool)
        demo = None
        if demo_wanted(settings):
            demo = Demo(settings, layout)
            settings = await demo.start()
        try:
            return await Supervisor(settings, layout, keys, listeners, demo, config_path).run()
        finally:
            if demo is not None:
                await demo.stop()
            for listener in listeners:
                listener.close()


class Supervisor:
    def __init__(
        self,
        settings: Settings,
        layout: Layout,
        keys: secrets.Keys,
        listeners: list[socket.socket],
        demo: Demo | None,
        config_path: Path,
    ) -> None:
        self._settings = settings
        self._layout = layout
        self._listeners = listeners
        self._demo = demo
        self._config_path = config_path
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._listen = "{}:{}".format(*listeners[0].getsockname()[:2])
        self._workers = [self._worker(number, keys) for number in range(1, len(listeners) + 1)]
        self._collector = self._collector_child(keys)
        self._dashboard = self._dashboard_child()
        self._children = [self._collector, self._dashboard, *self._workers]

    # -- what each child is told

    def _worker(self, number: int, keys: secrets.Keys) -> Child:
        settings, listener = self._settings, self._listeners[number - 1]
        orders = {
            "name": f"worker-{number}",
            "listener": listener.fileno(),
            "proxy": settings.proxy,
            "tracker": settings.tracker,
            "storage": settings.storage,
            "cookie_keys": settings.tracker.cookie.secrets or keys.cookie,
            "contact_keys": keys.contact,
        }
        return Child(f"worker-{number}", ["-m", "ropo.worker"], orders, pass_fds=(listener.fileno(),))

    def _collector_child(self, keys: secrets.Keys) -> Child:
        settings = self._settings
        orders = {
            "tracker": settings.tracker,
            "storage": settings.storage,
            "export": settings.export,
            "contact_keys": keys.contact,
            "webhook_keys": keys.webhooks,
        }
        return Child("collector", ["-m", "ropo.collector"], orders)

    def _dashboard_child(self) -> Child:
        storage = self._settings.storage
        orders = {
            "layout": {"root": storage.path, "hot_path": storage.hot_path},
            "dashboard": self._settings.dashboard,
            "sinks": [sink.name for sink in self._settings.export.sinks],
        }
        return Child("dashboard", ["-m", "dashboard.process"], orders)

    # -- life

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._asked_to_stop)
        writer = StatusWriter(self._layout, "supervisor", self._state)
        keepers = {child.name: asyncio.create_task(self._keep(child)) for child in self._children}
        state = asyncio.create_task(writer.run(self._stop))
        if await self._ready():
            dashboard = status.read_all(self._layout).get("dashboard", {}).get("listen")
            banner.show(
                self._settings, listen=self._listen, dashboard=dashboard, layout=self._layout,
                config_path=self._config_path, demo=self._demo,
            )  # fmt: skip
        await self._stop.wait()
        await state
        await self._stop_all(keepers)
        writer.remove()
        return 0

    def _asked_to_stop(self) -> None:
        if self._stop.is_set():
            log.warning("event=hurry answers=cut")
            self._hurry.set()
        else:
            log.info("event=stopping")
            self._stop.set()

    async def _keep(self, child: Child) -> None:
        """Keeps one child running until it is told to leave."""
        wait = FIRST_WAIT_SECS
        while not child.leaving:
            began = time.monotonic()
            try:
                await self._spawn(child)
                code = await child.process.wait()
            except OSError as error:
                code = f"not started: {error.strerror}"
            if child.leaving:
                break
            wait = FIRST_WAIT_SECS if time.monotonic() - began > LIVED_LONG_SECS else min(wait * 2, LONGEST_WAIT_SECS)
            child.restarts += 1
            log.error("event=process_died name=%s exit=%s restart_in_secs=%.1f", child.name, code, wait)
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._stop.wait()
            if self._stop.is_set():
                break

    async def _spawn(self, child: Child) -> None:
        child.process = process = await asyncio.create_subprocess_exec(
            sys.executable,
            *child.arguments,
            stdin=asyncio.subprocess.PIPE,
            pass_fds=child.pass_fds,
            # Ctrl-C on a terminal goes to a whole process group; the order of stopping is ours to keep.
            process_group=0,
        )
        process.stdin.write(msgspec.json.encode(child.orders) + b"\n")
        with suppress(ConnectionError):
            await process.stdin.drain()

    async def _ready(self) -> bool:
        """Waits until every child has said something of itself."""
        names = {child.name for child in self._children}
        give_up = time.monotonic() + READY_SECS
        while time.monotonic() < give_up and not self._stop.is_set():
            if names <= status.read_all(self._layout).keys():
                return True
            await asyncio.sleep(0.05)
        if not self._stop.is_set():
            missing = sorted(names - status.read_all(self._layout).keys())
            log.error("event=not_ready missing=%s see=messages_above", ",".join(missing))
        return False

    async def _stop_all(self, keepers: dict[str, asyncio.Task[None]]) -> None:
        patience = self._settings.proxy.stop_timeout_secs + END_SECS
        await self._end(self._workers, patience)
        await self._end([self._collector], DRAIN_SECS)
        await self._end([self._dashboard], END_SECS)
        for task in keepers.values():
            task.cancel()
        await asyncio.gather(*keepers.values(), return_exceptions=True)

    async def _end(self, children: list[Child], patience_secs: float) -> None:
        """SIGTERM, then patience, then SIGKILL; a second SIGINT or SIGTERM to us ends the patience."""
        running = []
        for child in children:
            child.leaving = True
            if child.process is not None and child.process.returncode is None:
                with suppress(ProcessLookupError):
                    child.process.terminate()
                running.append(child)
        waiting = asyncio.gather(*(child.process.wait() for child in running))
        hurry = asyncio.create_task(self._hurry.wait())
        await asyncio.wait(
            {asyncio.ensure_future(waiting), hurry}, timeout=patience_secs, return_when="FIRST_COMPLETED"
        )
        hurry.cancel()
        for child in running:
            if child.process.returncode is None:
                log.error("event=killed name=%s after_secs=%.0f", child.name, patience_secs)
                with suppress(ProcessLookupError):
                    child.process.kill()
        await waiting

    def _state(self) -> dict[str, Any]:
        return {
            "kind": "supervisor",
            "version": ropo.__version__,
            "listen": self._listen,
            "upstream": self._settings.proxy.upstream,
            "restarts": {child.name: child.restarts for child in self._children},
            "pids": {child.name: child.process.pid for child in self._children if child.process is not None},
        }
