"""One request over HTTP/2 and its answer: heads, bodies, backpressure, and how a stream may end."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable

import pytest

from proxy import http2_stream
from proxy.http2_engine import STREAM_WINDOW
from proxy.http2_frames import Code
from proxy.http2_stream import HELD_BACK_AT
from tests.proxy.conftest import ok, until

pytestmark = pytest.mark.usefixtures("brisk")

Build = Callable[..., Awaitable[tuple]]
# What one read of uvloop may bring.
ONE_READ = 256_000


async def test_a_request_reaches_the_site_as_http_1_and_the_answer_comes_back(http2_stage: Build):
    stage, visit = await http2_stage(ok(b"hello", b"X-A: 1", b"Connection: keep-alive", b"Keep-Alive: timeout=5"))
    client = await visit()
    answer = await client.answer(
        client.ask(b"/a?b", [(b"cookie", b"a=1"), (b"cookie", b"b=2"), (b"x-forwarded-for", b"6.6.6.6")])
    )
    assert (answer.status, bytes(answer.body), answer.ended) == (200, b"hello", True)
    assert answer.values[b"x-a"] == b"1" and answer.values[b"content-length"] == b"5" and b"date" in answer.values
    assert not {b"connection", b"keep-alive", b"transfer-encoding"} & set(answer.values)
    head = stage.heads[0]
    assert head.startswith(b"GET /a?b HTTP/1.1\r\nHost: localhost\r\n")
    assert b"cookie: a=1; b=2\r\n" in head and b"X-Forwarded-Proto: https" in head and b"6.6.6.6" not in head
    [exchange] = await stage.until_logged()
    assert (exchange.seq, exchange.method, exchange.target, exchange.status) == (1, "GET", "/a?b", 200)
    assert (exchange.scheme, exchange.ended_by, exchange.response_bytes) == ("https", None, 5)


async def test_what_the_observer_adds_is_in_the_answer(http2_stage: Build):
    stage, visit = await http2_stage(ok())
    stage.watcher.on_response = lambda exchange: [(b"Set-Cookie", b"ropo_id=1")]
    client = await visit()
    assert (await client.answer(client.ask())).values[b"set-cookie"] == b"ropo_id=1"


@pytest.mark.parametrize(
    "method, text, status",
    [
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 200),
        (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n", 204),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304),
        (b"GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200),
        (b"GET", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 200),
    ],
)
async def test_an_answer_without_a_body_ends_with_its_head(http2_stage: Build, method: bytes, text: bytes, status: int):
    _, visit = await http2_stage(text)
    client = await visit()
    answer = await client.answer(client.ask(method=method))
    assert (answer.status, answer.body, answer.ended, answer.reset) == (status, b"", True, None)


async def test_interim_answers_and_trailers_come_through_both_ways(http2_stage: Build):
    got: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")
        got.append(await reader.readuntil(b"0\r\n"))
        got.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 7\r\n\r\n"
        )

    _, visit = await http2_stage(handler)
    client = await visit()
    number = client.ask(method=b"POST", ends=False)
    client.send(number, b"abc")
    client.h2.send_headers(number, [(b"x-check", b"1")], end_stream=True)
    client.flush()
    answer = await client.answer(number)
    assert [interim[b":status"] for interim in answer.interim] == [b"103"]
    assert (bytes(answer.body), answer.trailers, answer.ended) == (b"hi", [(b"x-sum", b"7")], True)
    assert got == [b"3\r\nabc\r\n0\r\n", b"x-check: 1\r\n\r\n"]


async def read_upload(reader: asyncio.StreamReader, head: bytes) -> bytes:
    """The body of the request whose head was read."""
    if b"chunked" not in head:
        return await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
    body = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readexactly(2)
    return body


@pytest.mark.parametrize("with_length", [True, False])
async def test_a_large_upload_and_a_large_download_arrive_whole(http2_stage: Build, with_length: bool):
    sent = hashlib.sha256(b"seed").digest() * 100_000
    got: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await read_upload(reader, await reader.readuntil(b"\r\n\r\n")))
        writer.write(ok(got[0]))
        await writer.drain()

    stage, visit = await http2_stage(handler)
    client = await visit()
    number = client.ask(method=b"POST", fields=[(b"content-length", b"%d" % len(sent))] * with_length, ends=False)
    await client.upload(number, sent)
    answer = await client.answer(number)
    assert got == [sent] and answer.body == sent and answer.ended
    [exchange] = await stage.until_logged()
    assert (exchange.request_bytes, exchange.response_bytes) == (len(sent), len(sent))


async def test_a_slow_reader_holds_back_its_own_upstream_and_nobody_else(http2_stage: Build):
    size = 20_000_000

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            body = b"s" * size if b"/slow" in head else b"f" * 300_000
            writer.write(ok(body))
            await writer.drain()

    stage, visit = await http2_stage(handler)
    client = await visit()
    slow = client.ask(b"/slow")
    client.slow.add(slow)
    await client.until(lambda: len(client.answers[slow].body) == 65_535)
    for _ in range(5):
        fast = await client.answer(client.ask(b"/fast"))
        assert len(fast.body) == 300_000
    [connection] = stage.proxy.connections
    [stream] = connection.streams.values()
    assert stream.write_paused and stream._unsent_bytes <= HELD_BACK_AT + ONE_READ
    client.take()
    assert len((await client.answer(slow)).body) == size
    assert len(await stage.until_logged(6)) == 6


async def test_a_slow_upstream_holds_back_its_own_upload_and_nobody_else(http2_stage: Build):
    go_on = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"/slow" in head:
            await go_on.wait()
        writer.write(ok(b"%d" % len(await read_upload(reader, head))))

    stage, visit = await http2_stage(handler)
    client = await visit()
    size = 12_000_000
    number = client.ask(b"/slow", method=b"POST", ends=False)
    slow = asyncio.create_task(client.upload(number, b"s" * size))
    await until(lambda: any(s._held_back for c in stage.proxy.connections for s in c.streams.values()))
    [connection] = stage.proxy.connections
    [stream] = connection.streams.values()
    for _ in range(3):
        fast = client.ask(b"/fast", method=b"POST", ends=False)
        await client.upload(fast, b"f" * 500_000)
        assert (await client.answer(fast)).body == b"500000"
    assert sum(map(len, stream._unread)) <= STREAM_WINDOW and not slow.done()
    go_on.set()
    await slow
    assert (await client.answer(number)).body == b"%d" % size


@pytest.mark.parametrize(
    "length, data, sends",
    [(b"5", b"abc", "less"), (b"2", b"abc", "more"), (b"0", b"abc", "some")],
)
async def test_a_body_that_is_not_as_long_as_announced_ends_its_stream_only(
    http2_stage: Build, length: bytes, data: bytes, sends: str
):
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if b"POST" in await reader.readuntil(b"\r\n\r\n"):
            await reader.read()
        else:
            writer.write(ok())

    stage, visit = await http2_stage(handler)
    client = await visit()
    number = client.ask(method=b"POST", fields=[(b"content-length", length)], ends=False)
    client.send(number, data, ends=True)
    answer = await client.answer(number)
    assert answer.status == 400
    assert (await client.answer(client.ask())).status == 200
    exchanges = await stage.until_logged(2)
    assert [(e.refusal, e.status) for e in exchanges] == [("bad_framing", 400), (None, 200)]


async def test_a_body_that_is_too_large_is_refused_when_that_shows(http2_stage: Build):
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    stage, visit = await http2_stage(handler, max_body_bytes=1000)
    client = await visit()
    announced = client.ask(method=b"POST", fields=[(b"content-length", b"1001")], ends=False)
    answer = await client.answer(announced)
    assert (answer.status, answer.ended) == (413, True)
    await client.until(lambda: client.answers[announced].reset == Code.NO_ERROR)  # no need to send the rest
    unannounced = client.ask(method=b"POST", ends=False)
    client.send(unannounced, b"x" * 1001)
    assert (await client.answer(unannounced)).status == 413
    assert [e.refusal for e in await stage.until_logged(2)] == ["content_too_large"] * 2


async def test_a_malformed_request_is_answered_and_numbered_like_any_other(http2_stage: Build):
    stage, visit = await http2_stage(ok())
    client = await visit()
    answer = await client.answer(client.ask(fields=[(b"connection", b"close")]))
    assert (answer.status, answer.values[b"content-type"]) == (400, b"text/html; charset=utf-8")
    answer = await client.answer(client.ask_raw([(b":method", b"CONNECT"), (b":authority", b"db:5432")]))
    assert answer.status == 405
    assert (await client.answer(client.ask(fields=[(b"x", b"y" * 20_000)]))).status == 431
    assert (await client.answer(client.ask(method=b"HEAD", fields=[(b"upgrade", b"x")]))).body == b""
    assert (await client.answer(client.ask())).status == 200
    exchanges = await stage.until_logged(5)
    assert [e.seq for e in exchanges] == [1, 2, 3, 4, 5]
    assert [e.response_bytes > 0 for e in exchanges] == [True, True, True, False, True]  # to HEAD goes no page
    assert [e.refusal for e in exchanges] == [
        "bad_request", "method_not_allowed", "fields_too_large", "bad_request", None,
    ]  # fmt: skip
    assert len(stage.heads) == 1


async def test_an_answer_the_upstream_cuts_is_reset_and_never_ended(http2_stage: Build):
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        await writer.drain()

    stage, visit = await http2_stage(handler)
    client = await visit()
    answer = await client.answer(client.ask())
    assert (answer.ended, answer.reset) == (False, Code.INTERNAL_ERROR)
    [exchange] = await stage.until_logged()
    assert (exchange.status, exchange.ended_by) == (200, "upstream")


async def test_a_client_that_resets_frees_the_upstream_at_once(http2_stage: Build):
    freed = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.read()
        freed.set()

    stage, visit = await http2_stage(handler)
    client = await visit()
    number = client.ask()
    await until(lambda: any(s.forwarding is not None for c in stage.proxy.connections for s in c.streams.values()))
    await asyncio.sleep(0.05)
    client.reset(number)
    await asyncio.wait_for(freed.wait(), 5)
    [exchange] = await stage.until_logged()
    assert (exchange.status, exchange.ended_by) == (499, "client")
    [connection] = stage.proxy.connections
    assert not connection.streams and connection.is_idle


async def test_a_visitor_who_takes_nothing_for_too_long_is_cut(http2_stage: Build):
    stage, visit = await http2_stage(ok(b"x" * 3_000_000), stall_timeout_secs=0.2)
    client = await visit()
    number = client.ask()
    client.slow.add(number)
    answer = await client.answer(number)
    assert (answer.ended, answer.reset) == (False, Code.INTERNAL_ERROR)
    [exchange] = await stage.until_logged()
    assert exchange.ended_by == "client"


async def test_what_is_left_of_a_whole_answer_is_not_kept_for_ever(http2_stage: Build):
    stage, visit = await http2_stage(ok(b"x" * 70_000), stall_timeout_secs=0.2)
    client = await visit()
    number = client.ask()
    client.slow.add(number)
    answer = await client.answer(number)
    assert (answer.ended, answer.reset, len(answer.body)) == (False, Code.CANCEL, 65_535)
    assert not [*stage.proxy.connections][0].streams


async def test_an_upstream_that_does_not_answer_costs_its_stream_only(http2_stage: Build):
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while b"/slow" not in await reader.readuntil(b"\r\n\r\n"):
            writer.write(ok())
        await reader.read()

    _, visit = await http2_stage(handler, response_timeout_secs=0.2)
    client = await visit()
    slow = client.ask(b"/slow")
    assert (await client.answer(client.ask())).status == 200
    assert (await client.answer(slow)).status == 504
    assert (await client.answer(client.ask())).status == 200


async def test_an_upload_that_stops_or_trickles_is_given_up(http2_stage: Build, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(http2_stream, "SLOW_UPLOAD_SECS", 0.5)

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    stage, visit = await http2_stage(handler, min_upload_bytes_per_sec=1000)
    client = await visit()
    number = client.ask(method=b"POST", ends=False)
    client.send(number, b"x")
    answer = await client.answer(number)
    assert answer.status == 408
    [exchange] = await stage.until_logged()
    assert exchange.refusal == "request_timeout"
    assert not stage.proxy.uploads


async def test_an_answer_before_the_request_is_whole_tells_the_client_to_stop(http2_stage: Build):
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno")
        await reader.read()

    stage, visit = await http2_stage(handler)
    client = await visit()
    number = client.ask(method=b"POST", ends=False)
    client.send(number, b"x" * 10_000)
    answer = await client.answer(number)
    assert (answer.status, bytes(answer.body)) == (413, b"no")
    await client.until(lambda: answer.reset == Code.NO_ERROR)
    assert not stage.proxy.uploads


async def test_what_arrives_after_the_answer_still_opens_the_connections_window(http2_stage: Build):
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"/early" in head:
            writer.write(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno")
            await reader.read()
        else:
            writer.write(ok(b"%d" % len(await read_upload(reader, head))))

    _, visit = await http2_stage(handler)
    client = await visit()
    for _ in range(30):  # together more than the window of the connection
        number = client.ask(b"/early", method=b"POST", ends=False)
        for _ in range(3):
            client.send(number, b"x" * 16_000)
        await client.answer(number)
    number = client.ask(method=b"POST", ends=False)
    await client.upload(number, b"x" * 2_000_000)
    assert (await client.answer(number)).body == b"2000000"
