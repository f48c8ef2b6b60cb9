"""The visitor's connection: what is refused, what is answered in order, and when it ends."""

from __future__ import annotations

import asyncio

import pytest

from tests.proxy.conftest import ok, split, value_of


@pytest.mark.parametrize(
    ("request_bytes", "status", "refusal"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400, "bad_request"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "bad_request"),
        (b"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400, "bad_host"),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400, "bad_request"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", 400, "bad_request"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n folded\r\n\r\n", 400, "bad_request"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX\xff: a\r\n\r\n", 400, "bad_request"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n: empty\r\n\r\n", 400, "bad_request"),
        (b"GET / HTTP/1.1\nHost: a\n\n", 400, "bad_request"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", 400, "bad_request"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx", 400, "bad_request"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, None),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501, "coding_unknown"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400, None),
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "bad_framing"),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, "version_unknown"),
        (b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 405, "method_not_allowed"),
        (b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 405, "method_not_allowed"),
        (b"OPTIONS / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, "bad_host"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "bad_request"),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414, "target_too_long"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 20_000 + b"\r\n\r\n", 431, "fields_too_large"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: a\r\n" * 200 + b"\r\n", 431, "fields_too_large"),
    ],
)
async def test_a_malformed_request_is_refused_logged_and_never_forwarded(
    stage, request_bytes: bytes, status: int, refusal: str | None
) -> None:
    front = await stage(ok())
    first, fields, body = split(await front.ask(request_bytes))
    assert first.startswith(b"HTTP/1.1 %d " % status)
    assert value_of(fields, b"connection") == b"close"
    assert value_of(fields, b"content-length") == b"%d" % len(body)
    assert front.heads == []
    [exchange] = front.exchanges
    assert (exchange.status, exchange.ended_by) == (status, "proxy")
    if refusal is not None:
        assert exchange.refusal == refusal


async def test_nothing_a_visitor_sent_is_echoed(stage) -> None:
    front = await stage(ok())
    answer = await front.ask(b"GET /<script>secret</script> HTTP/9.9\r\nX-secret: secret\r\n\r\n")
    assert b"secret" not in answer


async def test_an_empty_line_before_the_request_is_tolerated(stage) -> None:
    front = await stage(ok())
    assert (await front.ask(b"\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")).startswith(b"HTTP/1.1 200")


async def test_a_broken_body_is_refused_and_the_upstream_sees_no_end_of_it(stage) -> None:
    seen = asyncio.get_running_loop().create_future()

    async def origin(reader, writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        seen.set_result(await reader.read())

    front = await stage(origin)
    reader, writer = await front.connect()
    writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
    await asyncio.sleep(0.1)
    writer.write(b"zz\r\nworld\r\n0\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 400")
    assert await asyncio.wait_for(seen, 10) == b"5\r\nhello\r\n"


async def test_pipelined_requests_are_answered_in_order(stage) -> None:
    async def origin(reader, writer) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            number = int(head.split(b" ")[1][1:])
            await asyncio.sleep(0.01 if number % 7 == 0 else 0)
            writer.write(ok(b"<%d>" % number))

    front = await stage(origin)
    reader, writer = await front.connect()
    count = 200
    for number in range(count):
        last = b"Connection: close\r\n" if number == count - 1 else b""
        writer.write(b"GET /%d HTTP/1.1\r\nHost: a\r\n%b\r\n" % (number, last))
    answer = await asyncio.wait_for(reader.read(), 30)
    assert [int(part.split(b">")[0]) for part in answer.split(b"<")[1:]] == list(range(count))
    assert [exchange.seq for exchange in front.exchanges] == list(range(1, count + 1))


async def test_a_connection_serves_many_requests_and_so_does_the_upstreams(stage) -> None:
    connections = 0

    async def origin(reader, writer) -> None:
        nonlocal connections
        connections += 1
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(ok())

    front = await stage(origin)
    reader, writer = await front.connect()
    for _ in range(20):
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"Connection" not in await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(5)
    assert connections == 1


async def test_half_a_head_is_answered_with_408_and_an_idle_connection_just_ends(stage) -> None:
    front = await stage(ok(), head_timeout_secs=0.2, idle_timeout_secs=0.2)
    assert (await front.ask(b"GET / HTTP/1.1\r\nHos")).startswith(b"HTTP/1.1 408 Request Timeout")
    assert front.exchanges[0].refusal == "request_timeout"
    assert await front.ask(b"") == b""
    assert len(front.exchanges) == 1


async def test_a_visitor_who_stops_in_the_middle_of_an_upload_is_answered_with_408(stage) -> None:
    async def origin(reader, writer) -> None:
        await reader.read()

    front = await stage(origin, stall_timeout_secs=0.2)
    answer = await front.ask(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf")
    assert answer.startswith(b"HTTP/1.1 408")
    assert front.exchanges[0].ended_by == "client"


async def test_two_connections_do_not_wait_for_each_other(stage) -> None:
    release = asyncio.Event()

    async def origin(reader, writer) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            if head.startswith(b"GET /slow"):
                await release.wait()
            writer.write(ok())

    front = await stage(origin)
    slow = asyncio.create_task(front.ask(b"GET /slow HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))
    await asyncio.sleep(0.05)
    assert (await front.ask(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")).endswith(b"hello")
    release.set()
    assert (await slow).endswith(b"hello")
