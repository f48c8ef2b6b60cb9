"""What a request over HTTP/2 asks, as HTTP/1 would have it; and what becomes of an answer's head."""

from __future__ import annotations

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.answer_reader import AnswerReader
from proxy.heads import AnswerHead
from proxy.http2_heads import (
    Request,
    answer_block,
    interim_block,
    read_request,
    read_trailers,
    refusal_block,
    trailer_block,
)
from proxy.refusal import Refusal
from proxy.request import Limits, read_head, upstream_head

LIMITS = Limits()
GET = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"shop.example"), (b":path", b"/a?b=c")]


def read(fields: list[tuple[bytes, bytes]], *, ended: bool = True, limits: Limits = LIMITS) -> Request:
    return read_request(
        fields, ended=ended, limits=limits, read_head=lambda block, http_10: read_head(block, http_10, limits)
    )


def changed(**pseudo: bytes | None) -> list[tuple[bytes, bytes]]:
    """GET with other pseudo-fields; None takes one away."""
    known = {name[1:].decode(): value for name, value in GET} | pseudo
    return [(b":" + name.encode(), value) for name, value in known.items() if value is not None]


def decoded(block: bytes) -> list[tuple[bytes, bytes]]:
    return [(bytes(name), bytes(value)) for name, value in hpack.Decoder().decode(block, raw=True)]


def test_a_request_is_what_http_1_would_have_for_it():
    request = read([*GET, (b"accept", b"*/*"), (b"te", b"trailers")])
    assert (request.refusal, request.method, request.target, request.start) == (None, "GET", "/a?b=c", b"GET /a?b=c")
    assert request.head.authority == b"shop.example"
    assert request.head.fields == ((b"host", b"shop.example"), (b"accept", b"*/*"), (b"te", b"trailers"))
    assert (request.head.chunked, request.head.length) == (False, 0)


def test_crumbs_of_cookies_become_one_field_where_the_first_was():
    request = read([*GET, (b"cookie", b"a=1"), (b"x", b"y"), (b"cookie", b"b=2"), (b"cookie", b"c=3")])
    assert request.head.fields[1:] == ((b"cookie", b"a=1; b=2; c=3"), (b"x", b"y"))


def test_a_body_without_a_length_goes_on_in_chunks():
    assert read([*GET], ended=False).head.chunked
    head = read([*GET, (b"content-length", b"5")], ended=False).head
    assert (head.chunked, head.length) == (False, 5)


def test_the_host_may_stand_in_for_the_authority():
    assert read([*changed(authority=None), (b"host", b"other.example")]).head.authority == b"other.example"
    assert read([*GET, (b"host", b"SHOP.example")]).head.fields == ((b"host", b"shop.example"),)


def test_a_question_about_the_whole_server_is_passed_on():
    assert read(changed(method=b"OPTIONS", path=b"*")).start == b"OPTIONS *"


@pytest.mark.parametrize(
    "fields, refusal",
    [
        # RFC 9113 8.3: pseudo-fields
        (changed(method=None), Refusal.BAD_REQUEST),
        (changed(scheme=None), Refusal.BAD_REQUEST),
        (changed(path=None), Refusal.BAD_REQUEST),
        (changed(path=b""), Refusal.BAD_REQUEST),
        (changed(scheme=b"ftp"), Refusal.BAD_REQUEST),
        (changed(authority=None), Refusal.BAD_REQUEST),
        (changed(authority=b""), Refusal.BAD_HOST),
        (changed(authority=b"user@shop.example"), Refusal.BAD_HOST),
        (changed(authority=b"shop.example\r\nx: y"), Refusal.BAD_REQUEST),
        ([*GET, (b":path", b"/other")], Refusal.BAD_REQUEST),
        ([*GET, (b":status", b"200")], Refusal.BAD_REQUEST),
        ([*GET, (b":unknown", b"1")], Refusal.BAD_REQUEST),
        ([*GET[:3], (b"x", b"y"), GET[3]], Refusal.BAD_REQUEST),
        ([*GET, (b"x", b"y"), (b":authority", b"other.example")], Refusal.BAD_REQUEST),
        ([*GET, (b"host", b"other.example")], Refusal.BAD_HOST),
        ([*changed(authority=None), (b"host", b"a"), (b"host", b"b")], Refusal.BAD_REQUEST),
        # the line
        (changed(path=b"a"), Refusal.BAD_TARGET),
        (changed(path=b"*"), Refusal.BAD_TARGET),
        (changed(path=b"https://other.example/"), Refusal.BAD_TARGET),
        (changed(path=b"/a b"), Refusal.BAD_REQUEST),
        (changed(path=b"/ HTTP/1.1\r\nx: y"), Refusal.BAD_REQUEST),
        (changed(path=b"/\n"), Refusal.BAD_REQUEST),
        (changed(path=b"/" + b"x" * 9000), Refusal.TARGET_TOO_LONG),
        (changed(method=b"GET /admin"), Refusal.BAD_REQUEST),
        (changed(method=b""), Refusal.BAD_REQUEST),
        (changed(method=b"TRACE"), Refusal.METHOD_NOT_ALLOWED),
        (changed(method=b"CONNECT", scheme=None, path=None), Refusal.METHOD_NOT_ALLOWED),
        (changed(method=b"CONNECT", protocol=b"websocket"), Refusal.METHOD_NOT_ALLOWED),
        (changed(protocol=b"websocket"), Refusal.BAD_REQUEST),
        # RFC 9113 8.2: fields
        ([*GET, (b"Accept", b"*/*")], Refusal.BAD_REQUEST),
        ([*GET, (b"", b"x")], Refusal.BAD_REQUEST),
        ([*GET, (b"x:y", b"z")], Refusal.BAD_REQUEST),
        ([*GET, (b"x: y\r\nz", b"z")], Refusal.BAD_REQUEST),
        ([*GET, (b"x", b"y\r\nz: 1")], Refusal.BAD_REQUEST),
        ([*GET, (b"x", b"y\nz")], Refusal.BAD_REQUEST),
        ([*GET, (b"x", b"y\rz")], Refusal.BAD_REQUEST),
        ([*GET, (b"x", b"y\0z")], Refusal.BAD_REQUEST),
        ([*GET, (b"x", b" y")], Refusal.BAD_REQUEST),
        ([*GET, (b"x", b"y\t")], Refusal.BAD_REQUEST),
        ([*GET, (b"cookie", b"a=1"), (b"cookie", b"b\r\nx: y")], Refusal.BAD_REQUEST),
        ([*GET, (b"connection", b"close")], Refusal.BAD_REQUEST),
        ([*GET, (b"keep-alive", b"1")], Refusal.BAD_REQUEST),
        ([*GET, (b"proxy-connection", b"close")], Refusal.BAD_REQUEST),
        ([*GET, (b"transfer-encoding", b"chunked")], Refusal.BAD_REQUEST),
        ([*GET, (b"upgrade", b"websocket")], Refusal.BAD_REQUEST),
        ([*GET, (b"te", b"gzip")], Refusal.BAD_REQUEST),
        # framing
        ([*GET, (b"content-length", b"5")], Refusal.BAD_FRAMING),
        ([*GET, (b"content-length", b"+0")], Refusal.BAD_REQUEST),
        ([*GET, (b"content-length", b"0"), (b"content-length", b"0")], Refusal.BAD_REQUEST),
        # limits
        ([*GET, (b"x", b"y" * 17_000)], Refusal.FIELDS_TOO_LARGE),
        ([*GET, *[(b"x", b"y")] * 100], Refusal.FIELDS_TOO_LARGE),
        ([*GET, *[(b"x%d" % n, b"y" * 9000) for n in range(8)]], Refusal.FIELDS_TOO_LARGE),
    ],
)
def test_what_is_not_plainly_right_is_refused(fields: list[tuple[bytes, bytes]], refusal: Refusal):
    assert read(fields).refusal is refusal


_OCTETS = st.binary(max_size=12) | st.sampled_from(
    [b"\r\n", b"host", b"a: b", b"GET / HTTP/1.1", b"/", b"content-length"]
)


@given(
    pseudo=st.fixed_dictionaries({}, optional={name: _OCTETS for name in ("method", "scheme", "authority", "path")}),
    fields=st.lists(st.tuples(_OCTETS, _OCTETS), max_size=4),
    ended=st.booleans(),
)
def test_nothing_a_client_sends_becomes_two_requests_or_another_field(
    pseudo: dict[str, bytes], fields: list[tuple[bytes, bytes]], ended: bool
):
    request = read([*changed(**pseudo), *fields], ended=ended)
    if request.refusal is None:
        head = upstream_head(request.start, request.head, changed={}, host=b"origin", trusted=False, forwarding=b"")
        assert head.count(b"\r\n\r\n") == 1 and head.endswith(b"\r\n\r\n")
        sent = {name.lower() for name, _ in fields} | {b"host", b"transfer-encoding", b"te"}
        names = {line.partition(b":")[0].lower() for line in head.split(b"\r\n")[1:-2]}
        assert names <= sent
        assert head.count(b"\r\n") <= len(fields) + 6


def test_trailers_are_judged_like_those_behind_chunks():
    assert read_trailers([(b"x-sum", b"1"), (b"content-length", b"5")]) == ((b"x-sum", b"1"),)


@pytest.mark.parametrize("field", [(b":path", b"/"), (b"X", b"y"), (b"x", b"a\r\nb: c"), (b"x: y", b"z"), (b"", b"")])
def test_trailers_that_are_none_are_refused(field: tuple[bytes, bytes]):
    assert read_trailers([field]) is None


def answer(text: bytes) -> AnswerHead:
    return AnswerReader().feed(text)[0]


DATE = b"Sun, 06 Nov 1994 08:49:37 GMT"


def test_an_answers_names_are_lower_case_and_what_belongs_to_the_hop_stays_behind():
    head = answer(
        b"HTTP/1.1 200 Fine\r\nX-A: 1\r\nDate: " + DATE + b"\r\nConnection: close, X-B\r\nX-B: 2\r\nKeep-Alive: 5\r\n"
        b"Upgrade: h2c\r\nTransfer-Encoding: chunked\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\n"
    )
    fields = decoded(answer_block(head, date=DATE, added=[(b"Set-Cookie", b"ropo_id=1")]))
    assert fields == [
        (b":status", b"200"), (b"x-a", b"1"), (b"date", DATE), (b"set-cookie", b"a"), (b"set-cookie", b"b"),
        (b"set-cookie", b"ropo_id=1"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text, length",
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b"5"),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", b"5"),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", None),
    ],
)
def test_a_length_goes_on_where_it_means_something(text: bytes, length: bytes | None):
    fields = dict(decoded(answer_block(answer(text), date=DATE, added=None)))
    assert (fields.get(b"content-length"), fields[b"date"]) == (length, DATE)


def test_a_date_that_is_none_stays_as_it_came():
    head = answer(b"HTTP/1.1 200 OK\r\nDate: now\r\n\r\n")
    assert decoded(answer_block(head, date=DATE, added=None)) == [(b":status", b"200"), (b"date", b"now")]


def test_the_bytes_of_an_answers_head_need_no_table_at_the_client():
    head = answer(b"HTTP/1.1 200 OK\r\nX-A: 1\r\n\r\n")
    decoder = hpack.Decoder()
    for _ in range(3):
        decoder.decode(answer_block(head, date=DATE, added=[(b"X-B", b"2")]))
    assert not decoder.header_table.dynamic_entries


def test_interim_answers_and_trailers_leave_the_hops_fields_behind():
    head = answer(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nConnection: x\r\n\r\n")
    assert decoded(interim_block(head)) == [(b":status", b"103"), (b"link", b"</a.css>")]
    assert decoded(trailer_block(((b"X-Sum", b"1"), (b"Connection", b"x")))) == [(b"x-sum", b"1")]


def test_an_answer_of_our_own_is_the_same_as_over_http_1():
    block, page = refusal_block(Refusal.METHOD_NOT_ALLOWED, date=DATE)
    fields = dict(decoded(block))
    assert fields[b":status"] == b"405" and fields[b"allow"].startswith(b"GET") and fields[b"date"] == DATE
    assert int(fields[b"content-length"]) == len(page)
    block, _ = refusal_block(Refusal.HTTPS_ONLY, date=DATE, location=b"https://a/")
    assert (b"location", b"https://a/") in decoded(block)
