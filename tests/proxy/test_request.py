"""Which requests may pass, and what goes upstream for them."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpRequestParser

from proxy.exchange import Exchange
from proxy.refusal import Refusal
from proxy.request import Verdict, is_idempotent, judge, upstream_head


async def judged(raw: bytes) -> tuple[Exchange, Verdict | Refusal]:
    loop = asyncio.get_running_loop()
    parser = HttpRequestParser(BaseProtocol(loop), loop, 2**16, auto_decompress=False)
    [(message, _)], _, _ = parser.feed_data(raw)
    exchange = Exchange(
        seq=1, started_ns=0, client="192.0.2.7", scheme="http", method=message.method, target=message.path,
        fields=message.raw_headers,
    )  # fmt: skip
    return exchange, judge(message, exchange.fields, exchange.lowered)


async def sent_upstream(raw: bytes, *, trusted: bool = False, keep_host: bool = True, change=None) -> list[bytes]:
    exchange, verdict = await judged(raw)
    exchange.upstream_fields = change or {}
    head = upstream_head(
        exchange, verdict, peer="192.0.2.7", trusted=trusted, upstream_host=b"origin:9000", keep_host=keep_host
    )
    assert head.endswith(b"\r\n\r\n")
    return head[:-4].split(b"\r\n")


@pytest.mark.parametrize(
    ("raw", "refusal"),
    [
        (b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", Refusal.METHOD_NOT_ALLOWED),
        (b"GET / HTTP/1.1\r\nHost: \r\n\r\n", Refusal.BAD_HOST),
        (b"GET / HTTP/1.1\r\nHost: user@a\r\n\r\n", Refusal.BAD_HOST),
        (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", Refusal.BAD_HOST),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", Refusal.BAD_HOST),
        (b"GET / HTTP/1.1\r\nHost: a:99999999\r\n\r\n", Refusal.BAD_HOST),
        (b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", Refusal.BAD_TARGET),
        (b"GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", Refusal.BAD_HOST),
    ],
)
async def test_a_request_that_leaves_doubt_is_refused(raw: bytes, refusal: Refusal) -> None:
    _, verdict = await judged(raw)
    assert verdict is refusal


@pytest.mark.parametrize(
    ("raw", "target", "authority"),
    [
        (
            b"GET /a%2fb/%41/./c/../d//?x=%41&y=%zz HTTP/1.1\r\nHost: a\r\n\r\n",
            "/a%2fb/%41/./c/../d//?x=%41&y=%zz",
            b"a",
        ),
        (b"GET /? HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "/?", b"[::1]:80"),
        (b"GET http://b:81/x?y HTTP/1.1\r\nHost: a\r\n\r\n", "/x?y", b"b:81"),
        (b"GET http://b HTTP/1.1\r\nHost: a\r\n\r\n", "/", b"b"),
        (b"GET http://b?q HTTP/1.1\r\nHost: a\r\n\r\n", "/?q", b"b"),
        (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "*", b"a"),
        (b"GET / HTTP/1.0\r\n\r\n", "/", None),
    ],
)
async def test_the_target_goes_on_octet_for_octet(raw: bytes, target: str, authority: bytes | None) -> None:
    _, verdict = await judged(raw)
    assert (verdict.target, verdict.authority) == (target, authority)


async def test_the_visitors_fields_keep_their_spelling_order_and_repetition() -> None:
    lines = await sent_upstream(
        b"GET / HTTP/1.1\r\nhOsT: shop.example\r\nX-B: 1\r\nx-a: caf\xe9\r\nX-B: 2\r\nCookie: a=b\r\n\r\n"
    )
    assert lines == [
        b"GET / HTTP/1.1", b"Host: shop.example", b"X-B: 1", b"x-a: caf\xe9", b"X-B: 2", b"Cookie: a=b",
        b"X-Forwarded-For: 192.0.2.7", b"X-Forwarded-Proto: http", b"X-Forwarded-Host: shop.example",
    ]  # fmt: skip


async def test_what_belongs_to_the_hop_stays_on_the_hop() -> None:
    lines = await sent_upstream(
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close, X-Secret\r\nX-Secret: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\n"
        b"Proxy-Authorization: Basic x\r\nProxy-Connection: close\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n\r\n"
    )
    names = [line.split(b":")[0].lower() for line in lines[1:]]
    assert names == [b"host", b"te", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"]
    assert b"TE: trailers" in lines


async def test_connection_cannot_name_away_what_belongs_to_the_whole_way() -> None:
    lines = await sent_upstream(
        b"POST / HTTP/1.1\r\nHost: a\r\nConnection: Cookie, Content-Length, X-Forwarded-For\r\nCookie: a=b\r\n"
        b"Content-Length: 1\r\n\r\nx"
    )
    assert b"Cookie: a=b" in lines
    assert b"Content-Length: 1" in lines
    assert b"X-Forwarded-For: 192.0.2.7" in lines


async def test_a_strangers_claims_about_the_visitor_are_replaced() -> None:
    lines = await sent_upstream(
        b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\nForwarded: for=1.1.1.1\r\n"
        b"X-Real-IP: 1.1.1.1\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Port: 1\r\n\r\n"
    )
    assert lines[2:] == [b"X-Forwarded-For: 192.0.2.7", b"X-Forwarded-Proto: http", b"X-Forwarded-Host: a"]


async def test_a_trusted_proxys_words_are_continued() -> None:
    lines = await sent_upstream(
        b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: b\r\n\r\n",
        trusted=True,
    )
    assert b"X-Forwarded-For: 203.0.113.9, 192.0.2.7" in lines
    assert lines.count(b"X-Forwarded-Proto: https") == 1
    assert not any(line.startswith(b"X-Forwarded-Proto: http\r") for line in lines)
    assert b"X-Forwarded-Host: b" in lines


async def test_the_observers_changes_take_effect_in_place() -> None:
    raw = b"GET / HTTP/1.1\r\nHost: a\r\nCookie: a=b; ropo_id=x\r\nAccept: */*\r\nX-Ropo-Visitor: forged\r\n\r\n"
    lines = await sent_upstream(raw, change={b"cookie": b"a=b", b"x-ropo-visitor": b"v1", b"x-ropo-identity": b"known"})
    assert lines[2:6] == [b"Cookie: a=b", b"Accept: */*", b"X-Ropo-Visitor: v1", b"x-ropo-identity: known"]
    lines = await sent_upstream(raw, change={b"cookie": b"", b"x-ropo-visitor": b""})
    assert not [line for line in lines if line.lower().startswith((b"cookie", b"x-ropo"))]


async def test_the_host_is_kept_or_set() -> None:
    raw = b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n"
    assert b"Host: shop.example" in await sent_upstream(raw)
    lines = await sent_upstream(raw, keep_host=False)
    assert b"Host: origin:9000" in lines
    assert b"X-Forwarded-Host: shop.example" in lines
    assert b"Host: origin:9000" in await sent_upstream(b"GET / HTTP/1.0\r\n\r\n")


async def test_a_switch_of_protocols_is_forwarded_for_websocket_and_not_for_h2c() -> None:
    handshake = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: %s\r\nSec-WebSocket-Key: x\r\n\r\n"
    lines = await sent_upstream(handshake % b"websocket")
    assert lines[-2:] == [b"Connection: Upgrade", b"Upgrade: websocket"]
    lines = await sent_upstream(handshake % b"h2c")
    assert not [line for line in lines if line.lower().startswith((b"connection", b"upgrade"))]


@pytest.mark.parametrize(
    ("method", "twice"),
    [("GET", True), ("HEAD", True), ("PUT", True), ("DELETE", True), ("POST", False), ("PATCH", False)],
)
def test_only_an_idempotent_request_may_be_sent_twice(method: str, twice: bool) -> None:
    assert is_idempotent(method) is twice
