"""Reads the upstream's answers out of bytes: heads by aiohttp's parser, bodies by their framing. No sockets.

A head that is the same to the letter as one before, but for its Date, is the same value again: see `heads`.
"""

from __future__ import annotations

import re

from proxy import llhttp
from proxy.answer import answer_head
from proxy.body import Body, ChunkedBody, CountedBody, FramingError, UnboundedBody
from proxy.fields import Field
from proxy.heads import AnswerHead, Remembered

# An origin's fields are its own affair; these bounds only keep memory in hand.
MAX_HEAD, MAX_FIELD, MAX_FIELDS = 262_144, 65_536, 1_000
# Heads that are remembered, and how long one may be for that.
REMEMBERED_HEADS, MAX_REMEMBERED = 1024, 4096

# RFC 9110 5.6.7 IMF-fixdate.
_DATE = re.compile(rb"\r\nDate: ([A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT)\r\n")
_DATE_LENGTH = len(b"\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT")


class AnswerError(ValueError):
    """The upstream's bytes are no answer, or not a whole one."""


class AnswerReader:
    """One per upstream connection. `expect` before each request, `feed` what arrives, `take_body` what is there.

    date     the Date of the last head, if it was well formed
    body     what the last final head announced; None before it
    excess   bytes came after the end of the answer: the connection must not be used again
    rest     after a 101: the bytes of the other protocol that came with the head
    """

    __slots__ = ("_interim_bytes", "_pending", "_read", "_to_head", "body", "date", "excess", "rest")

    def __init__(self) -> None:
        self._interim_bytes = 0
        self._pending = b""
        self._read = b""
        self._to_head = False
        self.body: Body | None = None
        self.date: bytes | None = None
        self.excess = False
        self.rest = b""

    def expect(self, *, to_head: bool) -> None:
        """A request has been sent. `to_head`: its method was HEAD, so there is no body whatever the fields say."""
        self._to_head = to_head
        self._interim_bytes = 0
        self.body = None

    def feed(self, data: bytes) -> list[AnswerHead]:
        """The heads that are complete with these bytes: any 1xx, then the final one. AnswerError if they are none."""
        if self.body is not None:
            self._feed_body(data)
            return []
        if self._pending:
            data, self._pending = self._pending + data, b""
        heads = []
        while data:
            end = _end_of_head(data)
            if end < 0:
                if len(data) > MAX_HEAD:
                    raise AnswerError("the head is too long")
                self._pending = data
                break
            head = self._head(data[:end])
            data = data[end:]
            heads.append(head)
            if head.code < 200:
                # Each gives the site more time: without a bound, for ever.
                self._interim_bytes += end
                if head.code < 100 or self._interim_bytes > MAX_HEAD:
                    raise AnswerError("no status, or too many interim answers")
            if head.code == 101:
                self.rest = data
                break
            if head.code >= 200:
                self._begin_body(head)
                if data:
                    self._feed_body(data)
                break
        return heads

    def take_body(self) -> tuple[bytes, bool]:
        """What there is of the body and has not been taken yet, and whether that was the end of it."""
        read, self._read = self._read, b""
        return read, self.body.whole

    @property
    def trailers(self) -> tuple[Field, ...]:
        return () if self.body is None else self.body.trailers

    def end(self) -> None:
        """The upstream closed. AnswerError if the answer needed more."""
        if self.body is None:
            raise AnswerError("there was no answer")
        try:
            self.body.end()
        except FramingError as error:
            raise AnswerError(str(error)) from error

    def _head(self, data: bytes) -> AnswerHead:
        self.date = None
        at = -1
        if data[9:10] != b"1":  # not of an interim answer, which is passed on as it is
            at = data.find(b"\r\nDate: ")
            match = _DATE.match(data, at) if at >= 0 else None
            if match is None:
                at = -1
            else:
                self.date = match[1]
                data = data[:at] + data[at + _DATE_LENGTH :]
        return _known_head(data, at) if len(data) <= MAX_REMEMBERED else _parse(data, at)

    def _begin_body(self, head: AnswerHead) -> None:
        if self._to_head or head.code in (204, 304):
            self.body = CountedBody(0)
        elif head.chunked:
            self.body = ChunkedBody(lax=True)
        elif head.length is not None:
            self.body = CountedBody(head.length)
        else:
            self.body = UnboundedBody()

    def _feed_body(self, data: bytes) -> None:
        body = self.body
        if body.whole:
            self.excess = True
            return
        try:
            read = body.feed(data)
        except FramingError as error:
            raise AnswerError(str(error)) from error
        if body.rest:
            self.excess = True
        self._read = self._read + read if self._read else read


def _parse(data: bytes, date_at: int) -> AnswerHead:
    """The head in `data`, out of which a Date was taken at `date_at` (-1: none was). AnswerError."""
    try:
        message = llhttp.answer_head(data, max_field=MAX_FIELD, max_fields=MAX_FIELDS)
    except Exception as error:
        raise AnswerError("the head cannot be understood") from error
    place = None if date_at < 0 else data.count(b"\r\n", 0, date_at + 2) - 1
    lines = None
    if _is_regular(data):
        lines = data.split(b"\r\n")[1:-2]
        if len(lines) != len(message.raw_headers):
            lines = None
    return answer_head(message, place, lines=lines)


def _is_regular(data: bytes) -> bool:
    """No bare line ends, and no field that goes on in the next line: what a line is then, only the parser knows."""
    ends = data.count(b"\r\n")
    return data.count(b"\n") == ends == data.count(b"\r") and b"\n " not in data and b"\n\t" not in data


_known_head = Remembered(_parse, REMEMBERED_HEADS)


def _end_of_head(data: bytes) -> int:
    # RFC 9112 2.2: a recipient may take a bare LF for a line's end; some old CGI scripts send nothing else.
    end = data.find(b"\n\r\n")
    bare = data.find(b"\n\n", 0, end if end >= 0 else len(data))
    if bare >= 0:
        return bare + 2
    return end + 3 if end >= 0 else -1
