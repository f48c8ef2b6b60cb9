"""What an observer of exchanges may do. Knows the calls and their order, nothing of who observes.

Every call is synchronous and cheap: it stands between the visitor and the answer. A call that raises is logged and
counted by the proxy, and the exchange goes on as if it had returned nothing.

    request_started   the request's head is complete, nothing has gone upstream yet
    response_started  the final response's head is complete, nothing of it has gone downstream yet
    finished          all of the answer is known; its last bytes leave after this call returns

`finished` comes exactly once for every exchange that `request_started` was called for, however it ended.
"""

from __future__ import annotations

from asyncio import Future
from typing import Protocol

from proxy.exchange import Exchange, Field


class BodyCopy(Protocol):
    """Takes a copy of a body as it passes through."""

    def feed(self, chunk: bytes) -> bool:
        """The next bytes of the body. False: no more of it is wanted."""

    def complete(self, exchange: Exchange) -> Future[None] | None:
        """The body is whole. The proxy keeps its last bytes back until the future is done.

        At most `HOLD_SECS`: a slow disk may delay an exchange, not stop it. Not called for a body that was cut off.
        """


class Observer(Protocol):
    def request_started(self, exchange: Exchange) -> None:
        """May set `upstream_fields`, `request_copy`, `response_copy` and `notes` of the exchange."""

    def response_started(self, exchange: Exchange) -> list[Field] | None:
        """Fields to add to the response. Not called for refusals."""

    def finished(self, exchange: Exchange) -> None:
        """`status`, `ended_by` and the counts are final."""


class Unobserved:
    """The observer that wants to know nothing."""

    def request_started(self, exchange: Exchange) -> None:
        pass

    def response_started(self, exchange: Exchange) -> list[Field] | None:
        return None

    def finished(self, exchange: Exchange) -> None:
        pass


HOLD_SECS = 2.0
