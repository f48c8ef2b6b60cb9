"""What is owed to one sink, and which of it goes next. Knows times and order; nothing of attempts and outcomes.

A delivery is in one of three places: waiting for its moment, ready, or taken out. Ready ones go by how often the sink
refused to talk about them, then by how often they were tried, then oldest first: what keeps failing lets the others
pass. Two deliveries of the same lead go one after the other, in the order they were owed.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable
from itertools import count

from export.outbox import PendingDelivery
from tracker.clock import parse


class Agenda:
    def __init__(self) -> None:
        self._owed: dict[str, PendingDelivery] = {}
        self._taken: set[str] = set()
        self._refusals: dict[str, int] = {}
        self._by_lead: defaultdict[str, list[str]] = defaultdict(list)
        # lead -> the one of its deliveries that may go
        self._first: dict[str, str] = {}
        # Heaps of (..., number, pending). An entry is void if `_owed` has another object under that id by now, or if
        # another delivery of that lead goes first.
        self._waiting: list[tuple[float, int, PendingDelivery]] = []
        self._ready: list[tuple[int, int, str, int, PendingDelivery]] = []
        self._numbers = count()

    def __len__(self) -> int:
        """All that is owed, taken out or not."""
        return len(self._owed)

    def __contains__(self, delivery_id: str) -> bool:
        return delivery_id in self._owed

    def delivery_ids(self) -> list[str]:
        return list(self._owed)

    def replace(self, owed: Iterable[PendingDelivery]) -> None:
        """The log says: this is what is owed, and nothing else. What is taken out stays as it is.

        Costs little for what did not change: it is called for each batch of new leads, whatever has piled up.
        """
        new = {pending.delivery_id: pending for pending in owed}
        changed: dict[str, None] = {}  # a set that keeps the order
        for delivery_id in self._owed.keys() - new.keys() - self._taken:
            changed[self._remove(delivery_id)] = None
        for delivery_id, pending in new.items():
            old = self._owed.get(delivery_id)
            if old == pending or delivery_id in self._taken:
                continue
            if old is None:
                self._by_lead[pending.lead_id].append(delivery_id)
            self._owed[delivery_id] = pending
            changed[pending.lead_id] = None
        for lead_id in changed:
            self._schedule_first(lead_id)

    def take(self, now: float) -> PendingDelivery | None:
        """The next one whose time has come; it stays owed. None: not now."""
        self._ripen(now)
        while self._ready:
            pending = heapq.heappop(self._ready)[-1]
            if self._is_free(pending):
                self._taken.add(pending.delivery_id)
                return pending
        return None

    def put_back(self, pending: PendingDelivery) -> None:
        """It was taken out and is still owed, as `pending` now says."""
        self._taken.discard(pending.delivery_id)
        self._owed[pending.delivery_id] = pending
        self._schedule_first(pending.lead_id)

    def refused(self, delivery_id: str) -> None:
        """The sink refused to deal with us when this one was tried: others go first the next time."""
        self._refusals[delivery_id] = self._refusals.get(delivery_id, 0) + 1

    def drop(self, delivery_id: str) -> None:
        """It was taken out and is owed no more."""
        self._taken.discard(delivery_id)
        self._schedule_first(self._remove(delivery_id))

    def next_at(self, now: float) -> float | None:
        """When `take` has something: `now` if it has already, None if never as things stand. Unix seconds."""
        self._ripen(now)
        while self._ready and not self._is_free(self._ready[0][-1]):
            heapq.heappop(self._ready)
        if self._ready:
            return now
        while self._waiting and not self._is_free(self._waiting[0][-1]):
            heapq.heappop(self._waiting)
        return self._waiting[0][0] if self._waiting else None

    def _remove(self, delivery_id: str) -> str:
        """Takes it off the list; returns its lead."""
        lead_id = self._owed.pop(delivery_id).lead_id
        self._refusals.pop(delivery_id, None)
        self._by_lead[lead_id].remove(delivery_id)
        return lead_id

    def _schedule_first(self, lead_id: str) -> None:
        """Of this lead's deliveries, the one owed first may go, if none is out."""
        delivery_ids = self._by_lead[lead_id]
        if not delivery_ids:
            del self._by_lead[lead_id]
            self._first.pop(lead_id, None)
            return
        if not self._taken.isdisjoint(delivery_ids):
            return
        first = min(delivery_ids, key=lambda delivery_id: (self._owed[delivery_id].owed_at, delivery_id))
        self._first[lead_id] = first
        pending = self._owed[first]
        due = parse(pending.next_attempt_at).timestamp() if pending.next_attempt_at else 0.0
        heapq.heappush(self._waiting, (due, next(self._numbers), pending))

    def _ripen(self, now: float) -> None:
        while self._waiting and self._waiting[0][0] <= now:
            _, number, pending = heapq.heappop(self._waiting)
            refusals = self._refusals.get(pending.delivery_id, 0)
            heapq.heappush(self._ready, (refusals, pending.attempts, pending.owed_at, number, pending))

    def _is_free(self, pending: PendingDelivery) -> bool:
        delivery_id = pending.delivery_id
        return (
            self._owed.get(delivery_id) is pending
            and self._first[pending.lead_id] == delivery_id
            and delivery_id not in self._taken
        )
