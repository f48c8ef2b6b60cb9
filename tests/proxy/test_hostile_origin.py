"""A site that is broken or hostile: what it sends reaches the visitor who asked, as a whole answer or not, and nobody else."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.answer_reader import AnswerReader
from proxy.forwarding import Forwarding
from proxy.server import Proxy
from proxy.settings import ProxySettings
from proxy.upstream import Upstream
from tests.proxy.conftest import Watcher, ok
from tests.support.strict_origin import read_answers

POISON = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nSet-Cookie: poison=1\r\n\r\nPOISON"
TURN = 0.02  # long enough that what follows comes in a read of its own
EARLY = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"

# What is answered to GET /evil, or HEAD /evil; and the statuses the visitor who asked may see. 0: cut off.
ANSWERS: dict[str, tuple[list[bytes | float], set[int]]] = {
    "two answers at once": ([ok() + POISON], {200}),
    "an answer split by an injected field": ([b"HTTP/1.1 302 F\r\nLocation: /\r\nContent-Length: 0\r\n\r\n" + POISON + b"\r\n\r\n"], {302}),
    "a length too small": ([b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhello" + POISON], {200}),
    "a length too large": ([b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhello"], {0}),
    "two lengths": ([b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 9\r\n\r\nhello" + POISON], {502}),
    "a list of lengths": ([b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello" + POISON], {502}),
    "a length that is none": ([b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello" + POISON], {502}),
    "chunks and a length": ([b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"], {200, 502}),
    "bytes behind the chunks": ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" + POISON], {200}),
    "a coding nobody asked for": ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + POISON], {502}),
    "a chunk that lies": ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n0\r\n\r\n"], {0, 502}),
    "a chunk size that overflows": ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000001\r\nhello"], {0, 502}),
    "a bare LF in a chunk's line": ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;\nhello\r\n0\r\n\r\n"], {0, 502}),
    "trailers that frame": ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 9\r\nSet-Cookie: a=b\r\nX-T: 1\r\n\r\n"], {200}),
    "trailers without end": ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"X-T: 1\r\n" * 40_000], {0, 502}),
    "a 204 with a body": ([b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello" + POISON], {204}),
    "a 304 with a body": ([b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello", TURN, POISON], {304}),
    "a 101 nobody asked for": ([b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n" + POISON], {502}),
    "early hints with a length": ([b"HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\n" + ok()], {200}),
    "early hints with a body": ([b"HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\nhello" + ok()], {502}),
    "a hundred thousand early hints": ([EARLY * 1000] * 100, {502}),
    "early hints for ever": ([EARLY * 100, 0.001] * 200, {502}),
    "a status that is none": ([b"HTTP/1.1 099 x\r\n\r\n" + POISON], {502}),
    "a four-digit status": ([b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n" + POISON], {502}),
    "another protocol": ([b"SSH-2.0-OpenSSH_9.2p1\r\n"], {502}),
    "HTTP/0.9": ([b"<html>POISON</html>\n\n"], {502}),
    "HTTP/2": ([b"HTTP/2 200 OK\r\nContent-Length: 0\r\n\r\n"], {502}),
    "a bare CR in a value": ([b"HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n"], {200, 502}),
    "a bare CR that ends the head": ([b"HTTP/1.1 200 OK\r\nX: a\r\rPOISON\r\nContent-Length: 0\r\n\r\n"], {200, 502}),
    "a NUL": ([b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n"], {502}),
    "a fold": ([b"HTTP/1.1 200 OK\r\nX: a\r\n Content-Length: 50\r\nContent-Length: 0\r\n\r\n"], {200, 502}),
    "a blank before the colon": ([b"HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\nhello"], {502, 0}),
    "bare LFs": ([b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello" + POISON], {200, 502}),
    "bare LFs before CRLF": ([b"HTTP/1.1 200 OK\nA: b\n\r\n\r\nrest"], {200, 502, 0}),
    "a reason with a line break": ([b"HTTP/1.1 200 O\rK\r\nContent-Length: 0\r\n\r\n"], {200, 502}),
    "a head of a megabyte": ([b"HTTP/1.1 200 OK\r\nX: " + b"a" * 1_000_000 + b"\r\n\r\n"], {502}),
    "ten thousand fields": ([b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 10_000 + b"\r\n"], {502}),
    "a head that drips": ([b"HTTP/1.1 200", *[b"x", 0.01] * 10_000], {502, 504}),
    "nothing": ([], {502, 504}),
}  # fmt: skip


async def play(writer: asyncio.StreamWriter, script: list[bytes | float]) -> None:
    for step in script:
        if isinstance(step, bytes):
            writer.write(step)
            await writer.drain()
        else:
            await asyncio.sleep(step)


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
@pytest.mark.parametrize(("script", "statuses"), ANSWERS.values(), ids=ANSWERS)
async def test_what_a_site_should_not_send_reaches_nobody_else(stage, script, statuses, method: bytes) -> None:
    ended = 0

    async def origin(reader, writer) -> None:
        nonlocal ended
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                target = head.split(b" ")[1]
                if target == b"/evil":
                    await play(writer, script)
                    await asyncio.sleep(0.05)  # not a close, which would hide what a proxy makes of the rest
                    if statuses & {0, 502, 504}:
                        return
                else:
                    writer.write(ok(b"for " + target))
        finally:
            ended += 1

    async def victim(name: bytes) -> None:
        answer = await front.ask(b"GET %b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % name)
        [only] = read_answers(answer, [b"GET"])
        assert only.body == b"for " + name

    front = await stage(origin, response_timeout_secs=0.5, stall_timeout_secs=0.5)
    await victim(b"/before")
    reader, writer = await front.connect()
    writer.write(
        method + b" /evil HTTP/1.1\r\nHost: a\r\n\r\nGET /mine HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    )
    victims = [asyncio.create_task(victim(b"/beside-%d" % number)) for number in range(3)]
    got = b""
    try:
        async with asyncio.timeout(10):
            while piece := await reader.read(65_536):
                got += piece
                victims.append(asyncio.create_task(victim(b"/while-%d" % len(got))))
    except ConnectionError:
        pass  # cut off: the visitor cannot take it for whole
    await asyncio.gather(*victims)
    for number in range(3):
        await victim(b"/behind-%d" % number)
    assert len(got) < 400_000
    answers = read_answers(got, [method, b"GET"])
    if method == b"GET":
        assert (answers[0].status if answers and answers[0].whole else 0) in statuses
    assert b"POISON" not in got
    for answer in answers[1:]:
        assert answer.body == b"for /mine"


@pytest.mark.parametrize("method", [b"GET", b"POST"])
async def test_bytes_that_came_before_the_request_never_answer_it(stage, method: bytes) -> None:
    """The site sends a second answer, and a visitor a request, in one turn of the loop: the request is read first."""
    writers = []

    async def origin(reader, writer) -> None:
        writers.append(writer)
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(ok(b"clean"))

    front = await stage(origin)
    assert (await front.ask(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")).endswith(b"clean")
    reader, writer = await front.connect()
    await asyncio.sleep(0.05)
    with socket.socket(fileno=os.dup(writer.get_extra_info("socket").fileno())) as visitor:
        visitor.send(method + b" /victim HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    with socket.socket(fileno=os.dup(writers[0].get_extra_info("socket").fileno())) as site:
        site.send(POISON)
    answer = await asyncio.wait_for(reader.read(), 5)
    assert answer.endswith(b"clean")
    assert b"poison" not in answer.lower()
    assert len(writers) == 2  # the old connection is not used again


async def test_a_site_that_answers_twice_harms_nobody_if_its_connections_are_not_used_again(stage) -> None:
    """Once the next request has been sent, no proxy can tell a second answer from its own: so none is sent there."""

    async def origin(reader, writer) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            writer.write(ok(b"for " + head.split(b" ")[1]))
            await asyncio.sleep(TURN)
            writer.write(POISON)

    front = await stage(origin, upstream_idle_connections=0)
    for number in range(10):
        answer = await front.ask(b"GET /%d HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % number)
        assert answer.endswith(b"for /%d" % number)


async def test_a_connection_is_not_used_again_after_an_early_answer(stage) -> None:
    """The site answers before the upload is whole: what it makes of the rest nobody knows (CL.0)."""
    connections = 0

    async def origin(reader, writer) -> None:
        nonlocal connections
        connections += 1
        while head := await reader.readuntil(b"\r\n\r\n"):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
            if head.startswith(b"POST"):
                await reader.readexactly(5)
            writer.write(b"-half")

    front = await stage(origin)
    reader, writer = await front.connect()
    writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
    await reader.readuntil(b"first")
    writer.write(b"hello")
    assert await reader.read() == b"-half"
    assert (await front.ask(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")).endswith(b"first-half")
    assert connections == 2


# -- at random

PIECES = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b":",
    b"\r\n\r\n",
    b"0\r\n\r\n",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    POISON,
]
SEEDS = [step for script, _ in ANSWERS.values() for step in script if isinstance(step, bytes) and len(step) < 1000]
CHANGES = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 9), st.sampled_from([b"", *PIECES])), max_size=4)


def test_random_answers_reach_nobody_else() -> None:
    """The site sends any bytes at all, in one write; whoever asks next, on whatever connection, gets their own answer."""
    loop = uvloop.new_event_loop()
    evil = [b""]

    async def origin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                target = head.split(b" ")[1]
                writer.write(evil[0] if target == b"/evil" else ok(b"for " + target))
                if target == b"/evil":
                    await asyncio.sleep(0.003)
                    break
        writer.close()

    async def start() -> tuple[asyncio.Server, Proxy, int]:
        server = await asyncio.start_server(origin, "127.0.0.1", 0)
        made = ProxySettings(upstream=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", stop_timeout_secs=0.1)
        proxy = Proxy(made, Watcher(), loop)
        listener = socket.create_server(("127.0.0.1", 0))
        await proxy.start(listener)
        return server, proxy, listener.getsockname()[1]

    async def ask(target: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET %b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % target)
        got = b""
        with suppress(ConnectionError):
            while piece := await asyncio.wait_for(reader.read(65_536), 10):
                got += piece
        writer.close()
        return got

    async def check() -> None:
        await ask(b"/evil")
        for target in (b"/one", b"/two"):
            [answer] = read_answers(await ask(target), [b"GET"])
            assert answer.body == b"for " + target

    @settings(max_examples=300, derandomize=True, database=None)
    @given(st.sampled_from(SEEDS), CHANGES)
    def attack(data: bytes, changes: list[tuple[int, int, bytes]]) -> None:
        for at, count, piece in changes:
            at %= len(data) + 1
            data = data[:at] + piece + data[at + count :]
        evil[0] = data
        loop.run_until_complete(check())

    server, proxy, port = loop.run_until_complete(start())
    attack()
    server.close()
    loop.run_until_complete(proxy.stop())
    loop.run_until_complete(asyncio.sleep(0.05))
    loop.close()
    assert proxy.bugs == 0


EXCESS = {
    "behind a length": ok() + b"x",
    "behind no body": b"HTTP/1.1 204 No Content\r\n\r\nx",
    "behind the chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nx",
    "a whole answer": ok() + POISON,
}


@pytest.mark.parametrize("answer", EXCESS.values(), ids=EXCESS)
async def test_a_connection_is_not_used_again_after_bytes_too_many(stage, answer: bytes) -> None:
    connections = 0

    async def origin(reader, writer) -> None:
        nonlocal connections
        connections += 1
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(answer)

    front = await stage(origin)
    for _ in range(2):
        await front.ask(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert connections == 2


# -- would it be noticed?


async def test_a_proxy_that_overlooks_what_came_too_early_is_found_out(stage, monkeypatch) -> None:
    monkeypatch.setattr(Upstream, "is_stale", lambda self: False)
    with pytest.raises(AssertionError):
        await test_bytes_that_came_before_the_request_never_answer_it(stage, b"GET")


async def test_a_proxy_that_goes_on_after_an_early_answer_is_found_out(stage, monkeypatch) -> None:
    answer = Forwarding._answer

    def forgetful(self: Forwarding, head: object) -> None:
        answer(self, head)
        self._close_upstream = False

    monkeypatch.setattr(Forwarding, "_answer", forgetful)
    with pytest.raises(AssertionError):
        await test_a_connection_is_not_used_again_after_an_early_answer(stage)


async def test_a_proxy_that_overlooks_bytes_too_many_is_found_out(stage, monkeypatch) -> None:
    feed = AnswerReader._feed_body

    def overlooks(self: AnswerReader, data: bytes) -> None:
        feed(self, data)
        self.excess = False

    monkeypatch.setattr(AnswerReader, "_feed_body", overlooks)
    with pytest.raises(AssertionError):
        await test_a_connection_is_not_used_again_after_bytes_too_many(stage, ok() + POISON)
