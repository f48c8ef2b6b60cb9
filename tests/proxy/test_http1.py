"""The visitor's connection: what is refused, what is answered in order, and when it ends."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from proxy.body import ChunkedBody
from tests.proxy.conftest import ok, split, until, value_of

pytestmark = pytest.mark.usefixtures("brisk")


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
        (b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400, "bad_request"),
        (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_request"),
        (b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_request"),
        (b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_request"),
        (b"GET example.org HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_target"),
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


# -- what a request may look like


@pytest.mark.parametrize(
    ("begin", "status"),
    [
        (b"GET / HTTP/1.1\nHost: a\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: \0", 400),
        (b"GET  / HTTP/1.1\r\nHost", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n folded", 400),
        (b"GET / HTTP/2.0\r\nHost: a", 505),
        (b"GET /" + b"a" * 9000, 414),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\n", 400),
    ],
)
async def test_what_can_never_become_a_request_is_refused_at_once(stage, begin: bytes, status: int) -> None:
    front = await stage(ok(), head_timeout_secs=3600)
    assert (await front.ask(begin)).startswith(b"HTTP/1.1 %d " % status)


@pytest.mark.parametrize(
    ("start", "host", "seen"),
    [
        (b"GET http://shop.example/a?b HTTP/1.1", b"other.example", (b"GET /a?b HTTP/1.1", b"Host: shop.example")),
        (b"GET http://shop.example:8080 HTTP/1.1", b"a", (b"GET / HTTP/1.1", b"Host: shop.example:8080")),
        (b"OPTIONS * HTTP/1.1", b"a", (b"OPTIONS * HTTP/1.1", b"Host: a")),
        (b"get /x HTTP/1.1", b"a", (b"get /x HTTP/1.1", b"Host: a")),
        (b"PURGE /x HTTP/1.1", b"A:80", (b"PURGE /x HTTP/1.1", b"Host: A:80")),
    ],
)
async def test_every_form_of_a_target_reaches_the_site(stage, start: bytes, host: bytes, seen: tuple) -> None:
    front = await stage(ok())
    answer = await front.ask(start + b"\r\nHost: " + host + b"\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert tuple(front.heads[0].split(b"\r\n")[:2]) == seen


@pytest.mark.parametrize("cut", range(1, 6))
async def test_an_empty_line_before_the_request_may_arrive_in_pieces(stage, cut: int) -> None:
    front = await stage(ok())
    reader, writer = await front.connect()
    request = b"\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    writer.write(request[:cut])
    await asyncio.sleep(0.05)
    writer.write(request[cut:])
    assert (await reader.read()).startswith(b"HTTP/1.1 200 OK")


async def test_a_get_may_have_a_body(stage) -> None:
    async def origin(reader, writer) -> None:
        assert b"Content-Length: 5" in await reader.readuntil(b"\r\n\r\n")
        writer.write(ok(await reader.readexactly(5)))
        assert b"Transfer-Encoding: chunked" in await reader.readuntil(b"\r\n\r\n")
        writer.write(ok(await reader.readuntil(b"0\r\n\r\n")))

    front = await stage(origin)
    answer = await front.ask(
        b"GET /search HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nquery"
        b"GET /search HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nqu\r\n0\r\n\r\n"
    )
    first, _, second = answer.partition(b"query")
    assert first.startswith(b"HTTP/1.1 200 OK")
    assert split(second)[2] == b"2\r\nqu\r\n0\r\n\r\n"
    assert [exchange.request_bytes for exchange in front.exchanges] == [5, 2]


# -- trailers


async def test_trailers_go_both_ways_without_those_that_would_lie(stage) -> None:
    got = asyncio.get_running_loop().create_future()

    async def origin(reader, writer) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        got.set_result(head + await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\n0\r\n")
        writer.write(b"X-Sum: 7\r\nSet-Cookie: a=1\r\nContent-Length: 9\r\n\r\n")

    front = await stage(origin)
    raw = await front.ask(
        b"POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\nConnection: close, TE\r\n\r\n"
        b"5\r\nhello\r\n0\r\nX-Check: 1\r\nX-Forwarded-For: 1.1.1.1\r\nX_Forwarded_For: 1.1.1.1\r\nCookie: a=1\r\n\r\n"
    )
    head, _, body = got.result().partition(b"\r\n\r\n")
    assert b"\r\nTE: trailers\r\n" in head
    assert body == b"5\r\nhello\r\n0\r\nX-Check: 1\r\n\r\n"
    _, fields, body = split(raw)
    assert value_of(fields, b"trailer") == b"X-Sum"
    assert body == b"3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n"


async def test_an_http_10_client_gets_the_body_without_its_trailers(stage) -> None:
    async def origin(reader, writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n")

    front = await stage(origin)
    assert split(await front.ask(b"GET / HTTP/1.0\r\n\r\n"))[2] == b"abc"


async def test_trailers_of_one_request_are_not_the_next_ones(stage) -> None:
    bodies = []

    async def origin(reader, writer) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            bodies.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(ok())

    front = await stage(origin)
    post = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n%b\r\n1\r\nx\r\n0\r\n%b\r\n"
    await front.ask(post % (b"", b"T: 1\r\n") + post % (b"Connection: close\r\n", b""))
    assert bodies == [b"1\r\nx\r\n0\r\nT: 1\r\n\r\n", b"1\r\nx\r\n0\r\n\r\n"]


# -- several requests on one connection


async def test_pipelined_requests_with_bodies_are_told_apart(stage) -> None:
    seen = []

    async def origin(reader, writer) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            if b"Content-Length: 5" in head:
                body = await reader.readexactly(5)
            elif b"chunked" in head:
                body = ChunkedBody().feed(await reader.readuntil(b"0\r\n\r\n"))
            else:
                body = b""
            seen.append((head.split(b" ")[1], body))
            writer.write(ok(b"<%b>" % head.split(b" ")[1]))

    requests = (
        b"POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nGET /"
        b"POST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nGET / HT\r\n0\r\n\r\n"
        b"GET /3 HTTP/1.1\r\nHost: a\r\n\r\n"
        b"POST /4 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
        b"\r\nPUT /5 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nConnection: close\r\n\r\nabcde"
    )
    front = await stage(origin)
    for step in (len(requests), 61, 1):
        seen.clear()
        reader, writer = await front.connect()
        for begin in range(0, len(requests), step):
            writer.write(requests[begin : begin + step])
            await asyncio.sleep(0)
        answer = await asyncio.wait_for(reader.read(), 20)
        assert [part.partition(b">")[0] for part in answer.split(b"<")[1:]] == [b"/1", b"/2", b"/3", b"/4", b"/5"]
        assert seen == [
            (b"/1", b"GET /"), (b"/2", b"GET / HT"), (b"/3", b""), (b"/4", b""), (b"/5", b"abcde"),
        ]  # fmt: skip


async def test_what_follows_a_refused_request_is_never_read(stage) -> None:
    front = await stage(ok())
    answer = await front.ask(
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
    )
    assert answer.count(b"HTTP/1.1 ") == 1
    assert front.heads == []
    assert len(front.exchanges) == 1


async def test_a_visitor_who_takes_no_answer_gets_no_further_request_through(stage) -> None:
    """Or the answers to thousands of pipelined requests would pile up in the proxy."""
    front = await stage(ok(bytes(100_000)))
    reader, writer = await front.connect(receive_buffer=8192)
    writer.transport.pause_reading()
    count = 300
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * count)
    [connection] = await _connections(front)
    await until(lambda: connection.write_paused)
    asked = len(front.heads)
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    await asyncio.sleep(0.3)
    assert len(front.heads) == asked < count
    assert connection.transport.get_write_buffer_size() < 1_000_000
    writer.transport.resume_reading()
    got = 0
    while data := await asyncio.wait_for(reader.read(2**20), 20):
        got += data.count(b"HTTP/1.1 200")
    assert len(front.heads) == count + 1


async def test_what_is_pipelined_ahead_of_an_answer_stays_with_the_visitor(stage) -> None:
    async def origin(reader, writer) -> None:
        await reader.read()

    front = await stage(origin)
    _, writer = await front.connect()
    size = 32 * 1024 * 1024
    writer.write((b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * (size // 28 + 1))[:size])
    before = -1
    while (now := writer.transport.get_write_buffer_size()) != before:  # until nothing moves any more
        before = now
        await asyncio.sleep(0.2)
    assert now > size / 2


async def test_a_slow_visitor_leaves_no_connection_to_the_site_behind_that_nobody_reads(stage) -> None:
    front = await stage(ok(bytes(100_000)))
    _, writer = await front.connect(receive_buffer=8192)
    writer.transport.pause_reading()
    [connection] = await _connections(front)
    asked = 0
    while not connection.write_paused:
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        asked += 1
        await front.until_logged(asked)
    [server] = front.proxy.sites.servers
    assert server.idle == 1
    answer = await front.ask(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert len(split(answer)[2]) == 100_000
    assert server.idle == 1


async def _connections(front) -> list:
    await until(lambda: front.proxy.connections)
    return list(front.proxy.connections)


async def test_an_http_10_client_keeps_its_connection_only_if_it_asks_to(stage) -> None:
    front = await stage(ok())
    assert (await front.ask(b"GET / HTTP/1.0\r\n\r\n")).endswith(b"hello")
    answer = await front.ask(
        b"GET /1 HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\nGET /2 HTTP/1.0\r\nHost: a\r\n\r\n"
    )
    assert answer.count(b"Connection: keep-alive") == 1
    assert answer.count(b"hello") == 2
    assert front.heads[1].startswith(b"GET /1 HTTP/1.1\r\n")


# -- bounds


def request_of(total: int, *, begin: bytes = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n") -> bytes:
    """A request head of so many bytes, in fields that are not too long themselves."""
    head = begin
    while total - len(head) > 200:
        head += b"X: " + b"a" * 95 + b"\r\n"
    return head + b"Y: " + b"a" * (total - len(head) - 7) + b"\r\n\r\n"


@pytest.mark.parametrize(
    ("bound", "within", "above", "status"),
    [
        (
            {"max_target_bytes": 256},
            b"GET /%b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % (b"a" * 255),
            b"GET /%b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % (b"a" * 256),
            414,
        ),
        (
            {"max_field_bytes": 256},
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-A: %b\r\n\r\n" % (b"a" * 253),
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-A: %b\r\n\r\n" % (b"a" * 254),
            431,
        ),
        (
            {"max_fields": 8},
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" + b"X: a\r\n" * 6 + b"\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" + b"X: a\r\n" * 7 + b"\r\n",
            431,
        ),
        ({"max_head_bytes": 1024}, request_of(1024), request_of(1025), 431),
        # More than is read ahead of an answer, and more than arrives in one piece.
        ({"max_head_bytes": 300_000, "max_fields": 1000, "max_field_bytes": 1000}, None, None, 431),
    ],
    ids=["target", "field", "fields", "head", "large head"],
)
async def test_each_bound_holds_to_the_octet(stage, bound: dict, within: bytes, above: bytes, status: int) -> None:
    if within is None:
        padding = b"X: " + b"a" * 900 + b"\r\n"
        begin = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" + padding * 330
        within, above = request_of(300_000, begin=begin), request_of(300_001, begin=begin)
    front = await stage(ok(), **bound)
    for whole in (True, False):
        front.heads.clear()
        assert (await _ask(front, within, whole=whole)).startswith(b"HTTP/1.1 200 OK")
        assert len(front.heads) == 1
        assert (await _ask(front, above, whole=whole)).startswith(b"HTTP/1.1 %d " % status)
        assert len(front.heads) == 1


async def _ask(front, request: bytes, *, whole: bool) -> bytes:
    reader, writer = await front.connect()
    middle = len(request) if whole else len(request) // 2
    writer.write(request[:middle])
    await writer.drain()
    if not whole:
        await asyncio.sleep(0.05)
        writer.write(request[middle:])
    return await asyncio.wait_for(reader.read(), 20)


async def test_a_large_head_may_be_pipelined(stage) -> None:
    front = await stage(ok(), max_head_bytes=300_000, max_fields=1000)
    large = b"GET /2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" + (b"X: " + b"a" * 900 + b"\r\n") * 200
    reader, writer = await front.connect()
    writer.write(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n" + large)
    await front.until_logged()
    await asyncio.sleep(0.05)
    writer.write(b"\r\n")
    assert (await asyncio.wait_for(reader.read(), 10)).count(b"HTTP/1.1 200 OK") == 2


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_may_be_as_large_as_the_bound_and_no_larger(stage, chunked: bool) -> None:
    connections, whole = [], []

    async def origin(reader, writer) -> None:
        connections.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        whole.append(await (reader.readuntil(b"0\r\n\r\n") if chunked else reader.readexactly(1000)))
        writer.write(ok())

    def post(size: int) -> bytes:
        if not chunked:
            return b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % size + bytes(size)
        body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (bytes(600), bytes(size - 600)))
        return (
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
            + body
            + b"0\r\n\r\n"
        )

    front = await stage(origin, max_body_bytes=1000)
    assert (await front.ask(post(1000))).startswith(b"HTTP/1.1 200 OK")
    answer = await front.ask(post(1001))
    assert answer.startswith(b"HTTP/1.1 413 Content Too Large")
    assert b"Connection: close" in answer
    assert front.exchanges[1].refusal == "content_too_large"
    assert len(whole) == 1
    if not chunked:
        # What a Content-Length says is known before the site is asked.
        assert len(connections) == 1


async def test_a_body_too_large_is_refused_before_the_visitor_is_told_to_send_it(stage) -> None:
    front = await stage(ok(), max_body_bytes=1000)
    answer = await front.ask(b"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1001\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert front.heads == []


# -- slow visitors


async def test_a_head_that_trickles_has_as_long_as_any_other(stage) -> None:
    front = await stage(ok(), head_timeout_secs=0.3, idle_timeout_secs=3600)
    reader, writer = await front.connect()
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n")
    answer = asyncio.create_task(reader.read())
    while not answer.done():
        writer.write(b"X")
        await asyncio.sleep(0.02)
    assert answer.result().startswith(b"HTTP/1.1 408 Request Timeout")
    assert front.exchanges[0].ended_by == "client"


async def uploading(front, *, length: int = 1_000_000) -> tuple:
    """A visitor in the middle of an upload: reader, writer, and the proxy's side of it."""
    reader, writer = await front.connect()
    writer.write(
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % length + bytes(1000)
    )
    await until(lambda: front.proxy.uploads)
    [connection] = front.proxy.uploads
    return reader, writer, connection


async def test_a_slow_upload_ends_with_408(stage, monkeypatch: pytest.MonkeyPatch) -> None:
    async def origin(reader, writer) -> None:
        await reader.read()

    monkeypatch.setattr("proxy.http1.SLOW_UPLOAD_SECS", 0.3)
    front = await stage(origin, min_upload_bytes_per_sec=1_000_000)
    reader, writer, _ = await uploading(front)
    answer = asyncio.create_task(reader.read())
    while not answer.done():
        writer.write(b"X")
        await asyncio.sleep(0.02)
    assert answer.result().startswith(b"HTTP/1.1 408 Request Timeout")
    [exchange] = front.exchanges
    assert (exchange.refusal, exchange.ended_by) == ("request_timeout", "client")
    assert front.proxy.uploads == set()


async def test_an_upload_is_slow_on_average_and_not_before_its_time(stage) -> None:
    async def origin(reader, writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(20_000)
        writer.write(ok())

    front = await stage(origin, min_upload_bytes_per_sec=500)
    reader, writer, connection = await uploading(front, length=20_000)
    connection.waited_for_upload(20)  # nothing is said of the first 20 seconds
    writer.write(bytes(9000))
    await until(lambda: connection.uploaded_bytes == 10_000)
    connection.waited_for_upload(-connection.upload_waited_secs + 20)
    writer.write(bytes(10_000))
    assert split(await reader.read())[2] == b"hello"


async def test_a_visitor_whom_the_site_keeps_waiting_is_not_slow(stage) -> None:
    go_on = asyncio.Event()
    size = 32 * 1024 * 1024

    async def origin(reader, writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await go_on.wait()
        left = size
        while left:
            left -= len(await reader.read(2**20))
        writer.write(ok())

    front = await stage(origin, min_upload_bytes_per_sec=1_000_000_000)
    reader, writer, connection = await uploading(front, length=size)
    writer.write(bytes(size - 1000))
    before = -1
    while connection.uploaded_bytes != before:  # until nothing moves any more, because the site does not read
        before = connection.uploaded_bytes
        await asyncio.sleep(0.2)
    assert before < size
    waited = connection.upload_waited_secs
    connection.waited_for_upload(3600)
    assert connection.upload_waited_secs == waited
    go_on.set()
    assert split(await asyncio.wait_for(reader.read(), 30))[2] == b"hello"


async def test_without_a_least_speed_an_upload_may_be_as_slow_as_it_likes(stage, monkeypatch) -> None:
    async def origin(reader, writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(ok(await reader.readexactly(1001)))

    monkeypatch.setattr("proxy.http1.SLOW_UPLOAD_SECS", 0.05)
    front = await stage(origin, min_upload_bytes_per_sec=0)
    reader, writer, _ = await uploading(front, length=1001)
    await asyncio.sleep(0.3)
    writer.write(b"X")
    assert split(await reader.read())[0] == b"HTTP/1.1 200 OK"


# -- a final answer in place of a 100, and a switch that does not come


@pytest.mark.parametrize("answer", [b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n", ok()])
async def test_a_site_may_answer_without_a_100(stage, answer: bytes) -> None:
    async def origin(reader, writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await reader.read()

    front = await stage(origin)
    raw = await front.ask(b"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
    assert raw.startswith(answer.partition(b"\r\n")[0])
    assert b"Connection: close" in raw


async def test_a_visitor_who_waits_for_no_100_gets_it_and_the_answer(stage) -> None:
    async def origin(reader, writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        writer.write(ok(await reader.readexactly(4)))

    front = await stage(origin)
    raw = await front.ask(
        b"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody"
    )
    assert raw.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
    assert raw.endswith(b"body")


async def test_a_switch_that_does_not_come_leaves_an_ordinary_connection(stage) -> None:
    front = await stage(ok())
    answer = await front.ask(
        b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        b"POST /form HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
    assert answer.count(b"HTTP/1.1 200 OK") == 2
    assert b"Upgrade: websocket" in front.heads[0]
    assert b"Upgrade" not in front.heads[1]
    assert [exchange.upgraded for exchange in front.exchanges] == [False, False]


# -- half-closed


async def test_a_half_closed_visitor_gets_all_answers_to_what_was_pipelined(stage) -> None:
    front = await stage(ok())
    reader, writer = await front.connect()
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 3)
    writer.write_eof()
    assert (await asyncio.wait_for(reader.read(), 10)).count(b"hello") == 3


async def test_a_half_closed_visitor_is_not_waited_for_much_longer(stage, monkeypatch: pytest.MonkeyPatch) -> None:
    async def origin(reader, writer) -> None:
        await reader.read()

    monkeypatch.setattr("proxy.http1.HALF_CLOSED_SECS", 0.1)
    front = await stage(origin)
    reader, writer = await front.connect()
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    writer.write_eof()
    with contextlib.suppress(ConnectionError):
        assert await asyncio.wait_for(reader.read(), 10) == b""
    [exchange] = await front.until_logged()
    assert (exchange.status, exchange.ended_by) == (499, "client")


async def test_an_upload_that_ends_with_the_connection_is_no_request(stage) -> None:
    whole = asyncio.get_running_loop().create_future()

    begun = asyncio.Event()

    async def origin(reader, writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        begun.set()
        try:
            whole.set_result(await reader.readuntil(b"0\r\n\r\n"))
        except (asyncio.IncompleteReadError, ConnectionError):
            whole.set_result(None)

    front = await stage(origin)
    _, writer = await front.connect()
    writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
    await begun.wait()
    writer.write_eof()
    assert await asyncio.wait_for(whole, 10) is None
    [exchange] = await front.until_logged()
    assert (exchange.status, exchange.ended_by) == (499, "client")


@pytest.mark.parametrize(
    "rest", [b"GET / HTTP/1.1\r\nHos", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf"]
)
async def test_half_a_request_of_a_visitor_who_sends_no_more_is_not_waited_for(stage, rest: bytes) -> None:
    front = await stage(ok())  # where all limits are a minute and more
    reader, writer = await front.connect()
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" + rest)
    writer.write_eof()
    answer = await asyncio.wait_for(reader.read(), 10)
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert len(front.heads) == 1
