"""A proxy in the test's own loop, the one of the workers, with an origin that says exactly what the test wants."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest
import uvloop

from proxy.exchange import Exchange, Field
from proxy.server import Proxy
from proxy.settings import CertificateSettings, ProxySettings, TlsSettings
from tests.support.certificates import Authority
from tests.support.http2_client import Http2Client

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
        self.https_port = 0
        self.watcher = watcher
        self.heads = heads  # what the origin has read of each request, head by head
        self.writers: list[asyncio.StreamWriter] = []

    @property
    def exchanges(self) -> list[Exchange]:
        return self.watcher.finished_exchanges

    async def connect(
        self, *, https: bool = False, receive_buffer: int | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """`receive_buffer`: bytes the kernel takes for a visitor who does not read; else as many as it likes."""
        visitor = socket.socket()
        if receive_buffer is not None:
            visitor.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        visitor.setblocking(False)
        port = self.https_port if https else self.port
        try:
            await asyncio.get_running_loop().sock_connect(visitor, ("127.0.0.1", port))
        except OSError:
            visitor.close()
            raise
        tls = {"ssl": anyone(), "server_hostname": "shop.example"} if https else {}
        reader, writer = await asyncio.open_connection(sock=visitor, **tls)
        self.writers.append(writer)
        return reader, writer

    async def ask(self, request: bytes, *, https: bool = False) -> bytes:
        """Sends the bytes and returns all that comes back until the proxy closes. Add `Connection: close`."""
        reader, writer = await self.connect(https=https)
        writer.write(request)
        answer = await asyncio.wait_for(reader.read(), 5)
        writer.close()
        return answer

    async def until_logged(self, count: int = 1) -> list[Exchange]:
        await until(lambda: len(self.exchanges) >= count)
        return self.exchanges


def anyone() -> ssl.SSLContext:
    """A visitor's context that does not ask who signed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


async def until(question: Callable[[], object]) -> None:
    """Until the answer is true; TimeoutError if it never is."""
    async with asyncio.timeout(20):
        while not question():  # noqa: ASYNC110 - what is asked are plain values
            await asyncio.sleep(0.01)


@pytest.fixture
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deadlines are looked at twenty times a second, for tests that let one pass."""
    monkeypatch.setattr("proxy.server.SWEEP_SECS", 0.05)


@pytest.fixture
async def site_server() -> AsyncIterator[Callable[..., Awaitable[tuple[str, list[bytes]]]]]:
    """`await site_server(handler)`: the URL of an origin, and the heads it has read.

    `handler` may be bytes: then every request gets them as answer; None: nobody listens there.
    """
    servers: list[asyncio.Server] = []
    writers: list[asyncio.StreamWriter] = []

    async def build(handler: Handler | bytes | None) -> tuple[str, list[bytes]]:
        heads: list[bytes] = []

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
                return f"http://127.0.0.1:{closed.getsockname()[1]}", heads
        server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=2**20)
        servers.append(server)
        return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", heads

    yield build
    for writer in writers:
        writer.transport.abort()
        with suppress(ConnectionError):
            await writer.wait_closed()
    for server in servers:
        server.close()
    await asyncio.sleep(0.01)


@pytest.fixture
async def stage(site_server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[..., Awaitable[Stage]]]:
    """`await stage(handler, **settings)`: the proxy before an origin as `site_server` makes it.

    With `tls` among the settings it listens for https, too.
    """
    stages: list[Stage] = []

    async def build(handler: Handler | bytes | None, **settings: object) -> Stage:
        url, heads = await site_server(handler)
        merged = {"upstream": url, "stop_timeout_secs": 1, **settings}
        watcher = Watcher()
        proxy = Proxy(ProxySettings(**merged), watcher, asyncio.get_running_loop())
        on_stage = Stage(proxy, 0, watcher, heads)
        stages.append(on_stage)
        plain, on_stage.port = listener()
        secure = []
        if "tls" in settings:
            sock, on_stage.https_port = listener()
            secure.append(sock)
        await proxy.start(plain, tls=secure)
        return on_stage

    yield build
    # The test is over: nobody is in the middle of a handshake any more.
    monkeypatch.setattr("proxy.server.HANDSHAKE_SECS", 0.0)
    for on_stage in stages:
        for writer in on_stage.writers:
            writer.transport.abort()
            with suppress(ConnectionError):
                await writer.wait_closed()
        await on_stage.proxy.stop()


def listener() -> tuple[socket.socket, int]:
    """A bound socket on a free port."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen()
    return sock, sock.getsockname()[1]


@pytest.fixture
async def http2_stage(stage: Callable[..., Awaitable[Stage]], tmp_path: Path) -> AsyncIterator[Callable[..., object]]:
    """`stage, visit = await http2_stage(handler, **settings)` over https; `await visit()` is a client of HTTP/2."""
    clients: list[Http2Client] = []

    async def build(handler: Handler | bytes | None, **settings: object) -> tuple[Stage, Callable[..., object]]:
        pair = Authority(tmp_path).pair(tmp_path, "localhost")
        certificate = CertificateSettings(certificate=str(pair.certificate), key=str(pair.key))
        on_stage = await stage(handler, tls=TlsSettings(certificates=[certificate], http2=True), **settings)

        async def visit(**how: object) -> Http2Client:
            clients.append(client := await Http2Client.connect(on_stage.https_port, **how))
            return client

        return on_stage, visit

    yield build
    for client in clients:
        await client.close()


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
