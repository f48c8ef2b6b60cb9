"""Asks every upstream server how it is, beside the visitors' requests, and says so in `Server.healthy`.

Each worker asks for itself, over a new connection each time: what is tested is whether a visitor could be served from
here. A server is healthy until it has proved otherwise, and again after one good answer. What is asked here is no
exchange: nothing of it is observed, counted as running or taken from the idle connections.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import ssl
from collections.abc import Callable, Mapping

import aiohttp
from yarl import URL

from proxy.servers import Server, is_ours
from proxy.settings import HealthSettings

log = logging.getLogger(__name__)

USER_AGENT = "ropo-health"
CLOSE_SECS = 1.0

# How many servers may be asked at once: each takes a file descriptor that visitors may need.
AT_ONCE = 64


class _NotAsked(Exception):
    """The question was not put, for want of something on this side."""


class HealthChecks:
    """`hosts` has the Host each server is asked for. `start` once, within the loop; `stop` at any time, again too."""

    def __init__(
        self,
        hosts: Mapping[Server, str],
        settings: HealthSettings,
        *,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`jitter`: numbers from 0 up to 1; the part of an interval that passes before a server is first asked."""
        self._hosts = hosts
        self._settings = settings
        self._jitter = jitter
        self._tasks: list[asyncio.Task[None]] = []
        self._at_once = asyncio.Semaphore(AT_ONCE)

    def start(self) -> None:
        """Returns at once: no answer is waited for."""
        self._tasks = [asyncio.create_task(self._watch(server, host)) for server, host in self._hosts.items()]

    async def stop(self) -> None:
        """Drops what is being asked. Takes at most about a second."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_SECS)
        self._tasks = []

    async def _watch(self, server: Server, host: str) -> None:
        # Otherwise all workers, started at once, would ask all servers at once for as long as they live.
        await asyncio.sleep(self._settings.interval_secs * self._jitter())
        bad, broken = 0, False
        while True:
            try:
                async with self._at_once:
                    wrong = await self._ask(server, host)
            except _NotAsked:
                pass  # it stays what it was
            except Exception:
                # A bug, ours or the client's, says nothing about the server. Told once: it would come again and again.
                if not broken:
                    log.exception("event=health_check_broken server=%s", server.address.label)
                bad, broken, server.healthy = 0, True, True
            else:
                bad = 0 if wrong is None else bad + 1
                self._judge(server, bad, wrong)
            await asyncio.sleep(self._settings.interval_secs)

    def _judge(self, server: Server, bad: int, wrong: str | None) -> None:
        """After the latest of `bad` bad answers in a row. Only a change is said."""
        if bad == 0 and not server.healthy:
            server.healthy = True
            log.info("event=upstream_healthy server=%s", server.address.label)
        elif bad >= self._settings.failures and server.healthy:
            server.healthy = False
            log.warning(
                "event=upstream_unhealthy server=%s path=%s why=%s bad_answers=%d",
                server.address.label, self._settings.path.partition("?")[0], wrong, bad,
            )  # fmt: skip

    async def _ask(self, server: Server, host: str) -> str | None:
        """What is wrong with the server in a word, None if nothing is."""
        try:
            async with (
                aiohttp.ClientSession(
                    connector=_connector(server),
                    timeout=aiohttp.ClientTimeout(total=self._settings.timeout_secs),
                    cookie_jar=aiohttp.DummyCookieJar(),
                    auto_decompress=False,
                    trust_env=False,
                ) as session,
                session.get(
                    _url(server, self._settings.path),
                    headers={"Host": host, "User-Agent": USER_AGENT, "Accept": "*/*"},
                    allow_redirects=False,
                ) as response,
            ):
                # The status has said it: the body is not waited for, and the connection closed.
                return None if 200 <= response.status < 400 else f"status_{response.status}"
        except TimeoutError:
            return "timeout"
        except (aiohttp.ClientError, OSError) as error:
            if isinstance(error, OSError) and is_ours(error):
                raise _NotAsked from error
            return _word_for(error)


def _connector(server: Server) -> aiohttp.BaseConnector:
    if server.address.path is not None:
        return aiohttp.UnixConnector(server.address.path, force_close=True)
    # The system's resolver, as for visitors: aiohttp would take aiodns if it is there, which knows other names.
    return aiohttp.TCPConnector(
        ssl=server.tls or False, force_close=True, use_dns_cache=False, resolver=aiohttp.ThreadedResolver()
    )


def _url(server: Server, path: str) -> URL:
    address = server.address
    host = f"[{address.host}]" if ":" in address.host else address.host
    port = f":{address.port}" if address.path is None else ""
    # yarl quotes what must be quoted in the path, and leaves alone what already is.
    return URL(f"{'https' if address.tls else 'http'}://{host}{port}{path}")


def _word_for(error: Exception) -> str:
    """In our words: a library's may hold what the server sent."""
    if isinstance(error, ssl.SSLError | ssl.CertificateError | aiohttp.ClientSSLError):
        return "certificate_or_tls"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "name_not_resolved"
    if isinstance(error, OSError) and error.errno and error.errno > 0:
        return os.strerror(error.errno).replace(" ", "_").lower()
    if isinstance(error, aiohttp.ClientResponseError):
        return "no_http"
    return "connection_lost"
