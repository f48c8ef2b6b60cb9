"""Answers of the proxy's own."""

from __future__ import annotations

import pytest

from proxy.refusal import Refusal, body_bytes, response


@pytest.mark.parametrize("refusal", list(Refusal), ids=lambda refusal: refusal.reason)
def test_every_refusal_is_a_whole_page_that_no_cache_keeps(refusal: Refusal) -> None:
    head, _, body = response(refusal, date=b"now", close=True).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % refusal.status)
    assert b"Content-Length: %d" % len(body) in head
    assert len(body) == body_bytes(refusal)
    assert b"Cache-Control: no-store" in head
    assert head.endswith(b"Connection: close")
    assert b"<h1>" in body
    assert response(refusal, date=b"now", close=False, with_body=False).endswith(b"Date: now\r\n\r\n")


def test_every_reason_is_a_word_of_its_own() -> None:
    assert len({refusal.reason for refusal in Refusal}) == len(Refusal)


def test_it_is_said_whose_doing_it_was() -> None:
    assert Refusal.UPSTREAM_DOWN.ended_by == "upstream"
    assert Refusal.REQUEST_TIMEOUT.ended_by == "client"
    assert Refusal.BAD_HOST.ended_by == "proxy"


def test_a_redirect_says_where_to() -> None:
    answer = response(Refusal.HTTPS_ONLY, date=b"now", close=False, location=b"https://shop.example/x")
    assert answer.startswith(b"HTTP/1.1 308 Permanent Redirect\r\n")
    assert b"\r\nLocation: https://shop.example/x\r\n" in answer
