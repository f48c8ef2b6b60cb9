"""The supervisor: starts the processes, replaces them, and stops them in the order that loses nothing.

Knows processes, listening sockets and signals. It imports neither the proxy's loop nor DuckDB: the process that must
not fail does the least.

    start   lock ▸ keys ▸ listening sockets ▸ demo site (if used) ▸ collector, dashboard, reader (if used), workers
    reload  settings ▸ keys ▸ sockets ▸ new workers serve ▸ old addresses drained ▸ old workers retire ▸ collector,
            dashboard and reader, if they are told something else now. Whatever fails before the old retire changes nothing
    stop    workers (they finish their answers) ▸ collector (it takes in what they wrote) ▸ dashboard, reader, demo site
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import ropo
from proxy.tls import CertificateError, Certificates
from ropo import banner, listening, secrets, systemd, told
from ropo.child import IDLE_GRACE_SECS, RETIRE, StatusWriter, first_of, log_to_stderr
from ropo.children import Child, Children
from ropo.demo_process import Demo, demo_wanted
from ropo.listening import Listeners, StartError, workers_wanted
from ropo.reloading import applicable, free_names, shown_upstream
from ropo.settings import Settings, SettingsError
from storage import status
from storage.layout import Layout
from storage.lock import BlockedError, hold
from storage.recovery import SUPERVISOR, note_start, recover

log = logging.getLogger(__name__)

# How long the collector may take to bring in what the workers left, and the others to end.
DRAIN_SECS, END_SECS = 60.0, 5.0
# How long a reload and a start wait for processes to say that they work, and how often one may die meanwhile.
READY_SECS, MOST_DEATHS = 30.0, 3
# Retired workers beside each new one. Reloads in quick succession must not fill the memory: the oldest are hurried.
MOST_RETIRED = 3

# A process that need not be.
Maybe = TypeVar("Maybe", Child, Child | None)


def run(settings: Settings, *, config_path: Path, read_again: Callable[[], Settings] | None = None) -> int:
    """Serves until SIGTERM or SIGINT. 0: stopped in order, 1: could not start.

    `read_again` is what SIGHUP asks for the settings; it raises SettingsError.
    """
    log_to_stderr("supervisor")
    try:
        return asyncio.run(_run(settings, config_path, read_again or (lambda: settings)))
    except (StartError, BlockedError, secrets.SecretsError) as error:
        print(f"ropo: {error}", file=sys.stderr)
        return 1


async def _run(settings: Settings, config_path: Path, read_again: Callable[[], Settings]) -> int:
    notifier = systemd.Notifier(os.environ)
    given = systemd.sorted_out(systemd.given_sockets(os.environ), listening.listens(settings.proxy))
    layout = Layout.of(settings.storage)
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
        keys = read_keys(settings, layout)
        check_certificates(settings)
        listeners = Listeners.given(given).reopened(settings.proxy)
        listening.check_free("dashboard.listen", settings.dashboard.listen)
        if settings.dashboard.sql is not None:
            listening.check_free("dashboard.sql.listen", settings.dashboard.sql.listen)
        # Files that dead workers left open: those of worker names that are no longer in use come only here.
        recover(layout.spool)
        note_start(
            layout.spool, node=settings.storage.node_name, worker=SUPERVISOR, epoch=time.time_ns(),
            version=ropo.__version__,
        )  # fmt: skip
        demo = None
        if demo_wanted(settings):
            demo = Demo(settings, layout)
            await demo.start()
        supervisor = Supervisor(settings, layout, keys, listeners, demo, config_path, read_again, notifier)
        try:
            return await supervisor.run()
        finally:
            if demo is not None:
                await demo.stop()
            supervisor.close()


def read_keys(settings: Settings, layout: Layout) -> secrets.Keys:
    webhooks = tuple(sink.name for sink in settings.export.sinks if getattr(sink, "secret", None) == "")
    return secrets.read_or_make(layout.secrets, webhooks=webhooks, cookie=not settings.tracker.cookie.secrets)


def check_certificates(settings: Settings) -> None:
    """StartError if a worker could not begin with them: it would die again and again."""
    if settings.proxy.tls is not None:
        try:
            Certificates(settings.proxy.tls)
        except CertificateError as error:
            raise StartError(f"proxy.tls.certificates: {error}") from None


class Supervisor:
    def __init__(
        self,
        settings: Settings,
        layout: Layout,
        keys: secrets.Keys,
        listeners: Listeners,
        demo: Demo | None,
        config_path: Path,
        read_again: Callable[[], Settings],
        notifier: systemd.Notifier,
    ) -> None:
        self._settings = settings
        self._layout = layout
        self._listeners = listeners
        self._demo = demo
        self._config_path = config_path
        self._read_again = read_again
        self._notifier = notifier
        self._stop, self._hurry, self._reload = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._reloads = {"done": 0, "refused": 0}
        # A terminal that goes away sends SIGHUP too.
        self._had_terminal = os.isatty(0)
        self._children = Children()
        self._collector = told.collector(settings, keys)
        self._dashboard = told.dashboard(settings)
        self._reader = told.reader(settings)
        # Those that serve, those that do not yet, and those that do no more, the oldest first.
        self._workers: list[Child] = []
        self._coming: list[Child] = []
        self._retired: dict[Child, asyncio.Task[None]] = {}
        self._workers = self._new_workers(settings, keys, listeners)

    def _new_workers(self, settings: Settings, keys: secrets.Keys, listeners: Listeners) -> list[Child]:
        taken = {child.name for child in (*self._workers, *self._coming, *self._retired)}
        names = free_names(taken, workers_wanted(settings.proxy))
        served = self._with_demo(settings)
        return [
            told.worker(name, served, keys, *(listeners.of_worker(kind, number, len(names)) for kind in listening.KEYS))
            for number, name in enumerate(names)
        ]

    def _with_demo(self, settings: Settings) -> Settings:
        """The settings with the real address of the built-in site."""
        return settings if self._demo is None else self._demo.served(settings)

    # -- life

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._asked_to_stop)
        loop.add_signal_handler(signal.SIGHUP, self._asked_to_reload)
        writer = StatusWriter(self._layout, "supervisor", self._state)
        for child in (*self._others, *self._workers):
            self._children.start(child)
        state = asyncio.create_task(writer.run(self._stop))
        watch = asyncio.create_task(self._notifier.watch())
        if await self._started():
            self._show_banner()
        await self._reload_when_asked()
        self._notifier.stopping()
        await state
        await self._stop_all()
        watch.cancel()
        writer.remove()
        return 0

    @property
    def _others(self) -> list[Child]:
        """All that serve no visitors."""
        return [self._collector, self._dashboard, *([self._reader] if self._reader else [])]

    def close(self) -> None:
        listening.close(self._listeners.but(Listeners()))

    def _asked_to_stop(self) -> None:
        if self._stop.is_set():
            log.warning("event=hurry answers=cut")
            self._hurry.set()
        else:
            log.info("event=stopping")
            self._stop.set()

    def _asked_to_reload(self) -> None:
        if self._had_terminal and not os.isatty(0):
            self._asked_to_stop()
        else:
            self._reload.set()

    async def _started(self) -> bool:
        """Waits until every child works. A site that is served is ready, whatever else is missing."""
        others = self._others
        served = await self._until(lambda: all(child.ready for child in self._workers))
        whole = served and await self._until(lambda: all(self._reports(child) for child in others))
        if served and not self._stop.is_set():
            self._notifier.ready(self._in_words())
        if not whole and not self._stop.is_set():
            missing = [child.name for child in self._workers if not child.ready]
            missing += [child.name for child in others if not self._reports(child)]
            log.error("event=not_ready missing=%s see=messages_above", ",".join(missing))
        return whole

    async def _until(self, question: Callable[[], bool], give_up: Callable[[], bool] = lambda: False) -> bool:
        """Whether it came true in time. It ends early when ropo is to stop."""
        deadline = time.monotonic() + READY_SECS
        while not (true := question()) and time.monotonic() < deadline and not give_up() and not self._stop.is_set():
            await first_of(self._stop, secs=0.05)
        return true

    def _reports(self, child: Child) -> bool:
        said = status.read_all(self._layout).get(child.name, {})
        return child.runs and said.get("pid") == child.process.pid

    def _show_banner(self) -> None:
        dashboard = status.read_all(self._layout).get("dashboard", {}).get("listen")
        banner.show(
            self._with_demo(self._settings), listen=self._listeners.address("http"), dashboard=dashboard,
            layout=self._layout, config_path=self._config_path, demo=self._demo,
        )  # fmt: skip

    async def _stop_all(self) -> None:
        patience = self._settings.proxy.stop_timeout_secs + END_SECS
        workers = [*self._workers, *self._coming, *self._retired]
        await self._children.end(workers, patience_secs=patience, hurry=self._hurry)
        await asyncio.gather(*self._retired.values())
        await self._children.end([self._collector], patience_secs=DRAIN_SECS, hurry=self._hurry)
        await self._children.end(self._others, patience_secs=END_SECS, hurry=self._hurry)

    # -- reload

    async def _reload_when_asked(self) -> None:
        """Returns when ropo is to stop. A SIGHUP that comes during a reload is run after it."""
        while True:
            await first_of(self._stop, self._reload)
            if self._stop.is_set():
                return
            self._reload.clear()
            self._notifier.reloading()
            try:
                refused = await self._replace_all()
            except Exception:
                log.exception("event=reload_failed")
                refused = ["a bug, see the messages above"]
            for problem in refused:
                log.error('event=reload_refused problem="%s" unchanged=all', problem)
            self._reloads["refused" if refused else "done"] += 1
            said = "the last reload was refused, see the log" if refused else "reloaded"
            if not self._stop.is_set():
                self._notifier.ready(f"{self._in_words()}; {said}")

    async def _replace_all(self) -> list[str]:
        """Reads the settings and goes over to them. Why it did not, one line each, and then nothing has changed."""
        try:
            plan = applicable(
                self._settings, self._read_again(), given=self._listeners.given_kinds, demo=self._demo is not None
            )
            settings = plan.settings
            if settings.dashboard.listen != self._settings.dashboard.listen:
                listening.check_free("dashboard.listen", settings.dashboard.listen)
            sql, was = settings.dashboard.sql, self._settings.dashboard.sql
            if sql is not None and (was is None or was.listen != sql.listen):
                listening.check_free("dashboard.sql.listen", sql.listen)
            check_certificates(settings)
            keys = read_keys(settings, self._layout)
            listeners = self._listeners.reopened(settings.proxy)
        except SettingsError as error:
            return error.problems
        except (StartError, secrets.SecretsError) as error:
            return [str(error)]
        for key, reason in plan.left:
            log.warning('event=reload_left key=%s reason="%s" next=restart', key, reason)
        workers = self._new_workers(settings, keys, listeners)
        if not await self._come_up(workers):
            await self._hand_over(workers, listeners.but(self._listeners))
            return ["the new workers did not come up, see the messages above"]
        old, self._workers = self._workers, workers
        gone, self._listeners = self._listeners.but(listeners), listeners
        self._settings = settings
        await self._hand_over(old, gone)
        self._collector = await self._replaced(self._collector, told.collector(settings, keys), DRAIN_SECS, RETIRE)
        self._dashboard = await self._replaced(self._dashboard, told.dashboard(settings), END_SECS, signal.SIGTERM)
        self._reader = await self._replaced(self._reader, told.reader(settings), END_SECS, signal.SIGTERM)
        log.info(
            "event=reloaded workers=%s retiring=%s listen=%s",
            ",".join(child.name for child in workers), ",".join(child.name for child in self._retired),
            self._listeners.address("http"),
        )  # fmt: skip
        return []

    async def _come_up(self, workers: list[Child]) -> bool:
        self._coming = workers
        for child in workers:
            self._children.start(child)
        return await self._until(
            lambda: all(child.ready for child in workers),
            give_up=lambda: any(child.deaths >= MOST_DEATHS for child in workers),
        )

    async def _hand_over(self, workers: list[Child], sockets: list[Any]) -> None:
        """These workers serve no more, and nobody comes to these sockets any more."""
        await listening.drain(sockets)
        listening.close(sockets)
        self._coming = []
        for child in workers:
            self._retired[child] = asyncio.create_task(self._retire(child))
        for child in list(self._retired)[: -MOST_RETIRED * len(self._workers)]:
            child.tell(signal.SIGTERM)

    async def _retire(self, child: Child) -> None:
        # Its own settings say how long an answer may take; beside that it has a grace for idle connections.
        patience = IDLE_GRACE_SECS + child.orders["proxy"].reload_timeout_secs + END_SECS
        await self._children.end([child], patience_secs=patience, hurry=self._hurry, number=RETIRE)
        # If it was killed, what it left is cleared up before somebody gets its name.
        await asyncio.to_thread(self._clear_up, child.name)
        del self._retired[child]
        if not self._stop.is_set():
            self._notifier.status(self._in_words())

    def _clear_up(self, name: str) -> None:
        try:
            recover(self._layout.spool, name)
            status.remove(self._layout, name)
        except OSError as error:
            log.warning("event=not_cleared_up name=%s error=%r", name, error.strerror)

    async def _replaced(self, running: Maybe, wanted: Maybe, patience_secs: float, number: signal.Signals) -> Maybe:
        """The process that follows the new orders: the one that runs, if they are the same. None: there is to be none."""
        if (running and running.orders) == (wanted and wanted.orders) or self._stop.is_set():
            return running
        if running is not None:
            log.info("event=replaced name=%s", running.name)
            await self._children.end([running], patience_secs=patience_secs, hurry=self._hurry, number=number)
        if wanted is not None:
            self._children.start(wanted)
        return wanted

    # -- what is said of it

    def _in_words(self) -> str:
        serving = f"{len(self._workers)} workers serve {self._listeners.address('http')}"
        return f"{serving}, {len(self._retired)} retired ones finish" if self._retired else serving

    def _state(self) -> dict[str, Any]:
        children = [*self._others, *self._workers, *self._coming, *self._retired]
        return {
            "kind": "supervisor",
            "version": ropo.__version__,
            "listen": self._listeners.address("http"),
            "listen_tls": self._listeners.address("https"),
            "upstream": shown_upstream(self._with_demo(self._settings).proxy.upstream),
            "reloads": self._reloads,
            "restarts": dict(self._children.restarts),
            "pids": {child.name: child.process.pid for child in children if child.process is not None},
        }
