"""Which fields belong to one hop, and which say who the visitor is.

Knows names only. RFC 9110 section 7.6.1 and RFC 9112 say what ends at a hop; the rest is what proxies agreed on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

Field = tuple[bytes, bytes]

# RFC 9110 7.6.1, with Proxy-Connection as browsers of old sent it, and Proxy-Auth* which are between two hops.
HOP_BY_HOP = frozenset(
    {
        b"connection", b"keep-alive", b"proxy-connection", b"proxy-authenticate", b"proxy-authorization",
        b"te", b"transfer-encoding", b"upgrade",
    }
)  # fmt: skip

# Who the visitor is and how they came: from anyone but a trusted proxy these are claims, and are taken away.
FORWARDING = frozenset(
    {b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-port", b"forwarded", b"x-real-ip"}
)

# A request must not get rid of these by naming them in Connection (a known way past access rules).
END_TO_END = (
    frozenset(
        {b"host", b"content-length", b"content-type", b"cookie", b"authorization", b"cache-control", b"set-cookie"}
    )
    | FORWARDING
)

HTTP2_SETTINGS = b"http2-settings"

# Two of these in one request, and two readers may see two different messages.
SINGLE = (b"host", b"content-length", b"transfer-encoding")

TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # RFC 9110 5.6.2; a name is one (5.1)
_is_token = re.compile(TOKEN).fullmatch
_TOKENS = re.compile(rb"[^\s,]+")


class Name(NamedTuple):
    """What is known of a field by its name alone.

    is_hop_by_hop  it ends here
    is_forwarding  it says who the visitor is, also to a site that takes `_` for `-`: see `plainly`
    is_token       it is a name at all
    is_disguised   to a site that takes `_` for `-`, it says how the message is framed or for whom it is
    is_plain       it goes on as it came, if nobody wishes otherwise
    """

    lower: bytes
    is_hop_by_hop: bool
    is_forwarding: bool
    is_token: bool
    is_disguised: bool
    is_plain: bool


def plainly(lower: bytes) -> bytes:
    """The name as a site behind may read it: to CGI, `X_Forwarded-For` and X-Forwarded-For are one (RFC 3875 4.1.18)."""
    return lower.replace(b"_", b"-")


# The same few dozen names come again and again; whoever makes up others only pushes them out.
@lru_cache(4096)
def name_of(name: bytes) -> Name:
    lower = name.lower()
    is_hop_by_hop, is_forwarding = lower in HOP_BY_HOP, plainly(lower) in FORWARDING
    is_plain = not (is_hop_by_hop or is_forwarding or lower in (b"host", HTTP2_SETTINGS))
    is_disguised = b"_" in lower and plainly(lower) in SINGLE
    return Name(lower, is_hop_by_hop, is_forwarding, _is_token(name) is not None, is_disguised, is_plain)


def named_in_connection(values: Iterable[bytes]) -> frozenset[bytes]:
    """Lower-case names that the values of Connection list: they belong to this hop only (RFC 9110 7.6.1)."""
    named = {token.lower() for value in values for token in _TOKENS.findall(value)}
    return frozenset(named - END_TO_END - {b"close", b"keep-alive"})


def has_token(value: bytes | None, token: bytes) -> bool:
    """Whether a comma-separated field value lists `token` (lower case)."""
    return value is not None and token in (part.lower() for part in _TOKENS.findall(value))
