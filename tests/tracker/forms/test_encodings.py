"""Answers unpacked, as far as a limit allows."""

from __future__ import annotations

import gzip
import sys
import zlib

import brotli
import pytest

from tracker.forms.encodings import unpacker_for

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PLAIN = b"".join(b"<p>Zeile %d</p>" % number for number in range(5000))
bare = zlib.compressobj(wbits=-zlib.MAX_WBITS)

PACKED = {
    "none": (b"", PLAIN),
    "identity": (b"identity", PLAIN),
    "gzip": (b"gzip", gzip.compress(PLAIN)),
    "x-gzip": (b" X-GZIP ", gzip.compress(PLAIN)),
    "deflate": (b"deflate", zlib.compress(PLAIN)),
    "bare deflate": (b"deflate", bare.compress(PLAIN) + bare.flush()),
    "br": (b"br", brotli.compress(PLAIN)),
    "zstd": (b"zstd", zstd.compress(PLAIN)),
}


@pytest.mark.parametrize("name", PACKED)
@pytest.mark.parametrize("size", [1, 7, 4096, 1 << 30])
def test_an_answer_is_unpacked_however_it_was_cut(name: str, size: int):
    coding, packed = PACKED[name]
    unpacker = unpacker_for(coding)
    found = b"".join(unpacker.unpack(packed[at : at + size], 1 << 20) for at in range(0, len(packed), size))
    assert found == PLAIN
    assert unpacker.is_whole


@pytest.mark.parametrize("name", PACKED)
def test_no_more_than_the_room_is_given_out(name: str):
    coding, packed = PACKED[name]
    assert unpacker_for(coding).unpack(packed, 1000) == PLAIN[:1000]


@pytest.mark.parametrize(
    "coding, pack", [(b"gzip", gzip.compress), (b"deflate", zlib.compress), (b"zstd", zstd.compress), (b"br", None)]
)
def test_a_bomb_costs_no_more_than_the_room(coding: bytes, pack):
    bomb = b"\0" * 50_000_000
    packed = brotli.compress(bomb, quality=1) if pack is None else pack(bomb)
    assert unpacker_for(coding).unpack(packed, 65_536) == b"\0" * 65_536


@pytest.mark.parametrize("coding", [b"gzip", b"deflate", b"br", b"zstd"])
def test_what_is_not_in_its_coding_is_not_whole_and_stays_so(coding: bytes):
    unpacker = unpacker_for(coding)
    unpacker.unpack(b"\xff\xfenot packed at all" * 10, 1000)
    unpacker.unpack(b"more", 1000)
    assert not unpacker.is_whole


@pytest.mark.parametrize("name", ["gzip", "deflate", "zstd"])
def test_what_follows_the_end_is_not_understood(name: str):
    coding, packed = PACKED[name]
    unpacker = unpacker_for(coding)
    assert unpacker.unpack(packed, 1 << 20) == PLAIN
    assert unpacker.unpack(b"", 10) == b""
    assert unpacker.is_whole
    unpacker.unpack(b"tail", 10)
    assert not unpacker.is_whole


@pytest.mark.parametrize("coding", [b"compress", b"gzip, br", b"dcb", b"\xff"])
def test_other_codings_are_not_read(coding: bytes):
    assert unpacker_for(coding) is None
