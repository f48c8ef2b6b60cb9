"""The proxy of a worker: numbering, who is in front, counting, and a clean stop."""

from __future__ import annotations

import asyncio

import pytest

from tests.proxy.conftest import ok

GET = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


async def test_exchanges_are_numbered_without_gaps_whatever_becomes_of_them(stage) -> None:
    front = await stage(ok())
    for request in (GET, b"nonsense\r\n\r\n", GET, b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n"):
        await front.ask(request)
    assert [exchange.seq for exchange in front.exchanges] == [1, 2, 3, 4]
    assert front.proxy.seq == 4
    assert front.proxy.in_flight == 0
    assert dict(front.proxy.statuses) == {"2xx": 2, "4xx": 2}
    assert dict(front.proxy.refusals) == {"bad_request": 1, "method_not_allowed": 1}


@pytest.mark.parametrize(
    ("trusted", "forwarded_for", "client"),
    [
        ([], b"203.0.113.9", "127.0.0.1"),
        (["127.0.0.0/8"], b"203.0.113.9", "203.0.113.9"),
        (["127.0.0.0/8"], b"198.51.100.1, 203.0.113.9", "203.0.113.9"),
        (["127.0.0.0/8", "203.0.113.0/24"], b"198.51.100.1, 203.0.113.9", "198.51.100.1"),
        (["127.0.0.0/8"], b"evil, 2001:db8::1", "2001:db8::1"),
        (["127.0.0.0/8"], b"evil", "127.0.0.1"),
        (["127.0.0.0/8"], b"", "127.0.0.1"),
    ],
)
async def test_the_visitors_address_is_the_last_one_nobody_could_forge(
    stage, trusted: list[str], forwarded_for: bytes, client: str
) -> None:
    front = await stage(ok(), trusted=trusted)
    await front.ask(
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Forwarded-For: %b\r\nX-Forwarded-Proto: https\r\n\r\n"
        % forwarded_for
    )
    assert front.exchanges[0].client == client
    assert front.exchanges[0].scheme == ("https" if trusted else "http")


async def test_a_stop_lets_running_answers_finish_and_takes_no_new_connection(stage) -> None:
    release = asyncio.Event()

    async def origin(reader, writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await release.wait()
        writer.write(ok())

    front = await stage(origin)
    _, idle = await front.connect()
    running = asyncio.create_task(front.ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
    await asyncio.sleep(0.1)
    stop = asyncio.create_task(front.proxy.stop())
    await asyncio.sleep(0.05)
    release.set()
    answer = await running
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert b"Connection: close" in answer
    await stop
    with pytest.raises(OSError):
        await front.connect()
    idle.close()


async def test_a_stop_does_not_wait_for_ever(stage) -> None:
    async def origin(reader, writer) -> None:
        await reader.read()

    front = await stage(origin)
    _, writer = await front.connect()
    writer.write(GET)
    await asyncio.sleep(0.1)
    await asyncio.wait_for(front.proxy.stop(), 10)
    assert front.exchanges[0].ended_by == "client"
    assert front.proxy.connections == set()
