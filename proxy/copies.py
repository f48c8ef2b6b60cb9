"""Copies of bodies for the observer: fed as the body passes, and waited for before its end goes on.

A copy that raises is dropped and counted; the body passes all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from proxy.exchange import Exchange
from proxy.observer import HOLD_SECS, BodyCopy

if TYPE_CHECKING:
    from proxy.server import Proxy

Which = Literal["request_copy", "response_copy"]


def feed(proxy: Proxy, exchange: Exchange, which: Which, data: bytes) -> None:
    """Gives the next bytes to the copy, if there is one and it still wants them."""
    copy: BodyCopy | None = getattr(exchange, which)
    if copy is None:
        return
    try:
        if not copy.feed(data):
            setattr(exchange, which, None)
    except Exception:
        setattr(exchange, which, None)
        proxy.observer_failed("a copy of a body")


def when_safe(proxy: Proxy, exchange: Exchange, which: Which, then: Callable[[], None]) -> None:
    """Calls `then` when the copy is safe: at once without a copy, at the latest after HOLD_SECS."""
    copy: BodyCopy | None = getattr(exchange, which)
    safe = None
    if copy is not None:
        try:
            safe = copy.complete(exchange)
        except Exception:
            proxy.observer_failed("a copy of a body")
    if safe is None or safe.done():
        then()
        return
    called = False

    def once(_: object = None) -> None:
        nonlocal called
        if not called:
            called = True
            timer.cancel()
            then()

    timer = proxy.loop.call_later(HOLD_SECS, once)
    safe.add_done_callback(once)
