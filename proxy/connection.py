"""What both sides of the proxy have in common: a connection that stops reading when the other side is slower.

Knows nothing of HTTP.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxy.tunnel import Tunnel


class Connection(asyncio.Protocol):
    """A protocol with backpressure. Once it has a `tunnel`, its bytes and its end belong to that."""

    # In the class, not in each connection: ten thousand idle ones should cost little.
    transport: asyncio.Transport | None = None
    tunnel: Tunnel | None = None
    write_paused = False
    _held_back = False
    _reading = True

    def hold_back(self, yes: bool) -> None:
        """Stops or resumes reading, because the other side is slower."""
        if self._held_back is not yes:
            self._held_back = yes
            self._apply_reading()

    def _may_read(self) -> bool:
        return not self._held_back

    def _apply_reading(self) -> None:
        may = self._may_read()
        if may is self._reading or self.transport is None or self.transport.is_closing():
            return
        self._reading = may
        if may:
            self.transport.resume_reading()
        else:
            self.transport.pause_reading()
