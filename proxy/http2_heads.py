"""Heads as HTTP/2 writes them: what a request asks, may it pass, and what goes back. Decisions only, no sockets.

A request is judged by what judges HTTP/1 (`request`), on the head it would have there: so there is one set of rules,
limits and Refusals, and what the two versions do differently (RFC 9113 section 8) is settled here before.

Answers are compressed by HPACK without its dynamic table, as nginx does: a field then has the same bytes in every answer,
which are made once and remembered; and no client can let us keep a table for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import NamedTuple

import hpack

from proxy.body import ChunkedBody, FramingError
from proxy.fields import Field, name_of, named_in_connection
from proxy.heads import AnswerHead, RequestHead, values_of
from proxy.refusal import Refusal, response
from proxy.request import Limits, read_line

_PSEUDO = frozenset({b":method", b":scheme", b":path", b":authority", b":protocol"})
# RFC 9113 8.2.2: a message with one of these is malformed.
_OF_A_CONNECTION = frozenset({b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"})
_NO_FIELDS = RequestHead(())


class Request(NamedTuple):
    """`start` and `head` are what HTTP/1 would have for it; `refusal` is why it may not pass, None if it may."""

    method: str
    target: str
    start: bytes
    head: RequestHead
    refusal: Refusal | None


def read_request(
    fields: list[Field], *, ended: bool, limits: Limits, read_head: Callable[[bytes, bool], RequestHead]
) -> Request:
    """The request of which `fields` are the head; `ended`: it has no body. `read_head` as `request.read_head`."""
    pseudo: dict[bytes, bytes] = {}
    for name, value in fields:
        if name[:1] != b":":
            break
        if name in pseudo or name not in _PSEUDO:
            return _refused(pseudo, Refusal.BAD_REQUEST)
        pseudo[name] = value
    method, path, authority = pseudo.get(b":method"), pseudo.get(b":path"), pseudo.get(b":authority")
    if method == b"CONNECT":
        # RFC 8441's as well: it was not offered.
        return _refused(pseudo, Refusal.METHOD_NOT_ALLOWED)
    if not method or not path or pseudo.get(b":scheme", b"").lower() not in (b"http", b"https"):
        return _refused(pseudo, Refusal.BAD_REQUEST)
    if b":protocol" in pseudo:
        return _refused(pseudo, Refusal.BAD_REQUEST)
    if path[:1] != b"/" and (path != b"*" or method != b"OPTIONS"):
        return _refused(pseudo, Refusal.BAD_TARGET)
    text = b"%b %b HTTP/1.1\r\n" % (method, path)
    line = read_line(text, limits)
    if isinstance(line, Refusal):
        return _refused(pseudo, line)
    if line.end != len(text):
        return _refused(pseudo, Refusal.BAD_REQUEST)  # a line break of its own in the path
    block = _block(fields[len(pseudo) :], authority, ended=ended)
    if isinstance(block, Refusal):
        return _refused(pseudo, block)
    head = read_head(block, False)
    refusal = head.refusal
    if refusal is None and ended and head.length:
        refusal = Refusal.BAD_FRAMING  # RFC 9113 8.1.1: Content-Length and the DATA must agree
    return Request(method.decode(), path.decode("utf-8", "surrogateescape"), line.start, head, refusal)


def _refused(pseudo: dict[bytes, bytes], refusal: Refusal) -> Request:
    method, path = pseudo.get(b":method", b""), pseudo.get(b":path", b"")
    if not method.isalpha() or len(method) > 32:
        method = path = b""  # as for a line of HTTP/1 in which nothing can be told
    return Request(method.decode("ascii", "replace"), path.decode("utf-8", "surrogateescape"), b"", _NO_FIELDS, refusal)


def _block(fields: list[Field], authority: bytes | None, *, ended: bool) -> bytes | Refusal:
    """The fields as lines of HTTP/1."""
    lines = [] if authority is None else [b"host: %b\r\n" % authority]
    cookie = -1
    has_length = False
    for name, value in fields:
        if not _is_plain(name, value) or name in _OF_A_CONNECTION:
            return Refusal.BAD_REQUEST
        if name == b"cookie":
            # RFC 9113 8.2.3: crumbs are put together again before they go to where a Cookie is one field.
            if cookie >= 0:
                lines[cookie] = b"%b; %b\r\n" % (lines[cookie][:-2], value)
                continue
            cookie = len(lines)
        elif name == b"host":
            if authority is not None:
                if value.lower() != authority.lower():
                    return Refusal.BAD_HOST  # RFC 9113 8.3.1
                continue
        elif name == b"te":
            if value.lower() != b"trailers":
                return Refusal.BAD_REQUEST
        elif name == b"content-length":
            has_length = True
        lines.append(b"%b: %b\r\n" % (name, value))
    if not ended and not has_length:
        # The end of the stream is the end of the body, which chunks say to an upstream of HTTP/1.
        lines.append(b"transfer-encoding: chunked\r\n")
    lines.append(b"\r\n")
    block = b"".join(lines)
    # RFC 9113 8.2.1. What llhttp refuses besides need not be looked for here.
    if block.count(b"\n") != len(lines) or block.count(b"\r") != len(lines) or b"\0" in block:
        return Refusal.BAD_REQUEST
    return block


def _is_plain(name: bytes, value: bytes) -> bool:
    known = name_of(name)
    return known.is_token and known.lower == name and value.strip(b" \t") == value


def read_trailers(fields: list[Field]) -> tuple[Field, ...] | None:
    """The fields behind a body, as chunks would have brought them; None if they may not be there."""
    lines = b"".join([b"%b: %b\r\n" % field for field in fields])
    if not all(_is_plain(name, value) for name, value in fields) or lines.count(b"\n") != len(fields):
        return None
    body = ChunkedBody()
    try:
        body.feed(b"0\r\n%b\r\n" % lines)
    except FramingError:
        return None
    return body.trailers if body.whole and not body.rest else None


# -- answers, as blocks that HPACK has encoded

_encoder = hpack.Encoder()


def _encode(name: bytes, value: bytes) -> bytes:
    """A field for any answer of any connection: a literal, or an entry of the static table."""
    if name == b"set-cookie" or len(value) > 256:
        # Nobody else will get it again, and Huffman's code costs more than it saves.
        return _encoder.encode([(name, value, True)], huffman=False)
    return _encode_once(name, value)


@lru_cache(4096)
def _encode_once(name: bytes, value: bytes) -> bytes:
    return _encoder.encode([(name, value, True)])


def answer_block(answer: AnswerHead, *, date: bytes, added: list[Field] | None) -> bytes:
    """The head of a final answer. `date` and `added` as for `answer.downstream_head`."""
    pieces = answer.pieces.get(_H2)
    if pieces is None:
        pieces = answer.pieces[_H2] = _pieces(answer)
    before, after, dated = pieces
    block = before + after if dated else b"".join((before, _encode(b"date", date), after))
    if added:
        block += b"".join([_encode(name.lower(), value) for name, value in added])
    return block


_H2 = "h2"


def _pieces(answer: AnswerHead) -> tuple[bytes, bytes, bytes]:
    """What stands before the Date and behind it; the third is not empty if there is one that must stay as it is."""
    left_out = named_in_connection(values_of(answer, b"connection"))
    if answer.chunked or answer.code == 204:
        left_out |= {b"content-length"}
    fields = [
        b"" if known.is_hop_by_hop or known.lower in left_out else _encode(known.lower, value.strip(b" \t"))
        for known, (_, value) in zip(answer.names, answer.fields, strict=True)
    ]
    status = _encode(b":status", b"%d" % answer.code)
    dated = b"1" if answer.date_place is None and b"date" in answer.lowered else b""
    place = len(fields) if answer.date_place is None else answer.date_place
    return status + b"".join(fields[:place]), b"".join(fields[place:]), dated


def interim_block(answer: AnswerHead) -> bytes:
    """The head of a 1xx answer."""
    # No Content-Length, for what `answer.interim_head` says.
    fields = [field for field in answer.fields if field[0].lower() != b"content-length"]
    return _encode(b":status", b"%d" % answer.code) + _passed(fields)


def trailer_block(trailers: Iterable[Field]) -> bytes:
    """The fields behind a body; empty if none of them may be there."""
    return _passed(trailers)


def _passed(fields: Iterable[Field]) -> bytes:
    return b"".join(
        _encode(known.lower, value.strip(b" \t"))
        for name, value in fields
        for known in [name_of(name)]
        if not known.is_hop_by_hop
    )


def refusal_block(refusal: Refusal, *, date: bytes, location: bytes | None = None) -> tuple[bytes, bytes]:
    """An answer of our own, as `refusal.response` writes it: head and page."""
    head, _, body = response(refusal, date=date, close=False, location=location).partition(b"\r\n\r\n")
    fields = (line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
    return _encode(b":status", b"%d" % refusal.status) + b"".join(_encode(n.lower(), v) for n, v in fields), body
