"""What both sides of the proxy have in common: a connection that stops reading when the other side is slower.

Reading can be held back for two reasons at once, the other side's slowness and a full stream of aiohttp's parser, and
goes on when neither is left. Knows nothing of HTTP.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxy.tunnel import Tunnel


class Connection(asyncio.Protocol):
    """A protocol with backpressure. Once it has a `tunnel`, its bytes and its end belong to that."""

    __slots__ = ("_held_back", "_reading_paused", "transport", "tunnel", "write_paused")

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.tunnel: Tunnel | None = None
        self.write_paused = False
        self._held_back = False
        self._reading_paused = False

    def hold_back(self, yes: bool) -> None:
        """Stops or resumes reading, because the other side is slower."""
        if self._held_back is not yes:
            self._held_back = yes
            self._apply_reading()

    # A StreamReader of aiohttp's parser calls these two when it is full, and when it has room again.

    def pause_reading(self) -> None:
        self._reading_paused = True
        self._apply_reading()

    def resume_reading(self, resume_parser: bool = True) -> None:
        if self._reading_paused:
            self._reading_paused = False
            self._apply_reading()

    def _may_read(self) -> bool:
        return not (self._reading_paused or self._held_back)

    def _apply_reading(self) -> None:
        if self.transport is None or self.transport.is_closing():
            return
        if self._may_read():
            self.transport.resume_reading()
        else:
            self.transport.pause_reading()
