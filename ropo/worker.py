"""A worker: one process that serves visitors and writes one record for every exchange to the spool.

Joins proxy, tracker and spool. It never opens the log: whatever happens there, the site goes on.

It ends in one of two ways. Told to stop (SIGTERM), because all of ropo stops, it closes idle connections at once. Told to
retire (SIGUSR1), because others serve in its place, it lets them bring one more request. Both finish running answers.
"""

from __future__ import annotations

import asyncio
import gc
import socket
import sys
import time

import msgspec
import uvloop

import ropo
from proxy.server import Proxy
from proxy.settings import ProxySettings
from proxy.tls import ignore_unreadable_names
from ropo.child import (
    IDLE_GRACE_SECS,
    RETIRE,
    StatusWriter,
    first_of,
    log_to_stderr,
    raise_open_files,
    read_orders,
    say_ready,
    stop_event,
)
from storage.layout import Layout
from storage.recovery import note_start, recover
from storage.settings import StorageSettings
from storage.spool import SpoolWriter
from tracker.clock import new_id
from tracker.forms.capture import FormCapture
from tracker.identity import Identity
from tracker.recorder import Recorder
from tracker.sealing import Sealer
from tracker.settings import TrackerSettings

# Descriptors beside those of a visitor and the upstream's connection for each: idle ones, files, sockets.
SPARE_FILES = 500


class WorkerOrders(msgspec.Struct):
    """What the supervisor tells a worker.

    `plain` and `tls` are the inherited descriptors of its listening sockets for http and https, `ready` that of a pipe
    in which it says that it serves.
    """

    name: str
    plain: list[int]
    tls: list[int]
    proxy: ProxySettings
    tracker: TrackerSettings
    storage: StorageSettings
    cookie_keys: list[str]
    contact_keys: list[str]
    ready: int | None = None


def main() -> None:
    orders = read_orders(WorkerOrders)
    log_to_stderr(orders.name)
    uvloop.run(serve(orders))


async def serve(orders: WorkerOrders) -> None:
    loop = asyncio.get_running_loop()
    stop, retire = stop_event(loop), asyncio.Event()
    loop.add_signal_handler(RETIRE, retire.set)
    ignore_unreadable_names()
    raise_open_files(2 * orders.proxy.max_connections + SPARE_FILES)
    storage = orders.storage
    layout = Layout.of(storage)
    # A worker of this name that was killed has left its last file open.
    recover(layout.spool, orders.name)
    epoch = time.time_ns()
    note_start(layout.spool, node=storage.node_name, worker=orders.name, epoch=epoch, version=ropo.__version__)
    spool = SpoolWriter(
        layout.spool, node=storage.node_name, worker=orders.name, epoch=epoch, version=ropo.__version__, loop=loop,
        sync=storage.sync, sync_interval_ms=storage.sync_interval_ms, seal_interval_secs=storage.seal_interval_secs,
        last_room=layout.status / f".{orders.name}.room",
    )  # fmt: skip
    forms = FormCapture(orders.tracker, Sealer(orders.contact_keys), new_id)
    identity = Identity(orders.cookie_keys, cookie=orders.tracker.cookie)
    recorder = Recorder(orders.tracker, identity, forms, spool)
    proxy = Proxy(orders.proxy, recorder, loop)
    plain, tls = ([socket.socket(fileno=fd) for fd in fds] for fds in (orders.plain, orders.tls))
    await proxy.start(*plain, tls=tls)

    def state() -> dict[str, object]:
        return {
            "kind": "worker", "retiring": retire.is_set(), "epoch": epoch, "exchanges": proxy.seq, "in_flight": proxy.in_flight,
            "connections": len(proxy.connections), "statuses": proxy.statuses, "refusals": dict(proxy.refusals),
            "upstreams": proxy.sites.figures,
            "observer_errors": proxy.observer_errors, "bugs": proxy.bugs, "spool": dict(spool.counters),
            "forms": {**recorder.counters, **forms.passed_over},
        }  # fmt: skip

    # What was imported lives as long as the process: the collector of garbage need not look at it again and again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)

    say_ready(orders.ready)
    writer = StatusWriter(layout, orders.name, state)
    ended = asyncio.Event()
    telling = asyncio.create_task(writer.run(ended))
    await first_of(stop, retire)
    await leave(
        proxy,
        stop,
        idle_grace_secs=min(IDLE_GRACE_SECS, orders.proxy.idle_timeout_secs),
        finish_secs=orders.proxy.reload_timeout_secs,
    )
    await spool.close(proxy.seq)
    ended.set()
    await telling
    writer.remove()


async def leave(proxy: Proxy, stop: asyncio.Event, *, idle_grace_secs: float, finish_secs: float) -> None:
    """Serves no more. Idle connections have their grace, and running answers their time, until `stop` is set."""
    if not stop.is_set():
        leaving = asyncio.create_task(proxy.stop(idle_grace_secs=idle_grace_secs, finish_secs=finish_secs))
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait({leaving, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if leaving.done():
            return leaving.result()
        leaving.cancel()
        await asyncio.wait({leaving})
    await proxy.stop()


if __name__ == "__main__":
    sys.exit(main())
