"""The answer: is it sound, how is it framed, and what goes to the visitor. Decisions only, no sockets."""

from __future__ import annotations

import re
from enum import Enum

from aiohttp.http_parser import RawResponseMessage

from proxy.fields import Field, named_in_connection
from proxy.heads import AnswerHead, values_of

_is_number = re.compile(rb"[0-9]{1,18}").fullmatch


class Framing(Enum):
    """How a body goes to a visitor who speaks HTTP/1 (RFC 9112 6.3)."""

    NONE = "there is none"
    LENGTH = "as the upstream's Content-Length says"
    CHUNKED = "we put it into chunks"
    UNTIL_CLOSE = "it ends with the connection: HTTP/1.0 knows no chunks"


def answer_head(
    message: RawResponseMessage, date_place: int | None = None, *, lines: list[bytes] | None = None
) -> AnswerHead:
    """What a parsed head says. `lines`: as its fields stood in it; `date_place`: a well-formed Date was taken out there."""
    answer = AnswerHead(
        message.code,
        message.raw_headers,
        lines=lines,
        reason=message.reason.encode("utf-8", "surrogateescape"),
        date_place=date_place,
    )
    answer.is_sound = _is_sound(answer)
    answer.close = message.should_close
    # RFC 9112 6.3: with Transfer-Encoding a Content-Length does not count, and must not be passed on.
    codings = b",".join(values_of(answer, b"transfer-encoding")).lower().strip()
    if codings == b"chunked":
        answer.chunked = True
    elif codings not in (b"", b"identity"):
        answer.is_sound = False  # we never said that we undo any other (RFC 9112 6.1)
    elif lengths := set(values_of(answer, b"content-length")):
        if len(lengths) > 1 or not _is_number(length := lengths.pop()):
            answer.is_sound = False
        else:
            answer.length = int(length)
    return answer


def _is_sound(answer: AnswerHead) -> bool:
    """Whether the fields may be passed on: valid names, no line breaks or NUL in values (RFC 9110 5.5).

    aiohttp's parser of responses is lenient by default, so this is checked here.
    """
    text = b"".join([value for _, value in answer.fields]) + answer.reason
    return not (b"\n" in text or b"\r" in text or b"\0" in text) and all([name.is_token for name in answer.names])


def framing(answer: AnswerHead, *, method: str, http_10: bool) -> Framing:
    """How the body of this answer to a request of `method` goes to a visitor of HTTP/1.1, or of HTTP/1.0."""
    if method == "HEAD" or answer.code in (204, 304) or answer.code < 200:
        return Framing.NONE
    if answer.length is not None:
        return Framing.LENGTH
    return Framing.UNTIL_CLOSE if http_10 else Framing.CHUNKED


def downstream_head(
    answer: AnswerHead, framing: Framing, *, date: bytes, added: list[Field] | None, close: bool, http_10: bool
) -> bytes:
    """The head for the visitor, up to and including the empty line.

    `date` is the upstream's Date, or ours if it sent none (RFC 9110 6.6.1: who has a clock adds it); `added` are the
    observer's fields.
    """
    key = (framing, close, http_10)
    pieces = answer.pieces.get(key)
    if pieces is None:
        pieces = answer.pieces[key] = _pieces(answer, framing, close=close, http_10=http_10)
    before, after, end = pieces
    if before.endswith(_DATE):
        before += date
    if added:
        after += b"".join([b"\r\n%b: %b" % field for field in added])
    return b"".join((before, after, end))


_DATE = b"\r\nDate: "


def _pieces(answer: AnswerHead, framing: Framing, *, close: bool, http_10: bool) -> tuple[bytes, bytes, bytes]:
    """The head in three pieces: behind the first goes the Date, if it ends so; behind the second what is added."""
    left_out = named_in_connection(values_of(answer, b"connection"))
    if answer.chunked or answer.code == 204:
        left_out |= {b"content-length"}
    lines = [
        b"" if known.is_hop_by_hop or known.lower in left_out else b"\r\n" + line
        for known, line in zip(answer.names, answer.lines, strict=True)
    ]
    end = b"\r\nTransfer-Encoding: chunked" if framing is Framing.CHUNKED else b""
    if close:
        end += b"\r\nConnection: close"
    elif http_10:
        end += b"\r\nConnection: keep-alive"
    status = b"HTTP/1.1 %d %b" % (answer.code, answer.reason)
    if answer.date_place is None and b"date" in answer.lowered:
        # A Date that is none: it is the origin's affair, and goes on as it came.
        return status + b"".join(lines), b"", end + b"\r\n\r\n"
    place = len(lines) if answer.date_place is None else answer.date_place
    before = status + b"".join(lines[:place]) + _DATE
    return before, b"".join(lines[place:]), end + b"\r\n\r\n"


def interim_head(answer: AnswerHead) -> bytes:
    """A 1xx head for the visitor (RFC 9110 15.2)."""
    # RFC 9110 8.6: there is no Content-Length in a 1xx. Who believed one would take the final answer for its body.
    return _plain_head(answer, [not (name.is_hop_by_hop or name.lower == b"content-length") for name in answer.names])


def switched_head(answer: AnswerHead) -> bytes:
    """The 101 head for the visitor, with every field of the handshake."""
    return _plain_head(answer, [True] * len(answer.fields))


def _plain_head(answer: AnswerHead, passes: list[bool]) -> bytes:
    lines = [b"HTTP/1.1 %d %b" % (answer.code, answer.reason)]
    lines += [b"%b: %b" % field for field, may_pass in zip(answer.fields, passes, strict=True) if may_pass]
    return b"\r\n".join(lines) + b"\r\n\r\n"
