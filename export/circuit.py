"""Whether a sink may be bothered now. Pure: a circuit is a value, and each outcome makes the next one.

    closed  deliveries go out
    open    attempt after attempt failed: the sink is down. One delivery at a time finds out whether it is back
    parked  the sink refused us, whatever we send: wrong key, endpoint disabled. The same, with a longer pause

A single lead that always fails does not open it: one message the remote chokes on must not hold up the others.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from export.connector import Delivered, Later, Never, Outcome, Parked
from export.settings import CircuitSettings

# RFC 9110 10.2.3: Retry-After speaks of the service, not of one message. But no remote may silence us for days.
MAX_HOLD_SECS = 3600.0
# A sink that delivered a moment ago and now refuses may have meant that one message (a web application firewall
# answers 403 to odd text), so another message goes soon to find out.
FIRST_PROBE_SECS = 10.0


@dataclass(frozen=True)
class Circuit:
    """`until`: nothing goes out before this moment (Unix seconds). `failures` in a row, by the deliveries `failing`."""

    state: Literal["closed", "open", "parked"] = "closed"
    until: float = 0.0
    failures: int = 0
    failing: frozenset[str] = frozenset()
    working: bool = False

    def places(self, *, now: float, running: int, concurrency: int) -> int:
        """How many more attempts may start now."""
        if now < self.until:
            return 0
        if self.state == "closed":
            return max(concurrency - running, 0)
        return 1 if running == 0 else 0

    def after(self, outcome: Outcome, *, delivery_id: str, now: float, settings: CircuitSettings) -> Circuit:
        """The circuit after this outcome of an attempt for that delivery."""
        if isinstance(outcome, Delivered | Never):
            # Never is an answer too: the remote is there and knows us. A pause it asked for still holds.
            until = self.until if self.state == "closed" else 0.0
            return Circuit(working=self.working or isinstance(outcome, Delivered), until=until)
        if isinstance(outcome, Parked):
            pause = FIRST_PROBE_SECS if self.working and self.state == "closed" else settings.parked_secs
            return Circuit(state="parked", until=now + min(pause, settings.parked_secs))
        return self._after_later(outcome, delivery_id=delivery_id, now=now, settings=settings)

    def _after_later(self, outcome: Later, *, delivery_id: str, now: float, settings: CircuitSettings) -> Circuit:
        until = self.until
        if outcome.after_secs is not None:
            until = max(until, now + min(outcome.after_secs, MAX_HOLD_SECS))
        # Two names are enough to know that it is not one lead alone.
        failing = self.failing if len(self.failing) > 1 else self.failing | {delivery_id}
        after = replace(self, until=until, failures=self.failures + 1, failing=failing)
        if self.state != "closed" or (after.failures >= settings.failures and len(failing) > 1):
            return replace(after, state="open", until=max(until, now + settings.open_secs), working=False)
        return after
