"""What comes in over HTTP/2, frame by frame: its bounds, before anybody works on it.

Knows the outline of frames (RFC 9113 section 4.1) and how many of a kind are too many; what they mean is h2's affair.
HTTP/2 lets a client cause work with a few bytes: what the paper leaves open is bounded here, by counts that no browser
reaches. No sockets, no clock of its own.
"""

from __future__ import annotations

from enum import IntEnum

from proxy.request import Limits

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
# RFC 9113 6.5.2: the smallest SETTINGS_MAX_FRAME_SIZE there may be, and the default.
MAX_FRAME_BYTES = 16_384
# A read brings up to 256 kB, which is thousands of small frames: after so many, others have their turn.
FRAMES_PER_TURN = 64

# CVE-2023-44487 (Rapid Reset), CVE-2025-8671 (MadeYouReset): a stream that is ended at once costs the client nothing.
# 33 a second is what nghttp2 allows; a browser that leaves a page resets at most the 100 streams it may have open.
RESETS, RESETS_PER_SEC = 200, 33.0
# Frames that ask for an answer or for nothing: PING, SETTINGS, PRIORITY, empty DATA, unknown ones (CVE-2019-9511 ff.).
IDLE_FRAMES, IDLE_FRAMES_PER_SEC = 1000, 100.0
# As Envoy bounds WINDOW_UPDATE: so many for each DATA frame it could be the answer to, and some to begin with
# (https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/core/v3/protocol.proto, Http2ProtocolOptions).
WINDOW_UPDATES, WINDOW_UPDATES_PER_FRAME = 1000, 10
# CONTINUATION (CVE-2024-27316): a head of 64 kB needs four.
CONTINUATIONS = 32


class Kind(IntEnum):
    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


END_STREAM, END_HEADERS, PADDED = 0x1, 0x4, 0x8


class Code(IntEnum):
    """RFC 9113 section 7, as far as we say them."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    ENHANCE_YOUR_CALM = 0xB


def goaway(code: int, last: int) -> bytes:
    """The frame that says why a connection ends, and the last stream that was looked at (RFC 9113 6.8)."""
    return b"\0\0\x08\x07\0\0\0\0\0" + last.to_bytes(4, "big") + int(code).to_bytes(4, "big")


class FrameError(ValueError):
    """The connection must end, with GOAWAY and `code`."""

    def __init__(self, code: Code, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class Bucket:
    """So many at once, and so many a second in the long run."""

    __slots__ = ("_at", "_burst", "_left", "_per_sec")

    def __init__(self, burst: int, per_sec: float) -> None:
        self._burst = self._left = float(burst)
        self._per_sec = per_sec
        self._at = 0.0

    def take(self, now: float) -> bool:
        """One more at the time `now`, in seconds. False: that is too many."""
        if self._left < 1:
            self._left = min(self._burst, self._left + (now - self._at) * self._per_sec)
            self._at = now
        elif self._left == self._burst:
            self._at = now
        self._left -= 1
        return self._left >= 0


class Frames:
    """One per connection: `feed` what arrives, `take` what h2 may have of it.

    client_leaves   it sent GOAWAY: no further request will come. h2 would end the whole connection at once, though
                    running streams may go on (RFC 9113 6.8), so that it never sees that frame
    heads           how many heads have come to their end
    """

    def __init__(self, limits: Limits) -> None:
        self.client_leaves = False
        self.heads = 0
        self._max_head = limits.head + 64 * limits.fields
        self._data = b""
        self._preface = False
        self._block_bytes = self._continuations = 0
        self._in_block = False
        self._resets = Bucket(RESETS, RESETS_PER_SEC)
        self._idle = Bucket(IDLE_FRAMES, IDLE_FRAMES_PER_SEC)
        self._window_updates = WINDOW_UPDATES

    def feed(self, data: bytes) -> None:
        self._data = self._data + data if self._data else data

    def take(self, now: float) -> tuple[bytes, bool]:
        """Whole frames for h2, and whether more are there for another turn. FrameError."""
        data = self._data
        at = 0
        if not self._preface:
            if data[:24] != PREFACE[: len(data)]:
                raise FrameError(Code.PROTOCOL_ERROR, "no preface")
            if len(data) < 24:
                return b"", False
            self._preface, at = True, 24
            passed = [PREFACE]
        else:
            passed = []
        begin, size, frames = at, len(data), 0
        while size - at >= 9 and frames < FRAMES_PER_TURN:
            length = int.from_bytes(data[at : at + 3], "big")
            if length > MAX_FRAME_BYTES:
                # Before it has come: h2 would keep up to 16 MB of it first.
                raise FrameError(Code.FRAME_SIZE_ERROR, "a frame is too long")
            end = at + 9 + length
            if end > size:
                break
            frames += 1
            if not self._passes(data, at, length, now):
                if begin < at:
                    passed.append(data[begin:at])
                begin = end
            at = end
        if begin < at:
            passed.append(data[begin:at])
        self._data = data[at:] if at < size else b""
        more = frames == FRAMES_PER_TURN and bool(self._data)
        return passed[0] if len(passed) == 1 else b"".join(passed), more

    @property
    def in_head(self) -> bool:
        """A head has begun and is not complete."""
        return self._in_block or (self._preface and len(self._data) > 3 and self._data[3] == Kind.HEADERS)

    def data_sent(self) -> None:
        """A DATA frame went out, which may be answered with WINDOW_UPDATE."""
        self._window_updates = min(self._window_updates + WINDOW_UPDATES_PER_FRAME, 1 << 20)

    def stream_spoiled(self, now: float) -> None:
        """The client brought us to end a stream early, whatever it did for that. FrameError."""
        if not self._resets.take(now):
            raise FrameError(Code.ENHANCE_YOUR_CALM, "too many streams ended early")

    def _passes(self, data: bytes, at: int, length: int, now: float) -> bool:
        kind, flags = data[at + 3], data[at + 4]
        if self._in_block:
            # Anything but CONTINUATION is an error here, and h2 says so.
            self._continuations += 1
            self._add_to_block(length, flags)
        elif kind == Kind.DATA:
            padding = data[at + 9] + 1 if flags & PADDED and length else 0
            if length <= padding and not flags & END_STREAM:
                self._count_idle(now)
        elif kind == Kind.HEADERS:
            self._in_block = True
            self._block_bytes = self._continuations = 0
            self._add_to_block(length, flags)
            self._window_updates = min(self._window_updates + WINDOW_UPDATES_PER_FRAME, 1 << 20)
        elif kind == Kind.RST_STREAM:
            self.stream_spoiled(now)
        elif kind == Kind.WINDOW_UPDATE:
            self._window_updates -= 1
            if self._window_updates < 0:
                raise FrameError(Code.ENHANCE_YOUR_CALM, "too many window updates")
        elif kind in (Kind.PING, Kind.SETTINGS):
            self._count_idle(now)
        elif kind not in (Kind.CONTINUATION, Kind.PUSH_PROMISE):
            # PRIORITY means nothing any more (RFC 9113 5.3.2), and unknown frames are ignored (5.5).
            self._count_idle(now)
            if kind == Kind.GOAWAY:
                self.client_leaves = True
            return False
        return True

    def _add_to_block(self, length: int, flags: int) -> None:
        self._block_bytes += length
        if self._block_bytes > self._max_head or self._continuations > CONTINUATIONS:
            raise FrameError(Code.ENHANCE_YOUR_CALM, "a head is too long")
        if flags & END_HEADERS:
            self._in_block = False
            self.heads += 1

    def _count_idle(self, now: float) -> None:
        if not self._idle.take(now):
            raise FrameError(Code.ENHANCE_YOUR_CALM, "too many frames without use")
