"""Which requests may pass, and what goes upstream for them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.heads import RequestHead
from proxy.refusal import Refusal
from proxy.request import Limits, RequestLine, is_idempotent, read_head, read_line, upstream_head, why_incomplete

LIMITS = Limits()
FORWARDING = b"\r\nX-Forwarded-For: 192.0.2.7"
NOTHING: dict[bytes, bytes] = {}


def judged(raw: bytes, limits: Limits = LIMITS) -> tuple[RequestLine, RequestHead] | Refusal:
    """Line and head of a request, or why it may not pass."""
    end = raw.index(b"\r\n\r\n") + 4
    line = read_line(raw[:end], limits)
    if isinstance(line, Refusal):
        return line
    head = read_head(raw[line.end : end], line.http_10, limits)
    return head.refusal or (line, head)


def head_of(fields: bytes) -> RequestHead:
    head = read_head(b"Host: a\r\n" + fields + b"\r\n", False, LIMITS)
    assert head.refusal is None
    return head


def sent_upstream(raw: bytes, *, trusted: bool = False, change: dict[bytes, bytes] = NOTHING) -> list[bytes]:
    line, head = judged(raw)
    host = line.authority or head.authority or b"origin:9000"
    lines = upstream_head(line.start, head, changed=change, host=host, trusted=trusted, forwarding=FORWARDING)
    assert lines.endswith(b"\r\n\r\n")
    return lines[:-4].split(b"\r\n")


@pytest.mark.parametrize(
    ("raw", "refusal"),
    [
        (b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", Refusal.METHOD_NOT_ALLOWED),
        (b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", Refusal.METHOD_NOT_ALLOWED),
        (b"GET / HTTP/1.1\r\nHost: \r\n\r\n", Refusal.BAD_HOST),
        (b"GET / HTTP/1.1\r\nHost: user@a\r\n\r\n", Refusal.BAD_HOST),
        (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", Refusal.BAD_HOST),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", Refusal.BAD_HOST),
        (b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", Refusal.BAD_HOST),
        (b"GET / HTTP/1.1\r\nHost: a?b\r\n\r\n", Refusal.BAD_HOST),
        (b"GET / HTTP/1.1\r\nHost: a\\b\r\n\r\n", Refusal.BAD_HOST),
        (b"GET / HTTP/1.1\r\nHost: a:99999999\r\n\r\n", Refusal.BAD_HOST),
        (b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", Refusal.BAD_HOST),
        (b"GET / HTTP/1.1\r\nX: a\r\n\r\n", Refusal.BAD_REQUEST),
        (b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", Refusal.BAD_TARGET),
        (b"GET a HTTP/1.1\r\nHost: a\r\n\r\n", Refusal.BAD_TARGET),
        (b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", Refusal.BAD_TARGET),
        (b"GET ?a HTTP/1.1\r\nHost: a\r\n\r\n", Refusal.BAD_TARGET),
        (b"GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", Refusal.BAD_HOST),
        (b"GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", Refusal.BAD_HOST),
        (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", Refusal.VERSION_UNKNOWN),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", Refusal.VERSION_UNKNOWN),
        (b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", Refusal.VERSION_UNKNOWN),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Refusal.VERSION_UNKNOWN),
        (b"GET / HTTP/1.10\r\nHost: a\r\n\r\n", Refusal.BAD_REQUEST),
        (b"GET / http/1.1\r\nHost: a\r\n\r\n", Refusal.BAD_REQUEST),
        (b"GET / HTTPS/1.1\r\nHost: a\r\n\r\n", Refusal.BAD_REQUEST),
        (b"GET /\r\nHost: a\r\n\r\n", Refusal.BAD_REQUEST),
        (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", Refusal.BAD_REQUEST),
        (b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n", Refusal.BAD_REQUEST),
        (b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", Refusal.BAD_REQUEST),
        (b" GET / HTTP/1.1\r\nHost: a\r\n\r\n", Refusal.BAD_REQUEST),
        (b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", Refusal.BAD_REQUEST),
        (b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", Refusal.BAD_REQUEST),
        (b"GET /a\tb HTTP/1.1\r\nHost: a\r\n\r\n", Refusal.BAD_REQUEST),
        (b"GET /a\x7f HTTP/1.1\r\nHost: a\r\n\r\n", Refusal.BAD_REQUEST),
        (b"GET /a\0 HTTP/1.1\r\nHost: a\r\n\r\n", Refusal.BAD_REQUEST),
        (b"GET /a\rb HTTP/1.1\r\nHost: a\r\n\r\n", Refusal.BAD_REQUEST),
        (b"G(T / HTTP/1.1\r\nHost: a\r\n\r\n", Refusal.BAD_REQUEST),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", Refusal.CODING_UNKNOWN),
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", Refusal.BAD_FRAMING),
    ],
)
def test_a_request_that_leaves_doubt_is_refused(raw: bytes, refusal: Refusal) -> None:
    assert judged(raw) is refusal


@pytest.mark.parametrize(
    "fields",
    [
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding: chunked, identity",
        b"Transfer-Encoding: identity",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5",
        b"Transfer-Encoding: \x0bchunked",
        b"Transfer-Encoding:",
        b"Transfer-Encoding : chunked",
        b"Content-Length: 5\r\nContent-Length: 5",
        b"Content-Length: 5\r\ncontent-length: 6",
        b"Content-Length: 5, 5",
        b"Content-Length: +5",
        b"Content-Length: -5",
        b"Content-Length: 0x5",
        b"Content-Length: 5 5",
        b"Content-Length: 1_0",
        b"Content-Length: " + b"9" * 40,
        b"Content-Length:",
        b"Host: b",
        b"X: a\nContent-Length: 5",
        b"X: a\rContent-Length: 5",
        b"X: a\0",
        b"X: a\r\n b",
        b"X: a\r\n\tb",
        b" X: a",
        b"X a: b",
        b"X\xff: b",
        b": b",
        b"X",
    ],
)
def test_fields_that_leave_doubt_are_refused(fields: bytes) -> None:
    verdict = judged(b"POST / HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n\r\n")
    assert isinstance(verdict, Refusal)
    assert verdict.status in (400, 501)


@given(block=st.binary(max_size=200), http_10=st.booleans())
def test_any_bytes_are_a_head_or_a_refusal(block: bytes, http_10: bool) -> None:
    head = read_head(block + b"\r\n\r\n", http_10, LIMITS)
    assert isinstance(head.refusal, Refusal) or head.fields or http_10


@given(line=st.binary(max_size=200))
def test_any_bytes_are_a_request_line_or_a_refusal(line: bytes) -> None:
    read = read_line(line + b"\r\n", LIMITS)
    assert isinstance(read, (Refusal, RequestLine))


@pytest.mark.parametrize(
    ("raw", "start", "authority"),
    [
        (
            b"GET /a%2fb/%41/./c/../d//?x=%41&y=%zz HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /a%2fb/%41/./c/../d//?x=%41&y=%zz",
            b"a",
        ),
        (b"GET /? HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", b"GET /?", b"[::1]:80"),
        (b"GET //b/c HTTP/1.1\r\nHost: a\r\n\r\n", b"GET //b/c", b"a"),
        (b"GET /caf\xe9#x HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /caf\xe9#x", b"a"),
        (b"GET http://b:81/x?y HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /x?y", b"b:81"),
        (b"GET HTTPS://b/ HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /", b"b"),
        (b"GET http://b HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /", b"b"),
        (b"GET http://b?q HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /?q", b"b"),
        (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", b"OPTIONS *", b"a"),
        (b"M-SEARCH /x HTTP/1.1\r\nHost: a\r\n\r\n", b"M-SEARCH /x", b"a"),
        (b"GET / HTTP/1.0\r\n\r\n", b"GET /", None),
    ],
)
def test_the_target_goes_on_octet_for_octet(raw: bytes, start: bytes, authority: bytes | None) -> None:
    line, head = judged(raw)
    assert (line.start, line.authority or head.authority) == (start, authority)


# -- bounds


def test_each_bound_holds_to_the_octet() -> None:
    limits = Limits(target=20, field=30, fields=4, head=200)

    def verdict(target: bytes = b"/", fields: bytes = b"") -> Refusal | None:
        got = judged(b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n", limits)
        return got if isinstance(got, Refusal) else None

    assert verdict(target=b"/" + b"a" * 19) is None
    assert verdict(target=b"/" + b"a" * 20) is Refusal.TARGET_TOO_LONG
    assert verdict(fields=b"X-A: " + b"a" * 27 + b"\r\n") is None
    assert verdict(fields=b"X-A: " + b"a" * 28 + b"\r\n") is Refusal.FIELDS_TOO_LARGE
    assert verdict(fields=b"X" * 20 + b": " + b"a" * 10 + b"\r\n") is None
    assert verdict(fields=b"X" * 20 + b": " + b"a" * 11 + b"\r\n") is Refusal.FIELDS_TOO_LARGE
    assert verdict(fields=b"X: a\r\n" * 3) is None
    assert verdict(fields=b"X: a\r\n" * 4) is Refusal.FIELDS_TOO_LARGE


def test_a_block_is_too_large_above_the_bound_of_a_head() -> None:
    def refusal(length: int) -> Refusal | None:
        block = b"Host: a\r\n" + b"X: %b\r\n" * 3 % ((b"a" * 300,) * 3)
        block += b"Y: " + b"a" * (length - len(block) - 7) + b"\r\n\r\n"
        assert len(block) == length
        return read_head(block, False, Limits(head=1200)).refusal

    assert refusal(1200) is None
    assert refusal(1201) is Refusal.FIELDS_TOO_LARGE


@pytest.mark.parametrize(
    ("begin", "refusal"),
    [
        (b"", None),
        (b"\r", None),
        (b"GET", None),
        (b"GET / HTTP/1.1\r", None),
        (b"GET / HTTP/1.1\r\nHost: a\r", None),
        (b"GET / HTTP/1.1\nHost: a\n", Refusal.BAD_REQUEST),
        (b"GET / HTTP/1.1\r\nHost: a\n", Refusal.BAD_REQUEST),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: \0", Refusal.BAD_REQUEST),
        (b"GET / HTTP/1.1\r\nHost: a\r\n folded", Refusal.BAD_REQUEST),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\tfolded", Refusal.BAD_REQUEST),
        (b"GET  / HTTP/1.1\r\nHost: a", Refusal.BAD_REQUEST),
        (b"GET / HTTP/1.1\n", Refusal.BAD_REQUEST),
        (b"GET / HTTP/3.0\r\nHost: a", Refusal.VERSION_UNKNOWN),
        (b"GET /" + b"a" * 300, None),
        (b"GET /" + b"a" * 400, Refusal.TARGET_TOO_LONG),
        (b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 160, None),
        (b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 170, Refusal.FIELDS_TOO_LARGE),
    ],
)
def test_a_head_that_can_never_be_good_is_not_waited_for(begin: bytes, refusal: Refusal | None) -> None:
    assert why_incomplete(begin, Limits(target=300, head=1024)) is refusal


# -- what follows from a head


@pytest.mark.parametrize(
    ("fields", "http_10", "keep_alive"),
    [
        (b"", False, True),
        (b"Connection: close\r\n", False, False),
        (b"Connection: Upgrade, CLOSE\r\n", False, False),
        (b"Connection: keep-alive\r\nConnection: close\r\n", False, False),
        (b"Connection: closed\r\n", False, True),
        (b"", True, False),
        (b"Connection: Keep-Alive\r\n", True, True),
    ],
)
def test_who_wants_the_connection_again(fields: bytes, http_10: bool, keep_alive: bool) -> None:
    head = read_head(b"Host: a\r\n" + fields + b"\r\n", http_10, LIMITS)
    assert (head.refusal, head.keep_alive) == (None, keep_alive)


@pytest.mark.parametrize(
    ("fields", "chunked", "length"),
    [
        (b"", False, 0),
        (b"Content-Length: 0\r\n", False, 0),
        (b"Content-Length: 0005\r\n", False, 5),
        (b"Transfer-Encoding: chunked\r\n", True, 0),
        (b"transfer-encoding: CHUNKED\r\n", True, 0),
    ],
)
def test_the_framing_of_a_request(fields: bytes, chunked: bool, length: int) -> None:
    head = head_of(fields)
    assert (head.chunked, head.length) == (chunked, length)


def test_who_waits_for_a_100() -> None:
    assert head_of(b"Expect: 100-Continue\r\nContent-Length: 1\r\n").expects_continue
    assert not head_of(b"Content-Length: 1\r\n").expects_continue


# -- what goes upstream


def test_the_visitors_fields_keep_their_spelling_order_and_repetition() -> None:
    assert sent_upstream(
        b"GET / HTTP/1.1\r\nhOsT: shop.example\r\nX-B: 1\r\nx-a: caf\xe9\r\nX-B: 2\r\nCookie: a=b\r\n\r\n"
    ) == [
        b"GET / HTTP/1.1", b"Host: shop.example", b"X-B: 1", b"x-a: caf\xe9", b"X-B: 2", b"Cookie: a=b",
        b"X-Forwarded-For: 192.0.2.7",
    ]  # fmt: skip


def test_what_belongs_to_the_hop_stays_on_the_hop() -> None:
    lines = sent_upstream(
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close, X-Secret\r\nX-Secret: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\n"
        b"Proxy-Authorization: Basic x\r\nProxy-Connection: close\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n\r\n"
    )
    assert lines[1:] == [b"Host: a", b"TE: trailers", b"X-Forwarded-For: 192.0.2.7"]


def test_several_connection_fields_name_together() -> None:
    lines = sent_upstream(
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: X-One\r\nX-One: 1\r\nx-two: 2\r\nConnection: X-Two\r\n\r\n"
    )
    assert lines[1:] == [b"Host: a", b"X-Forwarded-For: 192.0.2.7"]


def test_connection_cannot_name_away_what_belongs_to_the_whole_way() -> None:
    lines = sent_upstream(
        b"POST / HTTP/1.1\r\nHost: a\r\nConnection: Cookie, Content-Length, Host, Authorization\r\nCookie: a=b\r\n"
        b"Authorization: Basic x\r\nContent-Length: 1\r\n\r\n"
    )
    assert lines[1:-1] == [b"Host: a", b"Cookie: a=b", b"Authorization: Basic x", b"Content-Length: 1"]


CLAIMS = (
    b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\nForwarded: for=1.1.1.1\r\n"
    b"X-Real-IP: 1.1.1.1\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Port: 1\r\nX_Forwarded_For: 1.1.1.1\r\n"
    b"x-forwarded_for: 1.1.1.1\r\nX_Real-IP: 1.1.1.1\r\nX_Forwarded_Port: 1\r\n\r\n"
)


def test_a_strangers_claims_about_the_visitor_are_replaced() -> None:
    assert sent_upstream(CLAIMS)[1:] == [b"Host: a", b"X-Forwarded-For: 192.0.2.7"]


def test_of_a_trusted_proxys_words_those_stay_that_are_not_continued() -> None:
    assert sent_upstream(CLAIMS, trusted=True)[1:] == [
        b"Host: a", b"X-Real-IP: 1.1.1.1", b"X-Forwarded-Port: 1", b"X-Forwarded-For: 192.0.2.7",
    ]  # fmt: skip


def test_the_observers_changes_take_effect_in_place() -> None:
    raw = b"GET / HTTP/1.1\r\nHost: a\r\nCookie: a=b; ropo_id=x\r\nAccept: */*\r\nX-Ropo-Visitor: forged\r\n\r\n"
    lines = sent_upstream(raw, change={b"cookie": b"a=b", b"x-ropo-visitor": b"v1", b"x-ropo-identity": b"known"})
    assert lines[2:6] == [b"Cookie: a=b", b"Accept: */*", b"X-Ropo-Visitor: v1", b"x-ropo-identity: known"]
    lines = sent_upstream(raw, change={b"cookie": b"", b"x-ropo-visitor": b"", b"x-ropo-identity": b""})
    assert not [line for line in lines if line.lower().startswith((b"cookie", b"x-ropo"))]


def test_what_is_kept_with_a_head_holds_for_the_same_wishes_and_the_same_trust_only() -> None:
    _, head = judged(CLAIMS)

    def lines(start: bytes, changed: dict[bytes, bytes], trusted: bool, host: bytes = b"h") -> bytes:
        return upstream_head(start, head, changed=changed, host=host, trusted=trusted, forwarding=b"\r\nF: 1")

    for _ in range(2):
        assert lines(b"GET /a", NOTHING, False) == b"GET /a HTTP/1.1\r\nHost: h\r\nF: 1\r\n\r\n"
        assert lines(b"PUT /b", NOTHING, False, b"i") == b"PUT /b HTTP/1.1\r\nHost: i\r\nF: 1\r\n\r\n"
        assert lines(b"GET /a", {b"x": b"1"}, False) == b"GET /a HTTP/1.1\r\nHost: h\r\nx: 1\r\nF: 1\r\n\r\n"
        assert lines(b"GET /a", {b"x": b"2"}, False) == b"GET /a HTTP/1.1\r\nHost: h\r\nx: 2\r\nF: 1\r\n\r\n"
        assert b"\r\nX-Real-IP: 1.1.1.1\r\n" in lines(b"GET /a", NOTHING, True)


def test_a_chunked_body_is_announced_as_such() -> None:
    lines = sent_upstream(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\nTrailer: X\r\n\r\n")
    assert lines[1:-1] == [b"Host: a", b"Trailer: X", b"Transfer-Encoding: chunked"]


HANDSHAKE = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: %b\r\nSec-WebSocket-Key: x\r\n%b\r\n"


def test_a_switch_of_protocols_is_forwarded() -> None:
    lines = sent_upstream(HANDSHAKE % (b"websocket", b""))
    assert lines[3:5] == [b"Connection: Upgrade", b"Upgrade: websocket"]


@pytest.mark.parametrize(
    "raw",
    [
        HANDSHAKE % (b"h2c", b""),
        HANDSHAKE % (b"websocket, h2c", b""),
        HANDSHAKE % (b"websocket", b"Content-Length: 5\r\n"),
        HANDSHAKE % (b"websocket", b"Transfer-Encoding: chunked\r\n"),
        (HANDSHAKE % (b"websocket", b"")).replace(b"Connection: Upgrade", b"Connection: close"),
        (HANDSHAKE % (b"websocket", b"")).replace(b"HTTP/1.1", b"HTTP/1.0"),
    ],
)
def test_a_switch_that_would_leave_doubt_is_not(raw: bytes) -> None:
    assert not [line for line in sent_upstream(raw) if line.lower().startswith((b"connection", b"upgrade"))]


@pytest.mark.parametrize(
    ("method", "twice"),
    [("GET", True), ("HEAD", True), ("PUT", True), ("DELETE", True), ("POST", False), ("PATCH", False)],
)
def test_only_an_idempotent_request_may_be_sent_twice(method: str, twice: bool) -> None:
    assert is_idempotent(method) is twice
