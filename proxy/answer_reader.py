"""Reads the upstream's answers out of bytes: heads by aiohttp's parser, bodies by their framing. No sockets.

A body of known length is counted, not parsed: its bytes go through as they came, and whatever follows them is excess
that must never become somebody's answer. Chunked bodies, and those that end with the connection, go through the parser.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

from aiohttp.http import HttpResponseParser
from aiohttp.http_parser import RawResponseMessage
from aiohttp.streams import StreamReader

from proxy.exchange import Field

# Bytes of a body that wait in a parser's stream before reading pauses; aiohttp's own default.
STREAM_LIMIT = 2**18
# An origin's fields are its own affair; these bounds only keep memory in hand.
MAX_HEAD, MAX_LINE, MAX_FIELD, MAX_FIELDS = 262_144, 65_536, 65_536, 1_000

# RFC 9112 2.2: a recipient may take a bare LF for a line's end; some old CGI scripts send nothing else.
_HEAD_END = re.compile(rb"\r?\n\r?\n")


class AnswerError(ValueError):
    """The upstream's bytes are no answer, or not a whole one."""


class AnswerReader:
    """One per upstream connection. `expect` before each request, `feed` what arrives, `take_body` what is there.

    excess   bytes came after the end of the answer: the connection must not be used again
    rest     after a 101: the bytes of the other protocol that came with the head
    """

    def __init__(self, protocol: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._protocol = protocol
        self._loop = loop
        # With `response_with_body` off every message ends with its head, and the parser is ready for the next one.
        self._heads = self._new_parser(with_body=False)
        self._bodies: HttpResponseParser | None = None
        self._stream: StreamReader | None = None
        self._pending = b""
        self._body = b""
        self._remaining = 0
        self._to_head = False
        self._in_head = True
        self.excess = False
        self.rest = b""

    def expect(self, *, to_head: bool) -> None:
        """A request has been sent. `to_head`: its method was HEAD, so there is no body whatever the fields say."""
        self._to_head = to_head
        self._in_head = True
        self._bodies = self._stream = None
        self._remaining = 0

    def feed(self, data: bytes) -> list[RawResponseMessage]:
        """The heads that are complete with these bytes: any 1xx, then the final one. AnswerError if they are none."""
        if not self._in_head:
            self._feed_body(data)
            return []
        if self._pending:
            data, self._pending = self._pending + data, b""
        messages = []
        while data:
            end = _end_of_head(data)
            if end < 0:
                if len(data) > MAX_HEAD:
                    raise AnswerError("the head is too long")
                self._pending = data
                break
            head, data = data[:end], data[end:]
            message = self._parse_head(head)
            messages.append(message)
            if message.code == 101:
                self.rest = data
                break
            if message.code >= 200:
                self._in_head = False
                self._begin_body(message, head)
                if data:
                    self._feed_body(data)
                break
        return messages

    def take_body(self) -> tuple[bytes, bool]:
        """What there is of the body and has not been taken yet, and whether that was the end of it."""
        if self._stream is not None:
            return self._stream.read_nowait(), self._stream.is_eof()
        body, self._body = self._body, b""
        return body, self._remaining == 0

    def end(self) -> None:
        """The upstream closed. AnswerError if the answer needed more."""
        if self._stream is not None and not self._stream.is_eof():
            try:
                self._bodies.feed_eof()
            except Exception as error:
                raise AnswerError("the body was cut off") from error
        elif self._in_head or self._remaining:
            raise AnswerError("the answer was cut off")

    def _parse_head(self, head: bytes) -> RawResponseMessage:
        try:
            messages, _, _ = self._heads.feed_data(head)
            [(message, _)] = messages
        except Exception as error:
            self._heads = self._new_parser(with_body=False)
            raise AnswerError("the head cannot be understood") from error
        return message

    def _begin_body(self, message: RawResponseMessage, head: bytes) -> None:
        if self._to_head or message.code in (204, 304):
            return
        if not message.chunked and (length := content_length(message.raw_headers)) is not None:
            self._remaining = length
            return
        self._bodies = self._new_parser(with_body=True)
        try:
            [(_, self._stream)], _, _ = self._bodies.feed_data(head)
        except Exception as error:
            raise AnswerError("the body's framing cannot be understood") from error

    def _feed_body(self, data: bytes) -> None:
        if self._bodies is not None:
            if self._stream.is_eof():
                self.excess = True
                return
            try:
                messages, _, _ = self._bodies.feed_data(data)
            except Exception as error:
                if not self._stream.is_eof():
                    raise AnswerError("the body cannot be understood") from error
                self.excess = True  # the body was whole before the nonsense began
            else:
                if messages:
                    self.excess = True
                elif self._stream.exception() is not None:
                    raise AnswerError("the body cannot be understood") from self._stream.exception()
            return
        if len(data) > self._remaining:
            self.excess = True
            data = data[: self._remaining]
        self._remaining -= len(data)
        self._body = self._body + data if self._body else data

    def _new_parser(self, *, with_body: bool) -> HttpResponseParser:
        return HttpResponseParser(
            self._protocol, self._loop, STREAM_LIMIT, max_line_size=MAX_LINE, max_field_size=MAX_FIELD,
            max_headers=MAX_FIELDS, read_until_eof=True, response_with_body=with_body, auto_decompress=False,
        )  # fmt: skip


def content_length(fields: tuple[Field, ...]) -> int | None:
    """The body's length; None without one. AnswerError if two differ or one is no number (RFC 9112 6.3)."""
    length: bytes | None = None
    for name, value in fields:
        if len(name) == 14 and name.lower() == b"content-length":
            if not value.isdigit() or length not in (None, value):
                raise AnswerError("Content-Length is not clear")
            length = value
    return None if length is None else int(length)


def _end_of_head(data: bytes) -> int:
    end = data.find(b"\r\n\r\n")
    if end >= 0:
        return end + 4
    match = _HEAD_END.search(data)
    return match.end() if match else -1
