"""A proxy in the test's own loop, the one of the workers, with an origin that says exactly what the test wants."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import pytest
import uvloop

from proxy.exchange import Exchange, Field
from proxy.server import Proxy
from proxy.settings import ProxySettings

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Callable[[], object]]:
    return {"uvloop": uvloop.new_event_loop}


class Watcher:
    """An observer that remembers, and adds what the test tells it to."""

    def __init__(self) -> None:
        self.finished_exchanges: list[Exchange] = []
        self.on_request: Callable[[Exchange], None] = lambda exchange: None
        self.on_response: Callable[[Exchange], list[Field] | None] = lambda exchange: None

    def request_started(self, exchange: Exchange) -> None:
        self.on_request(exchange)

    def response_started(self, exchange: Exchange) -> list[Field] | None:
        return self.on_response(exchange)

    def finished(self, exchange: Exchange) -> None:
        self.finished_exchanges.append(exchange)


class Stage:
    """The proxy between a raw client and a raw origin."""

    def __init__(self, proxy: Proxy, port: int, watcher: Watcher, heads: list[bytes]) -> None:
        self.proxy = proxy
        self.port = port
        self.watcher = watcher
        self.heads = heads  # what the origin has read of each request, head by head
        self.writers: list[asyncio.StreamWriter] = []

    @property
    def exchanges(self) -> list[Exchange]:
        return self.watcher.finished_exchanges

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writers.append(writer)
        return reader, writer

    async def ask(self, request: bytes) -> bytes:
        """Sends the bytes and returns all that comes back until the proxy closes. Add `Connection: close`."""
        reader, writer = await self.connect()
        writer.write(request)
        return await asyncio.wait_for(reader.read(), 5)

    async def until_logged(self, count: int = 1) -> list[Exchange]:
        async with asyncio.timeout(20):
            while len(self.exchanges) < count:  # noqa: ASYNC110 - the watcher is a plain list
                await asyncio.sleep(0.01)
        return self.exchanges


@pytest.fixture
async def stage() -> AsyncIterator[Callable[..., Awaitable[Stage]]]:
    """`await stage(handler, **settings)`; `handler` may be bytes: then every request gets them as answer."""
    stops: list[Callable[[], None]] = []
    proxies: list[Proxy] = []
    connections: list[list[asyncio.StreamWriter]] = []

    async def build(handler: Handler | bytes | None, **settings: object) -> Stage:
        loop = asyncio.get_running_loop()
        heads: list[bytes] = []
        writers: list[asyncio.StreamWriter] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writers.append(writer)
            try:
                if isinstance(handler, bytes):
                    while True:
                        heads.append(await reader.readuntil(b"\r\n\r\n"))
                        writer.write(handler)
                        await writer.drain()
                else:
                    await handler(reader, writer)
            except (asyncio.IncompleteReadError, ConnectionError):
                pass  # the proxy has closed the connection
            finally:
                writer.close()

        if handler is None:
            with socket.socket() as closed:
                closed.bind(("127.0.0.1", 0))
                origin_port = closed.getsockname()[1]
        else:
            server = await asyncio.start_server(serve, "127.0.0.1", 0)
            origin_port = server.sockets[0].getsockname()[1]

            stops.append(server.close)
        watcher = Watcher()
        merged = {"upstream": f"http://127.0.0.1:{origin_port}", "stop_timeout_secs": 1, **settings}
        proxy = Proxy(ProxySettings(**merged), watcher, loop)
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        await proxy.start(listener)
        on_stage = Stage(proxy, port, watcher, heads)
        proxies.append(proxy)
        connections.extend((writers, on_stage.writers))
        return on_stage

    yield build
    for proxy in proxies:
        await proxy.stop()
    for writer in [writer for writers in connections for writer in writers]:
        writer.transport.abort()
        with suppress(ConnectionError):
            await writer.wait_closed()
    for stop in stops:
        stop()
    await asyncio.sleep(0.01)


def ok(body: bytes = b"hello", *fields: bytes) -> bytes:
    """A 200 with a Content-Length."""
    return b"\r\n".join([b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(body), *fields, b"", body])


def split(answer: bytes) -> tuple[bytes, list[Field], bytes]:
    """Status line, fields and the rest of an answer."""
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    return first, [tuple(line.split(b": ", 1)) for line in lines], body


def value_of(fields: list[Field], name: bytes) -> bytes | None:
    return next((value for key, value in fields if key.lower() == name), None)
