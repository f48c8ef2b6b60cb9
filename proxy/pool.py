"""Connections to the site that wait for their next request.

Knows where the site is and how to reach it. A connection leaves the pool when it is taken, is old, or is closed by the
other side; the newest is taken first, so that the rest may grow old.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from dataclasses import dataclass
from urllib.parse import urlsplit

from proxy.settings import ProxySettings
from proxy.upstream import Upstream


@dataclass(frozen=True)
class Address:
    """Where the site is. `host_field` is its Host value, without a default port."""

    host: str
    port: int
    tls: bool
    host_field: bytes

    @classmethod
    def of(cls, url: str) -> Address:
        """From `http://host:port` or `https://host:port`; ValueError says what is wrong with any other."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("expected http://host:port or https://host:port")
        if parts.path not in ("", "/") or parts.query or parts.fragment or parts.username is not None:
            raise ValueError("expected no path, query or user in it: requests keep their own path")
        tls = parts.scheme == "https"
        port = parts.port or (443 if tls else 80)
        name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        shown = name if port == (443 if tls else 80) else f"{name}:{port}"
        return cls(parts.hostname, port, tls, shown.encode("idna" if not shown.isascii() else "ascii"))


class Pool:
    def __init__(self, settings: ProxySettings, loop: asyncio.AbstractEventLoop) -> None:
        self.address = Address.of(settings.upstream)
        self.failures = 0
        self._settings = settings
        self._loop = loop
        self._idle: deque[Upstream] = deque()
        self._tls: ssl.SSLContext | None = None
        if self.address.tls:
            self._tls = ssl.create_default_context()
            if not settings.verify_upstream:
                self._tls.check_hostname = False
                self._tls.verify_mode = ssl.CERT_NONE

    @property
    def idle(self) -> int:
        return len(self._idle)

    def take(self, *, may_retry: bool) -> Upstream | None:
        """An idle connection, or None. One that must not fail (`may_retry` False) is looked at once more."""
        oldest = self._loop.time() - self._settings.upstream_idle_secs
        while self._idle:
            upstream = self._idle.pop()
            if upstream.lost or upstream.transport.is_closing():
                continue
            if upstream.idle_since < oldest or (not may_retry and upstream.is_stale()):
                upstream.close()
                continue
            return upstream
        return None

    async def connect(self) -> Upstream:
        """A fresh connection. OSError (ssl.SSLError included) or TimeoutError when there is none to be had."""
        address = self.address
        try:
            async with asyncio.timeout(self._settings.connect_timeout_secs):
                _, upstream = await self._loop.create_connection(
                    lambda: Upstream(self._loop),
                    address.host,
                    address.port,
                    ssl=self._tls,
                    server_hostname=address.host if address.tls else None,
                )
        except (OSError, TimeoutError):
            self.failures += 1
            raise
        return upstream

    def give_back(self, upstream: Upstream) -> None:
        upstream.forwarding = None
        if (
            upstream.lost
            or upstream.transport.is_closing()
            or len(self._idle) >= self._settings.upstream_idle_connections
        ):
            upstream.close()
            return
        upstream.idle_since = self._loop.time()
        self._idle.append(upstream)

    def sweep(self) -> None:
        """Closes what has idled too long. Called about once a second."""
        oldest = self._loop.time() - self._settings.upstream_idle_secs
        while self._idle and self._idle[0].idle_since < oldest:
            self._idle.popleft().close()

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()
