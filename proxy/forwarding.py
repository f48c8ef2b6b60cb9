"""The life of one exchange: request upstream, response downstream, and how each of them may end.

Knows the order of things and who is told what. What may pass and what the heads look like is decided in `request` and
`response`; bytes are moved by `downstream` and `upstream`.

    start ─▶ connect or take an idle connection ─▶ send head, pump_request …
                                                    upstream_answers ─▶ head, pump_response … ─▶ complete
    refuse          the upstream left us no answer, and nothing has been written yet
    cut             the answer has begun and cannot be finished: the visitor's connection is reset
    client_gone     the visitor left
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from aiohttp.http_parser import RawResponseMessage
from aiohttp.streams import StreamReader

from proxy import copies
from proxy.answer_reader import AnswerError
from proxy.exchange import Exchange
from proxy.refusal import Refusal, body_bytes, response
from proxy.request import Verdict, is_idempotent, upstream_head
from proxy.response import Shape, downstream_head, interim_head, is_sound, shape, switched_head
from proxy.tunnel import Tunnel

if TYPE_CHECKING:
    from proxy.downstream import Downstream
    from proxy.server import Proxy
    from proxy.upstream import Upstream

_LAST_CHUNK = b"0\r\n\r\n"


class Forwarding:
    __slots__ = (
        "_close_upstream", "_connecting", "_ended", "_http_10", "_keep_alive", "_payload", "_proxy",
        "_request_bodiless", "_request_held", "_response_held", "_response_out", "_reused", "_shape",
        "_upstream", "_verdict", "answering", "downstream", "exchange",
    )  # fmt: skip

    def __init__(
        self,
        proxy: Proxy,
        downstream: Downstream,
        exchange: Exchange,
        verdict: Verdict,
        payload: StreamReader | None,
        *,
        keep_alive: bool,
        http_10: bool,
    ) -> None:
        self._proxy = proxy
        self.downstream = downstream
        self.exchange = exchange
        self._verdict = verdict
        self._payload = payload  # None once all of the request body has been handed on (or there is none)
        self._request_bodiless = payload is None
        self._keep_alive = keep_alive
        self._http_10 = http_10
        self._connecting: asyncio.Task[None] | None = None
        self._upstream: Upstream | None = None
        self._reused = False
        self._close_upstream = False
        self._request_held = False
        self._response_out = b""
        self._response_held = False
        self._shape: Shape | None = None
        self._ended = False
        self.answering = False  # the final response's head is known

    @property
    def wants_request_body(self) -> bool:
        """The request is not complete: more of it must come from the visitor."""
        return self._payload is not None and not self._payload.is_eof()

    # -- the request

    def start(self) -> None:
        self._proxy.observe_start(self.exchange)
        self._go(fresh=False)

    def _go(self, *, fresh: bool) -> None:
        may_retry = self._request_bodiless and is_idempotent(self.exchange.method)
        upstream = None if fresh else self._proxy.pool.take(may_retry=may_retry)
        if upstream is not None:
            self._reused = True
            self._send(upstream)
        else:
            self._reused = False
            self._wait_for_upstream()
            self._connecting = self._proxy.loop.create_task(self._connect())

    async def _connect(self) -> None:
        try:
            upstream = await self._proxy.pool.connect()
        except TimeoutError:
            self._connecting = None
            self.refuse(Refusal.UPSTREAM_SLOW)
        except OSError:
            self._connecting = None
            self.refuse(Refusal.UPSTREAM_DOWN)
        else:
            self._connecting = None
            if self._ended:
                self._proxy.pool.give_back(upstream)
            else:
                self._send(upstream)

    def _send(self, upstream: Upstream) -> None:
        self._upstream = upstream
        exchange, downstream, proxy = self.exchange, self.downstream, self._proxy
        upstream.begin(self, to_head=exchange.method == "HEAD")
        head = upstream_head(
            exchange,
            self._verdict,
            peer=downstream.peer,
            trusted=downstream.trusted,
            upstream_host=proxy.pool.address.host_field,
            keep_host=proxy.settings.host == "keep",
        )
        self._wait_for_upstream()
        if self._payload is None:
            upstream.transport.write(head)
        else:
            self._pump_request(head)

    def pump_request(self) -> None:
        """Hands on what has arrived of the request body, as far as the upstream takes it."""
        if self._payload is not None and self._upstream is not None:
            self._pump_request(b"")

    def _pump_request(self, head: bytes) -> None:
        upstream, payload = self._upstream, self._payload
        if self._request_held:
            return
        if upstream.write_paused:
            self.downstream.hold_back(True)
            return
        self.downstream.hold_back(False)
        data = payload.read_nowait()
        whole = payload.is_eof()
        out = [head] if head else []
        if data:
            self.exchange.request_bytes += len(data)
            copies.feed(self._proxy, self.exchange, "request_copy", data)
            out += (b"%x\r\n" % len(data), data, b"\r\n") if self._verdict.chunked else (data,)
        if not whole:
            if out:
                upstream.transport.writelines(out)
                self._wait_for_visitor()
            return
        if self._verdict.chunked:
            out.append(_LAST_CHUNK)

        def send_end() -> None:
            if self._ended:
                return
            self._request_held = False
            self._payload = None
            if not upstream.lost:
                upstream.transport.writelines(out)
            if not self.answering:
                self._wait_for_upstream()

        self._request_held = True
        copies.when_safe(self._proxy, self.exchange, "request_copy", send_end)

    # -- the response

    def upstream_answers(self, upstream: Upstream, data: bytes) -> None:
        """Bytes from upstream."""
        answers = upstream.answers
        try:
            for message in answers.feed(data):
                if message.code == 101:
                    self._switch(message, answers.rest)
                    return
                if message.code < 200:
                    self._interim(message)
                else:
                    self._answer(message)
            if self.answering and not self._ended:
                self._pump_response()
        except AnswerError:
            self._upstream_invalid()
        except Exception:
            self._proxy.bug("an upstream's answer")
            self._upstream_invalid()

    def _interim(self, message: RawResponseMessage) -> None:
        # RFC 9110 15.2: every 1xx goes on to a 1.1 client, none to a 1.0 client. 103 Early Hints are among them.
        if not self._http_10 and is_sound(message.raw_headers):
            self.downstream.transport.write(interim_head(message))
        self._wait_for_upstream()

    def _answer(self, message: RawResponseMessage) -> None:
        exchange, proxy = self.exchange, self._proxy
        fields = message.raw_headers
        if not is_sound(fields):
            self._close_upstream = True
            self.refuse(Refusal.UPSTREAM_INVALID)
            return
        lowered = {name.lower(): value for name, value in fields}
        exchange.wait_ns = time.time_ns() - exchange.started_ns
        exchange.status = message.code
        exchange.response_fields = fields
        added = proxy.observe_response(exchange)
        self._shape = how = shape(message.code, method=exchange.method, lowered=lowered, http_10=self._http_10)
        self._close_upstream = self._close_upstream or message.should_close
        if how.until_close or self._payload is not None or proxy.stopping:
            # An answer before the request is whole, such as 413: the rest of it is not waited for.
            self._keep_alive = False
        self._response_out = downstream_head(
            message, lowered, how, added=added, date=proxy.date, close=not self._keep_alive, http_10=self._http_10
        )
        self.answering = True

    def _pump_response(self) -> None:
        if self._response_held:
            return
        data, whole = self._upstream.answers.take_body()
        out = [self._response_out] if self._response_out else []
        self._response_out = b""
        if data:
            self.exchange.response_bytes += len(data)
            copies.feed(self._proxy, self.exchange, "response_copy", data)
            out += (b"%x\r\n" % len(data), data, b"\r\n") if self._shape.chunked else (data,)
        if whole:
            if self._shape.chunked:
                out.append(_LAST_CHUNK)
            self._end_response(out)
        elif out:
            _write(self.downstream, out)
            self.downstream.deadline = self._proxy.loop.time() + self._proxy.settings.stall_timeout_secs

    def _end_response(self, last: list[bytes]) -> None:
        if self.exchange.response_copy is None:
            self._complete(last)
        else:
            self._response_held = True
            copies.when_safe(self._proxy, self.exchange, "response_copy", lambda: self._complete(last))

    def _complete(self, last: list[bytes]) -> None:
        """The answer is whole: it is recorded, then its end leaves."""
        if self._ended:
            return
        self._finish()
        if not self.downstream.transport.is_closing():
            _write(self.downstream, last)
        upstream, unread = self._upstream, self._payload is not None
        if self._close_upstream or unread or upstream.answers.excess:
            upstream.forwarding = None
            upstream.close()
        else:
            self._proxy.pool.give_back(upstream)
        if unread:
            self.downstream.forwarding = None
            self.downstream.linger()
        else:
            self.downstream.answered(keep_alive=self._keep_alive)

    def _switch(self, message: RawResponseMessage, tail: bytes) -> None:
        """The upstream switched protocols: from here on, bytes."""
        downstream, upstream = self.downstream, self._upstream
        if self._verdict.upgrade is None or not is_sound(message.raw_headers):
            self._close_upstream = True
            self.refuse(Refusal.UPSTREAM_INVALID)
            return
        exchange = self.exchange
        exchange.status = 101
        exchange.upgraded = True
        exchange.wait_ns = time.time_ns() - exchange.started_ns
        exchange.response_fields = message.raw_headers
        self._proxy.observe_response(exchange)
        self._finish()
        downstream.transport.write(switched_head(message) + tail)
        downstream.forwarding = upstream.forwarding = None
        downstream.tunnel = upstream.tunnel = Tunnel(downstream, upstream)
        downstream.deadline = float("inf")
        if downstream.after_upgrade:
            upstream.transport.write(bytes(downstream.after_upgrade))
        downstream.hold_back(False)
        downstream.after_upgrade = None

    # -- other ends

    def refuse(self, refusal: Refusal) -> None:
        """Nothing has been written yet, and no answer will come: the visitor gets a page of ours."""
        if self._ended:
            return
        exchange, proxy = self.exchange, self._proxy
        if self._response_out == b"" and self.answering:
            self._cut("upstream", refusal)
            return
        exchange.status = refusal.status
        exchange.refusal = refusal.reason
        exchange.ended_by = refusal.ended_by
        exchange.response_fields = ()
        exchange.response_copy = None
        exchange.response_bytes = body_bytes(refusal)
        unread = self.wants_request_body
        keep_alive = self._keep_alive and not unread and self._verdict.upgrade is None and not proxy.stopping
        self._finish()
        self._drop_upstream()
        self.downstream.transport.write(
            response(refusal, date=proxy.date, close=not keep_alive, with_body=exchange.method != "HEAD")
        )
        if unread:
            self.downstream.forwarding = None
            self.downstream.linger()
        else:
            self.downstream.answered(keep_alive=keep_alive)

    def _cut(self, ended_by: str, refusal: Refusal | None = None) -> None:
        """The answer has begun and will not be whole. A reset is the only honest end: no terminator is invented."""
        self.exchange.ended_by = ended_by
        if refusal is not None:
            self.exchange.refusal = refusal.reason
        self._finish()
        self._drop_upstream()
        self.downstream.forwarding = None
        self.downstream.reset()

    def client_gone(self) -> None:
        """The visitor's connection is lost. The upstream is freed at once."""
        if self._ended:
            return
        self.exchange.ended_by = "client"
        if not self.answering:
            self.exchange.status = 499
        self._finish()
        self._drop_upstream()

    def request_broken(self) -> None:
        """The request's body cannot be read on."""
        if self.answering:
            self._cut("client", Refusal.BAD_REQUEST)
        else:
            self._keep_alive = False
            self.refuse(Refusal.BAD_REQUEST)

    def upstream_lost(self, upstream: Upstream) -> None:
        """The upstream closed: the end of the answer, or a failure."""
        if self._ended or upstream is not self._upstream:
            return
        if not self.answering:
            self._lost_before_answer()
            return
        self._close_upstream = True
        try:
            upstream.answers.end()
        except AnswerError:
            self._cut("upstream", Refusal.UPSTREAM_CLOSED)
            return
        if not self._response_held:
            self._pump_response()

    def _lost_before_answer(self) -> None:
        # RFC 9110 9.2.2: only an idempotent request is sent again, once, and only if the connection was an old one
        # (RFC 9112 9.3.1: an origin may close those at any time).
        if self._reused and self._request_bodiless and is_idempotent(self.exchange.method):
            self.exchange.retries += 1
            self._upstream = None
            self._go(fresh=True)
        else:
            self._proxy.pool.failures += 1
            self.refuse(Refusal.UPSTREAM_CLOSED)

    def _upstream_invalid(self) -> None:
        if self._ended:
            return
        self._proxy.pool.failures += 1
        if self.answering and not self._response_out:
            self._cut("upstream", Refusal.UPSTREAM_INVALID)
        else:
            self.refuse(Refusal.UPSTREAM_INVALID)

    def expired(self) -> None:
        """Nothing has moved for too long."""
        if self.wants_request_body and not self._upstream_blocks():
            if self.answering:
                self._cut("client")
            else:
                self._keep_alive = False
                self.refuse(Refusal.REQUEST_TIMEOUT)
        elif not self.answering:
            self.refuse(Refusal.UPSTREAM_SLOW)
        else:
            self._cut("client" if self.downstream.write_paused else "upstream")

    # -- small steps

    def hold_back(self, yes: bool) -> None:
        """The visitor takes the answer more slowly than the upstream gives it."""
        if self._upstream is not None:
            self._upstream.hold_back(yes)
        self.downstream.deadline = self._proxy.loop.time() + self._proxy.settings.stall_timeout_secs

    def _upstream_blocks(self) -> bool:
        return self._upstream is None or self._upstream.write_paused

    def _wait_for_upstream(self) -> None:
        self.downstream.deadline = self._proxy.loop.time() + self._proxy.settings.response_timeout_secs

    def _wait_for_visitor(self) -> None:
        self.downstream.deadline = self._proxy.loop.time() + self._proxy.settings.stall_timeout_secs

    def _finish(self) -> None:
        """The exchange is over: its facts are final and go to the observer, once."""
        self._ended = True
        self._proxy.finish(self.exchange)

    def _drop_upstream(self) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None
        if self._upstream is not None:
            self._upstream.forwarding = None
            self._upstream.abort()


def _write(downstream: Downstream, pieces: list[bytes]) -> None:
    # One small write costs less than a vector of pieces; a large body must not be copied to be joined.
    if len(pieces) == 1:
        downstream.transport.write(pieces[0])
    elif sum(map(len, pieces)) < 32_768:
        downstream.transport.write(b"".join(pieces))
    else:
        downstream.transport.writelines(pieces)
