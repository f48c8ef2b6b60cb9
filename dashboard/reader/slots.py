"""How many ask at once: a few are answered, some wait their turn in the order they came, the rest is sent away."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class TooManyError(Exception):
    """All places are taken, those for waiting too, or no turn came in time."""


class Slots:
    def __init__(self, most: int, *, waiting: int) -> None:
        self._most, self._most_waiting = most, waiting
        self.running = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @asynccontextmanager
    async def turn(self, *, patience_secs: float) -> AsyncIterator[None]:
        """A turn, at once or after waiting this long at most. Raises TooManyError."""
        if self.running < self._most and not self._waiting:
            self.running += 1
        else:
            await self._wait(patience_secs)
        try:
            yield
        finally:
            self._leave()

    async def _wait(self, patience_secs: float) -> None:
        if len(self._waiting) >= self._most_waiting:
            raise TooManyError
        mine = asyncio.get_running_loop().create_future()
        self._waiting.append(mine)
        try:
            async with asyncio.timeout(patience_secs):
                await mine
        except BaseException as error:
            if mine.done() and not mine.cancelled():
                self._leave()  # called in the moment of giving up
            else:
                self._waiting.remove(mine)
            if isinstance(error, TimeoutError):
                raise TooManyError from None
            raise

    def _leave(self) -> None:
        self.running -= 1
        self._call_next()

    def _call_next(self) -> None:
        while self._waiting and self.running < self._most:
            # Who was cancelled takes itself off the list in a moment; until then it counts for nobody.
            one = next((one for one in self._waiting if not one.done()), None)
            if one is None:
                return
            self._waiting.remove(one)
            self.running += 1
            one.set_result(None)
