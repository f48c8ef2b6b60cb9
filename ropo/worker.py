"""A worker: one process that serves visitors and writes one record for every exchange to the spool.

Joins proxy, tracker and spool. It never opens the log: whatever happens there, the site goes on.
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
from ropo.child import StatusWriter, log_to_stderr, read_orders, stop_event
from storage.layout import Layout
from storage.recovery import recover
from storage.settings import StorageSettings
from storage.spool import SpoolWriter
from tracker.clock import new_id
from tracker.forms.capture import FormCapture
from tracker.identity import Identity
from tracker.recorder import Recorder
from tracker.sealing import Sealer
from tracker.settings import TrackerSettings


class WorkerOrders(msgspec.Struct):
    """What the supervisor tells a worker. `listener` is the inherited descriptor of its listening socket."""

    name: str
    listener: int
    proxy: ProxySettings
    tracker: TrackerSettings
    storage: StorageSettings
    cookie_keys: list[str]
    contact_keys: list[str]


def main() -> None:
    orders = read_orders(WorkerOrders)
    log_to_stderr(orders.name)
    uvloop.run(serve(orders))


async def serve(orders: WorkerOrders) -> None:
    loop = asyncio.get_running_loop()
    stop = stop_event(loop)
    storage = orders.storage
    layout = Layout.of(storage)
    # A worker of this name that was killed has left its last file open.
    recover(layout.spool, orders.name)
    epoch = time.time_ns()
    spool = SpoolWriter(
        layout.spool, node=storage.node_name, worker=orders.name, epoch=epoch, version=ropo.__version__, loop=loop,
        sync=storage.sync, sync_interval_ms=storage.sync_interval_ms, seal_interval_secs=storage.seal_interval_secs,
    )  # fmt: skip
    forms = FormCapture(orders.tracker, Sealer(orders.contact_keys), new_id)
    identity = Identity(orders.cookie_keys, cookie=orders.tracker.cookie)
    recorder = Recorder(orders.tracker, identity, forms, spool)
    proxy = Proxy(orders.proxy, recorder, loop)
    await proxy.start(socket.socket(fileno=orders.listener))

    def state() -> dict[str, object]:
        return {
            "kind": "worker", "epoch": epoch, "exchanges": proxy.seq, "in_flight": proxy.in_flight,
            "connections": len(proxy.connections), "statuses": dict(proxy.statuses), "refusals": dict(proxy.refusals),
            "upstream": {"url": orders.proxy.upstream, "idle": proxy.pool.idle, "failures": proxy.pool.failures},
            "observer_errors": proxy.observer_errors, "bugs": proxy.bugs, "spool": dict(spool.counters),
            "forms": {**recorder.counters, **forms.passed_over},
        }  # fmt: skip

    # What was imported lives as long as the process: the collector of garbage need not look at it again and again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)

    writer = StatusWriter(layout, orders.name, state)
    await writer.run(stop)
    await proxy.stop()
    await spool.close(proxy.seq)
    writer.remove()


if __name__ == "__main__":
    sys.exit(main())
