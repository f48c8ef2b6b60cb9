"""What a reload may change, and what needs a restart. Pure: settings in, settings out."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

from msgspec.structs import replace

from ropo.demo_process import demo_wanted
from ropo.settings import Settings


class Reload(NamedTuple):
    """The settings to go on with. `left`: what was read and does not count until a restart, key and reason."""

    settings: Settings
    left: list[tuple[str, str]]


def applicable(running: Settings, read: Settings, *, given: Collection[str] = (), demo: bool = False) -> Reload:
    """What of the settings just read can replace the running ones.

    `given`: for which of http and https systemd opened the socket. `demo`: whether the built-in site runs.
    """
    left: list[tuple[str, str]] = []
    storage, proxy = read.storage, read.proxy
    for name in ("path", "hot_path"):
        if getattr(storage, name) != getattr(running.storage, name):
            storage = replace(storage, **{name: getattr(running.storage, name)})
            left.append((f"storage.{name}", "the log stays where it is until a restart"))
    given_by = "systemd opened this socket; change the socket unit and restart it"
    if "http" in given and proxy.listen != running.proxy.listen:
        proxy = replace(proxy, listen=running.proxy.listen)
        left.append(("proxy.listen", given_by))
    if "https" in given and proxy.tls and running.proxy.tls and proxy.tls.listen != running.proxy.tls.listen:
        proxy = replace(proxy, tls=replace(proxy.tls, listen=running.proxy.tls.listen))
        left.append(("proxy.tls.listen", given_by))
    if demo_wanted(read) and not demo:
        left.append(("demo", "the built-in site and its ERP are started only with ropo itself"))
        if proxy.upstream == "demo":
            proxy = replace(proxy, upstream=running.proxy.upstream)
    return Reload(replace(read, storage=storage, proxy=proxy), left)


def free_names(taken: Collection[str], count: int) -> list[str]:
    """The lowest `worker-N` that nobody has. Two of one name would take each other's spool files for a dead one's."""
    names: list[str] = []
    number = 1
    while len(names) < count:
        if (name := f"worker-{number}") not in taken:
            names.append(name)
        number += 1
    return names


def shown_upstream(upstream: Any) -> str:
    """The site behind in one line, however many servers it has."""
    return upstream if isinstance(upstream, str) else ", ".join(upstream)
