"""What of the upstream's answer goes downstream."""

from __future__ import annotations

import pytest

from proxy import llhttp
from proxy.answer import Framing, answer_head, downstream_head, framing, interim_head, switched_head
from proxy.heads import AnswerHead


def answer_of(head: bytes, *, date_place: int | None = None) -> AnswerHead:
    return answer_head(llhttp.answer_head(head, max_field=8190, max_fields=100), date_place)


def sent(answer: AnswerHead, *, method: str = "GET", http_10: bool = False, close: bool = False, added=None) -> bytes:
    how = framing(answer, method=method, http_10=http_10)
    return downstream_head(answer, how, date=b"NOW", added=added, close=close, http_10=http_10)


@pytest.mark.parametrize(
    ("status", "method", "fields", "http_10", "expected"),
    [
        (200, "GET", b"Content-Length: 5\r\n", False, Framing.LENGTH),
        (200, "GET", b"", False, Framing.CHUNKED),
        (200, "GET", b"Transfer-Encoding: chunked\r\n", False, Framing.CHUNKED),
        (200, "GET", b"Transfer-Encoding: Chunked\r\n", False, Framing.CHUNKED),
        (200, "GET", b"Transfer-Encoding: chunked\r\n", True, Framing.UNTIL_CLOSE),
        (200, "GET", b"", True, Framing.UNTIL_CLOSE),
        (200, "GET", b"Content-Length: 5\r\n", True, Framing.LENGTH),
        (200, "HEAD", b"", False, Framing.NONE),
        (200, "HEAD", b"Content-Length: 5\r\n", False, Framing.NONE),
        (204, "GET", b"", False, Framing.NONE),
        (304, "GET", b"Content-Length: 5\r\n", True, Framing.NONE),
    ],
)
def test_the_framing_towards_the_visitor(
    status: int, method: str, fields: bytes, http_10: bool, expected: Framing
) -> None:
    answer = answer_of(b"HTTP/1.1 %d X\r\n%b\r\n" % (status, fields))
    assert answer.is_sound
    assert framing(answer, method=method, http_10=http_10) is expected


def test_a_length_beside_chunks_does_not_count_and_is_not_passed_on() -> None:
    answer = AnswerHead(200, ((b"Transfer-Encoding", b"chunked"), (b"Content-Length", b"5")))
    answer.chunked = True
    assert framing(answer, method="GET", http_10=False) is Framing.CHUNKED
    assert b"Content-Length" not in sent(answer)
    assert b"Content-Length" not in sent(answer, http_10=True)
    assert b"Content-Length" not in sent(answer, method="HEAD")


@pytest.mark.parametrize(
    ("field", "sound"),
    [
        (b"X-A: caf\xe9", True),
        (b"Content-Type: text/html", True),
        (b"X A: b", False),
        (b"X\xff: b", False),
        (b"X: a\0b", False),
        (b"Transfer-Encoding: gzip, chunked", False),
        (b"Transfer-Encoding: chunked, chunked", False),
        (b"Transfer-Encoding: identity", True),
        (b"Content-Length: 5\r\nContent-Length: 6", False),
        (b"Content-Length: 5, 5", False),
        (b"Content-Length: +5", False),
        (b"Content-Length: -5", False),
        (b"Content-Length: " + b"9" * 30, False),
        (b"Content-Length:", False),
    ],
)
def test_an_answer_that_could_be_read_in_two_ways_is_not_passed_on(field: bytes, sound: bool) -> None:
    try:
        answer = answer_of(b"HTTP/1.1 200 OK\r\n" + field + b"\r\n\r\n")
    except Exception:
        assert not sound  # the parser says so itself
    else:
        assert answer.is_sound is sound


class Message:
    """What a parser more lenient than today's might let through."""

    code, reason, should_close = 200, "OK", False

    def __init__(self, *fields: tuple[bytes, bytes], reason: str = "OK") -> None:
        self.raw_headers = fields
        self.reason = reason


@pytest.mark.parametrize(
    ("name", "value", "reason", "sound"),
    [
        (b"X-A", b"caf\xe9", "OK", True),
        (b"X A", b"b", "OK", False),
        (b"", b"b", "OK", False),
        (b"X:", b"b", "OK", False),
        (b"X", b"a\rb", "OK", False),
        (b"X", b"a\nb", "OK", False),
        (b"X", b"a\0b", "OK", False),
        (b"X", b"a", "O\nK", False),
        (b"X", b"a", "O\0K", False),
        (b"X", b"a", "Sch\udcf6n", True),
    ],
)
def test_fields_that_could_split_an_answer_are_not_passed_on(
    name: bytes, value: bytes, reason: str, sound: bool
) -> None:
    assert answer_head(Message((b"Server", b"x"), (name, value), reason=reason)).is_sound is sound


def test_a_repeated_content_length_counts_once_if_it_is_the_same() -> None:
    same = answer_head(Message((b"Content-Length", b"5"), (b"content-length", b"5")))
    assert (same.is_sound, same.length) == (True, 5)
    assert not answer_head(Message((b"Content-Length", b"5"), (b"content-length", b"6"))).is_sound


def test_an_unreadable_reason_goes_on_octet_for_octet() -> None:
    assert sent(answer_of(b"HTTP/1.1 200 Sch\xf6n\r\nContent-Length: 0\r\n\r\n")).startswith(
        b"HTTP/1.1 200 Sch\xf6n\r\n"
    )


def test_the_origins_fields_keep_their_order_and_the_date_its_place() -> None:
    head = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nX: 1\r\nset-cookie: b=2\r\nContent-Length: 5\r\n\r\n"
    for place in range(5):
        lines = [b"Set-Cookie: a=1", b"X: 1", b"set-cookie: b=2", b"Content-Length: 5"]
        lines.insert(place, b"Date: NOW")
        assert sent(answer_of(head, date_place=place)) == b"\r\n".join([b"HTTP/1.1 200 OK", *lines, b"", b""])


def test_an_origin_without_a_clock_gets_our_date_and_one_with_a_strange_one_keeps_it() -> None:
    assert sent(answer_of(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: 1\r\n\r\n")).endswith(
        b"X: 1\r\nDate: NOW\r\n\r\n"
    )
    head = sent(answer_of(b"HTTP/1.1 200 OK\r\nDate: some day\r\nContent-Length: 0\r\n\r\n"))
    assert head == b"HTTP/1.1 200 OK\r\nDate: some day\r\nContent-Length: 0\r\n\r\n"


def test_what_is_kept_for_one_visitor_is_not_sent_to_another() -> None:
    answer = answer_of(b"HTTP/1.1 200 OK\r\nX: 1\r\n\r\n", date_place=1)
    plain = b"HTTP/1.1 200 OK\r\nX: 1\r\nDate: NOW"
    for _ in range(2):
        assert sent(answer) == plain + b"\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert sent(answer, added=[(b"Set-Cookie", b"id=1")]) == (
            plain + b"\r\nSet-Cookie: id=1\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        assert sent(answer, close=True) == plain + b"\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        assert sent(answer, http_10=True, close=True) == plain + b"\r\nConnection: close\r\n\r\n"
        assert sent(answer, method="HEAD") == plain + b"\r\n\r\n"
        assert sent(answer, method="HEAD", http_10=True) == plain + b"\r\nConnection: keep-alive\r\n\r\n"


def test_what_belongs_to_the_hop_stays_behind() -> None:
    answer = answer_of(
        b"HTTP/1.1 200 OK\r\nConnection: X-Hop, Set-Cookie\r\nX-Hop: 1\r\nSet-Cookie: a=1\r\nKeep-Alive: 5\r\n"
        b"Proxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"
    )
    assert sent(answer) == b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nContent-Length: 0\r\nDate: NOW\r\n\r\n"


def test_an_interim_answer_and_a_switch_go_on_as_they_came() -> None:
    hints = AnswerHead(103, ((b"Link", b"</a.css>"), (b"Connection", b"close")), reason=b"Early Hints")
    assert interim_head(hints) == b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
    switch = AnswerHead(101, ((b"Upgrade", b"websocket"), (b"Connection", b"Upgrade")), reason=b"Switching Protocols")
    assert switched_head(switch) == (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
    )
