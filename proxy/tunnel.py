"""Two connections joined byte by byte after an upgrade. Parses nothing; keeps backpressure and both ends' EOF."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class End(Protocol):
    """What a tunnel needs of a connection: both sides of the proxy have it."""

    transport: object

    def hold_back(self, yes: bool) -> None: ...


class Tunnel:
    def __init__(self, one: End, other: End, *, passed: Callable[[], None]) -> None:
        """`passed` is called whenever bytes go through, either way."""
        self._peer = {one: other, other: one}
        self._ended: set[End] = set()
        self._passed = passed

    def pass_on(self, end: End, data: bytes) -> None:
        """`end` has received `data`: the other one sends it."""
        self._passed()
        self._peer[end].transport.write(data)

    def hold_back(self, end: End) -> None:
        """`end` cannot take more for now: the other one stops reading."""
        self._peer[end].hold_back(True)

    def let_go(self, end: End) -> None:
        self._peer[end].hold_back(False)

    def ended(self, end: End) -> bool:
        """`end` will send no more. True: keep it open, the other direction still runs."""
        peer = self._peer[end]
        self._ended.add(end)
        if peer in self._ended or not peer.transport.can_write_eof():
            peer.transport.close()
            return False
        peer.transport.write_eof()
        return True

    def lost(self, end: End) -> None:
        """`end` is gone. What was already received of it still reaches the other one, then that closes too."""
        self._peer[end].transport.close()
