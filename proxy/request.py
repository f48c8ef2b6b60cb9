"""The request: may it pass, and what goes upstream. Decisions only, no sockets.

`judge` says whether a parsed head may be forwarded at all; `upstream_head` writes the head that goes upstream. The
inbound request is never touched: both read it and make new values.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from aiohttp.http_parser import RawRequestMessage

from proxy.exchange import Exchange, Field
from proxy.fields import FORWARDING, HOP_BY_HOP, HTTP2_SETTINGS, has_token, named_in_connection
from proxy.refusal import Refusal

# RFC 3986 3.2.2 host [":" port]: an IP literal or a reg-name. No userinfo, no space, not empty.
_AUTHORITY = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]+)(?::[0-9]{1,5})?")
_ABSOLUTE = re.compile(r"https?://([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)

# CONNECT would make a tunnel to anywhere; TRACE would read the visitor's cookies back to a script.
_REFUSED_METHODS = frozenset({"CONNECT", "TRACE"})

_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})  # RFC 9110 9.2.2


@dataclass(frozen=True, slots=True)
class Verdict:
    """What may be done with a request. `target` and `authority` are what goes upstream.

    authority  the Host the visitor meant; None: HTTP/1.0 without one
    chunked    the body is chunked; else Content-Length says its size, 0 if there is none
    upgrade    the protocol the visitor would like to switch to, if that may be forwarded
    """

    target: str
    authority: bytes | None
    chunked: bool
    upgrade: bytes | None
    expects_continue: bool


def judge(message: RawRequestMessage, fields: tuple[Field, ...], lowered: dict[bytes, bytes]) -> Verdict | Refusal:
    """Whether this head may be forwarded: RFC 9112 where it is strict, and the safe side where it leaves a choice."""
    version = message.version
    if version.major != 1 or version.minor > 1:
        return Refusal.VERSION_UNKNOWN
    if message.method in _REFUSED_METHODS:
        return Refusal.METHOD_NOT_ALLOWED
    http_10 = version.minor == 0

    authority = lowered.get(b"host")
    target = message.path
    if target[:1] != "/" and (target != "*" or message.method != "OPTIONS"):
        # RFC 9112 3.2.2: in the absolute form the target's authority replaces Host.
        absolute = _ABSOLUTE.fullmatch(target)
        if not absolute:
            return Refusal.BAD_TARGET
        authority = absolute[1].encode("utf-8", "surrogateescape")
        rest = absolute[2]
        target = rest if rest[:1] == "/" else "/" + rest
    if authority is None:
        if not http_10:
            return Refusal.BAD_HOST  # RFC 9112 3.2
    elif not _AUTHORITY.fullmatch(authority):
        return Refusal.BAD_HOST

    chunked = False
    coding = lowered.get(b"transfer-encoding")
    if coding is not None:
        # RFC 9112 6.1: with Content-Length, in HTTP/1.0, or with any coding we do not undo, the framing is in doubt.
        if http_10 or b"content-length" in lowered:
            return Refusal.BAD_FRAMING
        if coding.lower() != b"chunked":
            return Refusal.CODING_UNKNOWN
        chunked = True

    upgrade = None
    if b"upgrade" in lowered and not http_10 and has_token(lowered.get(b"connection"), b"upgrade"):
        wanted = lowered[b"upgrade"]
        # h2c would carry requests past us that nobody checks; a body and a switch at once leave the framing in doubt.
        if not has_token(wanted, b"h2c") and not chunked and lowered.get(b"content-length", b"0") == b"0":
            upgrade = wanted
    expects = not http_10 and lowered.get(b"expect", b"").lower() == b"100-continue"
    return Verdict(target, authority, chunked, upgrade, expects)


def is_idempotent(method: str) -> bool:
    """Whether the request may be sent twice when nobody knows if it arrived (RFC 9110 9.2.2)."""
    return method in _IDEMPOTENT


def upstream_head(
    exchange: Exchange, verdict: Verdict, *, peer: str, trusted: bool, upstream_host: bytes, keep_host: bool
) -> bytes:
    """The request head for upstream, up to and including the empty line.

    Order: hop-by-hop fields go, the visitor's own fields stay as they were, ours come after. `peer` is the address of
    the connection; a `trusted` peer's forwarding fields are continued, anybody else's are replaced.
    """
    lowered = exchange.lowered
    changed = exchange.upstream_fields
    left_out = HOP_BY_HOP if trusted else HOP_BY_HOP | FORWARDING
    if b"connection" in lowered and lowered[b"connection"].lower() not in (b"keep-alive", b"close"):
        left_out = left_out | named_in_connection(exchange.fields)
    host = verdict.authority if keep_host and verdict.authority is not None else upstream_host
    lines = [
        exchange.method.encode(),
        b" ",
        verdict.target.encode("utf-8", "surrogateescape"),
        b" HTTP/1.1\r\nHost: ",
        host,
    ]
    for name, value in exchange.fields:
        lower = name.lower()
        if lower in left_out or lower == b"host" or lower == b"x-forwarded-for" or lower == HTTP2_SETTINGS:
            continue
        if lower in changed:
            value = changed[lower]
            if not value:
                continue
        lines += (b"\r\n", name, b": ", value)
    for name, value in changed.items():
        if value and name not in lowered:
            lines += (b"\r\n", name, b": ", value)
    if has_token(lowered.get(b"te"), b"trailers"):
        lines.append(b"\r\nTE: trailers")
    chain = peer.encode()
    if trusted and b"x-forwarded-for" in lowered:
        chain = b", ".join([v for n, v in exchange.fields if n.lower() == b"x-forwarded-for"] + [chain])
    lines += (b"\r\nX-Forwarded-For: ", chain)
    if not trusted or b"x-forwarded-proto" not in lowered:
        lines += (b"\r\nX-Forwarded-Proto: ", exchange.scheme.encode())
    if verdict.authority is not None and (not trusted or b"x-forwarded-host" not in lowered):
        lines += (b"\r\nX-Forwarded-Host: ", verdict.authority)
    if verdict.chunked:
        lines.append(b"\r\nTransfer-Encoding: chunked")
    if verdict.upgrade is not None:
        lines += (b"\r\nConnection: Upgrade\r\nUpgrade: ", verdict.upgrade)
    # No Via: RFC 9110 7.6.3 asks for it, but nginx and others stop compressing for a request that carries one.
    lines.append(b"\r\n\r\n")
    return b"".join(lines)
