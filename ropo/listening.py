"""The listening sockets of the workers, and whether a port is free at all.

Knows addresses and sockets. The supervisor opens them once and holds them; workers inherit them.
"""

from __future__ import annotations

import os
import socket
from typing import Any

from proxy.settings import ProxySettings
from ropo.addresses import host_and_port

BACKLOG = 4096


class StartError(RuntimeError):
    """ropo cannot start; the text says why and what to do."""


def listen(settings: ProxySettings) -> list[socket.socket]:
    """One listening socket per worker on the same address. The supervisor holds them all, for as long as it lives.

    SO_REUSEPORT lets the kernel spread connections evenly. Its flaw, that connections waiting on a socket are lost
    when its process ends, does not arise: the supervisor's copy stays open, and the next worker inherits it.
    """
    check_free("proxy.listen", settings.listen)
    host, port = host_and_port(settings.listen)
    workers = settings.workers or len(os.sched_getaffinity(0))
    listeners: list[socket.socket] = []
    for _ in range(workers):
        family, kind, proto, _, address = _resolve("proxy.listen", host, port)
        listener = socket.socket(family, kind, proto)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
        listeners.append(listener)
        port = listener.getsockname()[1]  # port 0: the first gets any, the others the same
    return listeners


def check_free(key: str, listen: str) -> None:
    """Raises StartError if somebody listens there: with SO_REUSEPORT alone two ropos would share a port unnoticed."""
    host, port = host_and_port(listen)
    family, kind, proto, _, address = _resolve(key, host, port)
    with socket.socket(family, kind, proto) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except PermissionError:
            raise StartError(
                f"{key}: not allowed to listen on {listen}; choose a port above 1023, or give the service "
                "CAP_NET_BIND_SERVICE"
            ) from None
        except OSError as error:
            raise StartError(
                f"{key}: cannot listen on {listen} ({error.strerror}); stop the program that uses it, or choose "
                "another port"
            ) from None


def _resolve(key: str, host: str, port: int) -> tuple[Any, ...]:
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except OSError as error:
        raise StartError(f"{key}: the name {host} cannot be resolved ({error}); name an IP address") from None
