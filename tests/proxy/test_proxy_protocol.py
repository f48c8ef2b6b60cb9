"""The PROXY protocol's header, out of bytes."""

from __future__ import annotations

import socket
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.proxy_protocol import MAX_HEADER_BYTES, ProxyHeader, ProxyHeaderError, crc32c, read

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def v2(body: bytes, *, command: int = 0x21, family: int = 0x11, length: int | None = None) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(body) if length is None else length) + body


def tlv(kind: int, value: bytes) -> bytes:
    return struct.pack("!BH", kind, len(value)) + value


TCP4 = socket.inet_aton("203.0.113.9") + socket.inet_aton("192.0.2.1") + struct.pack("!HH", 51000, 443)
TCP6 = (
    socket.inet_pton(socket.AF_INET6, "2001:db8::9")
    + socket.inet_pton(socket.AF_INET6, "2001:db8::1")
    + struct.pack("!HH", 51000, 443)
)
MAPPED = socket.inet_pton(socket.AF_INET6, "::ffff:203.0.113.9") + TCP6[16:]
UNIX = b"/run/a.sock".ljust(108, b"\0") + b"/run/b.sock".ljust(108, b"\0")


def with_crc(body: bytes, *, family: int = 0x11, off: int = 0) -> bytes:
    header = v2(body + tlv(3, bytes(4)), family=family)
    return header[:-4] + struct.pack("!I", crc32c(header) ^ off)


GOOD = [
    (b"PROXY TCP4 203.0.113.9 192.0.2.1 51000 443\r\n", ProxyHeader("203.0.113.9", 51000)),
    (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", ProxyHeader("255.255.255.255", 65535)),
    (b"PROXY TCP4 203.0.113.9 192.0.2.1 0 0\r\n", ProxyHeader("203.0.113.9", 0)),
    (b"PROXY TCP6 2001:DB8::9 2001:db8::1 51000 443\r\n", ProxyHeader("2001:db8::9", 51000)),
    (b"PROXY TCP6 ::ffff:203.0.113.9 ::1 51000 443\r\n", ProxyHeader("203.0.113.9", 51000)),
    (
        b"PROXY TCP6 " + b" ".join([b"ffff:" * 7 + b"ffff"] * 2) + b" 65535 65535\r\n",
        ProxyHeader("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65535),
    ),
    (b"PROXY UNKNOWN\r\n", ProxyHeader()),
    (b"PROXY UNKNOWN " + b" ".join([b"ffff:" * 7 + b"ffff"] * 2) + b" 65535 65535\r\n", ProxyHeader()),  # 107 bytes
    (v2(TCP4), ProxyHeader("203.0.113.9", 51000)),
    (v2(TCP6, family=0x21), ProxyHeader("2001:db8::9", 51000)),
    (v2(MAPPED, family=0x21), ProxyHeader("203.0.113.9", 51000)),
    (v2(UNIX, family=0x31), ProxyHeader()),
    (v2(b"", family=0x00), ProxyHeader()),
    (v2(tlv(0x20, b"\x01" + bytes(4)), family=0x00), ProxyHeader(tls=True)),
    (v2(b"", command=0x20, family=0x00), ProxyHeader()),
    (v2(b"whatever, and no TLV", command=0x20, family=0xFF), ProxyHeader()),
    (v2(TCP4 + tlv(4, b"\0" * 9) + tlv(5, b"id") + tlv(0xEA, b"\x01vpce-1")), ProxyHeader("203.0.113.9", 51000)),
    (v2(TCP4 + tlv(4, b"")), ProxyHeader("203.0.113.9", 51000)),
    (v2(TCP4 + tlv(4, bytes(MAX_HEADER_BYTES - 16 - 12 - 3))), ProxyHeader("203.0.113.9", 51000)),
    (v2(TCP4 + tlv(2, b"Shop.Example")), ProxyHeader("203.0.113.9", 51000, authority="shop.example")),
    (v2(TCP4 + tlv(2, b"a\r\nX: b")), ProxyHeader("203.0.113.9", 51000)),
    (v2(TCP4 + tlv(2, b"\xff\xfe")), ProxyHeader("203.0.113.9", 51000)),
    (v2(TCP4 + tlv(2, b"a" * 254)), ProxyHeader("203.0.113.9", 51000)),
    (v2(TCP4 + tlv(2, b"")), ProxyHeader("203.0.113.9", 51000)),
    (v2(TCP4 + tlv(0x20, b"\x01" + bytes(4))), ProxyHeader("203.0.113.9", 51000, tls=True)),
    (v2(TCP4 + tlv(0x20, b"\x00" + bytes(4))), ProxyHeader("203.0.113.9", 51000)),
    # What a certificate says of the visitor (flags 2 and 4) is no sign that this connection is TLS.
    (v2(TCP4 + tlv(0x20, b"\x06" + bytes(4))), ProxyHeader("203.0.113.9", 51000)),
    (
        v2(TCP4 + tlv(0x20, b"\x07" + bytes(4) + tlv(0x21, b"TLSv1.3") + tlv(0x22, b"someone"))),
        ProxyHeader("203.0.113.9", 51000, tls=True),
    ),
    (with_crc(TCP4), ProxyHeader("203.0.113.9", 51000)),
    (with_crc(TCP6 + tlv(2, b"a.example"), family=0x21), ProxyHeader("2001:db8::9", 51000, authority="a.example")),
]

BAD = [
    b"GET / HTTP/1.1\r\n\r\n",
    b"\x16\x03\x01\x02\x00",
    b"proxy TCP4 203.0.113.9 192.0.2.1 51000 443\r\n",
    b" PROXY UNKNOWN\r\n",
    b"PROXY  TCP4 203.0.113.9 192.0.2.1 51000 443\r\n",
    b"PROXY TCP4  203.0.113.9 192.0.2.1 51000 443\r\n",
    b"PROXY TCP4 203.0.113.9 192.0.2.1 51000 443 \r\n",
    b"PROXY TCP4 203.0.113.9 192.0.2.1 51000\r\n",
    b"PROXY TCP4 203.0.113.9 192.0.2.1 51000 443\n",
    b"PROXY TCP4 203.0.113.9 192.0.2.1 51000 443\r\r\n",
    b"PROXY TCP4 203.0.113.9\t192.0.2.1 51000 443\r\n",
    b"PROXY TCP4 203.0.113.9 192.0.2.1 051000 443\r\n",
    b"PROXY TCP4 203.0.113.9 192.0.2.1 00 443\r\n",
    b"PROXY TCP4 203.0.113.9 192.0.2.1 65536 443\r\n",
    b"PROXY TCP4 203.0.113.9 192.0.2.1 51000 99999\r\n",
    b"PROXY TCP4 203.0.113.9 192.0.2.1 +1 443\r\n",
    b"PROXY TCP4 203.0.113.009 192.0.2.1 51000 443\r\n",
    b"PROXY TCP4 203.0.113.256 192.0.2.1 51000 443\r\n",
    b"PROXY TCP4 203.0.113 192.0.2.1 51000 443\r\n",
    b"PROXY TCP4 203.0.113.9 2001:db8::1 51000 443\r\n",
    b"PROXY TCP4 2001:db8::9 2001:db8::1 51000 443\r\n",
    b"PROXY TCP6 203.0.113.9 192.0.2.1 51000 443\r\n",
    b"PROXY TCP6 fe80::1%eth0 ::1 51000 443\r\n",
    b"PROXY TCP6 [2001:db8::9] ::1 51000 443\r\n",
    b"PROXY TCP6 2001:db8:::9 ::1 51000 443\r\n",
    b"PROXY UDP4 203.0.113.9 192.0.2.1 51000 443\r\n",
    b"PROXY TCP5 203.0.113.9 192.0.2.1 51000 443\r\n",
    b"PROXY UNKNOWNS\r\n",
    b"PROXY \r\n",
    b"PROXY UNKNOWN a\rb\r\n",
    b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n",  # 108 bytes
    b"PROXY UNKNOWN " + b"x" * 92 + b"\r",
    SIGNATURE + b"\x11\x11\x00\x00",  # version 1 in the clothes of version 2
    SIGNATURE + b"\x31",
    v2(TCP4, command=0x22),
    v2(TCP4, command=0x2F),
    v2(TCP4, family=0x12),  # DGRAM
    v2(TCP6, family=0x22),
    v2(UNIX, family=0x32),
    v2(TCP4, family=0x10),
    v2(TCP4, family=0x01),
    v2(TCP4, family=0x41),
    v2(TCP4, family=0x13),
    v2(TCP4, length=11),
    v2(b""),
    v2(TCP4, family=0x21),
    v2(TCP6, family=0x31),
    v2(b"", length=MAX_HEADER_BYTES - 15),
    v2(b"", command=0x20, length=65_535),
    with_crc(TCP4, off=1),
    v2(TCP4 + tlv(3, b"\0\0\0")),
    v2(TCP4 + tlv(3, b"")),
    v2(TCP4 + tlv(3, bytes(5))),
    v2(TCP4 + tlv(2, b"a") + tlv(2, b"b")),
    v2(TCP4 + tlv(0x20, b"\x01" + bytes(4)) + tlv(0x20, b"\0" + bytes(4))),
]

# HAProxy f30d6ac: the length of a TLV was believed. One for every place a length can stand.
LYING_LENGTHS = {
    "one byte is no TLV": b"\x04",
    "two bytes are no TLV": b"\x04\x00",
    "a value is cut off by one byte": b"\x04\x00\x02\x00",
    "a value would be 64 kB": b"\x04\xff\xff",
    "the second one lies": tlv(4, b"x") + b"\x05\x00\x01",
    "the name lies": b"\x02\x00\x05shop",
    "the checksum lies": b"\x03\x00\x04\x00\x00\x00",
    "TLS is empty": tlv(0x20, b""),
    "TLS has no room for its flags": tlv(0x20, b"\x01\0\0\0"),
    "in TLS, one byte is no TLV": tlv(0x20, b"\x01" + bytes(4) + b"\x21"),
    "in TLS, a value reaches past TLS": tlv(0x20, b"\x01" + bytes(4) + b"\x21\x00\x07TLSv1") + tlv(4, b"....."),
    "in TLS, a value reaches past the header": tlv(0x20, b"\x01" + bytes(4) + b"\x21\xff\xff"),
}


def outcome(data: bytes) -> tuple[ProxyHeader, int] | None | type[ProxyHeaderError]:
    try:
        return read(data)
    except ProxyHeaderError:
        return ProxyHeaderError


@pytest.mark.parametrize(("raw", "header"), GOOD)
def test_a_header_says_who_the_visitor_is(raw: bytes, header: ProxyHeader) -> None:
    assert read(raw) == (header, len(raw))


@pytest.mark.parametrize("raw", BAD)
def test_what_is_no_header_is_an_error(raw: bytes) -> None:
    with pytest.raises(ProxyHeaderError):
        read(raw)


@pytest.mark.parametrize("tail", LYING_LENGTHS.values(), ids=LYING_LENGTHS)
@pytest.mark.parametrize(("family", "addresses"), [(0x11, TCP4), (0x21, TCP6), (0x31, UNIX), (0x00, b"")])
def test_a_tlv_never_reaches_past_what_holds_it(family: int, addresses: bytes, tail: bytes) -> None:
    header = v2(addresses + tail, family=family)
    for following in (b"", REQUEST, bytes(70_000)):
        with pytest.raises(ProxyHeaderError):
            read(header + following)


@pytest.mark.parametrize(("raw", "header"), GOOD)
def test_every_beginning_of_a_header_asks_for_more(raw: bytes, header: ProxyHeader) -> None:
    assert [end for end in range(len(raw)) if outcome(raw[:end]) is not None] == []


@pytest.mark.parametrize("raw", BAD)
def test_what_can_never_become_a_header_stays_an_error_however_it_arrives(raw: bytes) -> None:
    ends = [outcome(raw[:end]) for end in range(len(raw) + 1)]
    assert not [one for one in ends if isinstance(one, tuple)]
    first = ends.index(ProxyHeaderError)
    assert set(ends[:first]) <= {None}
    assert set(ends[first:]) == {ProxyHeaderError}


@given(st.sampled_from(GOOD), st.binary(max_size=200))
@example((b"PROXY UNKNOWN\r\n", ProxyHeader()), b"\r\n")
def test_a_header_is_read_to_the_byte_whatever_follows(good: tuple[bytes, ProxyHeader], following: bytes) -> None:
    raw, header = good
    assert read(raw + following) == (header, len(raw))


any_bytes = st.one_of(
    st.binary(max_size=300),
    st.builds(bytes.__add__, st.sampled_from([b"PROXY ", b"PROXY TCP4 1.2.3.4 ", SIGNATURE]), st.binary(max_size=300)),
    st.builds(
        lambda command, family, addresses, tail: v2(addresses + tail, command=command, family=family),
        st.sampled_from([0x20, 0x21]),
        st.sampled_from([0x00, 0x11, 0x21, 0x31]),
        st.sampled_from([b"", TCP4, TCP6, UNIX]),
        st.one_of(
            st.binary(max_size=60),
            st.lists(st.builds(tlv, st.sampled_from([1, 2, 3, 4, 5, 0x20, 0x30]), st.binary(max_size=20))).map(
                b"".join
            ),
        ),
    ),
    # A good one with one octet taken away, changed, or one more.
    st.builds(
        lambda good, at, octets: good[0][: at % len(good[0])] + octets + good[0][at % len(good[0]) + 1 :],
        st.sampled_from(GOOD),
        st.integers(0, 5000),
        st.binary(max_size=2),
    ),
)


@given(any_bytes)
def test_any_bytes_are_a_header_no_header_or_too_few(data: bytes) -> None:
    result = outcome(data)
    if isinstance(result, tuple):
        header, size = result
        assert 0 < size <= min(len(data), MAX_HEADER_BYTES)
        assert read(data[:size]) == result
        assert (header.source is not None) or header.source_port == 0


@given(any_bytes, st.lists(st.integers(0, 400), max_size=6))
def test_any_split_of_the_bytes_gives_the_same(data: bytes, cuts: list[int]) -> None:
    whole = outcome(data)
    for end in [*sorted(cuts), len(data)]:
        so_far = outcome(data[:end])
        if so_far is not None:
            break
    assert so_far == whole


def test_the_checksum_is_crc_32c() -> None:
    # RFC 3720 B.4
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
