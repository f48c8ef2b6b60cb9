"""The response: is it sound, how is it framed, and what goes downstream. Decisions only, no sockets."""

from __future__ import annotations

import re
from dataclasses import dataclass

from aiohttp.http_parser import RawResponseMessage

from proxy.exchange import Field
from proxy.fields import HOP_BY_HOP, named_in_connection

_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 5.1 token

# Names found valid before: a site uses the same few dozen again and again.
MAX_SEEN_NAMES = 1000
_seen_names: set[bytes] = set()


@dataclass(frozen=True, slots=True)
class Shape:
    """How a final response goes downstream.

    chunked      we frame the body in chunks
    until_close  the body ends with the connection (to HTTP/1.0 visitors)
    """

    chunked: bool
    until_close: bool


def is_sound(fields: tuple[Field, ...]) -> bool:
    """Whether the upstream's fields may be passed on: valid names, no line breaks or NUL in values.

    aiohttp's response parser is lenient by default, so this is checked here (RFC 9110 5.5).
    """
    for name, value in fields:
        if name not in _seen_names:
            if not _NAME.fullmatch(name):
                return False
            if len(_seen_names) < MAX_SEEN_NAMES:
                _seen_names.add(name)
        if b"\n" in value or b"\r" in value or b"\0" in value:
            return False
    return True


def shape(status: int, *, method: str, lowered: dict[bytes, bytes], http_10: bool) -> Shape:
    """How the body of this response is framed towards the visitor (RFC 9112 6.3)."""
    if method == "HEAD" or status in (204, 304) or status < 200:
        return Shape(False, False)
    if b"transfer-encoding" not in lowered and b"content-length" in lowered:
        return Shape(False, False)
    if http_10:
        return Shape(False, True)
    return Shape(True, False)


def downstream_head(
    message: RawResponseMessage,
    lowered: dict[bytes, bytes],
    shape: Shape,
    *,
    added: list[Field] | None,
    date: bytes,
    close: bool,
    http_10: bool,
) -> bytes:
    """The response head for the visitor, up to and including the empty line; `added` are the observer's fields."""
    left_out = HOP_BY_HOP
    if b"connection" in lowered and lowered[b"connection"].lower() not in (b"keep-alive", b"close"):
        left_out = left_out | named_in_connection(message.raw_headers)
    # RFC 9112 6.3: with Transfer-Encoding a Content-Length does not count, and must not be passed on.
    drop_length = b"transfer-encoding" in lowered or message.code == 204
    lines = [b"HTTP/1.1 %d " % message.code, message.reason.encode("utf-8", "surrogateescape")]
    for name, value in message.raw_headers:
        lower = name.lower()
        if lower in left_out or (drop_length and lower == b"content-length"):
            continue
        lines += (b"\r\n", name, b": ", value)
    if added:
        for name, value in added:
            lines += (b"\r\n", name, b": ", value)
    if b"date" not in lowered:
        lines += (b"\r\nDate: ", date)  # RFC 9110 6.6.1: who has a clock adds it
    if shape.chunked:
        lines.append(b"\r\nTransfer-Encoding: chunked")
    if close:
        lines.append(b"\r\nConnection: close")
    elif http_10:
        lines.append(b"\r\nConnection: keep-alive")
    lines.append(b"\r\n\r\n")
    return b"".join(lines)


def interim_head(message: RawResponseMessage) -> bytes:
    """A 1xx head for the visitor (RFC 9110 15.2)."""
    lines = [b"HTTP/1.1 %d " % message.code, message.reason.encode("utf-8", "surrogateescape")]
    for name, value in message.raw_headers:
        if name.lower() not in HOP_BY_HOP:
            lines += (b"\r\n", name, b": ", value)
    lines.append(b"\r\n\r\n")
    return b"".join(lines)


def switched_head(message: RawResponseMessage) -> bytes:
    """The 101 head for the visitor, with every field of the handshake."""
    lines = [b"HTTP/1.1 101 ", message.reason.encode("utf-8", "surrogateescape")]
    for name, value in message.raw_headers:
        lines += (b"\r\n", name, b": ", value)
    lines.append(b"\r\n\r\n")
    return b"".join(lines)
