"""Heads through aiohttp's parsers: what they take, and that nothing of one message reaches into the next."""

from __future__ import annotations

import pytest
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong

from proxy import llhttp

BOUNDS = {"max_field": 8190, "max_fields": 100}


def test_the_fields_of_a_request_come_as_they_were_sent() -> None:
    message = llhttp.request_head(b"POST / HTTP/1.1\r\nhOsT: a\r\nX: caf\xe9\r\nX:\t b  \r\n\r\n", **BOUNDS)
    assert message.raw_headers == ((b"hOsT", b"a"), (b"X", b"caf\xe9"), (b"X", b"b"))


@pytest.mark.parametrize("framing", [b"Content-Length: 5", b"Transfer-Encoding: chunked", b"Content-Length: 0"])
def test_a_head_is_whole_without_its_body(framing: bytes) -> None:
    message = llhttp.request_head(b"POST / HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % framing, **BOUNDS)
    assert len(message.raw_headers) == 2
    # Had the parser waited for a body, the next head would be taken for it.
    assert llhttp.request_head(b"POST / HTTP/1.1\r\nHost: b\r\n\r\n", **BOUNDS).raw_headers == ((b"Host", b"b"),)


@pytest.mark.parametrize(
    "lines",
    [
        b"Host: a\r\nHost: b",
        b"Host : a",
        b"Host: a\r\n folded",
        b"Host: a\r\nX: a\0b",
        b"Host: a\r\nX: a\rb",
        b"Host: a\nX: b",
        b"Host: a\r\nX\xff: a",
        b"Host: a\r\n: a",
        b"Host: a\r\nX",
        b"Host: a\r\nContent-Length: +1",
        b"Host: a\r\nContent-Length: 1, 1",
        b"Host: a\r\nContent-Length: 1\r\nContent-Length: 1",
        b"Host: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked",
    ],
)
def test_requests_are_read_strictly(lines: bytes) -> None:
    with pytest.raises((HttpProcessingError, ValueError)):
        llhttp.request_head(b"POST / HTTP/1.1\r\n" + lines + b"\r\n\r\n", **BOUNDS)


def test_what_is_too_long_is_told_apart_from_what_is_wrong() -> None:
    with pytest.raises(LineTooLong):
        llhttp.request_head(
            b"POST / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 300 + b"\r\n\r\n", max_field=256, max_fields=9
        )


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 5\nX: 1\n\n",  # some old CGI scripts
        b"HTTP/1.1 200\r\nContent-Length: 5\r\nX: 1\r\n\r\n",
    ],
)
def test_answers_are_read_as_leniently_as_a_client_would(head: bytes) -> None:
    message = llhttp.answer_head(head, **BOUNDS)
    assert message.code == 200
    assert message.raw_headers == ((b"Content-Length", b"5"), (b"X", b"1"))


def test_an_answer_is_whole_with_its_head_whatever_body_it_announces() -> None:
    for fields in (b"Content-Length: 5", b"Transfer-Encoding: chunked", b"X: 1"):
        assert llhttp.answer_head(b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n\r\n", **BOUNDS).code == 200
    switch = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    assert llhttp.answer_head(switch, **BOUNDS).code == 101


@pytest.mark.parametrize("head", [b"ICY 200 OK\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"\r\n\r\n", b"nonsense\r\n\r\n"])
def test_what_is_no_answer_raises(head: bytes) -> None:
    with pytest.raises((HttpProcessingError, ValueError)):
        llhttp.answer_head(head, **BOUNDS)
