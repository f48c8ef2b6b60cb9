"""What each process is told, as the supervisor writes it to its stdin. Knows which settings and keys concern whom."""

from __future__ import annotations

import socket
from collections.abc import Iterable

from msgspec import structs

from ropo.children import Child
from ropo.secrets import Keys
from ropo.settings import Settings


def worker(
    name: str, settings: Settings, keys: Keys, plain: Iterable[socket.socket], tls: Iterable[socket.socket]
) -> Child:
    """A worker that takes connections from these sockets."""
    fds = {"plain": [one.fileno() for one in plain], "tls": [one.fileno() for one in tls]}
    orders = {
        "name": name,
        **fds,
        "proxy": settings.proxy,
        "tracker": settings.tracker,
        "storage": settings.storage,
        "cookie_keys": settings.tracker.cookie.secrets or keys.cookie,
        "contact_keys": keys.contact,
    }
    return Child(name, ["-m", "ropo.worker"], orders, pass_fds=(*fds["plain"], *fds["tls"]), says_ready=True)


def collector(settings: Settings, keys: Keys) -> Child:
    orders = {
        "tracker": settings.tracker,
        "storage": settings.storage,
        "export": settings.export,
        "contact_keys": keys.contact,
        "webhook_keys": keys.webhooks,
    }
    return Child("collector", ["-m", "ropo.collector"], orders)


def dashboard(settings: Settings) -> Child:
    orders = {
        "layout": _layout(settings),
        # Without what concerns the reader alone, such as its token.
        "dashboard": structs.replace(settings.dashboard, sql=None),
        "sinks": [sink.name for sink in settings.export.sinks],
    }
    return Child("dashboard", ["-m", "dashboard.process"], orders)


def reader(settings: Settings) -> Child | None:
    """What answers SQL over HTTP, if that is switched on."""
    if settings.dashboard.sql is None:
        return None
    orders = {"layout": _layout(settings), "sql": settings.dashboard.sql}
    return Child("reader", ["-m", "dashboard.reader"], orders)


def _layout(settings: Settings) -> dict[str, str | None]:
    return {"root": settings.storage.path, "hot_path": settings.storage.hot_path}
