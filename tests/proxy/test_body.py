"""Bodies out of their framing: the same however the bytes are cut, and never guessed at."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.body import (
    MAX_CHUNK_LINE,
    MAX_TRAILER_BYTES,
    MAX_TRAILERS,
    Body,
    ChunkedBody,
    CountedBody,
    FramingError,
    UnboundedBody,
    chunk,
    last_chunk,
)


def read(body: Body, data: bytes, cuts: list[int]) -> tuple[bytes, bytes, bool]:
    """The body, what came behind it, and whether its end was seen."""
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    got, behind = b"", b""
    for begin, end in zip(places, places[1:], strict=False):
        if body.whole:
            behind += data[begin:end]
        else:
            got += body.feed(data[begin:end])
            behind += body.rest
    return got, behind, body.whole


CUTS = st.lists(st.integers(0, 2000), max_size=30)
NAMES = st.text("abcXYZ-_!~09", min_size=1, max_size=8).map(lambda text: b"Trailer-" + text.encode())
VALUES = st.binary(max_size=20).map(lambda value: bytes(b for b in value if b >= 0x20 and b != 0x7F).strip(b" \t"))
EXTENSIONS = st.sampled_from([b"", b";a", b";a=b", b';a="b;\\"c\\" \xe9"', b";a;b=c", b';x=""'])


@given(pieces=st.lists(st.binary(max_size=200), max_size=5), rest=st.binary(max_size=50), cuts=CUTS)
def test_a_counted_body_is_the_same_however_it_is_cut(pieces: list[bytes], rest: bytes, cuts: list[int]) -> None:
    whole = b"".join(pieces)
    assert read(CountedBody(len(whole)), whole + rest, cuts) == (whole, rest, True)


@given(
    pieces=st.lists(st.tuples(st.binary(min_size=1, max_size=200), EXTENSIONS, st.booleans()), max_size=6),
    trailers=st.lists(st.tuples(NAMES, VALUES), max_size=4),
    rest=st.binary(max_size=50),
    zeros=st.integers(1, 10),
    lax=st.booleans(),
    cuts=CUTS,
)
def test_a_chunked_body_is_the_same_however_it_is_cut(pieces, trailers, rest, zeros, lax, cuts) -> None:
    data = b"".join(
        (b"%X" if upper else b"%04x") % len(piece) + extension + b"\r\n" + piece + b"\r\n"
        for piece, extension, upper in pieces
    )
    data += b"0" * zeros + b"\r\n" + b"".join(b"%b:%b \r\n" % trailer for trailer in trailers) + b"\r\n"
    body = ChunkedBody(lax=lax)
    assert read(body, data + rest, cuts) == (b"".join(piece for piece, _, _ in pieces), rest, True)
    assert body.trailers == tuple(trailers)
    body.end()


@given(data=st.binary(max_size=300), cuts=CUTS)
def test_an_unbounded_body_is_all_that_comes(data: bytes, cuts: list[int]) -> None:
    body = UnboundedBody()
    assert read(body, data, cuts) == (data, b"", False)
    body.end()
    assert body.whole


@given(pieces=st.lists(st.binary(min_size=1, max_size=300)), trailers=st.lists(st.tuples(NAMES, VALUES), max_size=3))
def test_what_we_put_into_chunks_comes_out_again(pieces: list[bytes], trailers: list[tuple[bytes, bytes]]) -> None:
    data = b"".join(b"".join(chunk(piece)) for piece in pieces) + last_chunk(tuple(trailers))
    body = ChunkedBody()
    assert read(body, data, []) == (b"".join(pieces), b"", True)
    assert body.trailers == tuple(trailers)


@pytest.mark.parametrize("length", [0, 5])
def test_a_body_whose_length_is_reached_is_whole_at_once(length: int) -> None:
    body = CountedBody(length)
    if length:
        assert not body.whole
        with pytest.raises(FramingError):
            body.end()
        assert body.feed(b"hello") == b"hello"
    assert body.whole
    body.end()


@pytest.mark.parametrize("cut", [b"", b"5", b"5\r\n", b"5\r\nhel", b"5\r\nhello\r\n", b"0\r\n", b"0\r\nT: 1\r\n"])
def test_a_chunked_body_that_ends_too_early_is_an_error(cut: bytes) -> None:
    body = ChunkedBody()
    body.feed(cut)
    assert not body.whole
    with pytest.raises(FramingError):
        body.end()


MALFORMED = [
    b"5\nhello\r\n0\r\n\r\n",  # bare LF after the size
    b"5\rhello\r\n0\r\n\r\n",  # bare CR
    b"5\r\nhello\n0\r\n\r\n",  # bare LF after the chunk
    b"5\r\nhell\r\n0\r\n\r\n",  # a size too large
    b"5\r\nhello!\r\n0\r\n\r\n",  # and one too small
    b"5\r\nhello0\r\n\r\n",  # no CRLF after the chunk
    b"5\r\nhello\r0\r\n\r\n",
    b"4\r\nhel\r\n0\r\n\r\n",  # the chunk's last octet is a CR, and only LF follows
    b"5\r\nhello\r\n0\n\r\n",
    b"5\r\nhello\r\n0\r\n\n",
    b"5\r\nhello\r\n\r\n0\r\n\r\n",  # an empty line in place of a size
    b"\r\n",
    b"\n",
    b"0x5\r\nhello\r\n0\r\n\r\n",
    b"+5\r\nhello\r\n0\r\n\r\n",
    b"-5\r\nhello\r\n0\r\n\r\n",
    b"-0\r\n\r\n",
    b" 5\r\nhello\r\n0\r\n\r\n",
    b"\t5\r\nhello\r\n0\r\n\r\n",
    b"1 1\r\nhello\r\n0\r\n\r\n",
    b"1_0\r\n" + b"a" * 16 + b"\r\n0\r\n\r\n",
    b"5.0\r\nhello\r\n0\r\n\r\n",
    b"g\r\nhello\r\n0\r\n\r\n",
    "٥\r\nhello\r\n0\r\n\r\n".encode(),  # a digit to Python's int()
    b"f" * 16 + b"\r\n",
    b"1" + b"0" * 16 + b"\r\n",
    b"0" * 16 + b"5\r\nhello\r\n0\r\n\r\n",
    b"5;\r\nhello\r\n0\r\n\r\n",
    b"5;=a\r\nhello\r\n0\r\n\r\n",
    b"5;a=\r\nhello\r\n0\r\n\r\n",
    b"5;a b\r\nhello\r\n0\r\n\r\n",
    b'5;a="b\r\nhello\r\n0\r\n\r\n',
    b'5;a="b"c\r\nhello\r\n0\r\n\r\n',
    b"5;a=\x00\r\nhello\r\n0\r\n\r\n",
    b"5;a\nb\r\nhello\r\n0\r\n\r\n",  # an extension in which a request might hide
    b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    b"5 ;a\r\nhello\r\n0\r\n\r\n",
    b"5; a\r\nhello\r\n0\r\n\r\n",
    b"5,a\r\nhello\r\n0\r\n\r\n",
    b"5;" + b"a" * MAX_CHUNK_LINE + b"\r\nhello\r\n0\r\n\r\n",
    b"0\r\nno colon\r\n\r\n",
    b"0\r\nX : 1\r\n\r\n",
    b"0\r\n X: 1\r\n\r\n",
    b"0\r\nX: 1\r\n folded\r\n\r\n",
    b"0\r\n: 1\r\n\r\n",
    b"0\r\nX: a\0b\r\n\r\n",
    b"0\r\nX: a\rb\r\n\r\n",
    b"0\r\nX: a\x7fb\r\n\r\n",
    b"0\r\nX\xff: 1\r\n\r\n",
    b"0\r\nX: 1\n\r\n",
    b"0\r\nX: 1\r\n\n",
    b"0\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",  # a request where trailers belong
    b"0\r\nX: " + b"a" * MAX_TRAILER_BYTES + b"\r\n\r\n",
    b"0\r\n" + (b"X: " + b"a" * 1000 + b"\r\n") * 17 + b"\r\n",
    b"0\r\n" + b"X: 1\r\n" * (MAX_TRAILERS + 1) + b"\r\n",
]


@pytest.mark.parametrize("data", MALFORMED, ids=lambda data: repr(data[:30]))
def test_a_chunked_body_that_leaves_doubt_is_an_error_however_it_is_cut(data: bytes) -> None:
    for step in (len(data), 7, 1):
        for lax in (False, True):
            body = ChunkedBody(lax=lax)
            with pytest.raises(FramingError):
                for begin in range(0, len(data), step):
                    body.feed(data[begin : begin + step])
            assert not body.whole


@pytest.mark.parametrize(
    "data",
    [b"5 \r\nhello\r\n0\r\n\r\n", b"5\t \r\nhello\r\n0  \r\n\r\n", b"5;a=b \r\nhello\r\n0\r\n\r\n"],
)
def test_blanks_after_a_size_are_overlooked_where_we_are_lax_and_nowhere_else(data: bytes) -> None:
    assert read(ChunkedBody(lax=True), data, []) == (b"hello", b"", True)
    with pytest.raises(FramingError):
        ChunkedBody().feed(data)


@pytest.mark.parametrize(
    "endless",
    [b"5;", b"5;a=" + b'"', b"0", b"0\r\nX: ", b"0\r\n", b"5\r\nhello"],
    ids=["extension", "quoted extension", "zeros", "trailer", "trailer name", "chunk end"],
)
def test_a_line_without_an_end_is_given_up_in_time(endless: bytes) -> None:
    body = ChunkedBody()
    body.feed(endless)
    with pytest.raises(FramingError):
        for _ in range(MAX_TRAILER_BYTES + 10):
            body.feed(b"0")


def test_the_longest_lines_allowed_are_taken() -> None:
    extension = b"5;" + b"a" * (MAX_CHUNK_LINE - 2)
    trailer = b"X: " + b"a" * (MAX_TRAILER_BYTES - 3)
    data = extension + b"\r\nhello\r\n0\r\n" + trailer + b"\r\n\r\n"
    for step in (len(data), 1):
        body = ChunkedBody()
        assert b"".join(body.feed(data[at : at + step]) for at in range(0, len(data), step)) == b"hello"
        assert body.whole
    assert len(body.trailers[0][1]) == MAX_TRAILER_BYTES - 3


@pytest.mark.parametrize(
    "name",
    [
        b"Content-Length", b"transfer-encoding", b"Host", b"Cookie", b"Set-Cookie", b"Authorization", b"Connection",
        b"Content-Type", b"Content-Encoding", b"Trailer", b"TE", b"Upgrade", b"X-Forwarded-For", b"x_forwarded_for",
        b"Forwarded", b"X-Real-IP", b"X-Forwarded-Proto", b"Proxy-Authorization",
    ],
)  # fmt: skip
def test_a_trailer_that_would_come_too_late_or_lie_is_dropped(name: bytes) -> None:
    body = ChunkedBody()
    body.feed(b"0\r\nX-A: 1\r\n%b: 7\r\nX-B: 2\r\n\r\n" % name)
    assert body.whole
    assert body.trailers == ((b"X-A", b"1"), (b"X-B", b"2"))


@given(size=st.integers(1, 2**59), piece=st.binary(max_size=100), step=st.integers(1, 40))
def test_a_size_that_is_only_announced_costs_nothing(size: int, piece: bytes, step: int) -> None:
    body = ChunkedBody()
    data = b"%x\r\n" % size + piece[:size]
    for begin in range(0, len(data), step):
        body.feed(data[begin : begin + step])
        assert held(body) <= begin + step


@given(cuts=CUTS, data=st.binary(max_size=400), begin=st.sampled_from([b"", b"5\r\nhello\r\n", b"5;a", b"0\r\nX: "]))
def test_whatever_comes_it_is_read_or_an_error_and_never_more_is_kept_than_was_fed(
    cuts: list[int], data: bytes, begin: bytes
) -> None:
    data = begin + data
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    body, got = ChunkedBody(), 0
    try:
        for start, end in zip(places, places[1:], strict=False):
            got += len(body.feed(data[start:end]))
            assert got + held(body) <= end
            if body.whole:
                return
    except FramingError:
        pass


def held(body: ChunkedBody) -> int:
    """How many bytes of what it was fed the body keeps."""
    kept = [getattr(body, name) for name in ChunkedBody.__slots__]
    return sum(len(value) for value in kept if isinstance(value, bytes)) + sum(
        len(name) + len(value) for name, value in body.trailers
    )
