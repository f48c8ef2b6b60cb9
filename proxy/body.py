"""The bodies of messages, taken out of their framing (RFC 9112 sections 6 and 7). No sockets, no heads.

A body is fed what arrives and returns what belongs to it; what comes after its end is in `rest`. Nothing is guessed: a
framing that is not exactly what the RFC says raises FramingError.
"""

from __future__ import annotations

import re
from typing import Protocol

from proxy.fields import FORWARDING, HOP_BY_HOP, TOKEN, Field, plainly

# What a chunk's line may hold beside its size, and a trailer section in all: extensions mean nothing to us.
MAX_CHUNK_LINE = 4096
MAX_TRAILER_BYTES, MAX_TRAILERS = 16_384, 100

# RFC 9110 5.5: no control characters but the tab.
VALUE = rb"[^\x00-\x08\x0a-\x1f\x7f]*"
_TRAILER = re.compile(rb"(" + TOKEN + rb"):[ \t]*(" + VALUE + rb")")
_QUOTED = rb'"(?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[\t\x20-\x7e\x80-\xff])*"'
# RFC 9112 7.1.1, without the whitespace it calls bad. 15 digits: below 2**60, and never an overflow anywhere.
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;" + TOKEN + rb"(?:=(?:" + TOKEN + rb"|" + _QUOTED + rb"))?)*", re.ASCII)
# Some origins pad the size with blanks, and every client takes it.
_LAX_CHUNK = re.compile(_CHUNK.pattern + rb"[ \t]*")

# RFC 9110 6.5.1: what says how a message is framed, routed or handled comes too late in a trailer.
_NO_TRAILER = HOP_BY_HOP | FORWARDING | {
    b"authorization", b"cache-control", b"content-encoding", b"content-length", b"content-range", b"content-type",
    b"cookie", b"expect", b"host", b"max-forwards", b"range", b"set-cookie", b"trailer", b"www-authenticate",
}  # fmt: skip


class FramingError(ValueError):
    """The bytes are not framed as their head said, or end too early."""


class Body(Protocol):
    """`whole`: its end has come. `rest`: the bytes after its end. `trailers`: fields that came behind it."""

    whole: bool
    rest: bytes
    trailers: tuple[Field, ...]

    def feed(self, data: bytes) -> bytes:
        """The bytes of the body in `data`. FramingError if they cannot be told."""

    def end(self) -> None:
        """The connection ended. FramingError if the body needed more."""


class CountedBody:
    """So many bytes as Content-Length said (RFC 9112 6.2)."""

    __slots__ = ("remaining", "rest", "whole")

    trailers: tuple[Field, ...] = ()

    def __init__(self, length: int) -> None:
        self.remaining = length
        self.whole = length == 0
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        left = self.remaining - len(data)
        if left > 0:
            self.remaining = left
            return data
        self.whole = True
        if left == 0:
            self.remaining = 0
            return data
        body, self.rest = data[: self.remaining], data[self.remaining :]
        self.remaining = 0
        return body

    def end(self) -> None:
        if not self.whole:
            raise FramingError("the body was cut off")


class UnboundedBody:
    """All that comes until the connection ends (RFC 9112 6.3, only answers)."""

    __slots__ = ("whole",)

    rest = b""
    trailers: tuple[Field, ...] = ()

    def __init__(self) -> None:
        self.whole = False

    def feed(self, data: bytes) -> bytes:
        return data

    def end(self) -> None:
        self.whole = True


class ChunkedBody:
    """Chunks, each with its size, and trailers (RFC 9112 7.1). `lax`: blanks after a size are overlooked."""

    __slots__ = ("_kept", "_left", "_line", "_state", "_trailer_bytes", "rest", "trailers", "whole")

    def __init__(self, *, lax: bool = False) -> None:
        self._line = (_LAX_CHUNK if lax else _CHUNK).fullmatch
        self._state = self._size
        self._kept = b""  # the begin of a line whose end has not come
        self._left = 0  # bytes of the chunk that have not come
        self._trailer_bytes = 0
        self.trailers: tuple[Field, ...] = ()
        self.rest = b""
        self.whole = False

    def feed(self, data: bytes) -> bytes:
        if self._kept:
            data, self._kept = self._kept + data, b""
        chunks: list[bytes] = []
        at = 0
        while at >= 0 and not self.whole:
            if self._left:
                chunk = data[at : at + self._left]
                if not chunk:
                    return b"".join(chunks)
                chunks.append(chunk)
                self._left -= len(chunk)
                at += len(chunk)
                if not self._left:
                    self._state = self._chunk_end
            else:
                at = self._state(data, at)
        if self.whole:
            self.rest = data[at:]
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def end(self) -> None:
        if not self.whole:
            raise FramingError("the body was cut off")

    # Each state reads one line at `at` and returns where the next begins; -1 keeps what there is of an incomplete line.

    def _size(self, data: bytes, at: int) -> int:
        line, after = self._read_line(data, at, MAX_CHUNK_LINE)
        if line is None:
            return -1
        match = self._line(line)
        if match is None:
            raise FramingError("not the size of a chunk")
        self._left = int(match[1], 16)
        if not self._left:
            self._state = self._trailer
        return after

    def _chunk_end(self, data: bytes, at: int) -> int:
        line, after = self._read_line(data, at, 0)
        if line is None:
            return -1
        self._state = self._size
        return after

    def _trailer(self, data: bytes, at: int) -> int:
        line, after = self._read_line(data, at, MAX_TRAILER_BYTES)
        if line is None:
            return -1
        if not line:
            self.whole = True
            return after
        match = _TRAILER.fullmatch(line)
        self._trailer_bytes += len(line)
        if match is None or self._trailer_bytes > MAX_TRAILER_BYTES or len(self.trailers) >= MAX_TRAILERS:
            raise FramingError("not a trailer")
        if plainly(match[1].lower()) not in _NO_TRAILER:
            self.trailers += ((match[1], match[2].rstrip(b" \t")),)
        return after

    def _read_line(self, data: bytes, at: int, longest: int) -> tuple[bytes | None, int]:
        """The line at `at` and where the next begins. None: its end has not come."""
        end = data.find(b"\n", at)
        if end < 0:
            if len(data) - at > longest + 1 or (len(data) - at > longest and data[-1:] != b"\r"):
                raise FramingError("a line is too long")
            self._kept = data[at:]
            return None, -1
        # RFC 9112 7.1: only CRLF ends a line here. A bare LF has let requests hide in chunk extensions.
        if end - at > longest + 1 or data[end - 1 : end] != b"\r" or end == at:
            raise FramingError("a line does not end as it must")
        return data[at : end - 1], end + 1


def chunks(data: bytes, *, last: bool, trailers: tuple[Field, ...] = ()) -> tuple[bytes, ...]:
    """`data`, which may be empty, as a chunk, in pieces; and the end of the body, if it is the `last`."""
    pieces = chunk(data) if data else ()
    return (*pieces, last_chunk(trailers)) if last else pieces


def chunk(data: bytes) -> tuple[bytes, bytes, bytes]:
    """`data` as one chunk, in three pieces. `data` is not empty: an empty chunk would be the end."""
    return b"%x\r\n" % len(data), data, b"\r\n"


def last_chunk(trailers: tuple[Field, ...] = ()) -> bytes:
    """The end of a chunked body."""
    if not trailers:
        return b"0\r\n\r\n"
    return b"0\r\n" + b"".join(b"%b: %b\r\n" % trailer for trailer in trailers) + b"\r\n"
