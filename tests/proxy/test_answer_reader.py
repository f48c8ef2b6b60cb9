"""The upstream's bytes become heads and bodies, however they are cut."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp.base_protocol import BaseProtocol
from hypothesis import given
from hypothesis import strategies as st

from proxy.answer_reader import MAX_HEAD, AnswerError, AnswerReader, content_length

LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=1\r\n world\r\n0\r\nT: 1\r\n\r\n"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\nhello world"
HINTED = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + LENGTH
BARE_LF = b"HTTP/1.1 200 OK\nContent-Length: 11\n\nhello world"


def reader_for(*, to_head: bool = False) -> AnswerReader:
    loop = asyncio.get_running_loop()
    reader = AnswerReader(BaseProtocol(loop), loop)
    reader.expect(to_head=to_head)
    return reader


@pytest.mark.parametrize("answer", [LENGTH, CHUNKED, UNTIL_CLOSE, HINTED, BARE_LF])
@given(cuts=st.lists(st.integers(1, 150), max_size=8))
def test_any_cut_of_an_answer_reads_the_same(answer: bytes, cuts: list[int]) -> None:
    async def run() -> None:
        reader = reader_for()
        places = sorted({cut % len(answer) for cut in cuts} | {0, len(answer)})
        codes, body, whole = [], b"", False
        for begin, end in zip(places, places[1:], strict=False):
            codes += [message.code for message in reader.feed(answer[begin:end])]
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

    asyncio.run(run())


@pytest.mark.parametrize("answer", [LENGTH, CHUNKED, b"HTTP/1.1 204 No Content\r\n\r\n"])
async def test_bytes_after_the_end_are_excess_and_no_part_of_the_answer(answer: bytes) -> None:
    reader = reader_for()
    reader.feed(answer + b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstolen")
    body, whole = reader.take_body()
    assert body in (b"hello world", b"")
    assert whole
    assert reader.excess


async def test_an_answer_to_head_and_a_304_have_no_body_whatever_they_say() -> None:
    reader = reader_for(to_head=True)
    reader.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert reader.take_body() == (b"", True)
    reader.expect(to_head=False)
    reader.feed(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n")
    assert reader.take_body() == (b"", True)
    reader.expect(to_head=False)
    reader.feed(LENGTH)
    assert reader.take_body() == (b"hello world", True)


async def test_after_a_switch_the_rest_is_the_other_protocols() -> None:
    reader = reader_for()
    [message] = reader.feed(b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\x81\x05hello")
    assert message.code == 101
    assert reader.rest == b"\x81\x05hello"


@pytest.mark.parametrize("cut", [LENGTH[:20], LENGTH[:45], CHUNKED[:55], b""])
async def test_an_answer_that_ends_too_early_is_an_error(cut: bytes) -> None:
    reader = reader_for()
    reader.feed(cut)
    with pytest.raises(AnswerError):
        reader.end()


@pytest.mark.parametrize(
    "nonsense",
    [
        b"ICY 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nxx",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * (MAX_HEAD + 1),
    ],
)
async def test_nonsense_is_an_error(nonsense: bytes) -> None:
    with pytest.raises(AnswerError):
        reader_for().feed(nonsense)


def test_a_repeated_content_length_counts_once_if_it_is_the_same() -> None:
    assert content_length(((b"Content-Length", b"5"), (b"content-length", b"5"))) == 5
    assert content_length(((b"X", b"5"),)) is None
