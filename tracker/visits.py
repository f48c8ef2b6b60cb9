"""Which visit an event belongs to, and whether an arrival begins one or is a new touchpoint inside it.

Knows each visitor's running visit, in memory. Knows nothing of records, URLs or channels: an arrival is told by its
campaign's key and its referrer's name.

A visit ends after `inactivity_secs` without any event. Midnight does not end it, and neither does a new campaign
(GA4 and Matomo differ here; Universal Analytics split visits at both).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from enum import Enum

from tracker.clock import derived_id

# How much later than others a record may come and still find its visit: exchanges are written when they end.
LATE_US = 15 * 60 * 1_000_000
# Visitors who refuse cookies make a new visit with every page. Beyond this many the oldest are forgotten early, which
# costs at most a visit cut in two.
MAX_OPEN = 500_000


class Arrival(Enum):
    INSIDE = "inside"
    TOUCHPOINT = "touchpoint"
    ENTRANCE = "entrance"


@dataclass(slots=True)
class Visit:
    """One visit so far. `campaign` and `referrer` are those of its latest touchpoint; `earlier` is the one before."""

    visit_id: str
    started_us: int
    last_us: int
    entered: bool = False
    campaign: Hashable = None
    referrer: str | None = None
    earlier: Visit | None = None

    def arrive(self, campaign: Hashable, referrer: str | None, *, may_touch: bool = True) -> Arrival:
        """Somebody came to a page. None for `campaign`: the URL names none; for `referrer`: none that counts.

        The first arrival is the entrance. A later one is a touchpoint if its campaign, or else its referrer, is
        another than that of the touchpoint before: so a reload is none, nor the page a redirect led to.
        """
        if not self.entered:
            self.entered = True
            self.campaign, self.referrer = campaign, referrer
            return Arrival.ENTRANCE
        if not may_touch:
            return Arrival.INSIDE
        if campaign is not None:
            if campaign == self.campaign:
                return Arrival.INSIDE
        elif referrer is None or referrer == self.referrer:
            return Arrival.INSIDE
        self.campaign, self.referrer = campaign, referrer
        return Arrival.TOUCHPOINT


class Visits:
    """The running visits of all visitors."""

    def __init__(self, *, inactivity_secs: int) -> None:
        self._inactivity_us = inactivity_secs * 1_000_000
        self._open: dict[str, Visit] = {}
        self._forgotten_us = 0

    def __len__(self) -> int:
        return len(self._open)

    def restore(self, visits: Iterable[tuple[str, Visit]]) -> None:
        """Visits as the log knows them, by visitor; of several the latest counts."""
        for visitor_id, visit in sorted(visits, key=lambda pair: pair[1].last_us):
            visit.earlier = self._open.pop(visitor_id, None)
            if visit.earlier is not None:
                visit.earlier.earlier = None
            self._open[visitor_id] = visit

    def at(self, visitor_id: str, unix_us: int) -> Visit:
        """The visit an event of this visitor at this moment belongs to; it is begun or prolonged by it."""
        visit = self._open.get(visitor_id)
        if visit is None:
            return self._begin(visitor_id, unix_us, None)
        if unix_us >= visit.started_us:
            if unix_us - visit.last_us > self._inactivity_us:
                return self._begin(visitor_id, unix_us, visit)
            if unix_us > visit.last_us:
                visit.last_us = unix_us
            return visit
        return self._before(visit, visitor_id, unix_us)

    def known(self, visitor_id: str, unix_us: int) -> Visit | None:
        """The visit of this visitor at this moment if there is one; nothing is begun or prolonged."""
        visit = self._open.get(visitor_id)
        if visit is not None and visit.started_us <= unix_us <= visit.last_us + self._inactivity_us:
            return visit
        return None

    def forget(self, newest_us: int) -> None:
        """Lets go the visits that nothing can be added to any more, given the newest moment seen."""
        if len(self._open) > MAX_OPEN:
            for visitor_id in list(self._open)[: len(self._open) - MAX_OPEN]:
                del self._open[visitor_id]
        # A walk over all of them is worth it only now and then.
        if newest_us - self._forgotten_us < self._inactivity_us // 4:
            return
        self._forgotten_us = newest_us
        end = newest_us - self._inactivity_us - LATE_US
        self._open = {visitor_id: visit for visitor_id, visit in self._open.items() if visit.last_us >= end}

    def _begin(self, visitor_id: str, unix_us: int, earlier: Visit | None) -> Visit:
        if earlier is not None:
            earlier.earlier = None
            del self._open[visitor_id]  # to its new place at the end: the oldest stand first
        visit = Visit(_id(visitor_id, unix_us), unix_us, unix_us, earlier=earlier)
        self._open[visitor_id] = visit
        return visit

    def _before(self, visit: Visit, visitor_id: str, unix_us: int) -> Visit:
        """An event from before the running visit: a long exchange, written when it ended."""
        earlier = visit.earlier
        if earlier is not None and earlier.started_us <= unix_us <= earlier.last_us + self._inactivity_us:
            earlier.last_us = max(earlier.last_us, unix_us)
            return earlier
        if visit.started_us - unix_us <= self._inactivity_us:
            visit.started_us = unix_us
            return visit
        if earlier is None:
            earlier = visit.earlier = Visit(_id(visitor_id, unix_us), unix_us, unix_us)
            return earlier
        if 0 <= earlier.started_us - unix_us <= self._inactivity_us:
            earlier.started_us = unix_us
            return earlier
        return Visit(_id(visitor_id, unix_us), unix_us, unix_us)


def _id(visitor_id: str, unix_us: int) -> str:
    return derived_id(unix_us, "visit", visitor_id)
