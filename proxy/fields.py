"""Which fields belong to one hop, and which say who the visitor is.

Knows names only. RFC 9110 section 7.6.1 and RFC 9112 say what ends at a hop; the rest is what proxies agreed on.
"""

from __future__ import annotations

import re

from proxy.exchange import Field

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

_TOKENS = re.compile(rb"[^\s,]+")


def named_in_connection(fields: tuple[Field, ...]) -> frozenset[bytes]:
    """Lower-case names that the Connection fields list: they belong to this hop only (RFC 9110 7.6.1)."""
    named = {
        token.lower() for name, value in fields if name.lower() == b"connection" for token in _TOKENS.findall(value)
    }
    return frozenset(named - END_TO_END)


def has_token(value: bytes | None, token: bytes) -> bool:
    """Whether a comma-separated field value lists `token` (lower case)."""
    return value is not None and token in (part.lower() for part in _TOKENS.findall(value))
