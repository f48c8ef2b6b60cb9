"""Heads through aiohttp's parsers, which are llhttp in C: requests strictly, answers as leniently as a client would.

Only heads: bodies are taken out of their framing by `body`. Each head has a parser of its own (half a microsecond), so
that nothing of one message can reach into the next.
"""

from __future__ import annotations

from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpRequestParser, HttpResponseParser
from aiohttp.http_parser import RawRequestMessage, RawResponseMessage

# aiohttp falls back to a parser in Python where its extension is missing, and that one has had holes of its own
# (CVE-2025-69224 and others).
if HttpRequestParser.__module__ != "aiohttp._http_parser":
    raise ImportError("aiohttp is installed without its C parser; install a wheel for this platform, or a compiler")


class _NoLoop:
    """aiohttp's parsers want a loop for the stream of a body, which is never used here."""

    def get_debug(self) -> bool:
        return False


_NO_LOOP = _NoLoop()
_NOBODY = BaseProtocol(_NO_LOOP)


def request_head(data: bytes, *, max_field: int, max_fields: int) -> RawRequestMessage:
    """The request whose head `data` is. HttpProcessingError (aiohttp) or ValueError if it is none."""
    parser = HttpRequestParser(
        _NOBODY, _NO_LOOP, 2**16, max_line_size=max_field, max_field_size=max_field, max_headers=max_fields,
        auto_decompress=False,
    )  # fmt: skip
    [(message, _)], _, _ = parser.feed_data(data)
    return message


def answer_head(data: bytes, *, max_field: int, max_fields: int) -> RawResponseMessage:
    """The answer whose head `data` is. HttpProcessingError (aiohttp) or ValueError if it is none."""
    parser = HttpResponseParser(
        _NOBODY, _NO_LOOP, 2**16, max_line_size=max_field, max_field_size=max_field, max_headers=max_fields,
        # A message then ends with its head.
        read_until_eof=True, response_with_body=False, auto_decompress=False,
    )  # fmt: skip
    [(message, _)], _, _ = parser.feed_data(data)
    return message
