"""Messages that two readers could understand in two ways, from either side: nobody ever gets what is another's.

The promise, held against a corpus of known attacks and whatever random changes make of it: the site never sees a request
the visitor did not send, never a message it would have to guess about, and every answer belongs to its visitor's request.
What the visitor sent is told by `strict_origin.by_the_letter`, which shares nothing with the proxy.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import socket
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any

import pytest
import uvloop
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from proxy import body, fields, request
from proxy.exchange import Exchange, Field
from proxy.fields import name_of
from proxy.heads import RequestHead
from proxy.http1 import Http1
from proxy.refusal import Refusal
from proxy.server import Proxy
from proxy.settings import ProxySettings
from tests.proxy.conftest import Watcher
from tests.support.smuggling_corpus import CORPUS, SMUGGLED, Case
from tests.support.strict_origin import CLAIMS, Answer, Deviation, Request, StrictOrigin, by_the_letter, read_answers

FUZZ_SECONDS = float(os.environ.get("FUZZ_SECONDS", "60"))
GOOD = b"GET /good HTTP/1.1\r\nHost: good\r\n\r\n"
UPLOAD = b"POST /upload HTTP/1.1\r\nHost: good\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
KEPT = (b"cookie", b"authorization", b"content-type")


class Client(asyncio.Protocol):
    """Keeps all that comes, also when the connection ends with a reset."""

    def __init__(self) -> None:
        self.data = b""
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.data += data

    def connection_lost(self, error: Exception | None) -> None:
        if not self.lost.done():
            self.lost.set_result(None)


class House:
    """The proxy between attackers, who may be many, and one strict origin; its loop runs while something is asked."""

    def __init__(self) -> None:
        self.loop = uvloop.new_event_loop()
        self.origin = StrictOrigin()
        self.watcher = Watcher()
        self.run(self.origin.__aenter__())
        self.proxy = Proxy(
            ProxySettings(
                upstream=f"http://127.0.0.1:{self.origin.port}",
                head_timeout_secs=0.5, stall_timeout_secs=0.5, idle_timeout_secs=2, stop_timeout_secs=0.1,
            ),
            self.watcher,
            self.loop,
        )  # fmt: skip
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        self.address = listener.getsockname()
        self.run(self.proxy.start(listener))
        self.victims = 0

    def run(self, what: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(asyncio.wait_for(what, 20))

    def close(self) -> None:
        self.run(self.proxy.stop())
        self.run(self.origin.__aexit__())
        self.loop.close()
        assert self.proxy.bugs == 0

    async def send(self, pieces: Sequence[bytes], answers: int) -> bytes:
        """All that comes back for the bytes. Waits for so many answers before it ends its side."""
        _, client = await self.loop.create_connection(Client, *self.address)
        for piece in pieces:
            if client.transport.is_closing():
                break
            client.transport.write(piece)
            for _ in range(4):  # so that it is read before the next is written
                await asyncio.sleep(0)
        async with asyncio.timeout(5):
            while not client.lost.done() and _count(client.data) < answers:  # noqa: ASYNC110 - bytes
                await asyncio.sleep(0.0005)
        for _ in range(8):
            await asyncio.sleep(0)
        if not client.transport.is_closing():
            client.transport.write_eof()
        await client.lost
        return client.data

    async def victim(self) -> None:
        """Somebody else asks for something else, and gets that."""
        self.victims += 1
        request = b"GET /victim-%d HTTP/1.1\r\nHost: victim\r\nConnection: close\r\n\r\n" % self.victims
        [expected] = by_the_letter(request)
        [answer] = read_answers(await self.send([request], 1), [b"GET"])
        assert answer.value(b"x-echo") == expected.echo
        assert self.origin.requests.pop().echo == expected.echo

    def attack(self, *pieces: bytes, wait_for: int = 0) -> tuple[list[Request], list[Request], list[Answer]]:
        """What was sent, seen and answered, after the promises have been checked."""
        sent = by_the_letter(b"".join(pieces))
        origin = self.origin
        origin.requests.clear()
        origin.unfinished.clear()
        data = self.run(self.send(pieces, wait_for))
        self.run(self.victim())
        seen = origin.requests
        assert origin.deviations == [], origin.deviations.pop()
        assert [one.echo for one in seen] == [one.echo for one in sent[: len(seen)]], seen
        for arrived, original in zip(seen, sent, strict=False):
            assert original.authority in (None, arrived.authority)
            assert all(arrived.values(name) == original.values(name) for name in KEPT)
            assert set(arrived.trailers) <= set(original.trailers)
            claimed = [value for name, value in arrived.fields if name.lower().replace(b"_", b"-") in CLAIMS]
            assert not any(b"6.6.6.6" in value for value in claimed)
        answers = read_answers(data, [one.method for one in sent])
        for number, answer in enumerate(answers):
            echo = answer.value(b"x-echo")
            if echo is None:
                # Ours, to a request that leaves doubt: nothing may follow it.
                assert answer.value(b"cache-control") == b"no-store" and 400 <= answer.status <= 505
                assert number == len(answers) - 1
                assert answer.whole or b"HEAD" in b"".join(pieces)  # to a request it refuses as a HEAD, without a page
            else:
                assert answer.whole
                assert echo == sent[number].echo
                assert answer.body == (b"" if sent[number].method == b"HEAD" else b"origin " + echo)
        return sent, seen, answers


def _count(data: bytes) -> int:
    return data.count(b"HTTP/1.1 ")


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    made = House()
    yield made
    made.close()


def check(house: House, case: Case, cut: Callable[[bytes], list[bytes]] = lambda data: [data]) -> None:
    wanted = len(by_the_letter(case.data)) if case.verdict == "passed" else 0
    sent, seen, answers = house.attack(*cut(case.data), wait_for=wanted)
    if case.verdict in ("refused", "unfinished"):
        assert seen == []
        assert not answers or answers[-1].status >= 400
    elif case.verdict == "passed":
        assert wanted and len(seen) == len(sent)
        assert [answer.status for answer in answers[:wanted]] == [200] * wanted


@pytest.mark.parametrize("case", CORPUS, ids=lambda case: case.name)
def test_the_origin_never_sees_what_the_visitor_did_not_send(house: House, case: Case) -> None:
    check(house, case)


@pytest.mark.parametrize("case", CORPUS, ids=lambda case: case.name)
def test_it_makes_no_difference_where_the_bytes_are_cut(house: House, case: Case) -> None:
    numbers = random.Random(case.name)
    for most in (1, 3, 12):
        places = sorted(numbers.sample(range(1, len(case.data)), min(most, len(case.data) - 1)))
        check(house, case, lambda data, at=places: [data[a:b] for a, b in zip([0, *at], [*at, len(data)], strict=True)])
    if len(case.data) < 200:
        check(house, case, lambda data: [bytes([octet]) for octet in data])


@pytest.mark.parametrize("case", CORPUS, ids=lambda case: case.name)
def test_good_requests_beside_it_get_their_own_answers_or_none(house: House, case: Case) -> None:
    for good in (GOOD, UPLOAD):
        _, seen, answers = house.attack(good + case.data, wait_for=1)
        assert seen and answers[0].status == 200
        if case.verdict == "refused":
            assert len(seen) == 1
        house.attack(good, case.data, wait_for=1)
        _, seen, _ = house.attack(case.data + good)
        if case.verdict == "refused":
            assert seen == []
        house.attack(case.data, good)


def test_what_the_observer_tells_the_site_cannot_be_named_away_or_said_in_another_spelling(house: House) -> None:
    def tell(exchange: Exchange) -> None:
        exchange.upstream_fields = {b"x-ropo-visitor": b"v1"}

    house.watcher.on_request = tell
    try:
        [_], [seen], [_] = house.attack(
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: X-Ropo-Visitor\r\nX-Ropo-Visitor: forged\r\n"
            b"X_Ropo-Visitor: forged\r\nx_ropo_visitor: forged\r\n\r\n",
            wait_for=1,
        )
    finally:
        house.watcher.on_request = lambda exchange: None
    assert [field for field in seen.fields if b"ropo" in field[0].lower()] == [(b"X-Ropo-Visitor", b"v1")]


# -- would it be noticed?


def _judge_without(refused: Refusal) -> Callable[[pytest.MonkeyPatch], None]:
    judge = request._judge

    def lenient(head: RequestHead) -> Refusal | None:
        refusal = judge(head)
        if refusal is not refused:
            return refusal
        head.chunked = head.lowered.get(b"transfer-encoding", b"").lower() == b"chunked"
        head.keep_alive = True
        return None

    def apply(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(request, "_parse", _split)  # llhttp would refuse it as well
        patch.setattr(request, "_judge", lenient)

    return apply


def _split(block: bytes, http_10: bool, limits: request.Limits) -> tuple[Field, ...]:
    lines = [line.partition(b":") for line in block.split(b"\r\n")[:-2]]
    return tuple((name, value.strip(b" \t")) for name, _, value in lines)


def _no_llhttp(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(request, "_parse", _split)


def _bare_lf_in_chunks(patch: pytest.MonkeyPatch) -> None:
    def lenient(self: body.ChunkedBody, data: bytes, at: int, longest: int) -> tuple[bytes | None, int]:
        end = data.find(b"\n", at)
        if end < 0:
            self._kept = data[at:]
            return None, -1
        return data[at:end].removesuffix(b"\r"), end + 1

    patch.setattr(body.ChunkedBody, "_read_line", lenient)
    patch.setattr(body, "_CHUNK", re.compile(rb"([0-9A-Fa-f]{1,15})(?:;.*)?"))


def _reads_on_after_a_refusal(patch: pytest.MonkeyPatch) -> None:
    def reads_on(self: Http1) -> None:
        self.keep_alive = True
        self.answered()

    patch.setattr(Http1, "linger", reads_on)


def _any_host(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(request, "_AUTHORITY", re.compile(rb".*"))


def _names_with_underscores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.heads.name_of", lambda name: name_of(name)._replace(is_disguised=False))


def _connection_names_anything(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(fields, "END_TO_END", frozenset())


def _any_upgrade(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(request, "_CARRIES_HTTP", re.compile(rb"(?!)"))


# A mistake in the proxy, and a case of the corpus that tells.
MISTAKES = {
    "CL beside TE": (_judge_without(Refusal.BAD_FRAMING), "CL.TE"),
    "two lengths": (_judge_without(Refusal.BAD_FRAMING), "CL b'5, 5'"),
    "a coding it does not know": (_judge_without(Refusal.CODING_UNKNOWN), "TE xchunked"),
    "no Host": (_judge_without(Refusal.BAD_HOST), "Host none"),
    "a Host that is none": (_any_host, "Host userinfo"),
    "a bare LF in a chunk's line": (_bare_lf_in_chunks, "chunk TERM.EXT"),
    "bytes behind what it refused": (_reads_on_after_a_refusal, "Host userinfo, a request behind"),
    "a blank before the colon": (_no_llhttp, "field space before the colon"),
    "a bare CR": (_no_llhttp, "field CR in the value"),
    "an underscore for the dash": (_names_with_underscores, "TE an underscore for the dash"),
    "Connection: Cookie": (_connection_names_anything, "field Connection names Cookie"),
    "h2c": (_any_upgrade, "field Upgrade h2c"),
}


@pytest.mark.parametrize(("mistake", "name"), MISTAKES.values(), ids=MISTAKES)
def test_a_proxy_that_accepts_more_is_found_out(
    monkeypatch: pytest.MonkeyPatch, mistake: Callable[[pytest.MonkeyPatch], None], name: str
) -> None:
    [case] = [case for case in CORPUS if case.name == name]
    mistake(monkeypatch)
    house = House()
    with pytest.raises((AssertionError, Deviation)):
        check(house, case)
    house.close()


# -- at random

TOKENS = [
    b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\n\n", b"\0", b" ", b"\t", b"\x0b", b"\x7f", b"\x85", b"\xa0", b"\xff", b":", b";", b",",
    b"0", b"5", b"f", b'"', b"\\", b"_", b"-", b"0\r\n\r\n", b"5\r\nhello\r\n", b"Content-Length: 5\r\n", b"Content-Length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n", b"Connection: keep-alive, content-length, host\r\n",
    b"Connection: Upgrade\r\nUpgrade: websocket\r\n", b"Expect: 100-continue\r\n", b"Host: b\r\n", b"HTTP/1.0", b"HTTP/1.1",
    b"HEAD / HTTP/1.1\r\n", b"GET http://c/ HTTP/1.1\r\n", SMUGGLED, GOOD, UPLOAD,
]  # fmt: skip
SMALL = [case.data for case in CORPUS if len(case.data) < 2000] + [GOOD, UPLOAD]
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["insert", "replace", "remove", "double", "splice"]),
        st.integers(0, 2000),
        st.integers(1, 12),
        st.one_of(st.sampled_from(TOKENS), st.binary(min_size=1, max_size=3)),
        st.sampled_from(SMALL),
    ),
    max_size=5,
)


def changed(data: bytes, changes: list[tuple[str, int, int, bytes, bytes]]) -> bytes:
    for how, at, count, token, other in changes:
        at %= len(data) + 1
        if how == "insert":
            data = data[:at] + token + data[at:]
        elif how == "replace":
            data = data[:at] + token + data[at + len(token) :]
        elif how == "remove":
            data = data[:at] + data[at + count :]
        elif how == "double":
            data = data[:at] + data[at : at + count * 8] + data[at:]
        else:
            data = data[:at] + other[at % len(other) :] + data[at:]
    return data[:4000]


def fuzz(house: House, **how: Any) -> Callable[[], None]:
    @settings(suppress_health_check=list(HealthCheck), database=None, **how)
    @given(
        data=st.builds(changed, st.sampled_from(SMALL), CHANGES),
        places=st.lists(st.integers(1, 4000), max_size=3),
        before=st.sampled_from([b"", b"", GOOD, UPLOAD]),
        behind=st.sampled_from([b"", GOOD]),
    )
    def attack(data: bytes, places: list[int], before: bytes, behind: bytes) -> None:
        data = before + data + behind
        at = sorted({place % (len(data) + 1) for place in places})
        house.attack(*[data[a:b] for a, b in zip([0, *at], [*at, len(data)], strict=True)])

    return attack


def test_random_changes_break_no_promise(house: House) -> None:
    fuzz(house, max_examples=800, derandomize=True)()


@pytest.mark.fuzz
@pytest.mark.timeout(FUZZ_SECONDS + 600)
def test_random_changes_break_no_promise_for_long(house: House) -> None:
    """FUZZ_SECONDS long. A failure names its seed, and is made as small as it can be."""
    end, rounds = time.monotonic() + FUZZ_SECONDS, 0
    while time.monotonic() < end:
        number = random.randrange(2**32)
        phases = (Phase.generate, Phase.shrink)
        try:
            seed(number)(fuzz(house, max_examples=2000, phases=phases))()
        except BaseException as error:
            error.add_note(f"seed {number}, round {rounds}")
            raise
        rounds += 1
    print(f"{rounds} rounds of 2000")
