"""The proxy of one worker: listens, numbers the exchanges, tells the observer, and stops in order.

Knows its connections, their bounds and counters. A failing observer is counted here and never reaches the visitor.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from email.utils import formatdate
from functools import lru_cache
from ipaddress import ip_address, ip_network

from proxy.acceptor import Acceptor
from proxy.access_log import AccessLog
from proxy.downstream import Downstream
from proxy.exchange import Exchange, Field
from proxy.forwarded import continued, fields_for, plain, visitor_behind
from proxy.heads import Remembered, RequestHead
from proxy.http1 import Http1
from proxy.observer import Observer
from proxy.proxy_protocol import ProxyHeader
from proxy.refusal import Refusal
from proxy.request import Limits, read_head
from proxy.settings import ProxySettings
from proxy.sites import Sites
from proxy.tls import Certificates

log = logging.getLogger(__name__)

SWEEP_SECS = 1.0
BACKLOG = 4096
# What was accepted just before the listeners closed is not among the connections yet; a TLS handshake takes longer.
ACCEPTED_SECS, HANDSHAKE_SECS = 0.05, 0.5
# Connections beyond a limit that may wait for their 503 or 429 to arrive.
MAX_TOLD = 64
# Heads that are remembered, and how long one may be for that: some 4 kB each with what is derived from it.
REMEMBERED_HEADS, MAX_REMEMBERED = 1024, 4096
# RFC 8555 8.3: the authority that issues a certificate asks over http before there is one.
ACME_PATH = "/.well-known/acme-challenge/"


class Proxy:
    """One per worker. `start` on bound sockets, `stop` once.

    CertificateError or ValueError, with what to do, if a certificate or an upstream's address cannot be used.
    """

    def __init__(self, settings: ProxySettings, observer: Observer, loop: asyncio.AbstractEventLoop) -> None:
        self.settings = settings
        self.loop = loop
        self.limits = Limits(
            target=settings.max_target_bytes,
            field=settings.max_field_bytes,
            fields=settings.max_fields,
            head=settings.max_head_bytes,
        )
        self.sites = Sites(settings, loop)
        self.certificates = None if settings.tls is None else Certificates(settings.tls)
        self.https_port = 0
        if settings.tls is not None and settings.tls.redirect:
            self.https_port = int(settings.tls.listen.rpartition(":")[2])
        self.access_log: AccessLog | None = None
        self.connections: set[Http1] = set()
        self.uploads: set[Http1] = set()
        self.stopping = False
        self.seq = 0
        self.in_flight = 0
        self.refusals: Counter[str] = Counter()
        self.observer_errors = 0
        self.bugs = 0
        self.date = formatdate(usegmt=True).encode()
        self._statuses = [0] * 10
        self._observer = observer
        self._by_address: Counter[str] = Counter()
        self._idlest: list[Http1] = []  # those that idled at `_idlest_at`, the longest last
        self._idlest_at = float("-inf")
        self._networks = [ip_network(network) for network in settings.trusted]
        self._listening: list[asyncio.Server | Acceptor] = []
        self._sweeper: asyncio.TimerHandle | None = None
        self._swept_at = 0.0
        self._certificates_at = loop.time()
        self._refreshing: asyncio.Task[None] | None = None
        self.is_trusted = lru_cache(4096)(self._is_trusted)
        self._known_head = Remembered(self._read_head, REMEMBERED_HEADS)

    # -- life

    async def start(self, *listeners: socket.socket, tls: Sequence[socket.socket] = ()) -> None:
        """Serves visitors on bound sockets, on those of `tls` over https; the caller keeps its own copies of them."""
        if tls and self.certificates is None:
            raise ValueError("https needs certificates: proxy.tls")
        for listener in listeners:
            await self._listen(listener, https=False)
        for listener in tls:
            await self._listen(listener, https=True)
        if self.settings.access_log != "off":
            self.access_log = AccessLog(self.settings.access_log, 1, self.loop)
        self.sites.start()
        self._swept_at = self.loop.time()
        self._sweep()

    async def _listen(self, listener: socket.socket, *, https: bool) -> None:
        scheme, tls = ("https", self.certificates.context) if https else ("http", None)
        speaks = Http1
        if https and self.settings.tls.http2:
            # Not at the top: without HTTP/2 its library is neither needed nor loaded.
            from proxy.alpn import ByAlpn as speaks
        handshake = {"ssl_handshake_timeout": self.settings.head_timeout_secs} if https else {}
        if self.settings.proxy_protocol:

            async def connected(connection: socket.socket, header: ProxyHeader) -> None:
                """What the header says is taken for the connection's own: it comes from a trusted peer."""
                said = "https" if header.tls else scheme
                await self.loop.connect_accepted_socket(
                    lambda: speaks(self, scheme=said, announced=header), connection, ssl=tls, **handshake
                )

            self._listening.append(
                Acceptor(
                    self.loop,
                    listener,
                    is_trusted=self.is_trusted,
                    timeout_secs=self.settings.head_timeout_secs,
                    connected=connected,
                )
            )
        else:
            self._listening.append(
                await self.loop.create_server(
                    lambda: speaks(self, scheme=scheme),
                    sock=listener,
                    ssl=tls,
                    # listen(2) is called again: without it the queue of waiting connections would shrink to 100.
                    backlog=BACKLOG,
                    **handshake,
                )
            )

    async def stop(self, *, idle_grace_secs: float = 0.0, finish_secs: float | None = None) -> None:
        """Takes no more connections, lets running answers finish for `stop_timeout_secs`, then cuts the rest.

        With `finish_secs` they have so long, and so have tunnels, which else are cut.

        A connection that idles may bring one more request for `idle_grace_secs`, which is answered with
        `Connection: close`: a visitor who is just sending it need not send it again. May be cancelled and called again.
        """
        self.stopping = True
        for listening in self._listening:
            listening.close()
        await self.sites.stop()
        await asyncio.sleep(ACCEPTED_SECS if self.certificates is None else HANDSHAKE_SECS)
        for listening in self._listening:
            if isinstance(listening, Acceptor):
                with suppress(TimeoutError):
                    async with asyncio.timeout(HANDSHAKE_SECS):
                        await listening.wait_closed()
        quiet = self.loop.time() + idle_grace_secs
        while self.connections and self.loop.time() < quiet:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        for connection in list(self.connections):
            connection.stop()
        give_up = self.loop.time() + (self.settings.stop_timeout_secs if finish_secs is None else finish_secs)
        # Polled: counting in an Event would cost every exchange something, and a stop happens once.
        while self._runs(tunnels=finish_secs is not None) and self.loop.time() < give_up:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        flushed = min(give_up, self.loop.time() + 1)
        while self.connections and self.loop.time() < flushed:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        for connection in list(self.connections):
            connection.abort()
        await asyncio.sleep(0)
        self.sites.close()
        if self._sweeper is not None:
            self._sweeper.cancel()
        if self._refreshing is not None:
            self._refreshing.cancel()
        if self.access_log is not None:
            self.access_log.close()

    def _runs(self, *, tunnels: bool) -> bool:
        return self.in_flight > 0 or (tunnels and any(connection.tunnel for connection in self.connections))

    def _sweep(self) -> None:
        """Once a second: one pass over all connections costs less than a timer for every request."""
        now = self.loop.time()
        self.date = formatdate(usegmt=True).encode()
        self.sites.sweep()
        self._idlest.clear()
        for connection in [c for c in self.connections if c.deadline < now]:
            self._guarded(connection, connection.expired)
        if self.settings.min_upload_bytes_per_sec:
            waited = now - self._swept_at
            for connection in list(self.uploads):
                self._guarded(connection, lambda c=connection: c.waited_for_upload(waited))
        self._swept_at = now
        if self.certificates is not None and now - self._certificates_at >= self.settings.tls.reload_secs:
            self._certificates_at = float("inf")
            self._refreshing = self.loop.create_task(self._refresh_certificates())
        self._sweeper = self.loop.call_later(SWEEP_SECS, self._sweep)

    async def _refresh_certificates(self) -> None:
        """Off the loop: the files may lie on a disk that hangs."""
        try:
            await self.loop.run_in_executor(None, self.certificates.refresh)
        finally:
            self._certificates_at = self.loop.time()

    def _guarded(self, connection: Http1, step) -> None:
        try:
            step()
        except Exception:
            self.bug("a deadline")
            connection.abort()

    # -- connections

    def admit(self, connection: Http1) -> Refusal | None:
        """Counts a new connection; why it must go again if there are too many."""
        self.connections.add(connection)
        self._by_address[connection.peer] += 1
        most = self.settings.max_connections_per_address
        refusal = None
        if len(self.connections) > self.settings.max_connections and not self._make_room():
            refusal = Refusal.OVERLOADED
        elif most and self._by_address[connection.peer] > most and not connection.trusted:
            refusal = Refusal.TOO_MANY_CONNECTIONS
        if refusal is not None:
            # No request has been read, so this is no exchange; it is counted all the same.
            self.refusals[refusal.reason] += 1
        return refusal

    def is_crowded(self, connection: Http1) -> bool:
        """Whether a connection that was not admitted is to go at once, without being told why.

        Who is told stays until the answer has arrived, and takes a place meanwhile: a flood must not take them all.
        """
        settings = self.settings
        most = settings.max_connections_per_address
        return len(self.connections) > settings.max_connections + MAX_TOLD or (
            most > 0 and not connection.trusted and self._by_address[connection.peer] > most + MAX_TOLD
        )

    def _make_room(self) -> bool:
        """Closes the connection that has idled longest, if any idles: it has been answered, its successor has not."""
        now = self.loop.time()
        if not self._idlest and now - self._idlest_at >= SWEEP_SECS:
            # Once a second at most: to look at all ten thousand for each new one is what a flood would like.
            self._idlest_at = now
            idle = [connection for connection in self.connections if connection.served and connection.is_idle]
            self._idlest = sorted(idle, key=lambda connection: connection.deadline, reverse=True)
        while self._idlest:
            connection = self._idlest.pop()
            if connection.is_idle:
                connection.close()
                return True
        return False

    def left(self, connection: Http1) -> None:
        """The connection is gone."""
        self.connections.discard(connection)
        self.uploads.discard(connection)
        left = self._by_address[connection.peer] - 1
        if left > 0:
            self._by_address[connection.peer] = left
        else:
            del self._by_address[connection.peer]

    # -- exchanges

    def read_head(self, block: bytes, http_10: bool) -> RequestHead:
        """`request.read_head`, of which the short ones are remembered."""
        return self._known_head(block, http_10) if len(block) <= MAX_REMEMBERED else self._read_head(block, http_10)

    def _read_head(self, block: bytes, http_10: bool) -> RequestHead:
        return read_head(block, http_10, self.limits)

    def new_exchange(self, downstream: Http1, method: str, target: str, head: RequestHead, started_ns: int) -> Exchange:
        """Numbers a request that has arrived. What a trusted proxy in front says of the visitor is believed here."""
        self.seq += 1
        self.in_flight += 1
        client, scheme = downstream.peer, downstream.scheme
        if downstream.trusted:
            origin = visitor_behind(client, head.fields, self.is_trusted)
            client, scheme = origin.address, origin.scheme or scheme
        return Exchange(self.seq, started_ns, client, scheme, method, target, head)

    def forwarding_lines(self, downstream: Downstream, exchange: Exchange) -> bytes:
        """What the site is told of the visitor."""
        style, authority = self.settings.forwarded, exchange.head.authority
        if downstream.trusted:
            return continued(exchange.head.fields, downstream.peer, exchange.scheme, authority, style)
        return fields_for(downstream.peer, exchange.scheme, authority, style)

    def on_https(self, exchange: Exchange) -> bytes | None:
        """Where an http request is to be asked instead; None if it may be asked over http."""
        authority = exchange.head.authority
        if authority is None or exchange.target[:1] != "/" or exchange.target.startswith(ACME_PATH):
            return None
        host = authority[: authority.rindex(b"]") + 1] if b"]" in authority else authority.partition(b":")[0]
        port = b"" if self.https_port == 443 else b":%d" % self.https_port
        return b"https://" + host + port + exchange.target.encode("utf-8", "surrogateescape")

    def finish(self, exchange: Exchange) -> None:
        """The exchange is over. Its record is written before the end of the answer leaves."""
        exchange.ended_ns = time.time_ns()
        self.in_flight -= 1
        self._statuses[exchange.status // 100] += 1
        if exchange.refusal is not None:
            self.refusals[exchange.refusal] += 1
        try:
            self._observer.finished(exchange)
        except Exception:
            self.observer_failed("the end of an exchange")
        if self.access_log is not None:
            self.access_log.write(exchange)

    @property
    def statuses(self) -> dict[str, int]:
        """How many exchanges ended with 1xx, 2xx, …"""
        return {f"{hundred}xx": count for hundred, count in enumerate(self._statuses) if count}

    def observe_start(self, exchange: Exchange) -> None:
        try:
            self._observer.request_started(exchange)
        except Exception:
            self.observer_failed("the start of an exchange")

    def observe_response(self, exchange: Exchange) -> list[Field] | None:
        try:
            return self._observer.response_started(exchange)
        except Exception:
            self.observer_failed("the start of a response")
            return None

    def observer_failed(self, at: str) -> None:
        self.observer_errors += 1
        log.exception('event=observer_failed at="%s" visitor=unaffected', at)

    def bug(self, at: str) -> None:
        self.bugs += 1
        log.exception('event=proxy_bug at="%s" connection=closed', at)

    # -- who is in front

    def who_is(self, transport: asyncio.BaseTransport, announced: ProxyHeader | None) -> tuple[str, bool]:
        """The address of a new connection, and whether its word about visitors counts."""
        if announced is not None and announced.source is not None:
            return announced.source, self.is_trusted(announced.source)
        peername = transport.get_extra_info("peername")
        address = plain(peername[0]) if isinstance(peername, tuple) else "unix"
        # A proxy that announced a connection without saying whose it is: what comes through it is anybody's word.
        return address, announced is None and self.is_trusted(address)

    def _is_trusted(self, peer: str) -> bool:
        try:
            address = ip_address(peer)
        except ValueError:
            return False
        return any(address in network for network in self._networks)
