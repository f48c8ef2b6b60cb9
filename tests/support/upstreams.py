"""Upstream servers in the test's own loop, which can be held, drained, stopped and started again where they were.

`ask` does with a balancer's servers what the forwarding does, without a visitor.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from proxy.balancer import Balancer
from proxy.servers import Server
from proxy.upstream import Upstream
from tests.support.certificates import Pair


def context_of(pair: Pair) -> ssl.SSLContext:
    """For a server that shows this certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.certificate, pair.key)
    return context


class Backend:
    """A server on a port of loopback, or behind the Unix socket `path`.

    asked     method, target and Host of every request, in order
    statuses  what it answers by target; 200 to all others
    hold      while it is clear, no answer is sent to any target but those of `statuses`
    """

    def __init__(self, name: str = "one", *, path: Path | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.name = name
        self.asked: list[tuple[str, str, str]] = []
        self.agents: list[str] = []
        self.accepted = 0
        self.statuses: dict[str, int] = {}
        self.hold = asyncio.Event()
        self.hold.set()
        self.port = 0
        self._path = path
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        if self._path is not None:
            return f"unix:{self._path}"
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def targets(self, target: str = "/") -> int:
        """How often it was asked for the target."""
        return sum(asked == target for _, asked, _ in self.asked)

    async def start(self) -> Backend:
        if self._path is not None:
            self._server = await asyncio.start_unix_server(self._serve, self._path)
            return self
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        self._server = await asyncio.start_server(self._serve, sock=listener, ssl=self._tls)
        return self

    async def stop(self) -> None:
        """Refuses connections and drops those it has."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        for writer in list(self._writers):
            writer.transport.abort()
        await eventually(lambda: not self._writers, "its connections are gone")
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self._writers.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                first, *lines = head.decode("latin-1").rstrip().split("\r\n")
                fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
                method, target, _ = first.split(" ")
                self.asked.append((method, target, fields.get("host", "")))
                self.agents.append(fields.get("user-agent", ""))
                if target not in self.statuses:
                    await self.hold.wait()
                status = self.statuses.get(target, 200)
                body = b"" if status == 204 else self.name.encode()
                writer.write(b"HTTP/1.1 %d X\r\nLocation: /\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            pass  # whoever asked has gone
        finally:
            self._writers.discard(writer)
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


class Answer:
    """In the forwarding's place: waits for one answer of a Backend."""

    def __init__(self) -> None:
        self.data = b""
        self.whole: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def upstream_answers(self, upstream: Upstream, data: bytes) -> None:
        self.data += data
        head, end, body = self.data.partition(b"\r\n\r\n")
        if end and len(body) >= int(head.rpartition(b"Content-Length: ")[2].split(b"\r\n")[0]):
            self.whole.set_result(body)

    def upstream_lost(self, upstream: Upstream) -> None:
        if not self.whole.done():
            self.whole.set_exception(ConnectionResetError("closed before the answer"))

    def pump_request(self) -> None:
        pass


async def ask(balancer: Balancer, target: str = "/") -> str | None:
    """The name of the backend that answered; None if none did."""
    tried: list[Server] = []
    while (server := balancer.choose(tried)) is not None:
        tried.append(server)
        server.running += 1
        try:
            upstream = server.take() or await server.connect()
        except OSError:
            server.running -= 1
            continue
        try:
            body = await exchange(upstream, target)
        except ConnectionResetError:
            server.failed()
            continue
        finally:
            server.running -= 1
            server.give_back(upstream)
        server.answered()
        return body.decode()
    return None


async def exchange(upstream: Upstream, target: str = "/") -> bytes:
    """The body of an answer on this connection. ConnectionResetError if there is none."""
    answer = Answer()
    upstream.forwarding = answer  # type: ignore[assignment]
    upstream.transport.write(f"GET {target} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
    async with asyncio.timeout(20):
        return await answer.whole


async def eventually(question: Callable[[], object], what: str, *, deadline_secs: float = 20) -> None:
    """Lets the loop run until the answer is true. AssertionError with `what` after the deadline."""
    deadline = asyncio.get_running_loop().time() + deadline_secs
    while not question():
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"waited {deadline_secs} s in vain until {what}")
        await asyncio.sleep(0.005)


class Clock:
    """A time that passes when the test says so."""

    def __init__(self) -> None:
        self.secs = 1000.0

    def __call__(self) -> float:
        return self.secs

    def pass_by(self, secs: float) -> None:
        self.secs += secs
