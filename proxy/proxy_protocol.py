"""Reads the PROXY protocol's header: who the visitor is, said by a proxy in front before the first byte of theirs.

Knows versions 1 and 2 as https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt has them, called "the paper"
below. Knows no sockets, and nothing of whom to believe: see `acceptor`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

# The paper's section 2.1: the longest line of version 1, with both addresses and CRLF.
MAX_V1_BYTES = 107
# Version 2 could be 64 kB. What proxies send has some hundred bytes; a certificate among the TLVs may have a few thousand.
MAX_HEADER_BYTES = 4096

_V1 = b"PROXY "
_V2 = b"\r\n\r\n\0\r\nQUIT\n"
_V2_FIXED = 16  # signature, version and command, family, length

# Section 2.1: no leading zeros, one space each. UNKNOWN may be followed by anything up to the CRLF, which is ignored.
_V1_LINE = re.compile(rb"PROXY (TCP[46]) ([0-9a-fA-F:.]+) ([0-9a-fA-F:.]+) (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4})")
_V1_UNKNOWN = re.compile(rb"PROXY UNKNOWN(?: .*)?")

_LOCAL, _PROXY = 0x20, 0x21
# Section 2.2: family and transport in one byte, and how long the two addresses with their ports are. DGRAM is left out:
# it cannot be what a TCP connection carries.
_UNSPEC, _TCP4, _TCP6, _UNIX = 0x00, 0x11, 0x21, 0x31
_ADDRESS_BYTES = {_UNSPEC: 0, _TCP4: 12, _TCP6: 36, _UNIX: 216}

# PP2_TYPE_*. NOOP (0x04) and every other type is walked over and ignored.
_AUTHORITY, _CRC32C, _SSL = 0x02, 0x03, 0x20
_READ = frozenset({_AUTHORITY, _CRC32C, _SSL})
_CLIENT_SSL = 0x01

_NAME = re.compile(rb"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252})")


class ProxyHeaderError(ValueError):
    """The bytes are no PROXY header, and can never become one."""


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """What the header says.

    source       address of the visitor; None: keep the connection's own peer (LOCAL, UNKNOWN, a Unix socket)
    source_port  0 without a source
    tls          the visitor came to the proxy over TLS
    authority    the name the visitor asked for (SNI), in lower case; None if there is none, or none that is valid
    """

    source: str | None = None
    source_port: int = 0
    tls: bool = False
    authority: str | None = None


def read(data: bytes) -> tuple[ProxyHeader, int] | None:
    """The header at the start of `data`, and how many bytes it has. None: more are needed; all of `data` belongs to it.

    ProxyHeaderError as soon as it is certain that no header will come of it. A connection without one is an error:
    the receiver "MUST not try to guess whether the protocol header is present or not" (section 2).
    """
    if data.startswith(_V2):
        return _read_v2(data)
    if data.startswith(_V1):
        return _read_v1(data)
    if _V2.startswith(data) or _V1.startswith(data):
        return None
    raise ProxyHeaderError("no PROXY header")


# -- version 1: a line


def _read_v1(data: bytes) -> tuple[ProxyHeader, int] | None:
    line, end, _ = data[:MAX_V1_BYTES].partition(b"\r\n")
    # A CR may be the last byte we have so far; anywhere else, and without its LF, it is none of the grammar's.
    if b"\r" in (line if end or len(data) >= MAX_V1_BYTES else line[:-1]) or b"\n" in line:
        raise ProxyHeaderError("a line break inside the line")
    if not end:
        if len(data) >= MAX_V1_BYTES:
            raise ProxyHeaderError("the line is too long")
        return None
    if _V1_UNKNOWN.fullmatch(line):
        return ProxyHeader(), len(line) + 2
    match = _V1_LINE.fullmatch(line)
    if match is None:
        raise ProxyHeaderError("the line cannot be understood")
    family, source, destination, source_port, destination_port = match.groups()
    read_address = IPv4Address if family == b"TCP4" else IPv6Address
    try:
        address = read_address(source.decode())
        read_address(destination.decode())
    except ValueError as error:
        raise ProxyHeaderError("an address is none of its family") from error
    if int(source_port) > 65_535 or int(destination_port) > 65_535:
        raise ProxyHeaderError("a port is too large")
    return ProxyHeader(_text(address), int(source_port)), len(line) + 2


# -- version 2: bytes


def _read_v2(data: bytes) -> tuple[ProxyHeader, int] | None:
    if len(data) > 12 and data[12] not in (_LOCAL, _PROXY):
        raise ProxyHeaderError("version or command is unknown")
    if len(data) < _V2_FIXED:
        return None
    command, family = data[12], data[13]
    end = _V2_FIXED + int.from_bytes(data[14:16], "big")
    if end > MAX_HEADER_BYTES:
        raise ProxyHeaderError("the header is too long")
    if command == _PROXY:
        addresses_end = _V2_FIXED + _ADDRESS_BYTES.get(family, MAX_HEADER_BYTES)
        if family not in _ADDRESS_BYTES:
            raise ProxyHeaderError("family or transport is unknown")
        if addresses_end > end:
            raise ProxyHeaderError("the addresses do not fit into the header")
    if len(data) < end:
        return None
    if command == _LOCAL:
        # Section 2.2: the proxy's own health check; the rest of the block "including the family" is discarded.
        return ProxyHeader(), end
    header = bytes(data[:end])
    source, source_port = _v2_source(header, family)
    tls, authority = _v2_tlvs(header, addresses_end)
    return ProxyHeader(source, source_port, tls, authority), end


def _v2_source(header: bytes, family: int) -> tuple[str | None, int]:
    if family == _TCP4:
        return _text(IPv4Address(header[16:20])), int.from_bytes(header[24:26], "big")
    if family == _TCP6:
        return _text(IPv6Address(header[16:32])), int.from_bytes(header[48:50], "big")
    return None, 0


def _v2_tlvs(header: bytes, start: int) -> tuple[bool, str | None]:
    """Whether the visitor came over TLS, and the name they asked for."""
    tls, authority = False, None
    seen: set[int] = set()
    for kind, begin, end in _walk(header, start, len(header)):
        if kind not in _READ:
            continue
        if kind in seen:
            raise ProxyHeaderError("a TLV is there twice")
        seen.add(kind)
        if kind == _CRC32C:
            _check_crc(header, begin, end)
        elif kind == _SSL:
            # Flags, the result of a verification in four bytes, and TLVs of its own.
            if end - begin < 5:
                raise ProxyHeaderError("the TLV of TLS is too short")
            for _ in _walk(header, begin + 5, end):
                pass
            tls = bool(header[begin] & _CLIENT_SSL)
        elif _NAME.fullmatch(name := header[begin:end]):
            # It is what the visitor wrote, passed on: one that is no name is left out, and not held against the proxy.
            authority = name.decode().lower()
    return tls, authority


def _walk(header: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Type, start and end of the value of each TLV. Each must lie in its surroundings to the byte (HAProxy f30d6ac)."""
    while start < end:
        begin = start + 3
        if begin > end:
            raise ProxyHeaderError("a TLV is cut off")
        value_end = begin + int.from_bytes(header[start + 1 : begin], "big")
        if value_end > end:
            raise ProxyHeaderError("a TLV is longer than what holds it")
        yield header[start], begin, value_end
        start = value_end


def _check_crc(header: bytes, begin: int, end: int) -> None:
    """CRC-32C over the whole header, with the checksum's own bytes as zeros."""
    if end - begin != 4:
        raise ProxyHeaderError("the checksum has not four bytes")
    if crc32c(header[:begin] + bytes(4) + header[end:]) != int.from_bytes(header[begin:end], "big"):
        raise ProxyHeaderError("the checksum does not fit")


# RFC 3720 appendix B.4: the Castagnoli polynomial, reflected. Python's zlib has CRC-32 only, which is another one.
def _crc_of(byte: int) -> int:
    for _ in range(8):
        byte = (byte >> 1) ^ (0x82F63B78 if byte & 1 else 0)
    return byte


_CRC_TABLE = tuple(_crc_of(byte) for byte in range(256))


def crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ _CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def _text(address: IPv4Address | IPv6Address) -> str:
    """HAProxy writes an IPv4 visitor as ::ffff:a.b.c.d when it was itself reached over IPv6; it is the same visitor."""
    mapped = address.ipv4_mapped if address.version == 6 else None
    return str(mapped or address)
