"""One stream of an HTTP/2 connection: a request and its answer, for the forwarding that takes care of them.

Knows the two bodies and their backpressure. Frames and everything that streams share is the connection's: `http2`.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any

from proxy.downstream import RequestError
from proxy.exchange import Exchange
from proxy.fields import Field
from proxy.forwarding import Forwarding
from proxy.heads import AnswerHead
from proxy.http1 import SLOW_UPLOAD_SECS
from proxy.http2_frames import Code
from proxy.http2_heads import (
    Request,
    answer_block,
    interim_block,
    read_trailers,
    refusal_block,
    trailer_block,
)  # fmt: skip
from proxy.refusal import Refusal

if TYPE_CHECKING:
    from proxy.http2 import Http2

# What may wait for the visitor before the upstream is held back, and when it may go on. What one read has brought by
# then (with uvloop up to 256 kB) comes on top, as it does with HTTP/1.
HELD_BACK_AT, LET_GO_AT = 32_768, 16_384


class Http2Stream:
    """See `Downstream`.

    ended    the client has sent its END_STREAM
    broken   why the request's body cannot be taken, if it cannot
    done     the stream is closed both ways
    """

    may_switch = False
    keep_alive = True
    write_paused = False
    body_whole = True
    ended = True
    done = False
    deadline = float("inf")
    forwarding: Forwarding | None = None
    trailers: tuple[Field, ...] = ()
    broken: Refusal | None = None
    uploaded_bytes = 0
    upload_waited_secs = 0.0
    _expected: int | None = None  # Content-Length
    _unacknowledged = 0
    _held_back = False
    _method = ""
    _head: bytes | None = None  # an encoded head that waits for its body
    _status = 0
    _all_said = False  # the end of the answer is in `_unsent`, or was sent
    _unsent_bytes = 0
    _drained = 0
    _last_block = b""  # trailers

    def __init__(self, connection: Http2, number: int) -> None:
        self.connection = connection
        self.number = number
        self.peer = connection.peer
        self.trusted = connection.trusted
        self.scheme = connection.scheme
        self._unread: list[bytes] = []
        self._unsent: deque[memoryview | bytes] = deque()

    # -- the request, from the connection

    def request(self, request: Request, *, ended: bool, gone: bool) -> None:
        """The head is complete. `gone`: the client has reset the stream already."""
        proxy = self.connection.proxy
        head, refusal = request.head, request.refusal
        self._method = request.method
        most = proxy.settings.max_body_bytes
        if refusal is None and most is not None and head.length > most:
            refusal = Refusal.CONTENT_TOO_LARGE
        self.ended = self.body_whole = ended
        exchange = proxy.new_exchange(self, request.method, request.target, head, time.time_ns())
        exchange.is_http2 = True
        if gone:
            exchange.status, exchange.ended_by = 499, "client"
            proxy.observe_start(exchange)
            proxy.finish(exchange)
        elif refusal is not None:
            self._answer_ourselves(exchange, refusal)
        elif proxy.https_port and exchange.scheme == "http" and (there := proxy.on_https(exchange)):
            self._answer_ourselves(exchange, Refusal.HTTPS_ONLY, location=there)
        else:
            if not ended:
                self._expected = None if head.chunked else head.length
                proxy.uploads.add(self)
            self.forwarding = Forwarding(proxy, self, exchange, request.start)
            self.forwarding.start()

    def _answer_ourselves(self, exchange: Exchange, refusal: Refusal, *, location: bytes | None = None) -> None:
        proxy = self.connection.proxy
        exchange.refused(refusal)
        proxy.observe_start(exchange)
        proxy.finish(exchange)
        self._send_refusal(refusal, location)
        self.answered()

    def body_arrived(self, data: bytes, flow_bytes: int) -> None:
        """A DATA frame, which took `flow_bytes` of the client's window. `pump` follows when all frames are read."""
        self._unacknowledged += flow_bytes
        if self.forwarding is None:
            self._acknowledge()
        elif data:
            self.uploaded_bytes += len(data)
            if self._expected is not None and self.uploaded_bytes > self._expected:
                self.broken = Refusal.BAD_FRAMING
            else:
                self._unread.append(data)

    def body_ended(self, trailers: list[Field] | None) -> None:
        self.ended = True
        if self._expected is not None and self.uploaded_bytes != self._expected:
            self.broken = Refusal.BAD_FRAMING
        if trailers:
            read = read_trailers(trailers)
            if read is None:
                self.broken = self.broken or Refusal.BAD_REQUEST
            else:
                self.trailers = read

    def pump(self) -> None:
        """Hands on what has arrived of the body."""
        if self.forwarding is not None:
            self.forwarding.pump_request()

    def reset_by_client(self) -> None:
        self._leave()
        forwarding, self.forwarding = self.forwarding, None
        if forwarding is not None:
            forwarding.client_gone()

    # -- the request, for the forwarding

    def read_body(self) -> bytes:
        if self.broken is not None:
            raise RequestError(self.broken)
        unread = self._unread
        data = unread[0] if len(unread) == 1 else b"".join(unread)
        unread.clear()
        # Only now may the client send as much again.
        self._acknowledge()
        most = self.connection.proxy.settings.max_body_bytes
        if most is not None and self.uploaded_bytes > most:
            raise RequestError(Refusal.CONTENT_TOO_LARGE)
        if self.ended:
            self.body_whole = True
            self.connection.proxy.uploads.discard(self)
        return data

    def hold_back(self, yes: bool) -> None:
        self._held_back = yes

    def _acknowledge(self) -> None:
        if self._unacknowledged:
            taken, self._unacknowledged = self._unacknowledged, 0
            self.connection.acknowledge(self, taken)

    def waited_for_upload(self, secs: float) -> None:
        """As Http1's: `secs` went by in which more of the body was welcome."""
        if self.forwarding is None or self.forwarding.awaits_continue or self._held_back or self._unread:
            return
        self.upload_waited_secs += secs
        least = self.connection.proxy.settings.min_upload_bytes_per_sec
        if self.upload_waited_secs > SLOW_UPLOAD_SECS and self.uploaded_bytes < self.upload_waited_secs * least:
            self.forwarding.expired()

    # -- the answer, from the forwarding

    def send_interim(self, answer: AnswerHead) -> None:
        self.connection.send_block(self, answer.code, interim_block(answer), last=False)

    def send_head(self, answer: AnswerHead, date: bytes | None, added: list[Field] | None) -> None:
        self._status = answer.code
        self._head = answer_block(answer, date=date or self.connection.proxy.date, added=added)

    def send(self, data: bytes, *, last: bool = False, trailers: tuple[Field, ...] = ()) -> None:
        if self.done:
            return
        self._last_block = trailer_block(trailers) if trailers else b""
        if self._head is not None:
            head, self._head = self._head, None
            alone = last and not data and not self._last_block
            self.connection.send_block(self, self._status, head, last=alone)
            if alone:
                self._leave()
                return
        self._all_said = last
        if data:
            self._unsent.append(data)
            self._unsent_bytes += len(data)
        if data or last:
            self.connection.send_body(self)
        if self._unsent_bytes > HELD_BACK_AT and not self.write_paused and not self.done:
            self.write_paused = True
            if self.forwarding is not None:
                self.forwarding.hold_back(True)

    def _send_refusal(self, refusal: Refusal, location: bytes | None = None) -> None:
        block, page = refusal_block(refusal, date=self.connection.proxy.date, location=location)
        self._status, self._head = refusal.status, block
        self.send(b"" if self._method == "HEAD" else page, last=True)

    def send_refusal(self, refusal: Refusal, *, keep_alive: bool) -> None:
        self._send_refusal(refusal)

    def answered(self) -> None:
        self.forwarding = None
        self._unread.clear()
        self._acknowledge()
        connection = self.connection
        connection.proxy.uploads.discard(self)
        if not self.done:
            self.deadline = connection.proxy.loop.time() + connection.proxy.settings.stall_timeout_secs
        connection.stream_answered()

    # What still comes of the request is told to stop when the answer's end has been sent.
    linger = answered

    def reset(self) -> None:
        # Never END_STREAM: that would make it a whole answer.
        self.forwarding = None
        self.end(Code.INTERNAL_ERROR)

    def switch(self, answer: AnswerHead, upstream: Any, rest: bytes) -> None:
        raise AssertionError("RFC 8441 is not offered")

    # -- the answer, for the connection

    @property
    def has_unsent_bytes(self) -> bool:
        return bool(self._unsent)

    @property
    def has_unsent(self) -> bool:
        return not self.done and (bool(self._unsent) or self._all_said)

    def push(self, window: int) -> int:
        """Sends one frame of at most `window` bytes, maybe the last; how many it took of the window."""
        connection = self.connection
        size = 0
        data: bytes | memoryview = b""
        if self._unsent:
            data = self._unsent.popleft()
            if len(data) > window:
                view = memoryview(data)
                data = view[:window]
                self._unsent.appendleft(view[window:])
            size = len(data)
            self._unsent_bytes -= size
        if not self._all_said or self._unsent:
            connection.send_data(self, data, last=False)
        elif not self._last_block:
            connection.send_data(self, data, last=True)
            self._leave()
        else:
            if size:
                connection.send_data(self, data, last=False)
            connection.send_block(self, self._status, self._last_block, last=True, trailers=True)
            self._leave()
        if self.write_paused and self._unsent_bytes <= LET_GO_AT:
            self.write_paused = False
            if self.forwarding is not None:
                self.forwarding.hold_back(False)
        if self.forwarding is None:
            self._drained += size
            if self._drained >= LET_GO_AT:
                self._drained = 0
                self.deadline = connection.proxy.loop.time() + connection.proxy.settings.stall_timeout_secs
        return size

    # -- the end

    def expired(self) -> None:
        """The deadline has passed."""
        if self.forwarding is not None:
            self.forwarding.expired()
        else:
            self.end(Code.CANCEL)

    def end(self, code: Code) -> None:
        """Ends the stream before its time."""
        if not self.done:
            self.connection.reset(self, code)
            self._leave()

    def abort(self) -> None:
        """Something went wrong in here that only costs this stream."""
        forwarding, self.forwarding = self.forwarding, None
        self.end(Code.INTERNAL_ERROR)
        if forwarding is not None:
            forwarding.client_gone()

    def _leave(self) -> None:
        if self.done:
            return
        self.done = True
        self._unsent.clear()
        self._unread.clear()
        self._unsent_bytes = 0
        self._acknowledge()
        self.connection.proxy.uploads.discard(self)
        self.connection.stream_done(self)
