"""The proxy of one worker: listens, numbers the exchanges, tells the observer, and stops in order.

Knows its connections and counters. A failing observer is counted here and never reaches the visitor.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections import Counter
from collections.abc import Sequence
from email.utils import formatdate
from functools import lru_cache
from ipaddress import ip_address, ip_network

from proxy.downstream import Downstream
from proxy.exchange import Exchange, Field
from proxy.observer import Observer
from proxy.pool import Pool
from proxy.settings import ProxySettings

log = logging.getLogger(__name__)

SWEEP_SECS = 1.0


class Proxy:
    """One per worker. `start` on a bound socket, `stop` once."""

    def __init__(self, settings: ProxySettings, observer: Observer, loop: asyncio.AbstractEventLoop) -> None:
        self.settings = settings
        self.loop = loop
        self.pool = Pool(settings, loop)
        self.connections: set[Downstream] = set()
        self.stopping = False
        self.seq = 0
        self.in_flight = 0
        self.statuses: Counter[str] = Counter()
        self.refusals: Counter[str] = Counter()
        self.observer_errors = 0
        self.bugs = 0
        self.date = formatdate(usegmt=True).encode()
        self._observer = observer
        self._networks = [ip_network(network) for network in settings.trusted]
        self._servers: list[asyncio.Server] = []
        self._sweeper: asyncio.TimerHandle | None = None
        self.is_trusted = lru_cache(4096)(self._is_trusted)

    # -- life

    async def start(self, *listeners: socket.socket, tls: Sequence[socket.socket] = ()) -> None:
        """Serves visitors on bound sockets, on those of `tls` over https; the caller keeps its own copies of them."""
        for listener in listeners:
            self._servers.append(await self.loop.create_server(lambda: Downstream(self), sock=listener))
        self._sweep()

    async def stop(self, *, idle_grace_secs: float = 0.0) -> None:
        """Takes no more connections, lets running answers finish for `stop_timeout_secs`, then cuts the rest.

        A connection that idles may bring one more request for `idle_grace_secs`, which is answered with
        `Connection: close`: a visitor who is just sending it need not send it again.
        """
        self.stopping = True
        for server in self._servers:
            server.close()
        quiet = self.loop.time() + idle_grace_secs
        while self.connections and self.loop.time() < quiet:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        for connection in list(self.connections):
            connection.stop()
        give_up = self.loop.time() + self.settings.stop_timeout_secs
        # Polled: counting in an Event would cost every exchange something, and a stop happens once.
        while self.in_flight and self.loop.time() < give_up:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        flushed = min(give_up, self.loop.time() + 1)
        while self.connections and self.loop.time() < flushed:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        for connection in list(self.connections):
            connection.abort()
        await asyncio.sleep(0)
        self.pool.close()
        if self._sweeper is not None:
            self._sweeper.cancel()

    def _sweep(self) -> None:
        """Once a second: one pass over all connections costs less than a timer for every request."""
        now = self.loop.time()
        self.date = formatdate(usegmt=True).encode()
        self.pool.sweep()
        for connection in [c for c in self.connections if c.deadline < now]:
            try:
                connection.expired()
            except Exception:
                self.bug("a deadline")
                connection.abort()
        self._sweeper = self.loop.call_later(SWEEP_SECS, self._sweep)

    # -- exchanges

    def new_exchange(
        self, downstream: Downstream, method: str, target: str, fields: tuple[Field, ...], started_ns: int
    ) -> Exchange:
        """Numbers a request that has arrived. What a trusted proxy in front says of the visitor is believed here."""
        self.seq += 1
        self.in_flight += 1
        exchange = Exchange(
            seq=self.seq, started_ns=started_ns, client=downstream.peer, scheme="http", method=method, target=target,
            fields=fields,
        )  # fmt: skip
        if downstream.trusted:
            exchange.client = self._visitor_behind(downstream.peer, exchange)
            if exchange.lowered.get(b"x-forwarded-proto", b"").strip().lower() == b"https":
                exchange.scheme = "https"
        return exchange

    def finish(self, exchange: Exchange) -> None:
        """The exchange is over. Its record is written before the end of the answer leaves."""
        exchange.ended_ns = time.time_ns()
        self.in_flight -= 1
        self.statuses[f"{exchange.status // 100}xx"] += 1
        if exchange.refusal is not None:
            self.refusals[exchange.refusal] += 1
        try:
            self._observer.finished(exchange)
        except Exception:
            self.observer_failed("the end of an exchange")

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

    def _is_trusted(self, peer: str) -> bool:
        try:
            address = ip_address(peer)
        except ValueError:
            return False
        return any(address in network for network in self._networks)

    def _visitor_behind(self, peer: str, exchange: Exchange) -> str:
        """The right-most address in X-Forwarded-For that is not one of ours; anything left of it is a claim."""
        named = b",".join(value for name, value in exchange.fields if name.lower() == b"x-forwarded-for")
        visitor = peer
        for entry in reversed(named.decode("latin-1").split(",")):
            candidate = entry.strip().strip("[]")
            try:
                ip_address(candidate)
            except ValueError:
                break
            visitor = candidate
            if not self.is_trusted(candidate):
                break
        return visitor
