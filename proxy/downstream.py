"""One connection of a visitor: reads requests, takes them in order, writes answers.

Knows bytes, the request parser, pipelining and the connection's life. What to do with a request is decided in
`request` and `forwarding`.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections import deque
from typing import TYPE_CHECKING

from aiohttp.http import HttpRequestParser
from aiohttp.http_exceptions import BadHttpMessage, BadHttpMethod, LineTooLong
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader

from proxy.answer_reader import STREAM_LIMIT
from proxy.connection import Connection
from proxy.exchange import Exchange
from proxy.forwarding import Forwarding
from proxy.refusal import Refusal, body_bytes, response
from proxy.request import judge

if TYPE_CHECKING:
    from proxy.server import Proxy

# Pipelined requests the parser may be ahead of the answers; then it waits.
MAX_PIPELINED = 32
# After a FIN from a visitor who waits for an answer: a half-closed client (`nc`, some health checks) gets it if it
# comes this soon; a browser that went away looks the same, and the upstream must not work for it much longer.
HALF_CLOSED_SECS = 1.0
# RFC 9112 9.6: how long the rest of a refused upload is read and thrown away, so that the answer is not lost by a reset.
LINGER_SECS = 5.0


class Downstream(Connection):
    """`deadline` is the loop time at which `expired` is called, unless it is moved before."""

    __slots__ = (
        "_begun", "_half_closed", "_lingering", "_parser", "_queue", "_unanswered", "after_upgrade", "closing",
        "deadline", "forwarding", "peer", "proxy", "trusted",
    )  # fmt: skip

    def __init__(self, proxy: Proxy) -> None:
        super().__init__()
        self.proxy = proxy
        self.peer = ""
        self.trusted = False
        self.forwarding: Forwarding | None = None
        self.after_upgrade: bytearray | None = None
        self.closing = False
        self.deadline = 0.0
        self._queue: deque[tuple[RawRequestMessage, StreamReader]] = deque()
        self._unanswered = 0
        self._begun = False
        self._half_closed = False
        self._lingering = False
        self._parser = self._new_parser()

    def _new_parser(self) -> HttpRequestParser:
        settings = self.proxy.settings
        return HttpRequestParser(
            self, self.proxy.loop, STREAM_LIMIT, max_line_size=settings.max_target_bytes,
            max_field_size=settings.max_field_bytes, max_headers=settings.max_fields, auto_decompress=False,
            max_msg_queue_size=MAX_PIPELINED,
        )  # fmt: skip

    # -- what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        peername = transport.get_extra_info("peername")
        self.peer = peername[0] if isinstance(peername, tuple) else "unix"
        self.trusted = self.proxy.is_trusted(self.peer)
        self.deadline = self.proxy.loop.time() + self.proxy.settings.idle_timeout_secs
        self.proxy.connections.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.closing = True
        self.proxy.connections.discard(self)
        if self.tunnel is not None:
            self.tunnel.lost(self)
        elif self.forwarding is not None:
            self.forwarding.client_gone()

    def data_received(self, data: bytes) -> None:
        if self.tunnel is not None:
            self.tunnel.pass_on(self, data)
        elif self._lingering or self.closing:
            pass
        elif self.after_upgrade is not None:
            self.after_upgrade += data
            if len(self.after_upgrade) > STREAM_LIMIT:
                self.hold_back(True)
        else:
            try:
                self._feed(data)
            except Exception:
                self.proxy.bug("a visitor's bytes")
                self.abort()

    def eof_received(self) -> bool:
        if self.tunnel is not None:
            return self.tunnel.ended(self)
        forwarding = self.forwarding
        if forwarding is None or forwarding.wants_request_body:
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

    # -- requests

    def _feed(self, data: bytes) -> None:
        try:
            messages, upgraded, tail = self._parser.feed_data(data)
        except Exception as error:
            self._malformed(error)
            return
        if messages:
            self._begun = False
            self._unanswered += len(messages)
            if self._unanswered >= MAX_PIPELINED:
                self._apply_reading()
            self._queue.extend(messages)
            if upgraded:
                self.after_upgrade = bytearray(tail)
        if self.forwarding is not None:
            self.forwarding.pump_request()
        elif self._queue:
            self._next()
        elif not self._begun:
            # The head has begun and is not complete: from here its own clock runs, whatever trickles in.
            self._begun = True
            self.deadline = self.proxy.loop.time() + self.proxy.settings.head_timeout_secs

    def _next(self) -> None:
        message, payload = self._queue.popleft()
        exchange = self.proxy.new_exchange(self, message.method, message.path, message.raw_headers, time.time_ns())
        verdict = judge(message, exchange.fields, exchange.lowered)
        if isinstance(verdict, Refusal):
            self._refuse(exchange, verdict)
            return
        if verdict.upgrade is not None and self.after_upgrade is None:
            # aiohttp's parser stops by itself for websocket only; whatever follows belongs to the other protocol.
            self.after_upgrade = bytearray()
        elif verdict.upgrade is None and self.after_upgrade is not None:
            self._refuse(exchange, Refusal.BAD_FRAMING)
            return
        self.forwarding = Forwarding(
            self.proxy,
            self,
            exchange,
            verdict,
            None if payload is EMPTY_PAYLOAD else payload,
            keep_alive=not message.should_close,
            http_10=message.version.minor == 0,
        )
        self.forwarding.start()

    def answered(self, *, keep_alive: bool) -> None:
        """The forwarding is through with its exchange, and all of the answer is written."""
        self.forwarding = None
        if not keep_alive or self.closing or self._half_closed and not self._queue:
            self.close()
            return
        self.deadline = self.proxy.loop.time() + self.proxy.settings.idle_timeout_secs
        self._unanswered -= 1
        self._parser.message_consumed()
        if self.after_upgrade is not None:
            # The upstream did not switch: what came after the request is HTTP again.
            raw, self.after_upgrade = bytes(self.after_upgrade), None
            self.hold_back(False)
            self._parser = self._new_parser()
            if raw:
                self.proxy.loop.call_soon(self.data_received, raw)
        elif self._unanswered == MAX_PIPELINED - 1:
            self._apply_reading()
            self.proxy.loop.call_soon(self.data_received, b"")  # the parser waits with the rest of what it has
        if self._queue:
            self.proxy.loop.call_soon(self._next_if_free)

    def _next_if_free(self) -> None:
        if self._queue and self.forwarding is None and not self.closing:
            self._next()

    def _malformed(self, error: Exception) -> None:
        """The parser gave up: nothing that follows on this connection can be believed."""
        if self.forwarding is not None:
            self.forwarding.request_broken()
            return
        if isinstance(error, LineTooLong):
            # llhttp reports a field by its name or value, a target by the request line's start.
            refusal = Refusal.FIELDS_TOO_LARGE if self._head_past_target(error) else Refusal.TARGET_TOO_LONG
        elif isinstance(error, BadHttpMethod):
            refusal = Refusal.BAD_REQUEST
        elif isinstance(error, BadHttpMessage) and "Too many headers" in str(error):
            refusal = Refusal.FIELDS_TOO_LARGE
        else:
            refusal = Refusal.BAD_REQUEST
        self._refuse(self.proxy.new_exchange(self, "", "", (), time.time_ns()), refusal)

    @staticmethod
    def _head_past_target(error: LineTooLong) -> bool:
        line = error.args[0] if error.args else b""
        return not bytes(line[:1] if isinstance(line, bytes) else b"/").startswith((b"/", b"h", b"*"))

    def _refuse(self, exchange: Exchange, refusal: Refusal) -> None:
        """Answers a request that goes no further, and closes: its framing is in doubt or its sender is."""
        exchange.status = refusal.status
        exchange.refusal = refusal.reason
        exchange.ended_by = refusal.ended_by
        exchange.response_bytes = body_bytes(refusal)
        self.proxy.observe_start(exchange)
        self.proxy.finish(exchange)
        self.transport.write(response(refusal, date=self.proxy.date, close=True, with_body=exchange.method != "HEAD"))
        self.linger()

    # -- the connection's end

    def expired(self) -> None:
        """The deadline has passed."""
        if self.tunnel is not None or self.closing:
            self.abort()
        elif self.forwarding is not None:
            self.forwarding.expired()
        elif self._begun:
            self._refuse(self.proxy.new_exchange(self, "", "", (), time.time_ns()), Refusal.REQUEST_TIMEOUT)
        else:
            self.close()

    def _give_up_half_closed(self, forwarding: Forwarding) -> None:
        if self.forwarding is forwarding and not forwarding.answering:
            self.abort()

    def stop(self) -> None:
        """No further request is taken; an idle connection closes now."""
        if self.forwarding is None and self.tunnel is None:
            self.close()

    def linger(self) -> None:
        """Sends what is written, then reads and drops what still comes, and closes (RFC 9112 9.6)."""
        if self.transport.is_closing():
            return
        self._lingering = True
        self.closing = True
        self._queue.clear()
        self._held_back = self._reading_paused = False
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
        """Ends the connection so that the visitor cannot take what came so far for the whole (RST, not FIN)."""
        connection = self.transport.get_extra_info("socket")
        if connection is not None and not self.transport.is_closing():
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.abort()

    def _may_read(self) -> bool:
        return super()._may_read() and (self._unanswered < MAX_PIPELINED or self._lingering)
