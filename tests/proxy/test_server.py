"""The proxy of a worker: numbering, who is in front, counting, and a clean stop."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from proxy.http1 import Http1
from proxy.server import MAX_TOLD
from proxy.settings import CertificateSettings, TlsSettings
from tests.proxy.conftest import anyone, ok, split, until, value_of
from tests.support.certificates import Authority

pytestmark = pytest.mark.usefixtures("brisk")

GET = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
KEEP = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


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


async def test_an_idle_connection_may_bring_one_more_request_when_the_worker_stops(stage) -> None:
    front = await stage(ok())
    reader, writer = await front.connect()
    writer.write(KEEP)
    await reader.readuntil(b"hello")
    stop = asyncio.create_task(front.proxy.stop(idle_grace_secs=3600))
    await until(lambda: front.proxy.stopping)
    writer.write(KEEP)
    answer = await asyncio.wait_for(reader.read(), 10)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nConnection: close\r\n" in answer
    # All are gone: the rest of the grace is nobody's.
    await asyncio.wait_for(stop, 10)


async def test_an_idle_connection_is_closed_when_its_grace_is_over(stage) -> None:
    front = await stage(ok())
    reader, writer = await front.connect()
    writer.write(KEEP)
    await reader.readuntil(b"hello")
    await asyncio.wait_for(front.proxy.stop(idle_grace_secs=0.1), 10)
    assert await reader.read() == b""


# -- how many


async def served(front) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection that idles after its first answer."""
    reader, writer = await front.connect()
    writer.write(KEEP)
    await reader.readuntil(b"hello")
    return reader, writer


async def test_where_connections_are_full_the_longest_idle_makes_room(stage) -> None:
    front = await stage(ok(), max_connections=2)
    oldest, _ = await served(front)
    await asyncio.sleep(0.01)  # uvloop's clock goes in milliseconds
    reader, writer = await served(front)
    await served(front)
    assert await asyncio.wait_for(oldest.read(), 10) == b""
    writer.write(KEEP)
    assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200 OK")
    assert front.proxy.refusals == {}


async def test_where_all_are_busy_one_more_is_told_to_come_again(stage) -> None:
    go_on = asyncio.Event()

    async def origin(reader, writer) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            await go_on.wait()
            writer.write(ok())

    front = await stage(origin, max_connections=2)
    readers = []
    for _ in range(2):
        reader, writer = await front.connect()
        writer.write(KEEP)
        readers.append(reader)
    await until(lambda: front.proxy.in_flight == 2)
    answer = await front.ask(GET)
    assert answer.startswith(b"HTTP/1.1 503 Service Unavailable")
    assert b"\r\nConnection: close\r\n" in answer
    assert front.proxy.refusals == {"overloaded": 1}
    go_on.set()
    for reader in readers:
        assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize(("trusted", "refused"), [([], True), (["127.0.0.0/8"], False)])
async def test_one_address_has_so_many_connections_unless_it_is_a_trusted_proxy(
    stage, trusted: list[str], refused: bool
) -> None:
    front = await stage(ok(), max_connections_per_address=2, trusted=trusted)
    await served(front)
    _, second = await served(front)
    answer = await front.ask(GET)
    assert answer.startswith(b"HTTP/1.1 429 Too Many Requests" if refused else b"HTTP/1.1 200 OK")
    second.close()
    await until(lambda: len(front.proxy.connections) == 1)
    assert (await front.ask(GET)).startswith(b"HTTP/1.1 200 OK")


async def test_connections_are_forgotten_when_they_end(stage) -> None:
    front = await stage(ok())
    for _ in range(3):
        await front.ask(GET)
    await until(lambda: not front.proxy.connections)
    assert (len(front.proxy._by_address), front.proxy.in_flight) == (0, 0)


# -- who is in front


@pytest.mark.parametrize("name", [b"X_Forwarded_For", b"x-forwarded_for", b"X_Forwarded-Proto", b"X_Real_IP"])
async def test_a_claim_in_a_spelling_that_cgi_takes_for_it_never_reaches_the_site(stage, name: bytes) -> None:
    for trusted in ([], ["127.0.0.0/8"]):
        front = await stage(ok(), trusted=trusted)
        await front.ask(GET[:-2] + name + b": 203.0.113.9\r\n\r\n")
        assert b"203.0.113.9" not in front.heads[0]
        assert front.exchanges[0].client == "127.0.0.1"


async def test_a_proxy_header_says_who_the_visitor_is(stage) -> None:
    front = await stage(ok(), proxy_protocol=True, trusted=["127.0.0.1"])
    for header, client, scheme in (
        (b"PROXY TCP4 203.0.113.9 192.0.2.1 4711 80\r\n", "203.0.113.9", "http"),
        (b"PROXY TCP6 2001:db8::9 2001:db8::1 4711 80\r\n", "2001:db8::9", "http"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1", "http"),
        (over_tls("203.0.113.10"), "203.0.113.10", "https"),
    ):
        answer = await front.ask(header + GET[:-2] + b"X-Forwarded-Proto: ftp\r\nX-Forwarded-For: 198.51.100.1\r\n\r\n")
        assert answer.endswith(b"hello")
        exchange = front.exchanges[-1]
        if header != b"PROXY UNKNOWN\r\n":
            assert (exchange.client, exchange.scheme) == (client, scheme)
            # The visitor is not trusted, although the proxy in front is.
            assert b"198.51.100.1" not in front.heads[-1]
            assert client.encode() in front.heads[-1]


def over_tls(source: str) -> bytes:
    """Version 2, with the TLV that says the visitor came over TLS."""
    tls = b"\x20" + struct.pack("!HBI", 5, 1, 0)
    addresses = socket.inet_aton(source) + socket.inet_aton("192.0.2.1") + struct.pack("!HH", 4711, 443)
    return b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack("!H", len(addresses + tls)) + addresses + tls


async def test_without_a_proxy_header_or_from_a_stranger_nothing_is_answered(stage) -> None:
    front = await stage(ok(), proxy_protocol=True, trusted=["127.0.0.1"])
    assert await _nothing(front, GET)
    front = await stage(ok(), proxy_protocol=True, trusted=["192.0.2.1"])
    assert await _nothing(front, b"PROXY TCP4 203.0.113.9 192.0.2.1 4711 80\r\n" + GET)
    assert front.heads == []


async def _nothing(front, request: bytes) -> bool:
    try:
        return await front.ask(request) == b""
    except ConnectionError:
        return True


async def test_https_behind_a_proxy_header(stage, tls: TlsSettings) -> None:
    front = await stage(ok(), proxy_protocol=True, trusted=["127.0.0.1"], tls=tls)
    front.port = front.https_port
    reader, writer = await front.connect()
    writer.write(b"PROXY TCP4 203.0.113.9 192.0.2.1 4711 443\r\n")
    await writer.start_tls(anyone(), server_hostname="shop.example")
    writer.write(GET)
    assert (await asyncio.wait_for(reader.read(), 10)).endswith(b"hello")
    [exchange] = front.exchanges
    assert (exchange.client, exchange.scheme) == ("203.0.113.9", "https")
    assert b"\r\nX-Forwarded-Proto: https\r\n" in front.heads[0]


# -- https


@pytest.fixture
def tls(tmp_path: Path) -> TlsSettings:
    pair = Authority(tmp_path).pair(tmp_path, "shop.example")
    return TlsSettings(
        listen="127.0.0.1:8443",
        certificates=[CertificateSettings(certificate=str(pair.certificate), key=str(pair.key))],
        redirect=True,
    )


async def test_a_visitor_over_https_is_served_and_the_site_hears_of_it(stage, tls: TlsSettings) -> None:
    front = await stage(ok(), tls=tls)
    reader, writer = await front.connect(https=True)
    for _ in range(3):
        writer.write(KEEP)
        await reader.readuntil(b"hello")
    assert [exchange.scheme for exchange in front.exchanges] == ["https"] * 3
    assert b"\r\nX-Forwarded-Proto: https\r\n" in front.heads[0]
    writer.write(b"nonsense\r\n\r\n")
    assert (await reader.readuntil(b"</html>")).startswith(b"HTTP/1.1 400 ")


async def test_a_listener_for_https_without_certificates_is_refused(stage) -> None:
    front = await stage(ok())
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        with pytest.raises(ValueError, match=r"proxy\.tls"):
            await front.proxy.start(tls=[sock])


async def test_a_large_upload_and_a_large_download_over_https_arrive_whole_and_hold_each_other_back(
    stage, tls: TlsSettings
) -> None:
    size, sent = 32 * 1024 * 1024, 0
    block = bytes(range(256)) * 256
    received = hashlib.sha256()

    async def origin(reader, writer) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        await begin.wait()
        left = size
        while left:
            data = await reader.read(2**18)
            received.update(data)
            left -= len(data)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        while sent < size:
            writer.write(block)
            await writer.drain()
            sent += len(block)

    async def upload() -> None:
        for _ in range(size // len(block)):
            writer.write(block)
            await writer.drain()

    begin = asyncio.Event()
    front = await stage(origin, tls=tls)
    reader, writer = await front.connect(https=True)
    writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % size)
    uploading = asyncio.create_task(upload())
    await until(lambda: front.proxy.uploads)
    [connection] = front.proxy.uploads
    assert await settled(lambda: connection.uploaded_bytes) < size  # nobody reads
    begin.set()
    await asyncio.wait_for(uploading, 30)
    await until(lambda: sent)
    assert await settled(lambda: sent) < size
    expected, got = hashlib.sha256(block * (size // len(block))), hashlib.sha256()
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK")
    while data := await asyncio.wait_for(reader.read(2**18), 30):
        got.update(data)
    assert received.digest() == got.digest() == expected.digest()


async def settled(question: Callable[[], int]) -> int:
    """The answer when it does not change any more."""
    before = -1
    while (now := question()) != before:
        before = now
        await asyncio.sleep(0.3)
    return now


@pytest.mark.parametrize(
    ("line", "host", "location"),
    [
        (b"GET /a?b=%41", b"shop.example", b"https://shop.example:8443/a?b=%41"),
        (b"GET /", b"shop.example:8080", b"https://shop.example:8443/"),
        (b"GET //evil.example/", b"[::1]:8080", b"https://[::1]:8443//evil.example/"),
        (b"DELETE /.well-known/acme", b"a", b"https://a:8443/.well-known/acme"),
    ],
)
async def test_http_is_sent_to_https(stage, tls: TlsSettings, line: bytes, host: bytes, location: bytes) -> None:
    front = await stage(ok(), tls=tls)
    status, fields, body = split(
        await front.ask(line + b" HTTP/1.1\r\nHost: " + host + b"\r\nConnection: close\r\n\r\n")
    )
    assert status == b"HTTP/1.1 308 Permanent Redirect"
    assert value_of(fields, b"location") == location
    assert value_of(fields, b"content-length") == b"%d" % len(body)
    assert front.heads == []
    [exchange] = front.exchanges
    assert (exchange.status, exchange.refusal, exchange.ended_by) == (308, "https_only", "proxy")


async def test_the_port_every_browser_knows_is_not_named(stage, tls: TlsSettings) -> None:
    front = await stage(ok(), tls=msgspec.structs.replace(tls, listen="0.0.0.0:443"))
    assert b"\r\nLocation: https://a/\r\n" in await front.ask(GET)


async def test_a_redirect_answers_head_without_a_body_and_the_connection_goes_on(stage, tls: TlsSettings) -> None:
    front = await stage(ok(), tls=tls)
    answer = await front.ask(b"HEAD /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n" + GET)
    first, _, rest = answer.partition(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 308 ")
    assert rest.startswith(b"HTTP/1.1 308 ")
    assert answer.count(b"HTTP/1.1 308 ") == 3


async def test_a_redirected_upload_is_not_taken(stage, tls: TlsSettings) -> None:
    front = await stage(ok(), tls=tls)
    answer = await front.ask(
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 40\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
    )
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"Connection: close" in answer
    assert front.proxy.uploads == set()


@pytest.mark.parametrize("target", [b"/.well-known/acme-challenge/token", b"*"])
async def test_what_must_be_reached_over_http_is(stage, tls: TlsSettings, target: bytes) -> None:
    front = await stage(ok(), tls=tls)
    method = b"OPTIONS" if target == b"*" else b"GET"
    answer = await front.ask(method + b" " + target + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK")


async def test_a_visitor_who_came_to_the_proxy_in_front_over_https_is_not_sent_there_again(
    stage, tls: TlsSettings
) -> None:
    front = await stage(ok(), tls=tls, trusted=["127.0.0.0/8"])
    assert (await front.ask(GET[:-2] + b"X-Forwarded-Proto: https\r\n\r\n")).startswith(b"HTTP/1.1 200 OK")
    assert (await front.ask(GET)).startswith(b"HTTP/1.1 308 ")


async def test_a_handshake_that_never_ends_is_given_up(stage, tls: TlsSettings) -> None:
    front = await stage(ok(), tls=tls, head_timeout_secs=0.2)
    front.port = front.https_port
    assert await _nothing(front, b"\x16\x03\x01")


async def test_a_flood_of_connections_is_not_looked_for_room_among_all_others_each_time(stage, monkeypatch) -> None:
    looked_at = 0

    def is_idle(connection: Http1) -> bool:
        nonlocal looked_at
        looked_at += 1
        return False

    monkeypatch.setattr(Http1, "is_idle", property(is_idle))
    front = await stage(ok(), max_connections=20, max_connections_per_address=0)
    for _ in range(20):
        reader, writer = await front.connect()
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await reader.readuntil(b"hello")
    for _ in range(50):
        assert (await front.ask(b"")).startswith(b"HTTP/1.1 503")
    assert looked_at < 50 * 20 / 2


@pytest.mark.parametrize("limit", ["max_connections", "max_connections_per_address"])
async def test_a_flood_beyond_a_limit_takes_no_more_places_than_a_few(stage, limit: str) -> None:
    front = await stage(ok(), **{limit: 5})
    kept = [await front.connect() for _ in range(5)]
    for _ in range(MAX_TOLD * 3):
        await front.connect()  # and never takes the answer, nor leaves
    await until(lambda: sum(front.proxy.refusals.values()) == MAX_TOLD * 3)
    await until(lambda: len(front.proxy.connections) <= 5 + MAX_TOLD)
    reader, writer = kept[0]
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200")
