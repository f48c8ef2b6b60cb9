"""One upstream server: how to reach it, its connections that wait for their next request, and how it has done of late.

A connection leaves the waiting ones when it is taken, is old, or is closed by the other side; the newest is taken
first, so that the rest may grow old. A server that failed several times in a row rests; then one request at a time, the
probe, finds out whether it is back. Knows nothing of other servers (see `balancer`) and asks nobody how it is (`health`).
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypedDict

from aiohappyeyeballs import start_connection

from proxy.address import Address
from proxy.settings import ProxySettings
from proxy.upstream import Upstream

log = logging.getLogger(__name__)

State = Literal["up", "resting", "unhealthy"]

# RFC 8305 5: the recommended pause until the next of a name's addresses is tried beside the first.
NEXT_ADDRESS_SECS = 0.25

# What this process or machine has too little of says nothing about the server.
_OURS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Figures(TypedDict):
    """A server as a worker's status file shows it. `failures` counts all since the start of the worker."""

    url: str
    state: State
    idle: int
    running: int
    failures: int


class Server:
    """`running` is kept by the forwarding, `healthy` by the health checks, `may_rest` by the balancer.

    failures        failed connections and exchanges since the last answer
    failures_total  all of them
    may_rest        there is another server that can take its requests meanwhile
    """

    def __init__(
        self,
        address: Address,
        settings: ProxySettings,
        loop: asyncio.AbstractEventLoop,
        *,
        now: Callable[[], float] | None = None,
    ) -> None:
        """`now` is a clock in seconds that never goes back, else the loop's. ValueError: no usable authorities."""
        self.address = address
        self.running = 0
        self.failures = 0
        self.failures_total = 0
        self.healthy = True
        self.may_rest = False
        # One for all connections: reading the system's authorities takes milliseconds.
        self.tls = tls_context(settings) if address.tls else None
        self._settings = settings
        self._loop = loop
        self._now = now or loop.time
        self._idle: deque[Upstream] = deque()
        self._rests_until: float | None = None

    def __repr__(self) -> str:
        return f"<Server {self.address.label} {self.state}>"

    # -- how it does

    @property
    def is_up(self) -> bool:
        """New requests may go there: it is healthy and does not rest, or has rested long enough for a probe."""
        return self.healthy and (self._rests_until is None or self._now() >= self._rests_until)

    @property
    def state(self) -> State:
        """`resting` lasts until an answer, through every probe."""
        if not self.healthy:
            return "unhealthy"
        return "up" if self._rests_until is None else "resting"

    @property
    def figures(self) -> Figures:
        return {
            "url": self.address.label,
            "state": self.state,
            "idle": len(self._idle),
            "running": self.running,
            "failures": self.failures_total,
        }

    def failed(self) -> None:
        """A request got no sound answer. Called by `connect` itself, else by whoever was waiting for the answer."""
        self.failures += 1
        self.failures_total += 1
        if not self.may_rest or self.failures < self._settings.upstream_failures:
            return
        if self._rests_until is None:
            log.warning(
                "event=upstream_rests server=%s failures=%d secs=%g",
                self.address.label, self.failures, self._settings.upstream_rest_secs,
            )  # fmt: skip
        self.rest()

    def answered(self) -> None:
        """A sound response head has come, whatever its status: the server is there."""
        self.failures = 0
        if self._rests_until is not None:
            self._rests_until = None
            log.info("event=upstream_back server=%s", self.address.label)

    @property
    def awaits_probe(self) -> bool:
        """It has rested; nobody knows yet if it is back."""
        return self._rests_until is not None

    def rest(self) -> None:
        """From now on, again. Also when a probe goes out: if that never comes back, the next one follows in time."""
        self._rests_until = self._now() + self._settings.upstream_rest_secs

    # -- its connections

    @property
    def idle(self) -> int:
        return len(self._idle)

    def take(self) -> Upstream | None:
        """An idle connection on which nothing has arrived and that has not ended, or None."""
        oldest = self._now() - self._settings.upstream_idle_secs
        while self._idle:
            upstream = self._idle.pop()
            if upstream.lost or upstream.transport.is_closing():
                continue
            # What has arrived already would be read as the answer to this request, and reach another visitor.
            if upstream.idle_since < oldest or upstream.is_stale():
                upstream.close()
                continue
            return upstream
        return None

    async def connect(self) -> Upstream:
        """A fresh connection.

        OSError (ssl.SSLError included) or TimeoutError when there is none to be had; that has been counted then.
        """
        try:
            async with asyncio.timeout(self._settings.connect_timeout_secs):
                return await self._connect()
        except OSError as error:  # TimeoutError is one
            if is_ours(error):
                self.failures_total += 1
            else:
                self.failed()
            raise

    async def _connect(self) -> Upstream:
        # uvloop sets TCP_NODELAY on every TCP connection, as asyncio does (handles/tcp.pyx).
        address, loop = self.address, self._loop
        if address.path is not None:
            _, upstream = await loop.create_unix_connection(Upstream, address.path)
            return upstream
        # The name as the certificate has it: SNI has no dot at its end (RFC 6066 3), and none is sent for an address.
        name = str(address.ip).partition("%")[0] if address.ip else address.host.rstrip(".")
        server_hostname = name if self.tls else None
        if address.ip:
            _, upstream = await loop.create_connection(
                Upstream, address.host, address.port, ssl=self.tls, server_hostname=server_hostname
            )
            return upstream
        # uvloop tries the addresses of a name one after the other and has no `happy_eyeballs_delay`: one that swallows
        # packets would take all the time there is. aiohttp's client connects in the same two steps.
        found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        try:
            reached = await start_connection(found, happy_eyeballs_delay=NEXT_ADDRESS_SECS, loop=loop)
        except (RuntimeError, ValueError) as error:  # of uvloop for some sockets; of an empty answer
            raise OSError(str(error)) from error
        _, upstream = await loop.create_connection(
            Upstream, sock=reached, ssl=self.tls, server_hostname=server_hostname
        )
        return upstream

    def give_back(self, upstream: Upstream) -> None:
        """Keeps a connection that is free again, or closes it if it is lost or enough are kept."""
        upstream.forwarding = None
        if (
            upstream.lost
            or upstream.transport.is_closing()
            or len(self._idle) >= self._settings.upstream_idle_connections
        ):
            upstream.close()
            return
        upstream.idle_since = self._now()
        self._idle.append(upstream)

    def sweep(self) -> None:
        """Closes what has idled too long. Called about once a second."""
        oldest = self._now() - self._settings.upstream_idle_secs
        while self._idle and self._idle[0].idle_since < oldest:
            self._idle.popleft().close()

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()


def tls_context(settings: ProxySettings) -> ssl.SSLContext:
    """How `https://` servers are spoken to. ValueError names a file of authorities that cannot be used."""
    file = settings.upstream_ca_file
    if not settings.verify_upstream:
        file = None  # not looked at, so it need not be there
    try:
        context = ssl.create_default_context(cafile=str(Path(file).expanduser()) if file else None)
    except OSError as error:  # ssl.SSLError is one: the file is there, and no PEM
        why = "it is not a PEM file of certificates" if isinstance(error, ssl.SSLError) else error.strerror
        raise ValueError(f"proxy.upstream_ca_file: {file} cannot be used: {why}") from None
    context.set_alpn_protocols(["http/1.1"])
    if not settings.verify_upstream:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def is_ours(error: OSError) -> bool:
    """Whether a connection failed for want of something on this side, such as file descriptors."""
    return error.errno in _OURS
