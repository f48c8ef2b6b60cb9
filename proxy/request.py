"""The request: may it pass, and what goes upstream. Decisions only, no sockets.

`read_line` and `read_head` take a head apart and judge it: what is not plainly right is a Refusal. `upstream_head`
writes the head that goes upstream. The inbound request is never touched: new values are made of it.

The field block is read by aiohttp's parser (llhttp, strict), the request line by the grammar below. A block that is the
same to the letter as one before is the same head again: see `heads`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from aiohttp.http_exceptions import LineTooLong

from proxy import llhttp
from proxy.fields import SINGLE, TOKEN, has_token, named_in_connection, plainly
from proxy.heads import RequestHead, values_of
from proxy.refusal import Refusal

# RFC 9112 3: exactly one space between the three, and no octet in the target that is a control or a space.
_LINE = re.compile(rb"((" + TOKEN + rb") ([\x21-\x7e\x80-\xff]+)) HTTP/1\.([01])\r\n")
_VERSION = re.compile(rb"HTTP/[0-9]\.[0-9]")

# RFC 3986 3.2.2 host [":" port]: an IP literal or a reg-name. No userinfo, no space, not empty.
_AUTHORITY = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]+)(?::[0-9]{1,5})?")
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)

# CONNECT would make a tunnel to anywhere; TRACE would read the visitor's cookies back to a script.
_REFUSED_METHODS = frozenset({b"CONNECT", b"TRACE"})

_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})  # RFC 9110 9.2.2

_DIGITS = re.compile(rb"[0-9]{1,18}")

_PROTOCOL = re.compile(TOKEN + rb"(?:/" + TOKEN + rb")?")  # RFC 9110 7.8
_CARRIES_HTTP = re.compile(rb"h2|http|tls", re.IGNORECASE)


class RequestLine(NamedTuple):
    """`start` is what goes upstream, method and target; `authority` is set if the target named one (RFC 9112 3.2.2)."""

    start: bytes
    method: bytes
    target: bytes
    http_10: bool
    authority: bytes | None
    end: int


@dataclass(frozen=True)
class Limits:
    """Bytes of a target, of one field, of a whole head; and how many fields."""

    target: int = 8190
    field: int = 16_384
    fields: int = 100
    head: int = 65_536


def read_line(data: bytes, limits: Limits) -> RequestLine | Refusal:
    """The request line at the begin of `data`, which holds all of it. `end` is where the fields begin."""
    match = _LINE.match(data)
    if match is None:
        return _why_no_line(data[: data.find(b"\r\n")])
    start, method, target, minor = match.groups()
    if len(target) > limits.target:
        return Refusal.TARGET_TOO_LONG
    if method in _REFUSED_METHODS:
        return Refusal.METHOD_NOT_ALLOWED
    authority = None
    if target[:1] != b"/" and (target != b"*" or method != b"OPTIONS"):
        # RFC 9112 3.2.2: in the absolute form the target's authority replaces Host.
        absolute = _ABSOLUTE.fullmatch(target)
        if not absolute:
            return Refusal.BAD_TARGET
        authority, rest = absolute.groups()
        if not _AUTHORITY.fullmatch(authority):
            return Refusal.BAD_HOST
        start = method + b" " + (rest if rest[:1] == b"/" else b"/" + rest)
    return RequestLine(start, method, target, minor == b"0", authority, match.end())


def _why_no_line(line: bytes) -> Refusal:
    method, _, rest = line.partition(b" ")
    if re.fullmatch(TOKEN, method) and _VERSION.fullmatch(rest.rpartition(b" ")[2]):
        good = _LINE.match(b"%b %b HTTP/1.1\r\n" % (method, rest.rpartition(b" ")[0]))
        return Refusal.VERSION_UNKNOWN if good else Refusal.BAD_REQUEST
    return Refusal.BAD_REQUEST


def what_was_asked(data: bytes) -> tuple[str, str]:
    """Method and target of a request line that was refused, for the log; empty if they cannot be told."""
    words = data[: data.find(b"\r\n")].split(b" ")
    if len(words) != 3 or not words[0].isalpha() or len(words[0]) > 32:
        return "", ""
    return words[0].decode("ascii", "replace"), words[1].decode("utf-8", "surrogateescape")


def why_incomplete(data: bytes, limits: Limits) -> Refusal | None:
    """Whether a head that has no end yet can still become a good one: None, or why not.

    RFC 9112 2.2 allows a bare LF as the end of a line; but who takes it may see another message than who does not.
    """
    line_end = data.find(b"\r\n")
    if line_end < 0 and len(data) > limits.target + 64:
        return Refusal.TARGET_TOO_LONG
    if len(data) > limits.head:
        return Refusal.FIELDS_TOO_LARGE
    if line_end >= 0 and not _LINE.match(data):
        return _why_no_line(data[:line_end])
    if data.count(b"\n") != data.count(b"\r\n") or b"\0" in data or b"\r\n " in data or b"\r\n\t" in data:
        return Refusal.BAD_REQUEST
    return None


def read_head(block: bytes, http_10: bool, limits: Limits) -> RequestHead:
    """The head of which `block` are the fields, up to and including the empty line."""
    fields = _parse(block, http_10, limits)
    if isinstance(fields, Refusal):
        head = RequestHead((), http_10=http_10)
        head.refusal = fields
        return head
    head = RequestHead(fields, lines=block.split(b"\r\n")[:-2], http_10=http_10)
    # A folded line would be two lines of one field; llhttp refuses it, and this holds if it ever did not.
    head.refusal = _judge(head) if len(head.lines) == len(fields) else Refusal.BAD_REQUEST
    return head


def with_host(head: RequestHead, authority: bytes) -> RequestHead:
    """The head with the authority of an absolute-form target as its Host (RFC 9112 3.2.2). `authority` is a good one."""
    if head.refusal is not None:
        return head
    kept = [field for field, known in zip(head.fields, head.names, strict=True) if known.lower != b"host"]
    changed = RequestHead(((b"Host", authority), *kept), http_10=head.http_10)
    changed.refusal = _judge(changed)
    return changed


def _parse(block: bytes, http_10: bool, limits: Limits) -> tuple[tuple[bytes, bytes], ...] | Refusal:
    if block.count(b"\n") > limits.fields + 1 or len(block) > limits.head:
        return Refusal.FIELDS_TOO_LARGE
    # The line is no matter here; POST, because a GET with a body is read no less.
    line = b"POST / HTTP/1.0\r\n" if http_10 else b"POST / HTTP/1.1\r\n"
    try:
        message = llhttp.request_head(line + block, max_field=limits.field, max_fields=limits.fields + 2)
    except LineTooLong:
        return Refusal.FIELDS_TOO_LARGE
    except Exception:
        return Refusal.BAD_REQUEST
    if len(block) > limits.field and any(len(name) + len(value) > limits.field for name, value in message.raw_headers):
        return Refusal.FIELDS_TOO_LARGE
    return message.raw_headers


def _judge(head: RequestHead) -> Refusal | None:
    """Fills in what follows from the fields: RFC 9112 where it is strict, and the safe side where it leaves a choice."""
    lowered = head.lowered
    if head.http_10 is False and b"host" not in lowered:
        return Refusal.BAD_HOST  # RFC 9112 3.2
    head.authority = lowered.get(b"host")
    if head.authority is not None and not _AUTHORITY.fullmatch(head.authority):
        return Refusal.BAD_HOST

    coding, length = lowered.get(b"transfer-encoding"), lowered.get(b"content-length")
    if coding is not None:
        # RFC 9112 6.1: with Content-Length, in HTTP/1.0, or with any coding we do not undo, the framing is in doubt.
        if head.http_10 or length is not None:
            return Refusal.BAD_FRAMING
        if coding.lower() != b"chunked":
            return Refusal.CODING_UNKNOWN
        head.chunked = True
    elif length is not None:
        if not _DIGITS.fullmatch(length):
            return Refusal.BAD_FRAMING
        head.length = int(length)
    if len(lowered) != len(head.fields) and any(len(values_of(head, name)) > 1 for name in SINGLE):
        return Refusal.BAD_FRAMING
    if any([name.is_disguised for name in head.names]):
        # To CGI and WSGI these are the field itself: a body that is framed by it would swallow the next request.
        return Refusal.BAD_FRAMING

    connection = b", ".join(values_of(head, b"connection")) or None
    if head.http_10:
        head.keep_alive = has_token(connection, b"keep-alive")
    else:
        head.keep_alive = connection is None or not has_token(connection, b"close")
        head.expects_continue = lowered.get(b"expect", b"").lower() == b"100-continue"
        if b"upgrade" in lowered and has_token(connection, b"upgrade"):
            wanted = lowered[b"upgrade"]
            # One protocol, by name: `"h2c"` in quotes is h2c to some. h2c and HTTP/2.0 would carry requests past us that
            # nobody checks; a body and a switch at once leave the framing in doubt.
            if _PROTOCOL.fullmatch(wanted) and not _CARRIES_HTTP.match(wanted) and not head.chunked and not head.length:
                head.upgrade = wanted
    return None


def is_idempotent(method: str) -> bool:
    """Whether the request may be sent twice when nobody knows if it arrived (RFC 9110 9.2.2)."""
    return method in _IDEMPOTENT


def upstream_head(
    start: bytes, head: RequestHead, *, changed: Mapping[bytes, bytes], host: bytes, trusted: bool, forwarding: bytes
) -> bytes:
    """The request head for upstream, up to and including the empty line.

    Order: hop-by-hop fields go, the visitor's own fields stay as they were, ours come after. `start` is method and
    target, `changed` the observer's wishes, `forwarding` the lines that tell of the visitor (see `forwarded`); of a
    peer that is not `trusted` all such fields are taken away.
    """
    kept = head.upstream_lines
    if kept is None or kept[0] is not changed or kept[1] is not trusted:
        # The same `changed`, to the very object: an observer that keeps it with the head saves us the work as well.
        kept = head.upstream_lines = (changed, trusted, _upstream_lines(head, changed, trusted))
    return b"".join((start, b" HTTP/1.1\r\nHost: ", host, kept[2], forwarding, b"\r\n\r\n"))


def _upstream_lines(head: RequestHead, changed: Mapping[bytes, bytes], trusted: bool) -> bytes:
    lowered = head.lowered
    named = named_in_connection(values_of(head, b"connection"))
    lines = [b""]
    for known, line in zip(head.names, head.lines, strict=True):
        lower = known.lower
        if b"_" in lower and lower not in changed and plainly(lower) in changed:
            continue  # what the observer says, in a spelling that some take for the same
        if known.is_plain and lower not in changed and lower not in named:
            lines.append(line)
        elif lower in changed:
            if changed[lower]:
                lines.append(line[: len(lower)] + b": " + changed[lower])
        elif trusted and lower in _PASSED_ON:
            lines.append(line)
    for name, value in changed.items():
        if value and name not in lowered:
            lines.append(b"%b: %b" % (name, value))
    if b"te" in lowered and has_token(lowered[b"te"], b"trailers"):
        lines.append(b"TE: trailers")
    if head.chunked:
        lines.append(b"Transfer-Encoding: chunked")
    if head.upgrade is not None:
        lines += (b"Connection: Upgrade", b"Upgrade: " + head.upgrade)
    # No Via: RFC 9110 7.6.3 asks for it, but nginx and others stop compressing for a request that carries one.
    return b"\r\n".join(lines)


# What a trusted proxy in front says beside the fields that `forwarded` continues.
_PASSED_ON = frozenset({b"x-real-ip", b"x-forwarded-port"})
