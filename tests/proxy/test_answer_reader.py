"""The upstream's bytes become heads and bodies, however they are cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.answer_reader import MAX_HEAD, AnswerError, AnswerReader

LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=1\r\n world\r\n0\r\nT: 1\r\n\r\n"
PADDED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5  \r\nhello\r\n6 \r\n world\r\n0\r\n\r\n"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\nhello world"
HINTED = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + LENGTH
BARE_LF = b"HTTP/1.1 200 OK\nContent-Length: 11\n\nhello world"
DATE = b"Sun, 06 Nov 1994 08:49:37 GMT"
DATED = b"HTTP/1.1 200 OK\r\nX: 1\r\nDate: %b\r\nContent-Length: 11\r\n\r\nhello world" % DATE


def reader_for(*, to_head: bool = False) -> AnswerReader:
    reader = AnswerReader()
    reader.expect(to_head=to_head)
    return reader


@pytest.mark.parametrize("answer", [LENGTH, CHUNKED, PADDED, UNTIL_CLOSE, HINTED, BARE_LF, DATED])
@given(cuts=st.lists(st.integers(1, 150), max_size=8))
def test_any_cut_of_an_answer_reads_the_same(answer: bytes, cuts: list[int]) -> None:
    reader = reader_for()
    places = sorted({cut % len(answer) for cut in cuts} | {0, len(answer)})
    codes, body, whole = [], b"", False
    for begin, end in zip(places, places[1:], strict=False):
        codes += [head.code for head in reader.feed(answer[begin:end])]
        if 200 in codes:
            piece, whole = reader.take_body()
            body += piece
    if answer is UNTIL_CLOSE:
        assert not whole
        reader.end()
        piece, whole = reader.take_body()
        body += piece
    assert codes == ([103, 200] if answer is HINTED else [200])
    assert (body, whole, reader.excess) == (b"hello world", True, False)
    assert reader.trailers == (((b"T", b"1"),) if answer is CHUNKED else ())
    assert reader.date == (DATE if answer is DATED else None)


@pytest.mark.parametrize("answer", [LENGTH, CHUNKED, b"HTTP/1.1 204 No Content\r\n\r\n"])
def test_bytes_after_the_end_are_excess_and_no_part_of_the_answer(answer: bytes) -> None:
    for cut in (0, 5):
        reader = reader_for()
        more = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstolen"
        reader.feed(answer + more[:cut])
        if not cut:
            assert not reader.excess
        assert reader.feed(more[cut:]) == []
        body, whole = reader.take_body()
        assert body in (b"hello world", b"")
        assert whole
        assert reader.excess


def test_an_answer_to_head_and_a_304_have_no_body_whatever_they_say() -> None:
    reader = reader_for(to_head=True)
    reader.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert reader.take_body() == (b"", True)
    reader.expect(to_head=False)
    reader.feed(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n")
    assert reader.take_body() == (b"", True)
    reader.expect(to_head=False)
    reader.feed(LENGTH)
    assert reader.take_body() == (b"hello world", True)


def test_after_a_switch_the_rest_is_the_other_protocols() -> None:
    reader = reader_for()
    [head] = reader.feed(b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\x81\x05hello")
    assert head.code == 101
    assert reader.rest == b"\x81\x05hello"


@pytest.mark.parametrize("cut", [LENGTH[:20], LENGTH[:45], CHUNKED[:55], CHUNKED[:-2], b""])
def test_an_answer_that_ends_too_early_is_an_error(cut: bytes) -> None:
    reader = reader_for()
    reader.feed(cut)
    with pytest.raises(AnswerError):
        reader.end()


@pytest.mark.parametrize(
    "nonsense",
    [
        b"ICY 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\n0\n\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * (MAX_HEAD + 1),
        b"\r\n" * 10,
    ],
)
def test_nonsense_is_an_error(nonsense: bytes) -> None:
    with pytest.raises(AnswerError):
        reader_for().feed(nonsense)


@pytest.mark.parametrize(
    "lengths", [b"Content-Length: x", b"Content-Length: -1", b"Content-Length: 1\r\nContent-Length: 2"]
)
def test_an_answer_whose_end_is_in_doubt_is_an_error_or_not_sound(lengths: bytes) -> None:
    try:
        heads = reader_for().feed(b"HTTP/1.1 200 OK\r\n" + lengths + b"\r\n\r\nxx")
    except AnswerError:
        return
    assert [head.is_sound for head in heads] == [False]


# -- heads that are remembered


def test_the_same_fields_are_the_same_head_whatever_the_date() -> None:
    def read(date: bytes) -> tuple[object, bytes | None]:
        reader = reader_for()
        [head] = reader.feed(DATED.replace(DATE, date))
        return head, reader.date

    for _ in range(2):  # what comes a second time is kept
        one, first = read(DATE)
    other, second = read(b"Mon, 07 Nov 1994 08:49:38 GMT")
    assert one is other
    assert (first, second) == (DATE, b"Mon, 07 Nov 1994 08:49:38 GMT")
    assert one.fields == ((b"X", b"1"), (b"Content-Length", b"11"))
    assert one.date_place == 1
    assert b"date" not in one.lowered


@pytest.mark.parametrize("other", [b"X: 2\r\n", b"x: 1\r\n", b"X:  1\r\n", b"X: 1\r\nX: 1\r\n", b""])
def test_any_other_octet_is_another_head(other: bytes) -> None:
    for _ in range(3):
        [one], [two] = reader_for().feed(DATED), reader_for().feed(DATED.replace(b"X: 1\r\n", other))
        assert one is not two


def test_a_date_elsewhere_is_another_head() -> None:
    moved = b"HTTP/1.1 200 OK\r\nDate: %b\r\nX: 1\r\nContent-Length: 11\r\n\r\n" % DATE
    for _ in range(3):
        [one], [two] = reader_for().feed(DATED), reader_for().feed(moved)
        assert (one.date_place, two.date_place) == (1, 0)


@pytest.mark.parametrize(
    "date", [b"Date: now", b"date: " + DATE, b"Date:  " + DATE, b"Date: %b " % DATE, b"X-Date: " + DATE, b"Date:"]
)
def test_a_date_of_another_form_stays_a_field(date: bytes) -> None:
    reader = reader_for()
    [head] = reader.feed(b"HTTP/1.1 200 OK\r\n" + date + b"\r\nContent-Length: 0\r\n\r\n")
    assert (reader.date, head.date_place) == (None, None)
    assert head.fields[0] == (date.partition(b":")[0], date.partition(b":")[2].strip())


def test_the_date_of_one_answer_is_not_the_next_ones() -> None:
    reader = reader_for()
    reader.feed(DATED)
    reader.take_body()
    reader.expect(to_head=False)
    reader.feed(LENGTH)
    assert reader.date is None


def test_a_head_that_ends_with_bare_line_feeds_ends_there_whatever_stands_in_the_body() -> None:
    for head in (b"HTTP/1.1 200 OK\nContent-Length: 6\n\n", b"HTTP/1.1 200 OK\r\nContent-Length: 6\n\r\n"):
        reader = reader_for()
        [answer] = reader.feed(head + b"a\r\n\r\nb")
        assert answer.length == 6
        assert reader.take_body() == (b"a\r\n\r\nb", True)
