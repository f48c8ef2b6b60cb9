"""After an upgrade: bytes, both ways, with backpressure and both ends' EOF."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from proxy.tunnel import Tunnel
from tests.proxy.conftest import ok, split

HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: %s\r\nSec-WebSocket-Key: x\r\n"
    b"Sec-WebSocket-Protocol: chat\r\n\r\n"
)
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: y\r\n\r\n"
)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    assert b"Upgrade: " in head
    assert b"Sec-WebSocket-Protocol: chat" in head
    writer.write(SWITCH + b"glued")
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.write(b"end")


async def test_a_websocket_handshake_passes_whole_and_bytes_flow_both_ways(stage) -> None:
    front = await stage(echo)
    reader, writer = await front.connect()
    writer.write(HANDSHAKE % b"websocket" + b"early")
    assert await reader.readuntil(b"\r\n\r\n") == SWITCH
    assert await reader.readexactly(10) == b"gluedearly"
    payload = bytes(range(256)) * 8000
    writer.write(payload)
    assert await asyncio.wait_for(reader.readexactly(len(payload)), 20) == payload
    writer.write_eof()
    assert await asyncio.wait_for(reader.read(), 10) == b"end"
    [exchange] = front.exchanges
    assert (exchange.status, exchange.upgraded, exchange.ended_by) == (101, True, None)


async def test_other_protocols_are_tunnelled_too(stage) -> None:
    front = await stage(echo)
    reader, writer = await front.connect()
    writer.write(HANDSHAKE % b"my-protocol/1")
    assert await reader.readuntil(b"\r\n\r\n") == SWITCH
    assert await reader.readexactly(5) == b"glued"
    writer.write(b"ping")
    assert await asyncio.wait_for(reader.readexactly(4), 10) == b"ping"


async def test_a_refused_upgrade_is_an_ordinary_answer_and_the_connection_goes_on(stage) -> None:
    async def origin(reader, writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        writer.write(ok(b"as http"))

    front = await stage(origin)
    answer = await front.ask(HANDSHAKE % b"websocket" + b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 426 Upgrade Required\r\n")
    assert split(answer)[2].endswith(b"as http")
    assert [exchange.status for exchange in front.exchanges] == [426, 200]


async def test_the_end_of_either_side_ends_the_other(stage) -> None:
    ended = asyncio.Event()

    async def origin(reader, writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCH)
        await reader.read()
        ended.set()

    front = await stage(origin)
    reader, writer = await front.connect()
    writer.write(HANDSHAKE % b"websocket")
    await reader.readuntil(b"\r\n\r\n")
    writer.transport.abort()
    await asyncio.wait_for(ended.wait(), 10)

    async def leaves(reader, writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCH + b"bye")

    front = await stage(leaves)
    reader, writer = await front.connect()
    writer.write(HANDSHAKE % b"websocket")
    assert (await asyncio.wait_for(reader.read(), 10)).endswith(b"bye")


async def test_a_tunnel_lives_as_long_as_something_passes_either_way(stage) -> None:
    front = await stage(echo, tunnel_idle_secs=3600)
    reader, writer = await front.connect()
    writer.write(HANDSHAKE % b"websocket")
    await reader.readuntil(b"glued")
    [connection] = front.proxy.connections
    for _ in range(2):
        connection.deadline = 0.0
        writer.write(b"ping")
        assert await reader.readexactly(4) == b"ping"
        assert connection.deadline > asyncio.get_running_loop().time() + 3000


@pytest.mark.usefixtures("brisk")
async def test_a_tunnel_in_which_nothing_passes_is_closed_on_both_sides(stage) -> None:
    ended = asyncio.Event()

    async def origin(reader, writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCH)
        await reader.read()
        ended.set()

    front = await stage(origin, tunnel_idle_secs=0.2, idle_timeout_secs=3600, response_timeout_secs=3600)
    reader, writer = await front.connect()
    writer.write(HANDSHAKE % b"websocket")
    assert await reader.readuntil(b"\r\n\r\n") == SWITCH
    with suppress(ConnectionError):
        assert await asyncio.wait_for(reader.read(), 10) == b""
    await asyncio.wait_for(ended.wait(), 10)


class End:
    def __init__(self) -> None:
        self.held: list[bool] = []
        self.transport = self
        self.written: list[object] = []

    def hold_back(self, yes: bool) -> None:
        self.held.append(yes)

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.written.append("eof")

    def close(self) -> None:
        self.written.append("close")


def tunnel_of(one: End, other: End) -> tuple[Tunnel, list[None]]:
    passed: list[None] = []
    return Tunnel(one, other, passed=lambda: passed.append(None)), passed


def test_a_slow_end_holds_the_other_one_back() -> None:
    one, other = End(), End()
    tunnel, passed = tunnel_of(one, other)
    tunnel.hold_back(one)
    tunnel.let_go(one)
    assert (one.held, other.held) == ([], [True, False])
    tunnel.pass_on(one, b"x")
    tunnel.pass_on(other, b"y")
    assert len(passed) == 2
    assert tunnel.ended(one) is True
    assert tunnel.ended(other) is False
    assert (one.written, other.written) == ([b"y", "close"], [b"x", "eof"])


def test_an_end_that_is_lost_closes_the_other_one() -> None:
    one, other = End(), End()
    tunnel, _ = tunnel_of(one, other)
    tunnel.lost(other)
    assert (one.written, other.written) == (["close"], [])


def test_an_end_that_knows_no_half_closed_connection_is_closed() -> None:
    one, other = End(), End()
    other.can_write_eof = lambda: False
    tunnel, _ = tunnel_of(one, other)
    assert tunnel.ended(one) is False
    assert other.written == ["close"]
