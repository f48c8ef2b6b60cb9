"""A copy of an answer, unpacked as far as a limit allows.

Knows the content codings a browser asks for (RFC 9110 section 8.4.1, RFC 7932, RFC 8878). Knows nothing of what is
inside. A bomb costs no more than the limit: every step says how much it may give out.
"""

from __future__ import annotations

import sys
import zlib
from typing import Protocol

import brotli

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


class Unpacker(Protocol):
    """`is_whole`: all that came so far was understood. False for good once something was not."""

    is_whole: bool

    def unpack(self, data: bytes, room: int) -> bytes:
        """What `data` adds, about `room` bytes of it at most. Once a call filled its room there must be no other."""


def unpacker_for(content_encoding: bytes) -> Unpacker | None:
    """The way to read a body with this Content-Encoding; None for one we cannot read, or several at once."""
    coding = content_encoding.strip().lower()
    if coding in (b"", b"identity"):
        return Plain()
    if coding in (b"gzip", b"x-gzip"):
        # 16 and more: with gzip's header and trailer (zlib manual, inflateInit2).
        return Inflating(16 + zlib.MAX_WBITS)
    if coding == b"deflate":
        return Inflating(None)
    if coding == b"br":
        return Brotli()
    if coding == b"zstd":
        return Zstd()
    return None


class Plain:
    is_whole = True

    def unpack(self, data: bytes, room: int) -> bytes:
        return data[:room]


class Inflating:
    """gzip and deflate. `window_bits` as zlib has it; None: found out from the first two bytes."""

    def __init__(self, window_bits: int | None) -> None:
        self.is_whole = True
        self._head = b""
        self._inner = None if window_bits is None else zlib.decompressobj(window_bits)

    def unpack(self, data: bytes, room: int) -> bytes:
        if self._inner is None:
            self._head += data
            if len(self._head) < 2:
                return b""
            # RFC 9110 section 8.4.1.2: `deflate` is the zlib format; some servers send it bare all the same.
            # RFC 1950 section 2.2 tells them apart.
            first, second = self._head[:2]
            wrapped = first & 15 == 8 and (first << 8 | second) % 31 == 0
            self._inner = zlib.decompressobj(zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS)
            data, self._head = self._head, b""
        if self._inner.eof or not self.is_whole:
            self.is_whole = self.is_whole and not data
            return b""
        try:
            piece = self._inner.decompress(data, room)
        except zlib.error:
            self.is_whole = False
            return b""
        self.is_whole = not self._inner.unused_data
        return piece


class Brotli:
    def __init__(self) -> None:
        self.is_whole = True
        self._inner = brotli.Decompressor()

    def unpack(self, data: bytes, room: int) -> bytes:
        out, size = [], 0
        try:
            while self.is_whole and size < room:
                piece = self._inner.process(data, output_buffer_limit=room - size)
                data = b""
                out.append(piece)
                size += len(piece)
                if not piece or self._inner.can_accept_more_data():
                    break
        except brotli.error:
            self.is_whole = False
        return b"".join(out)[:room]


class Zstd:
    def __init__(self) -> None:
        self.is_whole = True
        # RFC 9659: a window over 8 MB (2^23) is not to be used on the web; it would be ours to allocate.
        self._inner = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: 23})

    def unpack(self, data: bytes, room: int) -> bytes:
        if self._inner.eof or not self.is_whole:
            self.is_whole = self.is_whole and not data
            return b""
        try:
            piece = self._inner.decompress(data, room)
        except zstd.ZstdError:
            self.is_whole = False
            return b""
        self.is_whole = not self._inner.unused_data
        return piece
