"""One exchange from head to end, with a real origin and a raw client."""

from __future__ import annotations

import asyncio
import socket
import time
from email.utils import parsedate_to_datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.server import Proxy
from proxy.settings import ProxySettings, SiteSettings
from tests.proxy.conftest import Watcher, ok, split, until, value_of

pytestmark = pytest.mark.usefixtures("brisk")

GET = b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


async def test_the_answer_arrives_as_the_origin_sent_it(stage) -> None:
    front = await stage(ok(b"hello", b"X-B: 1", b"x-a: caf\xe9", b"Set-Cookie: a=1", b"Set-Cookie: b=2", b"Date: D"))
    status, fields, body = split(await front.ask(GET))
    assert (status, body) == (b"HTTP/1.1 200 OK", b"hello")
    assert fields == [
        (b"Content-Length", b"5"), (b"X-B", b"1"), (b"x-a", b"caf\xe9"), (b"Set-Cookie", b"a=1"),
        (b"Set-Cookie", b"b=2"), (b"Date", b"D"), (b"Connection", b"close"),
    ]  # fmt: skip
    [exchange] = front.exchanges
    assert (exchange.status, exchange.response_bytes, exchange.ended_by, exchange.seq) == (200, 5, None, 1)
    assert exchange.wait_ns >= 0
    assert exchange.ended_ns >= exchange.started_ns


async def test_hop_by_hop_fields_of_the_origin_stay_behind(stage) -> None:
    front = await stage(
        ok(b"x", b"Connection: keep-alive, X-Hop", b"X-Hop: 1", b"Keep-Alive: timeout=5", b"Upgrade: h2c")
    )
    _, fields, _ = split(await front.ask(GET))
    assert {name.lower() for name, _ in fields} == {b"content-length", b"date", b"connection"}


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\n\r\nhello", b"5\r\nhello\r\n0\r\n\r\n"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b""),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n", b""),
    ],
)
async def test_every_framing_of_an_answer_ends_where_it_should(stage, answer: bytes, body: bytes) -> None:
    async def origin(reader, writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)

    front = await stage(origin)
    raw = await front.ask(GET)
    assert raw.startswith(b"HTTP/1.1 " + answer[9:12])
    assert split(raw)[2] == body
    [exchange] = front.exchanges
    assert exchange.ended_by is None


async def test_an_answer_to_head_has_no_body_and_the_next_request_is_served(stage) -> None:
    async def origin(reader, writer) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + (b"" if head[:4] == b"HEAD" else b"hello"))

    front = await stage(origin)
    raw = await front.ask(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    first, _, rest = raw.partition(b"\r\n\r\n")
    assert b"Content-Length: 5" in first
    assert split(rest)[2] == b"hello"


async def test_an_http_10_client_gets_no_chunks_and_may_keep_its_connection(stage) -> None:
    front = await stage(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
    _, fields, body = split(await front.ask(b"GET / HTTP/1.0\r\n\r\n"))
    assert body == b"hello"
    assert value_of(fields, b"transfer-encoding") is None
    front = await stage(ok())
    reader, writer = await front.connect()
    for _ in range(2):
        writer.write(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"Connection: keep-alive" in head
        assert await reader.readexactly(5) == b"hello"
    writer.close()


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_large_upload_reaches_the_origin_whole(stage, chunked: bool) -> None:
    body = bytes(range(256)) * 12_000
    got = bytearray()

    async def origin(reader, writer) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if chunked:
            assert b"Transfer-Encoding: chunked" in head
            while size := int(await reader.readline(), 16):
                got.extend(await reader.readexactly(size))
                await reader.readexactly(2)
            await reader.readexactly(2)
        else:
            got.extend(await reader.readexactly(len(body)))
        writer.write(ok(b"%d" % len(got)))

    front = await stage(origin)
    reader, writer = await front.connect()
    if chunked:
        writer.write(b"POST /u HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n")
        for start in range(0, len(body), 50_000):
            piece = body[start : start + 50_000]
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await writer.drain()
        writer.write(b"0\r\n\r\n")
    else:
        writer.write(b"POST /u HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body))
        writer.write(body)
    assert split(await reader.read())[2] == b"%d" % len(body)
    assert got == body
    writer.close()
    assert front.exchanges[0].request_bytes == len(body)


async def test_a_large_download_to_a_slow_visitor_is_held_back_not_held_in_memory(stage) -> None:
    size, sent = 64 * 1024 * 1024, 0

    async def origin(reader, writer) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        while sent < size:
            writer.write(bytes(65536))
            await writer.drain()
            sent += 65536

    front = await stage(origin)
    reader, writer = await front.connect()
    reader._limit = 2**16
    writer.write(GET)
    await reader.readuntil(b"\r\n\r\n")
    before = -1
    while sent != before:  # until nothing moves any more, because nobody reads
        before = sent
        await asyncio.sleep(0.3)
    assert sent < size / 2
    got = 0
    while data := await reader.read(2**20):
        got += len(data)
    assert got == size
    writer.close()


async def test_the_head_of_an_answer_does_not_wait_for_its_body(stage) -> None:
    go_on = asyncio.Event()

    async def origin(reader, writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        await go_on.wait()
        writer.write(b"data: 1\n\n")

    front = await stage(origin)
    reader, writer = await front.connect()
    writer.write(GET)
    assert b"text/event-stream" in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    go_on.set()
    assert await reader.read() == b"9\r\ndata: 1\n\n\r\n0\r\n\r\n"
    writer.close()


async def test_interim_answers_go_on_to_a_11_client_only(stage) -> None:
    front = await stage(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" + ok())
    assert (await front.ask(GET)).startswith(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\n")
    assert (await front.ask(b"GET / HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_expect_100_continue_is_the_origins_to_answer(stage) -> None:
    async def origin(reader, writer) -> None:
        assert b"Expect: 100-continue" in await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        writer.write(ok(await reader.readexactly(4)))

    front = await stage(origin)
    reader, writer = await front.connect()
    writer.write(b"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\nConnection: close\r\n\r\n")
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"body")
    assert split(await reader.read())[2] == b"body"
    writer.close()


async def test_an_early_answer_reaches_a_visitor_who_is_still_sending(stage) -> None:
    async def origin(reader, writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    front = await stage(origin)
    reader, writer = await front.connect()
    writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n" + bytes(1000))
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 413")
    assert b"Connection: close" in head
    writer.close()


# -- when the upstream fails


async def test_a_site_that_is_down_is_answered_with_502_and_logged(stage) -> None:
    front = await stage(None)
    status, fields, body = split(await front.ask(GET))
    assert status == b"HTTP/1.1 502 Bad Gateway"
    assert value_of(fields, b"cache-control") == b"no-store"
    assert value_of(fields, b"content-length") == b"%d" % len(body)
    [exchange] = front.exchanges
    assert (exchange.status, exchange.refusal, exchange.ended_by) == (502, "upstream_down", "upstream")


async def test_a_site_that_does_not_answer_is_answered_with_504(stage) -> None:
    async def origin(reader, writer) -> None:
        await reader.read()

    front = await stage(origin, response_timeout_secs=0.2)
    assert (await front.ask(GET)).startswith(b"HTTP/1.1 504 Gateway Timeout")
    assert front.exchanges[0].refusal == "upstream_slow"


@pytest.mark.parametrize(
    "answer",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        b"HTTP/1.1 200 OK\r\nBad Name: x\r\nContent-Length: 1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 1\r\n\r\nx",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    ],
)
async def test_an_answer_that_cannot_be_understood_becomes_502(stage, answer: bytes) -> None:
    front = await stage(answer)
    assert (await front.ask(GET)).startswith(b"HTTP/1.1 502 Bad Gateway")
    assert front.exchanges[0].refusal == "upstream_invalid"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ],
)
async def test_a_truncated_answer_ends_as_an_abort_never_cleanly(stage, answer: bytes) -> None:
    async def origin(reader, writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)

    front = await stage(origin)
    reader, writer = await front.connect()
    writer.write(GET)
    with pytest.raises(ConnectionResetError):
        while await reader.read(1000):
            pass
    writer.close()
    [exchange] = await front.until_logged()
    assert (exchange.status, exchange.ended_by, exchange.refusal) == (200, "upstream", "upstream_closed")


async def test_octets_after_an_answer_never_answer_the_next_visitor(stage) -> None:
    front = await stage(ok(b"hello") + b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstolen")
    for _ in range(3):
        assert split(await front.ask(GET))[2] == b"hello"


async def closing_origin(stage, **settings):
    """An origin that closes each connection when it gets its second request, without an answer."""
    counts = {"connections": 0, "requests": 0}

    async def origin(reader, writer) -> None:
        counts["connections"] += 1
        await reader.readuntil(b"\r\n\r\n")
        counts["requests"] += 1
        writer.write(ok())
        await reader.readuntil(b"\r\n\r\n")
        counts["requests"] += 1

    return await stage(origin, **settings), counts


async def test_a_get_lost_on_an_old_connection_is_sent_once_more(stage) -> None:
    front, counts = await closing_origin(stage)
    await front.ask(GET)
    assert split(await front.ask(GET))[2] == b"hello"
    assert counts == {"connections": 2, "requests": 3}
    assert [exchange.retries for exchange in front.exchanges] == [0, 1]


async def test_a_post_is_never_sent_twice(stage) -> None:
    front, counts = await closing_origin(stage)
    await front.ask(GET)
    answer = await front.ask(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 502 Bad Gateway")
    assert counts["requests"] == 2


async def test_a_get_lost_on_a_fresh_connection_is_not_sent_again(stage) -> None:
    requests = 0

    async def origin(reader, writer) -> None:
        nonlocal requests
        await reader.readuntil(b"\r\n\r\n")
        requests += 1

    front = await stage(origin)
    assert (await front.ask(GET)).startswith(b"HTTP/1.1 502 Bad Gateway")
    assert requests == 1


# -- when the visitor leaves


async def test_a_visitor_who_leaves_frees_the_upstream_and_is_logged_as_499(stage) -> None:
    freed = asyncio.Event()

    async def origin(reader, writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.read()
        freed.set()

    front = await stage(origin)
    _, writer = await front.connect()
    writer.write(GET)
    await asyncio.sleep(0.1)
    writer.transport.abort()
    await asyncio.wait_for(freed.wait(), 10)
    [exchange] = await front.until_logged()
    assert (exchange.status, exchange.ended_by) == (499, "client")


async def test_a_visitor_who_leaves_during_an_upload_leaves_no_complete_request_behind(stage) -> None:
    rest = asyncio.get_running_loop().create_future()

    async def origin(reader, writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        try:
            await reader.readexactly(100)
            rest.set_result("complete")
        except (asyncio.IncompleteReadError, ConnectionError):
            rest.set_result("cut")

    front = await stage(origin)
    _, writer = await front.connect()
    writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf of it")
    await asyncio.sleep(0.1)
    writer.close()
    assert await asyncio.wait_for(rest, 10) == "cut"
    [exchange] = await front.until_logged()
    assert (exchange.status, exchange.ended_by) == (499, "client")


async def test_a_half_closed_visitor_still_gets_the_answer(stage) -> None:
    async def origin(reader, writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.2)
        writer.write(ok())

    front = await stage(origin)
    reader, writer = await front.connect()
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    writer.write_eof()
    assert split(await reader.read())[2] == b"hello"
    writer.close()


async def test_a_visitor_who_stops_reading_is_given_up(stage) -> None:
    async def origin(reader, writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        while True:
            writer.write(bytes(65536))
            await writer.drain()

    front = await stage(origin, stall_timeout_secs=0.3)
    _, writer = await front.connect()
    writer.transport.pause_reading()
    writer.write(GET)
    [exchange] = await front.until_logged()
    assert exchange.ended_by == "client"
    writer.close()


# -- the observer


class Copy:
    def __init__(self, *, gate: asyncio.Future[None] | None = None, wants: int = 10**9) -> None:
        self.body = bytearray()
        self.completed_with: int | None = None
        self._gate = gate
        self._wants = wants

    def feed(self, chunk: bytes) -> bool:
        self.body += chunk
        return len(self.body) < self._wants

    def complete(self, exchange) -> asyncio.Future[None] | None:
        self.completed_with = len(self.body)
        return self._gate


async def test_the_end_of_a_request_waits_until_its_copy_is_safe(stage) -> None:
    gate = asyncio.get_running_loop().create_future()
    copy = Copy(gate=gate)
    arrived = asyncio.Event()

    async def origin(reader, writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        assert await reader.readexactly(9) == b"name=Lena"
        arrived.set()
        writer.write(ok())

    front = await stage(origin)
    front.watcher.on_request = lambda exchange: setattr(exchange, "request_copy", copy)
    _, writer = await front.connect()
    reader, writer = await front.connect()
    writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nConnection: close\r\n\r\nname=")
    await asyncio.sleep(0.05)
    writer.write(b"Lena")
    await asyncio.sleep(0.2)
    assert copy.completed_with == 9
    assert not arrived.is_set()
    gate.set_result(None)
    assert split(await reader.read())[2] == b"hello"
    assert copy.body == b"name=Lena"
    writer.close()


async def test_the_end_of_an_answer_waits_until_its_copy_is_safe(stage) -> None:
    gate = asyncio.get_running_loop().create_future()
    copy = Copy(gate=gate)
    front = await stage(ok(b"thank you"))
    front.watcher.on_request = lambda exchange: setattr(exchange, "response_copy", copy)
    reader, writer = await front.connect()
    writer.write(GET)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(), 0.3)
    assert copy.body == b"thank you"
    assert front.exchanges == []
    gate.set_result(None)
    assert split(await reader.read())[2] == b"thank you"
    writer.close()


async def test_a_copy_is_complete_also_for_an_answer_without_a_body(stage) -> None:
    copy = Copy()
    front = await stage(b"HTTP/1.1 303 See Other\r\nLocation: /danke\r\nContent-Length: 0\r\n\r\n")
    front.watcher.on_request = lambda exchange: setattr(exchange, "response_copy", copy)
    await front.ask(GET)
    assert copy.completed_with == 0


async def test_a_copy_that_wants_no_more_gets_no_more_and_is_not_completed(stage) -> None:
    copy = Copy(wants=3)
    front = await stage(ok(b"hello"))
    front.watcher.on_request = lambda exchange: setattr(exchange, "response_copy", copy)
    assert split(await front.ask(GET))[2] == b"hello"
    assert copy.completed_with is None


async def test_an_observer_that_raises_never_reaches_the_visitor(stage) -> None:
    class Broken:
        def feed(self, chunk: bytes) -> bool:
            raise ValueError("feed")

        def complete(self, exchange) -> None:
            raise ValueError("complete")

    def explode(exchange):
        exchange.response_copy = Broken()
        raise RuntimeError("on purpose")

    front = await stage(ok())
    front.watcher.on_request = explode
    front.watcher.on_response = explode
    front.watcher.finished = explode
    assert split(await front.ask(GET))[2] == b"hello"
    assert front.proxy.observer_errors == 4


async def test_the_observer_adds_fields_and_the_record_is_written_before_the_answer_ends(stage) -> None:
    front = await stage(ok())
    front.watcher.on_response = lambda exchange: [(b"Set-Cookie", b"ropo_id=1")]
    status, fields, body = split(await front.ask(GET))
    assert value_of(fields, b"set-cookie") == b"ropo_id=1"
    assert body == b"hello"
    assert len(front.exchanges) == 1


# -- heads that are remembered


FIELDS = b" HTTP/1.1\r\nHost: a\r\nX: 1\r\n\r\n"


async def test_equal_fields_with_another_method_or_target_are_another_request(stage) -> None:
    async def origin(reader, writer) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            first = head.partition(b" HTTP/1.1")[0]
            writer.write(
                ok(first) if not first.startswith(b"HEAD") else ok(first).partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
            )

    front = await stage(origin)
    for _ in range(2):
        reader, writer = await front.connect()
        for first in (b"GET /a", b"GET /b?c", b"HEAD /a", b"DELETE /a", b"GET /a", b"OPTIONS *", b"GET http://b/x"):
            writer.write(first + FIELDS)
            head = await reader.readuntil(b"\r\n\r\n")
            seen = first.replace(b"http://b", b"")
            assert b"Content-Length: %d\r\n" % len(seen) in head
            if not first.startswith(b"HEAD"):
                assert await reader.readexactly(len(seen)) == seen
    assert [exchange.method for exchange in front.exchanges[:4]] == ["GET", "GET", "HEAD", "DELETE"]
    assert front.exchanges[-2].head is front.exchanges[-3].head
    # RFC 9112 3.2.2: the target's authority is the Host, and that changes no other request with these fields.
    assert [exchange.get(b"host") for exchange in front.exchanges[-3:]] == ["a", "a", "b"]


async def test_what_the_observer_asks_for_holds_for_its_own_request_only(stage) -> None:
    front = await stage(ok())
    front.watcher.on_request = lambda exchange: setattr(
        exchange, "upstream_fields", {b"x-visitor": b"%d" % exchange.seq} if exchange.seq < 3 else {}
    )
    front.watcher.on_response = lambda exchange: (
        [(b"Set-Cookie", b"id=%d" % exchange.seq)] if exchange.seq < 3 else None
    )
    answers = [await front.ask(GET) for _ in range(3)]
    assert [b"x-visitor: %d" % seq in head for seq, head in enumerate(front.heads, 1)] == [True, True, False]
    assert [value_of(split(answer)[1], b"set-cookie") for answer in answers] == [b"id=1", b"id=2", None]


async def test_the_date_of_an_answer_is_its_own_although_its_head_is_remembered(stage) -> None:
    dates = iter(b"Sun, 06 Nov 1994 08:49:%02d GMT" % second for second in range(10, 20))
    told: list[bytes] = []

    async def origin(reader, writer) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            told.append(next(dates))
            writer.write(ok(b"hello", b"Date: " + told[-1], b"Set-Cookie: b=2", b"X: 1", b"Set-Cookie: a=1"))

    front = await stage(origin)
    for _ in range(4):
        _, fields, body = split(await front.ask(GET))
        assert body == b"hello"
        assert fields == [
            (b"Content-Length", b"5"), (b"Date", told[-1]), (b"Set-Cookie", b"b=2"), (b"X", b"1"),
            (b"Set-Cookie", b"a=1"), (b"Connection", b"close"),
        ]  # fmt: skip
    assert [exchange.date for exchange in front.exchanges] == told
    assert front.exchanges[2].answer is front.exchanges[3].answer
    assert front.exchanges[0].response_fields[1] == (b"Date", told[0])


async def test_an_origin_without_a_clock_gets_a_date_that_is_now(stage) -> None:
    front = await stage(ok())
    date = value_of(split(await front.ask(GET))[1], b"date")
    assert abs(parsedate_to_datetime(date.decode()).timestamp() - time.time()) < 60


async def test_a_remembered_answer_is_framed_for_whom_it_is_sent_to(stage) -> None:
    async def origin(reader, writer) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            body = b"" if head.startswith(b"HEAD") else b"5\r\nhello\r\n0\r\n\r\n"
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body)

    front = await stage(origin)
    for _ in range(2):
        assert split(await front.ask(GET))[2] == b"5\r\nhello\r\n0\r\n\r\n"
        assert split(await front.ask(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n"))[2] == b"hello"
        assert split(await front.ask(GET.replace(b"GET", b"HEAD")))[2] == b""


# -- several sites, several servers


async def test_each_site_has_its_own_origin(stage, site_server) -> None:
    shop, _ = await site_server(ok(b"shop"))
    any_blog, _ = await site_server(ok(b"blog"))
    front = await stage(
        ok(b"default"),
        sites=[
            SiteSettings(hosts=["shop.example", "www.shop.example"], upstream=shop),
            SiteSettings(hosts=["*.blog.example"], upstream=any_blog, host="upstream"),
        ],
    )
    reader, writer = await front.connect()
    for start, host, body in (
        (b"GET /", b"shop.example", b"shop"),
        (b"GET /", b"WWW.shop.example:8080", b"shop"),
        (b"GET /", b"lena.blog.example", b"blog"),
        (b"GET /", b"blog.example", b"default"),
        (b"GET /", b"192.0.2.1", b"default"),
        (b"GET http://shop.example/", b"lena.blog.example", b"shop"),  # the target's authority counts, not Host's
    ):
        writer.write(start + b" HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        assert await reader.readexactly(len(body)) == body
    assert (await front.ask(b"GET / HTTP/1.0\r\n\r\n")).endswith(b"default")
    assert front.heads[-1].split(b"\r\n")[1].startswith(b"Host: 127.0.0.1:")


async def test_a_site_may_be_told_its_own_address_as_host(stage, site_server) -> None:
    url, heads = await site_server(ok())
    front = await stage(None, sites=[SiteSettings(hosts=["a"], upstream=url, host="upstream")])
    await front.ask(GET)
    assert heads[0].split(b"\r\n")[1] == b"Host: " + url.removeprefix("http://").encode()


POST = b"POST /form HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nConnection: close\r\n\r\nname=Lena"


@pytest.mark.parametrize(
    "request_bytes",
    [
        GET,
        POST,
        POST.replace(b"Content-Length: 9", b"Transfer-Encoding: chunked").replace(b"name=", b"9\r\nname=")
        + b"\r\n0\r\n\r\n",
    ],
    ids=["get", "post", "chunked post"],
)
async def test_a_server_that_cannot_be_reached_costs_nobody_a_request(stage, site_server, request_bytes: bytes) -> None:
    got: list[bytes] = []

    async def origin(reader, writer) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        got.append(b"" if head.startswith(b"GET") else await reader.readuntil(b"Lena"))
        writer.write(ok())

    dead, _ = await site_server(None)
    alive, _ = await site_server(origin)
    front = await stage(None, upstream=[dead, alive])
    for _ in range(4):
        assert split(await front.ask(request_bytes))[2] == b"hello"
    assert len(got) == 4
    [server, other] = front.proxy.sites.servers
    assert sum(exchange.retries for exchange in front.exchanges) == server.failures_total > 0
    assert (other.failures_total, server.running, other.running) == (0, 0, 0)


async def test_the_load_of_a_server_that_is_down_is_shared_by_all_others(stage, site_server) -> None:
    dead, _ = await site_server(None)
    one, first = await site_server(ok())
    two, second = await site_server(ok())
    front = await stage(None, upstream=[dead, one, two], upstream_failures=1000)
    for _ in range(12):
        assert split(await front.ask(GET))[2] == b"hello"
    assert min(len(first), len(second)) >= 4


async def test_a_server_that_rests_is_asked_once_and_then_used_again(stage, site_server) -> None:
    async def sulks(reader, writer) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            asked.append(None)
            if len(asked) == 1:
                return
            writer.write(ok(b"again"))

    asked: list[None] = []
    sulking, _ = await site_server(sulks)
    alive, _ = await site_server(ok())
    front = await stage(None, upstream=[sulking, alive], upstream_failures=1, upstream_rest_secs=0.3)
    assert (await front.ask(GET)).startswith(b"HTTP/1.1 502")
    assert [split(await front.ask(GET))[2] for _ in range(4)] == [b"hello"] * 4
    assert [server.state for server in front.proxy.sites.servers] == ["resting", "up"]
    await asyncio.sleep(0.35)
    answers = [split(await front.ask(GET))[2] for _ in range(4)]
    assert answers.count(b"again") == 2
    assert [server.state for server in front.proxy.sites.servers] == ["up", "up"]


async def test_only_when_no_server_can_be_reached_the_visitor_hears_of_it(stage, site_server) -> None:
    dead = [(await site_server(None))[0] for _ in range(3)]
    front = await stage(None, upstream=dead)
    assert (await front.ask(POST)).startswith(b"HTTP/1.1 502 Bad Gateway")
    [exchange] = front.exchanges
    assert (exchange.refusal, exchange.retries) == ("upstream_down", 2)


async def test_a_post_that_may_have_arrived_goes_to_no_other_server(stage, site_server) -> None:
    async def hangs_up(reader, writer) -> None:
        await reader.readuntil(b"Lena")

    one, _ = await site_server(hangs_up)
    two, heads = await site_server(ok())
    front = await stage(None, upstream=[one, two])
    assert (await front.ask(POST)).startswith(b"HTTP/1.1 502 Bad Gateway")
    assert heads == []


async def test_requests_that_run_are_counted_until_each_of_their_ends(stage) -> None:
    go_on = asyncio.Event()

    async def origin(reader, writer) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        await go_on.wait()
        if head.startswith(b"GET /ok"):
            writer.write(ok())
        elif head.startswith(b"GET /cut"):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        elif head.startswith(b"GET /ws"):
            writer.write(b"HTTP/1.1 101 X\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")
        elif head.startswith(b"GET /bad"):
            writer.write(b"nonsense\r\n\r\n")

    front = await stage(origin)
    [server] = front.proxy.sites.servers
    visitors = []
    for path in (b"ok", b"cut", b"ws", b"bad", b"lost", b"gone"):
        reader, writer = await front.connect()
        writer.write(b"GET /%b HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n" % path)
        visitors.append(writer)
    await until(lambda: server.running == 6)
    visitors[-1].transport.abort()
    await until(lambda: server.running == 5)
    go_on.set()
    await front.until_logged(6)
    assert server.running == 0


@given(cuts=st.lists(st.integers(1, 400), max_size=12), pause=st.booleans())
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_split_of_the_bytes_gives_the_same_exchange(cuts: list[int], pause: bool) -> None:
    """A request cut anywhere, to an origin that cuts its answer anywhere."""
    request = (
        b"POST /p?a=%41 HTTP/1.1\r\nHost: shop.example\r\nX-Long: "
        + b"y" * 150
        + b"\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n"
    )
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: 1\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    asyncio.run(_split_run(request, answer, cuts, pause))


async def _split_run(request: bytes, answer: bytes, cuts: list[int], pause: bool) -> None:
    got: list[bytes] = []

    async def origin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await reader.readuntil(b"\r\n\r\n"))
        body = b""
        while size := int(await reader.readline(), 16):
            body += await reader.readexactly(size)
            await reader.readexactly(2)
        got.append(body)
        await reader.readexactly(2)
        for piece in pieces(answer, cuts):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.001 if pause else 0)
        writer.close()

    server = await asyncio.start_server(origin, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    watcher = Watcher()
    loop = asyncio.get_running_loop()
    front = Proxy(ProxySettings(upstream=f"http://127.0.0.1:{port}", stop_timeout_secs=1), watcher, loop)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    await front.start(listener)
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    for piece in pieces(request, cuts):
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0.001 if pause else 0)
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
    assert head.startswith(b"HTTP/1.1 200 OK\r\nX: 1\r\n")
    body = b""
    while size := int(await asyncio.wait_for(reader.readline(), 20), 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    assert body == b"abcde"
    assert got[1] == b"hello world"
    assert got[0].startswith(b"POST /p?a=%41 HTTP/1.1\r\nHost: shop.example\r\nX-Long: yyy")
    [exchange] = watcher.finished_exchanges
    assert (exchange.request_bytes, exchange.response_bytes, exchange.status) == (11, 5, 200)
    writer.close()
    await front.stop()
    server.close()


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % len(data) for cut in cuts} | {0, len(data)})
    return [data[a:b] for a, b in zip(places, places[1:], strict=False)]


async def test_a_visitor_who_waits_for_the_sites_100_is_not_the_slow_one(stage, brisk) -> None:
    async def origin(reader, writer) -> None:
        await reader.read()

    front = await stage(origin, response_timeout_secs=0.3, stall_timeout_secs=0.1)
    request = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    assert b"504 Gateway" in await front.ask(request)
    [exchange] = front.exchanges
    assert (exchange.ended_by, exchange.refusal) == ("upstream", "upstream_slow")


async def test_what_the_observer_took_away_does_not_come_back_as_a_trailer(stage) -> None:
    async def origin(reader, writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        ended = await reader.readuntil(b"\r\n\r\n")
        writer.write(ok(ended))

    front = await stage(origin)
    front.watcher.on_request = lambda exchange: setattr(exchange, "upstream_fields", {b"x-ropo-visitor": b"v1"})
    answer = await front.ask(
        b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"1\r\nx\r\n0\r\nX-Ropo-Visitor: forged\r\nX_Ropo_Visitor: forged\r\nX-Sum: 1\r\n\r\n"
    )
    assert b"X-Sum: 1" in answer
    assert b"forged" not in answer


async def test_a_visitor_who_leaves_a_silent_answer_frees_the_upstream(stage, monkeypatch) -> None:
    monkeypatch.setattr("proxy.http1.HALF_CLOSED_SECS", 0.05)
    monkeypatch.setattr("proxy.http1.HALF_CLOSED_ANSWERING_SECS", 0.1)
    freed = asyncio.Event()

    async def origin(reader, writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        assert await reader.read() == b""
        freed.set()

    front = await stage(origin)
    reader, writer = await front.connect()
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    await reader.readuntil(b"data: 1")
    writer.write_eof()
    await asyncio.wait_for(freed.wait(), 10)
    [exchange] = await front.until_logged()
    assert (exchange.status, exchange.ended_by) == (200, "client")


async def test_a_half_closed_visitor_gets_an_answer_that_takes_its_time_but_runs(stage, monkeypatch) -> None:
    monkeypatch.setattr("proxy.http1.HALF_CLOSED_SECS", 0.05)
    monkeypatch.setattr("proxy.http1.HALF_CLOSED_ANSWERING_SECS", 0.2)

    async def origin(reader, writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n")
        for _ in range(8):
            await asyncio.sleep(0.06)
            writer.write(b"x")

    front = await stage(origin)
    reader, writer = await front.connect()
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    writer.write_eof()
    assert (await asyncio.wait_for(reader.read(), 10)).endswith(b"xxxxxxxx")
