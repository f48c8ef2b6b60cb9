"""The life of one exchange: request upstream, answer to the visitor, and how each of them may end.

Knows the order of things and who is told what. What may pass and what the heads look like is decided in `request` and
`answer`; bytes are moved by `http1` (or `http2`) and `upstream`.

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

from proxy import copies
from proxy.answer_reader import AnswerError
from proxy.body import chunk, last_chunk
from proxy.downstream import Downstream, RequestError
from proxy.exchange import Exchange
from proxy.fields import plainly
from proxy.heads import AnswerHead
from proxy.refusal import Refusal
from proxy.request import is_idempotent, upstream_head

if TYPE_CHECKING:
    from proxy.server import Proxy
    from proxy.servers import Server
    from proxy.upstream import Upstream


class Forwarding:
    """`start` is what goes upstream of the request line.

    answering   the final answer's head is known
    """

    # In the class: most exchanges never touch these.
    answering = False
    _connecting: asyncio.Task[None] | None = None
    _tried: tuple[Server, ...] = ()
    _server: Server | None = None
    _upstream: Upstream | None = None
    _reused = False
    _ended = False
    _sent = False  # some of the answer has left
    _close_upstream = False
    _continued = False  # the site said 100
    _request_held = False
    _response_held = False

    def __init__(self, proxy: Proxy, downstream: Downstream, exchange: Exchange, start: bytes) -> None:
        self._proxy = proxy
        self.downstream = downstream
        self.exchange = exchange
        self._start = start
        self._site = proxy.sites.site_for(exchange.head.authority)
        # The request's end has been handed on, or there is no body.
        self._request_sent = self._bodiless = downstream.body_whole

    # -- the request

    def start(self) -> None:
        self._proxy.observe_start(self.exchange)
        self._go(self._site.balancer.choose())

    def _go(self, server: Server) -> None:
        """To the server whose turn it is, over an idle connection if there is one."""
        self._server = server
        upstream = server.take()
        if upstream is not None:
            self._reused = True
            self._send(upstream)
        else:
            self._connect()

    def _connect(self) -> None:
        self._reused = False
        self._wait_for_upstream()
        self._connecting = self._proxy.loop.create_task(self._connect_to(self._server))

    async def _connect_to(self, server: Server) -> None:
        try:
            upstream = await server.connect()
        except OSError as error:  # TimeoutError is one
            self._connecting = None
            # Nothing of the request has been sent, so that any other server may have it.
            self._tried = (*self._tried, server)
            another = None if self._ended else self._site.balancer.choose(self._tried)
            if another is not None:
                self.exchange.retries += 1
                self._go(another)
            else:
                self.refuse(Refusal.UPSTREAM_SLOW if isinstance(error, TimeoutError) else Refusal.UPSTREAM_DOWN)
        else:
            self._connecting = None
            if self._ended:
                server.give_back(upstream)
            else:
                self._send(upstream)

    def _send(self, upstream: Upstream) -> None:
        exchange, downstream, server = self.exchange, self.downstream, self._server
        self._upstream = upstream
        server.running += 1
        upstream.begin(self, to_head=exchange.method == "HEAD")
        head = exchange.head
        authority, site = head.authority, self._site
        lines = upstream_head(
            self._start,
            head,
            changed=exchange.upstream_fields,
            host=authority if authority is not None and site.keep_host else server.address.host_field,
            trusted=downstream.trusted,
            forwarding=self._proxy.forwarding_lines(downstream, exchange),
        )
        self._wait_for_upstream()
        if self._request_sent:
            upstream.transport.write(lines)
        else:
            self._pump_request(lines)

    def pump_request(self) -> None:
        """Hands on what has arrived of the request body, as far as the upstream takes it."""
        if not self._request_sent and self._upstream is not None:
            self._pump_request(b"")

    def _pump_request(self, head: bytes) -> None:
        upstream, downstream, exchange = self._upstream, self.downstream, self.exchange
        if self._request_held:
            return
        if upstream.write_paused:
            downstream.hold_back(True)
            return
        downstream.hold_back(False)
        try:
            data = downstream.read_body()
        except RequestError as error:
            self._request_broken(error.refusal)
            return
        out = [head] if head else []
        chunked = exchange.head.chunked
        if data:
            exchange.request_bytes += len(data)
            copies.feed(self._proxy, exchange, "request_copy", data)
            out += chunk(data) if chunked else (data,)
        if not downstream.body_whole:
            if out:
                upstream.transport.writelines(out)
                if self.awaits_continue:
                    self._wait_for_upstream()
                else:
                    self._wait_for_visitor()
            return
        if chunked:
            # What the observer changes in the head must not come back behind the body.
            changed = exchange.upstream_fields
            out.append(last_chunk(tuple(t for t in downstream.trailers if plainly(t[0].lower()) not in changed)))
        if exchange.request_copy is None:
            self._send_end(out)
        else:
            self._request_held = True
            copies.when_safe(self._proxy, exchange, "request_copy", lambda: self._send_end(out))

    def _send_end(self, last: list[bytes]) -> None:
        self._request_held = False
        if self._ended:
            return
        self._request_sent = True
        if not self._upstream.lost:
            self._upstream.transport.write(b"".join(last))
        if not self.answering:
            self._wait_for_upstream()

    # -- the answer

    def upstream_answers(self, upstream: Upstream, data: bytes) -> None:
        """Bytes from upstream."""
        try:
            for answer in upstream.answers.feed(data):
                if answer.code == 101:
                    self._switch(answer)
                    return
                if answer.code < 200:
                    self._interim(answer)
                else:
                    self._answer(answer)
            if self.answering and not self._ended:
                self._pump_response()
        except AnswerError:
            self._upstream_invalid()
        except Exception:
            self._proxy.bug("an upstream's answer")
            self._upstream_invalid()

    def _interim(self, answer: AnswerHead) -> None:
        if answer.is_sound:
            self.downstream.send_interim(answer)
            self._continued = self._continued or answer.code == 100
        self._wait_for_upstream()

    def _answer(self, answer: AnswerHead) -> None:
        if not answer.is_sound:
            self._upstream_invalid()
            return
        exchange, proxy, server, date = self.exchange, self._proxy, self._server, self._upstream.answers.date
        exchange.wait_ns = time.time_ns() - exchange.started_ns
        exchange.status = answer.code
        exchange.answer = answer
        exchange.date = date
        if server.failures or server.awaits_probe:
            server.answered()
        if answer.close:
            self._close_upstream = True
        if not self._request_sent or proxy.stopping:
            # An answer before the request is whole, such as 413: the rest of it is not waited for.
            self.downstream.keep_alive = False
            # Whether the site will read that rest as what it is nobody knows ("CL.0").
            self._close_upstream = True
        self.downstream.send_head(answer, date, proxy.observe_response(exchange))
        self.answering = True

    def _pump_response(self) -> None:
        if self._response_held:
            return
        data, whole = self._upstream.answers.take_body()
        exchange = self.exchange
        if data:
            exchange.response_bytes += len(data)
            if exchange.response_copy is not None:
                copies.feed(self._proxy, exchange, "response_copy", data)
        if not whole:
            self._sent = True
            self.downstream.send(data)
            self.downstream.deadline = self._proxy.loop.time() + self._proxy.settings.stall_timeout_secs
        elif exchange.response_copy is None:
            self._complete(data)
        else:
            self._response_held = True
            copies.when_safe(self._proxy, exchange, "response_copy", lambda: self._complete(data))

    def _complete(self, last: bytes) -> None:
        """The answer is whole: it is recorded, then its end leaves."""
        if self._ended:
            return
        self._finish()
        upstream, downstream, server = self._upstream, self.downstream, self._server
        answers = upstream.answers
        downstream.send(last, last=True, trailers=answers.trailers)
        upstream.forwarding = None
        server.running -= 1
        if self._close_upstream or answers.excess or not self._request_sent:
            upstream.close()
        else:
            upstream.hold_back(False)  # this visitor may be slow still; the next to use the connection is another
            server.give_back(upstream)
        if self._request_sent:
            downstream.answered()
        else:
            downstream.linger()

    def _switch(self, answer: AnswerHead) -> None:
        """The upstream switched protocols: from here on, bytes."""
        downstream, upstream, exchange = self.downstream, self._upstream, self.exchange
        if exchange.head.upgrade is None or not downstream.may_switch or not answer.is_sound:
            self._upstream_invalid()
            return
        exchange.status = 101
        exchange.upgraded = True
        exchange.wait_ns = time.time_ns() - exchange.started_ns
        exchange.answer = answer
        self._proxy.observe_response(exchange)
        self._finish()
        self._server.running -= 1
        upstream.forwarding = None
        downstream.switch(answer, upstream, upstream.answers.rest)

    # -- other ends

    def refuse(self, refusal: Refusal) -> None:
        """No answer will come: the visitor gets a page of ours. If some of one was sent already, it is cut."""
        if self._ended:
            return
        if self._sent:
            self._cut(refusal.ended_by, refusal)
            return
        exchange, downstream = self.exchange, self.downstream
        exchange.refused(refusal)
        exchange.response_copy = None
        whole = downstream.body_whole
        self._finish()
        self._drop_upstream()
        downstream.send_refusal(
            refusal, keep_alive=whole and exchange.head.upgrade is None and not self._proxy.stopping
        )
        if whole:
            downstream.answered()
        else:
            downstream.linger()

    def _cut(self, ended_by: str, refusal: Refusal | None = None) -> None:
        """The answer has begun and will not be whole. A reset is the only honest end: no terminator is invented."""
        self.exchange.ended_by = ended_by
        if refusal is not None:
            self.exchange.refusal = refusal.reason
        self._finish()
        self._drop_upstream()
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

    def _request_broken(self, refusal: Refusal) -> None:
        """The request's body cannot be read on."""
        self.downstream.keep_alive = False
        self.refuse(refusal)

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
            self._server.failed()
            self.refuse(Refusal.UPSTREAM_CLOSED)
            return
        self._pump_response()

    def _lost_before_answer(self) -> None:
        # RFC 9110 9.2.2: only an idempotent request is sent again, once, and only if the connection was an old one
        # (RFC 9112 9.3.1: an origin may close those at any time).
        if self._reused and self._may_repeat():
            self.exchange.retries += 1
            self._server.running -= 1
            self._upstream = None
            self._connect()
        else:
            self._server.failed()
            self.refuse(Refusal.UPSTREAM_CLOSED)

    def _may_repeat(self) -> bool:
        return self._bodiless and is_idempotent(self.exchange.method)

    def _upstream_invalid(self) -> None:
        if not self._ended:
            self._server.failed()
            self.refuse(Refusal.UPSTREAM_INVALID)

    def expired(self) -> None:
        """Nothing has moved for too long."""
        if not self.downstream.body_whole and not self._upstream_blocks() and not self.awaits_continue:
            self.downstream.keep_alive = False
            self.refuse(Refusal.REQUEST_TIMEOUT)
        elif not self.answering:
            if self._server is not None:
                self._server.failed()
            self.refuse(Refusal.UPSTREAM_SLOW)
        elif self.downstream.write_paused:
            self._cut("client")
        else:
            self._server.failed()
            self.refuse(Refusal.UPSTREAM_SLOW)

    @property
    def awaits_continue(self) -> bool:
        """The visitor waits for the site's 100 before it sends the body (RFC 9110 10.1.1): the site is to blame."""
        exchange = self.exchange
        return exchange.head.expects_continue and not (self._continued or self.answering or exchange.request_bytes)

    # -- small steps

    def hold_back(self, yes: bool) -> None:
        """The visitor takes the answer more slowly than the upstream gives it."""
        if self._upstream is not None:
            self._upstream.hold_back(yes)
        self._wait_for_visitor()

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
        upstream = self._upstream
        if upstream is not None:
            self._server.running -= 1
            self._upstream = None
            upstream.forwarding = None
            upstream.abort()
