"""A visitor's connection that speaks HTTP/1: reads requests one by one, takes them in order, writes answers.

Knows bytes and the connection's life. What to do with a request is decided in `request` and `forwarding`.
"""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
import termios
import time
from typing import TYPE_CHECKING

from proxy.answer import Framing, downstream_head, framing, interim_head, switched_head
from proxy.body import Body, ChunkedBody, CountedBody, FramingError, chunks
from proxy.connection import Connection
from proxy.downstream import RequestError
from proxy.exchange import Exchange
from proxy.fields import Field
from proxy.forwarding import Forwarding
from proxy.heads import AnswerHead, RequestHead
from proxy.proxy_protocol import ProxyHeader
from proxy.refusal import Refusal, response
from proxy.request import read_line, what_was_asked, why_incomplete, with_host
from proxy.tunnel import Tunnel

if TYPE_CHECKING:
    from proxy.server import Proxy
    from proxy.upstream import Upstream

# What is read ahead of the answers (pipelined requests, a body the upstream does not take): then reading pauses.
READ_AHEAD = 2**16
MAX_JOINED = 32_768
# After a FIN from a visitor who waits for an answer: a half-closed client (`nc`, some health checks) gets it if it
# comes this soon; a browser that went away looks the same, and the upstream must not work for it much longer.
HALF_CLOSED_SECS = 1.0
# The same while an answer runs and none of it has come for so long.
HALF_CLOSED_ANSWERING_SECS = 5.0
# RFC 9112 9.6: how long the rest of a refused upload is read and thrown away, so that the answer is not lost by a reset.
LINGER_SECS = 5.0
# How long an upload may be slower than `min_upload_bytes_per_sec` before it is given up, as Apache's mod_reqtimeout.
SLOW_UPLOAD_SECS = 20.0

_NO_HEAD = RequestHead(())


class Http1(Connection):
    """`deadline` is the loop time at which `expired` is called, unless it is moved before. See `Downstream`."""

    # Most connections need few of these: what stands in the class costs nothing per connection.
    forwarding: Forwarding | None = None
    trailers: tuple[Field, ...] = ()
    body_whole = True
    keep_alive = True
    may_switch = True
    closing = False
    served = False  # it has brought a request before
    uploaded_bytes = 0
    upload_waited_secs = 0.0
    _unread = b""  # what came and was not looked at yet
    _head = _NO_HEAD
    _method = ""
    _body: Body | None = None
    _framing = Framing.NONE
    _unsent = b""  # a head that waits for its body
    _begun = False  # some of a request's head is there
    _half_closed = False
    _lingering = False

    def __init__(self, proxy: Proxy, *, scheme: str = "http", announced: ProxyHeader | None = None) -> None:
        """`announced` is what a proxy in front told before the first request, if it speaks the PROXY protocol."""
        super().__init__()
        self.proxy = proxy
        self.scheme = scheme
        self.peer = ""
        self.trusted = False
        self._announced = announced
        self.deadline = 0.0

    # -- what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.peer, self.trusted = self.proxy.who_is(transport, self._announced)
        self.deadline = self.proxy.loop.time() + self.proxy.settings.idle_timeout_secs
        if (refusal := self.proxy.admit(self)) is not None:
            if self.proxy.is_crowded(self):
                self.abort()
                return
            self._write(response(refusal, date=self.proxy.date, close=True))
            self.linger()

    def connection_lost(self, error: Exception | None) -> None:
        self.closing = True
        self.proxy.left(self)
        if self.tunnel is not None:
            self.tunnel.lost(self)
        elif self.forwarding is not None:
            self.forwarding.client_gone()

    def data_received(self, data: bytes) -> None:
        if self.tunnel is not None:
            self.tunnel.pass_on(self, data)
        elif not (self._lingering or self.closing):
            if self._unread:
                data = self._unread + data
            try:
                if self.forwarding is None and not self.write_paused:
                    self._read_request(data)
                else:
                    self._unread = data
                    if not self.body_whole:
                        self.forwarding.pump_request()
                    if len(self._unread) > READ_AHEAD:
                        self._apply_reading()
            except Exception:
                self.proxy.bug("a visitor's bytes")
                self.abort()

    def eof_received(self) -> bool:
        # TLS as asyncio speaks it knows no half-closed connection.
        may_stay = self.transport.get_extra_info("ssl_object") is None
        if self.tunnel is not None:
            return self.tunnel.ended(self) and may_stay
        forwarding = self.forwarding
        if forwarding is None or not self.body_whole or not may_stay:
            return False
        self._half_closed = True
        self.proxy.loop.call_later(HALF_CLOSED_SECS, self._give_up_half_closed, forwarding)
        return True

    def pause_writing(self) -> None:
        self.write_paused = True
        if self.tunnel is not None:
            self.tunnel.hold_back(self)
        elif self.forwarding is not None:
            self.forwarding.hold_back(True)

    def resume_writing(self) -> None:
        self.write_paused = False
        if self.tunnel is not None:
            self.tunnel.let_go(self)
        elif self.forwarding is not None:
            self.forwarding.hold_back(False)
        elif self._unread:
            self.proxy.loop.call_soon(self._go_on)

    # -- requests

    def _read_request(self, data: bytes) -> None:
        """`data` begins with a request, or with some of its head."""
        proxy = self.proxy
        end = data.find(b"\r\n\r\n")
        if data[:2] == b"\r\n" and not self._begun:
            # RFC 9112 2.2: one empty line before a request is tolerated.
            data = data[2:]
            end = data.find(b"\r\n\r\n") if end != 0 else 0
        if end < 0:
            self._unread = data
            if (refusal := why_incomplete(data, proxy.limits)) is not None:
                self._refuse("", "", _NO_HEAD, refusal)
            elif not self._begun and data not in (b"", b"\r"):
                # The head has begun and is not complete: from here its own clock runs, whatever trickles in.
                self._begun = True
                self.deadline = proxy.loop.time() + proxy.settings.head_timeout_secs
            if self._half_closed:
                self.close()  # the rest will not come
            return
        end += 4
        self._begun = False
        line = read_line(data, proxy.limits)
        if isinstance(line, Refusal):
            self._refuse(*what_was_asked(data), _NO_HEAD, line)
            return
        start, method, target, http_10, authority, begin = line
        if end > proxy.limits.head:
            self._refuse(*what_was_asked(data), _NO_HEAD, Refusal.FIELDS_TOO_LARGE)
            return
        head = proxy.read_head(data[begin:end], http_10)
        if authority is not None and authority != head.authority:
            head = with_host(head, authority)
        self._unread = data[end:]
        method, target = method.decode(), target.decode("utf-8", "surrogateescape")
        refusal = head.refusal
        if refusal is None and (head.length or head.chunked):
            refusal = self._expect_body(head)
        if refusal is not None:
            self._refuse(method, target, head, refusal)
            return
        self._head = head
        self._method = method
        self.keep_alive = head.keep_alive
        exchange = proxy.new_exchange(self, method, target, head, time.time_ns())
        if proxy.https_port and exchange.scheme == "http" and (there := proxy.on_https(exchange)):
            self._answer_ourselves(exchange, Refusal.HTTPS_ONLY, location=there)
            return
        self.forwarding = forwarding = Forwarding(proxy, self, exchange, start)
        forwarding.start()

    def _expect_body(self, head: RequestHead) -> Refusal | None:
        most = self.proxy.settings.max_body_bytes
        if most is not None and head.length > most:
            return Refusal.CONTENT_TOO_LARGE
        self._body = ChunkedBody() if head.chunked else CountedBody(head.length)
        self.body_whole = False
        self.uploaded_bytes = 0
        self.upload_waited_secs = 0.0
        self.proxy.uploads.add(self)
        return None

    def read_body(self) -> bytes:
        body, data = self._body, self._unread
        if body is None or not (data or self._half_closed):
            return b""
        self._unread = b""
        try:
            read = body.feed(data)
        except FramingError:
            raise RequestError(Refusal.BAD_REQUEST) from None
        self.uploaded_bytes += len(read)
        most = self.proxy.settings.max_body_bytes
        if most is not None and self.uploaded_bytes > most:
            raise RequestError(Refusal.CONTENT_TOO_LARGE)
        if body.whole:
            self.body_whole = True
            self._body = None
            self.trailers = body.trailers
            self._unread = body.rest
            self.proxy.uploads.discard(self)
        elif self._half_closed:
            raise RequestError(Refusal.BAD_REQUEST)  # the rest will not come
        self._apply_reading()
        return read

    def _refuse(self, method: str, target: str, head: RequestHead, refusal: Refusal) -> None:
        """Answers a request that goes no further, and closes: its framing is in doubt or its sender is."""
        exchange = self.proxy.new_exchange(self, method, target, head, time.time_ns())
        self.keep_alive = False
        self._answer_ourselves(exchange, refusal)

    def _answer_ourselves(self, exchange: Exchange, refusal: Refusal, *, location: bytes | None = None) -> None:
        proxy, with_body = self.proxy, exchange.method != "HEAD"
        close = not self.keep_alive or not self.body_whole or proxy.stopping
        exchange.refused(refusal)
        proxy.observe_start(exchange)
        proxy.finish(exchange)
        self._write(response(refusal, date=proxy.date, close=close, with_body=with_body, location=location))
        if close:
            self.linger()
        else:
            self.answered()

    # -- answers: what the forwarding calls

    def send_interim(self, answer: AnswerHead) -> None:
        # RFC 9110 15.2: every 1xx goes on to a 1.1 client, none to a 1.0 client. 103 Early Hints are among them.
        if not self._head.http_10:
            self.transport.write(interim_head(answer))

    def send_head(self, answer: AnswerHead, date: bytes | None, added: list[Field] | None) -> None:
        http_10 = self._head.http_10
        self._framing = how = framing(answer, method=self._method, http_10=http_10)
        if how is Framing.UNTIL_CLOSE:
            self.keep_alive = False
        self._unsent = downstream_head(
            answer, how, date=date or self.proxy.date, added=added, close=not self.keep_alive, http_10=http_10
        )

    def send(self, data: bytes, *, last: bool = False, trailers: tuple[Field, ...] = ()) -> None:
        head, self._unsent = self._unsent, b""
        if self._framing is Framing.CHUNKED:
            self._write(head, *chunks(data, last=last, trailers=trailers))
        else:
            self._write(head, data)

    def _write(self, *pieces: bytes) -> None:
        if self.transport.is_closing():
            return
        # One write costs less than several, but a large body must not be copied to be joined.
        if sum(map(len, pieces)) < MAX_JOINED:
            if data := b"".join(pieces):
                self.transport.write(data)
        else:
            self.transport.writelines([piece for piece in pieces if piece])

    def send_refusal(self, refusal: Refusal, *, keep_alive: bool) -> None:
        self.keep_alive = self.keep_alive and keep_alive
        self._unsent = b""
        self._write(
            response(refusal, date=self.proxy.date, close=not self.keep_alive, with_body=self._method != "HEAD")
        )

    def answered(self) -> None:
        self.forwarding = None
        self.served = True
        if not self.keep_alive or self.closing or (self._half_closed and not self._unread):
            self.close()
            return
        self.trailers = ()
        self.deadline = self.proxy.loop.time() + self.proxy.settings.idle_timeout_secs
        if self._unread:
            # Not at once: a visitor who pipelines thousands of requests must not keep all others waiting.
            self.proxy.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        # An answer the visitor has not taken yet must be gone before the next is asked for: they would pile up here.
        if self._unread and self.forwarding is None and not self.write_paused:
            data, self._unread = self._unread, b""
            self.data_received(data)
            self._apply_reading()

    def switch(self, answer: AnswerHead, upstream: Upstream, rest: bytes) -> None:
        self._write(switched_head(answer) + rest)
        self.forwarding = None
        self.tunnel = upstream.tunnel = Tunnel(self, upstream, passed=self._passed)
        self._passed()
        unread, self._unread = self._unread, b""
        if unread:
            upstream.transport.write(unread)
        self.hold_back(False)
        self._apply_reading()

    def _passed(self) -> None:
        """Something went through the tunnel, either way."""
        self.deadline = self.proxy.loop.time() + self.proxy.settings.tunnel_idle_secs

    # -- the connection's end

    def expired(self) -> None:
        """The deadline has passed."""
        if self.closing or self.tunnel is not None:
            self.abort()
        elif self.forwarding is not None:
            self.forwarding.expired()
        elif self._begun:
            self._refuse("", "", _NO_HEAD, Refusal.REQUEST_TIMEOUT)
        else:
            self.close()

    def waited_for_upload(self, secs: float) -> None:
        """`secs` went by in which more of the request's body was welcome. Called about once a second."""
        if self.forwarding is None or self.forwarding.awaits_continue or not self._may_read():
            return
        self.upload_waited_secs += secs
        if (
            self.upload_waited_secs > SLOW_UPLOAD_SECS
            and self.uploaded_bytes < self.upload_waited_secs * self.proxy.settings.min_upload_bytes_per_sec
        ):
            self.forwarding.expired()

    def _give_up_half_closed(self, forwarding: Forwarding, seen_bytes: int = -1) -> None:
        """The visitor has said no more for a while. `seen_bytes`: of the answer had left when that was last asked."""
        if self.forwarding is not forwarding:
            return
        sent_bytes = forwarding.exchange.response_bytes
        if not forwarding.answering or (sent_bytes == seen_bytes and not self.write_paused):
            self.abort()
        else:
            # What is sent to somebody who is gone comes back as a reset; only a silent answer must be asked after.
            self.proxy.loop.call_later(HALF_CLOSED_ANSWERING_SECS, self._give_up_half_closed, forwarding, sent_bytes)

    def stop(self) -> None:
        """No further request is taken; an idle connection ends now, unless one has just come and waits to be read."""
        if self.forwarding is None and self.tunnel is None and not self.closing and not self._has_come():
            # FIN, not RST: whoever sends at this very moment sees an end without an answer, and may ask again.
            self.linger()

    def _has_come(self) -> bool:
        connection = self.transport.get_extra_info("socket")
        try:
            waiting = fcntl.ioctl(connection.fileno(), termios.FIONREAD, b"\0\0\0\0")
        except (OSError, ValueError, AttributeError):
            return False
        return bool(self._unread) or any(waiting)

    @property
    def is_idle(self) -> bool:
        """It waits for a request, and nothing of one has come."""
        return self.forwarding is None and self.tunnel is None and not (self._begun or self._unread or self.closing)

    def linger(self) -> None:
        """Sends what is written, then reads and drops what still comes, and closes (RFC 9112 9.6)."""
        self.forwarding = None
        self.closing = True
        if self.transport.is_closing():
            return
        self._lingering = True
        self._unread = b""
        self.proxy.uploads.discard(self)
        self._held_back = False
        self._apply_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.deadline = self.proxy.loop.time() + LINGER_SECS

    def close(self) -> None:
        self.closing = True
        self.transport.close()
        # A peer that never reads must not keep the connection: see `expired`.
        self.deadline = self.proxy.loop.time() + self.proxy.settings.stall_timeout_secs

    def abort(self) -> None:
        self.closing = True
        self.transport.abort()

    def reset(self) -> None:
        """RST, not FIN."""
        self.forwarding = None
        connection = self.transport.get_extra_info("socket")
        if connection is not None and not self.transport.is_closing():
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.abort()

    def _may_read(self) -> bool:
        # What is read ahead is bounded; a head that has begun is not ahead, and has a bound of its own.
        ahead = len(self._unread) > READ_AHEAD and not (self._begun or self._lingering) and self.tunnel is None
        return not (self._held_back or ahead)
