"""What is owed to sinks, as the dispatcher asks for it. Knows the questions; the log that answers them is elsewhere.

The dispatcher owns this interface. Whoever keeps the log implements `Outbox`.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any, Protocol

from tracker.model import DeliveryFact, PendingDelivery


def delivery_id(lead_id: str, sink: str, *, type: str = "lead.created", revision: int = 1) -> str:
    """The name of a delivery: the same for every attempt, after every restart, on every machine. 32 hex digits."""
    return sha256("\0".join((lead_id, sink, type, str(revision))).encode()).hexdigest()[:32]


class Outbox(Protocol):
    """What the log does for the dispatcher. All three may raise; the dispatcher logs it and asks again later."""

    async def pending(self) -> list[PendingDelivery]:
        """All that is owed, to all sinks. Sees whatever `record` has returned for."""

    async def message(self, pending: PendingDelivery) -> dict[str, Any] | None:
        """The lead document (docs/lead.md) with its contact readable. None: the lead is no more, send nothing."""

    async def record(self, facts: list[DeliveryFact]) -> None:
        """Writes the facts, all or none. When it returns they survive a crash."""
