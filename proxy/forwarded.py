"""Who the visitor is when a proxy stands in front, and how the site hears of them. Decisions only, no sockets.

Knows Forwarded (RFC 7239) and the X-Forwarded-* fields that everybody sends. What a peer says is believed only if it is
trusted, and only as far back as the hops it names are: anything left of that may come from the visitor, so nothing
there can change what is read here, nor how long that takes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import islice
from typing import Literal, NamedTuple

from proxy.exchange import Field

Style = Literal["x", "rfc7239", "both"]

# Fields that `continued` writes anew. Of a trusted peer these must not be copied, of anybody else none of
# `proxy.fields.FORWARDING`.
REWRITTEN = frozenset({b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"forwarded"})

# Trusted hops that are followed back, and how much of Forwarded is read, both from the right. Real chains have two or
# three hops; a visitor may put thousands in front of them.
MAX_HOPS = 32
MAX_CHARS = 2_048
# What is longer than any honest name or chain is worked out each time rather than kept: memory is not the visitor's.
MAX_KEPT_BYTES = 512

# RFC 7239 6: IPv4 or [IPv6], with a port or an obfuscated one. An IPv6 address without brackets is X-Forwarded-For's.
_NODE = re.compile(
    r"(?:([0-9]{1,3}(?:\.[0-9]{1,3}){3})|\[([0-9A-Fa-f:.]{2,45})\])(?::(?:[0-9]{1,5}|_[A-Za-z0-9._-]{1,64}))?"
    r"|([0-9A-Fa-f:.]{2,45})"
)
_TOKEN_CHARS = r"!#$%&'*+.^_`|~0-9A-Za-z-"
_TOKEN = re.compile(rb"[%s]+" % _TOKEN_CHARS.encode())
# RFC 7239 4. Colons and brackets need quotes there, and get none from some: "for=192.0.2.1:4711" leaves no doubt.
_PAIR = re.compile(
    rf"([{_TOKEN_CHARS}]+)=(?:([{_TOKEN_CHARS}:\[\]]+)"
    r'|"((?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*)")[ \t]*(?:;|\Z)'
)
_ESCAPE = re.compile(r"\\(.)")
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9_][A-Za-z0-9._-]{0,252})(?::[0-9]{1,5})?")
_VISIBLE = re.compile(rb"[!-~]+")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")

# Traefik says ws and wss when the visitor asks for a WebSocket.
_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}


class Origin(NamedTuple):
    """Where a request came from. `scheme` and `host` are None where nobody to be believed said so."""

    address: str
    scheme: str | None
    host: str | None


def plain(address: str) -> str:
    """A peer's address as all of ours should know it; what is no IP address ("unix") stays as it is.

    A socket for both families gives ::ffff:192.0.2.1 for 192.0.2.1, and a network in `trusted` would not fit it. A zone
    (fe80::1%eth0) means nothing outside this machine.
    """
    try:
        return _text(ip_address(address.partition("%")[0]))
    except ValueError:
        return address


# -- reading


def visitor_behind(peer: str, fields: Iterable[Field], is_trusted: Callable[[str], bool]) -> Origin:
    """The right-most address that is not a trusted proxy's; `peer` where nothing can be believed.

    X-Forwarded-For is followed if it is there, Forwarded otherwise: what nginx and HAProxy are set up to write is the
    former, and they let a visitor's Forwarded through. Anything unreadable, hidden or unknown ends the way back.
    """
    if not is_trusted(peer):
        return Origin(peer, None, None)
    chains: list[bytes] = []
    forwarded: list[bytes] = []
    scheme = host = None
    for name, value in fields:
        if len(name) in _LENGTHS:
            lower = name.lower()
            if lower == b"x-forwarded-for":
                chains.append(value)
            elif lower == b"x-forwarded-proto":
                scheme = _scheme(_last(value))
            elif lower == b"x-forwarded-host":
                host = _host(_last(value))
            elif lower == b"forwarded":
                forwarded.append(value)
    visitor = peer
    if chains or not forwarded:
        for address in reversed(_hops(b",".join(chains))):
            if address is None:
                break
            visitor = address
            if not is_trusted(address):
                break
        return Origin(visitor, scheme, host)
    # Each element is written by the hop right of it, which is trusted when we get to it: it says how the visitor (or
    # the next hop on the way back) came there, even where it keeps their address for itself.
    scheme = host = None
    for element in _elements(forwarded):
        scheme, host = element.scheme or scheme, element.host or host
        if element.address is None:
            break
        visitor = element.address
        if not is_trusted(visitor):
            break
    return Origin(visitor, scheme, host)


_LENGTHS = frozenset(len(name) for name in REWRITTEN)


class _Element(NamedTuple):
    """One hop in Forwarded. `text` is as it came, and well-formed."""

    text: str
    address: str | None
    scheme: str | None
    host: str | None


def _hops(chain: bytes) -> list[str | None]:
    """The last addresses of X-Forwarded-For in their order; None for one that is unreadable."""
    if not chain.strip(b" \t,"):
        return []
    entries = chain.rsplit(b",", MAX_HOPS)
    return [_address(_short(entry)) for entry in entries[-MAX_HOPS:]]


def _elements(lines: Iterable[bytes]) -> Iterator[_Element]:
    """The elements of Forwarded from the last to the first, until one is unreadable."""
    # RFC 9110 5.3: several lines are one, joined with commas.
    joined = b",".join(lines)
    read = joined[-MAX_CHARS:].decode("latin-1")
    for text in islice(_from_the_right(read, cut=len(joined) > MAX_CHARS), MAX_HOPS):
        if not (text := text.strip(" \t")):
            continue  # RFC 9110 5.6.1.2: empty elements of a list do not count
        element = _element(text) if len(text) <= MAX_KEPT_BYTES else _element.__wrapped__(text)
        if element is None:
            return
        yield element


def _from_the_right(line: str, *, cut: bool) -> Iterator[str]:
    """What stands between the commas that are not in quotes, beginning with the last.

    Read from the left, a quote that the visitor opened would swallow what our proxies wrote behind it. `cut`: the line
    had more on the left, so what stands first in it is not whole.
    """
    end = at = len(line)
    while True:
        comma, quote = line.rfind(",", 0, at), line.rfind('"', 0, at)
        if quote > comma:
            at = _opening(line, quote)
            if at >= 0:
                continue
            comma = -1  # never opened: no element that could be read
        if comma < 0:
            if not cut:
                yield line[:end]
            return
        yield line[comma + 1 : end]
        end = at = comma


def _opening(line: str, closing: int) -> int:
    """Where the quoted string begins that ends at `closing`; -1 if nowhere."""
    at = closing
    while (at := line.rfind('"', 0, at)) >= 0:
        before = line[max(0, at - 64) : at]
        if (len(before) - len(before.rstrip("\\"))) % 2 == 0:
            return at
    return -1


@lru_cache(1024)
def _element(text: str) -> _Element | None:
    """None if it is none, or says something twice (RFC 7239 4 forbids that)."""
    pairs: dict[str, str] = {}
    at = 0
    while at < len(text):
        if text[at] in "; \t":
            at += 1
            continue
        match = _PAIR.match(text, at)
        if match is None or (name := match[1].lower()) in pairs:
            return None
        pairs[name] = match[2] if match[2] is not None else _ESCAPE.sub(r"\1", match[3])
        at = match.end()
    return _Element(
        text, _address(pairs.get("for", "")[:64]), _scheme(pairs.get("proto", "")), _host(pairs.get("host", ""))
    )


@lru_cache(4096)
def _address(node: str) -> str | None:
    """The address in a node's name, without its port. None: unknown, obfuscated (RFC 7239 6.2, 6.3) or nonsense."""
    match = _NODE.fullmatch(node)
    if match is None:
        return None
    try:
        if match[2] is not None:
            return _text(IPv6Address(match[2]))
        return _text(ip_address(match[1] or match[3]))
    except ValueError:
        return None


def _text(address: IPv4Address | IPv6Address) -> str:
    mapped = address.ipv4_mapped if address.version == 6 else None
    return str(mapped or address)


def _short(entry: bytes) -> str:
    """Cut where no address can be longer, so that what is kept of it is small."""
    return entry.strip(b" \t")[:65].decode("latin-1")


def _last(value: bytes) -> str:
    return value[value.rfind(b",") + 1 :].strip(b" \t")[:300].decode("latin-1")


def _scheme(word: str) -> str | None:
    return _SCHEMES.get(word.lower()) if len(word) <= 5 else None


def _host(text: str) -> str | None:
    return text if _HOST.fullmatch(text) else None


# -- writing


def fields_for(peer: str, scheme: str, authority: bytes | None, style: Style) -> bytes:
    """The lines that tell the site of a visitor who came to us directly, each begun by CRLF.

    `authority` is the Host they meant. It has been checked by then; one that could break a line is left out.
    """
    if authority is not None and len(authority) > MAX_KEPT_BYTES:
        return _fields_for.__wrapped__(peer, scheme, authority, style)
    return _fields_for(peer, scheme, authority, style)


def continued(fields: Iterable[Field], peer: str, scheme: str, authority: bytes | None, style: Style) -> bytes:
    """The same lines for a visitor who came by the trusted `peer`: what it sent, and the peer itself as the last hop.

    `scheme` is the visitor's, from `visitor_behind` or else the connection's own; `authority` the Host of this request,
    which is told unless the peer names the one it got. Whichever of X-Forwarded-For and Forwarded is not there is built
    from the other; so is Forwarded if it names other hops than X-Forwarded-For. All tell the site the same story.
    """
    chains: list[bytes] = []
    lines: list[bytes] = []
    host: str | None = None
    for name, value in fields:
        if len(name) in _LENGTHS:
            lower = name.lower()
            if lower == b"x-forwarded-for":
                chains.append(value)
            elif lower == b"x-forwarded-host":
                host = _host(_last(value))
            elif lower == b"forwarded":
                lines.append(value)
    if lines and not chains:
        # The last element is the peer's own. Those before it may be anybody's: here nobody is asked whom to trust.
        host = next((element.host for element in _elements(lines)), None)
    if host is not None:
        authority = host.encode()
    chain = b", ".join(chains) if chains else None
    forwarded = tuple(lines)
    size = len(chain or b"") + sum(map(len, forwarded)) + len(authority or b"")
    write = _continued if size <= MAX_KEPT_BYTES else _continued.__wrapped__
    return write(chain, forwarded, peer, scheme, authority, style)


@lru_cache(2048)
def _fields_for(peer: str, scheme: str, authority: bytes | None, style: Style) -> bytes:
    return _lines([], [], peer, scheme, authority, style)


@lru_cache(2048)
def _continued(
    chain: bytes | None, forwarded: tuple[bytes, ...], peer: str, scheme: str, authority: bytes | None, style: Style
) -> bytes:
    elements = [*_elements(forwarded)][::-1]
    addresses = [element.address for element in elements]
    if chain is None:
        chains = [(address or "unknown").encode() for address in addresses]
        hops = addresses
    else:
        hops = _hops(chain)
        chains = [chain] if hops else []
        if _CONTROL.search(chain):  # none that a parser lets through
            chains = [(hop or "unknown").encode() for hop in hops]
    if hops == addresses:
        texts = [element.text.encode("latin-1") for element in elements]
    else:
        texts = [b"for=" + _node(hop) for hop in hops]
    return _lines(chains, texts, peer, scheme, authority, style)


def _lines(
    chains: list[bytes], elements: list[bytes], peer: str, scheme: str, authority: bytes | None, style: Style
) -> bytes:
    peer = plain(peer)
    address = _address(peer)
    host = authority if authority is not None and _VISIBLE.fullmatch(authority) else None
    lines = []
    if style != "rfc7239":
        # "unknown" for a Unix socket is Squid's word, and RFC 7239 6.2's.
        lines += [b"\r\nX-Forwarded-For: ", b", ".join([*chains, (address or "unknown").encode()])]
        lines += [b"\r\nX-Forwarded-Proto: ", scheme.encode()]
        if host is not None:
            lines += [b"\r\nX-Forwarded-Host: ", host]
    if style != "x":
        own = [
            b"for=" + _node(address),
            *([] if host is None else [b"host=" + _value(host)]),
            b"proto=" + scheme.encode(),
        ]
        lines += [b"\r\nForwarded: ", b", ".join([*elements, b";".join(own)])]
    return b"".join(lines)


def _node(address: str | None) -> bytes:
    """RFC 7239 6: IPv6 in brackets, and because of these in quotes."""
    if address is None:
        return b"unknown"
    return f'"[{address}]"'.encode() if ":" in address else address.encode()


def _value(value: bytes) -> bytes:
    """RFC 7239 4: a token, or else a quoted string."""
    if _TOKEN.fullmatch(value):
        return value
    return b'"' + value.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
