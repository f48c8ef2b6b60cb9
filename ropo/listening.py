"""The listening sockets of the workers: which are open, who gets which, and how one is closed without losing anybody.

Knows addresses and sockets. The supervisor opens them and holds them; workers inherit them.

SO_REUSEPORT gives each worker a socket of its own, and the kernel spreads connections over them. Its flaw is that the
connections waiting on a socket are reset when its last descriptor is closed. So the supervisor's stays open as long as
the address is wanted, however many workers come and go: the next worker inherits it with all that waits there.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import select
import socket
import struct
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from proxy.settings import ProxySettings
from ropo.addresses import host_and_port

T = TypeVar("T")

BACKLOG = 4096
# Whoever was in the middle of connecting when an address was given up is through by then: one round trip around the
# world. And what bounds it if somebody never lets the queue get empty.
QUIET_SECS, LONGEST_DRAIN_SECS = 0.3, 3.0

# What visitors speak on a socket, and the setting that says where.
KEYS = {"http": "proxy.listen", "https": "proxy.tls.listen"}

# An address as it was asked for: family and socket address, port 0 kept. Of sockets from outside: what they are for.
Place = tuple[Any, ...]


class StartError(RuntimeError):
    """ropo cannot start, or not with these settings; the text says why and what to do."""


def workers_wanted(settings: ProxySettings) -> int:
    return settings.workers or len(os.sched_getaffinity(0))


def listens(settings: ProxySettings) -> dict[str, str]:
    """Where to listen, by what is spoken there."""
    found = {"http": settings.listen}
    if settings.tls is not None:
        found["https"] = settings.tls.listen
    return found


def shares(sockets: Sequence[T], workers: int) -> list[list[T]]:
    """Which sockets each worker takes connections from.

    One of its own each. What is left over, because there were more workers before, belongs to all: closing it would
    reset who waits there. If there are fewer than workers, as systemd gives one, all share them.
    """
    if len(sockets) < workers:
        return [list(sockets) for _ in range(workers)]
    return [[sockets[number], *sockets[workers:]] for number in range(workers)]


@dataclass(frozen=True)
class Listeners:
    """Open sockets by address, and which address is spoken how. A value: `reopened` makes the next one."""

    sockets: Mapping[Place, tuple[socket.socket, ...]] = field(default_factory=dict)
    places: Mapping[str, Place] = field(default_factory=dict)

    @classmethod
    def given(cls, sockets: Mapping[str, Iterable[socket.socket]]) -> Listeners:
        """Sockets that somebody else opened, by what they are for: used instead of opening any for that."""
        found = {("given", kind): tuple(group) for kind, group in sockets.items() if group}
        return cls(found, {kind: (origin, kind) for origin, kind in found})

    @property
    def given_kinds(self) -> frozenset[str]:
        return frozenset(place[1] for place in self.sockets if place[0] == "given")

    def reopened(self, settings: ProxySettings) -> Listeners:
        """With a socket for every worker on every address that is wanted now; those that are open stay what they are.

        What this one has and the next one lacks is the caller's to close. Raises StartError, and has opened nothing.
        """
        sockets: dict[Place, tuple[socket.socket, ...]] = {}
        places: dict[str, Place] = {}
        try:
            for kind, listen in listens(settings).items():
                place: Place = ("given", kind)
                if place in self.sockets:
                    places[kind], sockets[place] = place, self.sockets[place]
                    continue
                place = _place(KEYS[kind], listen)
                place += (kind if place[3][1] == 0 else "",)  # any port, asked for twice, is two ports
                places[kind], sockets[place] = place, self.sockets.get(place, ())
                for _ in range(workers_wanted(settings) - len(sockets[place])):
                    sockets[place] += (self._open(KEYS[kind], listen, place, sockets[place]),)
        except StartError:
            close(Listeners(sockets).but(self))
            raise
        # What systemd gave stays open although it is not used: it comes into use again at once, and never twice.
        kept = {place: group for place, group in self.sockets.items() if place[0] == "given"}
        return Listeners({**kept, **sockets}, places)

    def _open(self, key: str, listen: str, place: Place, siblings: Sequence[socket.socket]) -> socket.socket:
        family, kind, proto, address, _ = place
        if siblings:
            # Port 0: the first gets any, the others the same.
            address = (address[0], siblings[0].getsockname()[1], *address[2:])
        elif not any(other[0] != "given" and other[3][1] == address[1] for other in self.sockets):
            # Not if we have the port ourselves, such as on 127.0.0.1 when 0.0.0.0 is wanted now.
            check_free(key, listen)
        listener = socket.socket(family, kind, proto)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listener.bind(address)
            listener.listen(BACKLOG)
        except OSError as error:
            listener.close()
            raise _refused(key, listen, error) from None
        return listener

    def of_worker(self, kind: str, number: int, workers: int) -> list[socket.socket]:
        """The sockets of the `number`th of so many workers, counted from 0; none if `kind` is not spoken."""
        place = self.places.get(kind)
        return [] if place is None else shares(self.sockets[place], workers)[number]

    def address(self, kind: str) -> str | None:
        """Where it listens, with the real port, as `host:port`."""
        place = self.places.get(kind)
        return None if place is None else address_of(self.sockets[place][0])

    def but(self, others: Listeners) -> list[socket.socket]:
        """The sockets that `others` does not have."""
        known = {id(one) for group in others.sockets.values() for one in group}
        return [one for group in self.sockets.values() for one in group if id(one) not in known]


def address_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def close(sockets: Iterable[socket.socket]) -> None:
    for one in sockets:
        one.close()


async def drain(sockets: Sequence[socket.socket]) -> None:
    """Returns when nobody waits on these sockets, and nobody new has got in: they can be closed then.

    Somebody must still be accepting from them. Who comes meanwhile gets no answer to the SYN, tries again a second
    later (RFC 6298 2.1), and is refused then, or served if the address has another socket.
    """
    loop = asyncio.get_running_loop()
    for one in sockets:
        _refuse_newcomers(one)
    queue = select.poll()
    for one in sockets:
        queue.register(one, select.POLLIN)
    give_up = loop.time() + LONGEST_DRAIN_SECS
    quiet = loop.time() + QUIET_SECS
    while sockets and loop.time() < min(quiet, give_up):
        if queue.poll(0):
            quiet = loop.time() + QUIET_SECS
        await asyncio.sleep(0.02)


# Classic BPF (linux/filter.h) over a segment that begins with its TCP header: drop it if it has SYN (RFC 9293 3.1:
# octet 13, bit 1), pass the rest, so that handshakes that have begun come to their end.
_NO_SYN = b"".join(
    struct.pack("=HBBI", *instruction)
    for instruction in (
        (0x30, 0, 0, 13),  # ldb [13]
        (0x45, 0, 1, 0x02),  # jset #SYN, drop, pass
        (0x06, 0, 0, 0),  # drop: ret 0
        (0x06, 0, 0, 0xFFFFFFFF),  # pass: ret all
    )
)
_SO_ATTACH_FILTER = 26


def _refuse_newcomers(listener: socket.socket) -> None:
    code = ctypes.create_string_buffer(_NO_SYN)
    program = struct.pack("@HP", len(_NO_SYN) // 8, ctypes.addressof(code))
    # Without filters (not on every system) what comes between the last look and the close is lost.
    with suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


def check_free(key: str, listen: str) -> None:
    """Raises StartError if somebody listens there: with SO_REUSEPORT alone two ropos would share a port unnoticed."""
    family, kind, proto, address = _place(key, listen)
    with socket.socket(family, kind, proto) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            raise _refused(key, listen, error) from None


def _refused(key: str, listen: str, error: OSError) -> StartError:
    if isinstance(error, PermissionError):
        return StartError(
            f"{key}: not allowed to listen on {listen}; choose a port above 1023, or give the service "
            "CAP_NET_BIND_SERVICE"
        )
    return StartError(
        f"{key}: cannot listen on {listen} ({error.strerror}); stop the program that uses it, or choose another port"
    )


def _place(key: str, listen: str) -> Place:
    host, port = host_and_port(listen)
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise StartError(f"{key}: the name {host} cannot be resolved ({error}); name an IP address") from None
    return family, kind, proto, address


def is_at(listener: socket.socket, key: str, listen: str) -> bool:
    """Whether a socket that somebody else opened listens where the setting says."""
    try:
        family, _, _, address = _place(key, listen)
    except StartError:
        return False
    return listener.family == family and listener.getsockname()[:2] == address[:2]
