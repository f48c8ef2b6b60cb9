"""What a connector is. Knows the call, its outcomes and the message; nothing of retries, and nothing of any system.

A connector is told to deliver one message and says what became of it. It may be told again, with the same
`delivery_id`, at any time: after a crash it cannot be known whether the attempt before had arrived.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True)
class Message:
    """One lead for one sink. `data` is plain JSON data, laid out as docs/lead.md says. Its repr shows no contact.

    `requeues`: how often an operator has ordered this delivery again. The same `delivery_id` with the same number is a
    repeat and must not arrive twice where that can be helped; with a higher number it is meant to arrive again.
    """

    delivery_id: str
    lead_id: str
    type: str
    occurred_at: str
    attempt: int
    data: dict[str, Any] = field(repr=False)
    requeues: int = 0


@dataclass(frozen=True)
class Delivered:
    """The remote has it. `remote_ref` is the remote's own name for it: a file name, a record number."""

    remote_ref: str | None = None


@dataclass(frozen=True)
class Later:
    """It may succeed another time: the remote is down, slow, full or busy. `after_secs` if the remote said when."""

    reason: str
    after_secs: float | None = None


@dataclass(frozen=True)
class Never:
    """The remote refuses this message for good. It becomes a dead letter; other leads are not held up by it."""

    reason: str


@dataclass(frozen=True)
class Parked:
    """The remote refuses us, whatever we send: wrong key, endpoint disabled. The sink waits; no attempt is counted."""

    reason: str


Outcome = Delivered | Later | Never | Parked


class Connector(Protocol):
    """One configured sink at work. Reasons must not hold secrets or contact data: they are logged and shown.

    `concurrency` is how many messages it takes at once.
    """

    concurrency: int

    async def open(self, owed: Collection[str]) -> None:
        """Called before the first delivery with the deliveries still owed; again, later, if it raised.

        What was kept to recognise a repeat of any other delivery may go.
        """

    async def deliver(self, message: Message) -> Outcome:
        """Raises for a bug of its own only; the dispatcher counts that as `Later`."""

    async def settled(self, delivery_id: str) -> None:
        """The outcome of this delivery is in the log: what was kept to recognise a repeat may go."""

    async def close(self) -> None:
        """Called once after the last delivery."""
