"""One connection to the site: writes requests, reads answers, tells the forwarding it works for.

Knows bytes and backpressure. Decides nothing: see `forwarding`.
"""

from __future__ import annotations

import asyncio
import select
from typing import TYPE_CHECKING

from proxy.answer_reader import AnswerReader
from proxy.connection import Connection

if TYPE_CHECKING:
    from proxy.forwarding import Forwarding


class Upstream(Connection):
    """`forwarding` is who it works for at the moment; None while it idles."""

    forwarding: Forwarding | None = None
    idle_since = 0.0
    lost = False
    _poll: select.poll | None = None

    def __init__(self) -> None:
        super().__init__()
        self.answers = AnswerReader()

    # -- what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = True
        if self.tunnel is not None:
            self.tunnel.lost(self)
        elif self.forwarding is not None:
            self.forwarding.upstream_lost(self)

    def eof_received(self) -> bool:
        if self.tunnel is not None:
            return self.tunnel.ended(self)
        return False

    def data_received(self, data: bytes) -> None:
        if self.tunnel is not None:
            self.tunnel.pass_on(self, data)
            return
        forwarding = self.forwarding
        if forwarding is None:
            self.close()  # bytes nobody asked for must never become somebody's answer
            return
        forwarding.upstream_answers(self, data)

    def pause_writing(self) -> None:
        self.write_paused = True
        if self.tunnel is not None:
            self.tunnel.hold_back(self)

    def resume_writing(self) -> None:
        self.write_paused = False
        if self.tunnel is not None:
            self.tunnel.let_go(self)
        elif self.forwarding is not None:
            self.forwarding.pump_request()

    # -- what the forwarding calls

    def begin(self, forwarding: Forwarding, *, to_head: bool) -> None:
        """Works for `forwarding` from now on."""
        self.forwarding = forwarding
        self.answers.expect(to_head=to_head)

    def is_stale(self) -> bool:
        """Whether the other side has already closed or sent something, though the loop has not told us yet."""
        if self.lost or self.transport is None or self.transport.is_closing():
            return True
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(self.transport.get_extra_info("socket").fileno(), select.POLLIN)
        return bool(self._poll.poll(0))

    def close(self) -> None:
        if self.transport is not None:
            self.transport.close()

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()
