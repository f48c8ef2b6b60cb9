"""The tables of the log: their names, what a row of each is, and which column says when.

Knows the list, and how columns follow from the structs in `tracker.model`. Knows nothing of files and connections.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from tracker.model import Batch, DeliveryFact, Drop, Event, LeadFact, SpoolFile


@dataclass(frozen=True)
class Table:
    """`name` is also the name of its list in a `Batch`; `time` the column by which its rows are filed."""

    name: str
    row: type[msgspec.Struct]
    time: str = "occurred_at"

    @property
    def fields(self) -> tuple[msgspec.structs.FieldInfo, ...]:
        return msgspec.structs.fields(self.row)

    def rows(self, batch: Batch) -> list[Any]:
        return getattr(batch, self.name)

    def plain_row(self, moment: str) -> Any:
        """A row that says nothing but when: what every table of this kind takes."""
        values = {field.name: "" if field.type is str else None for field in self.fields if field.required}
        return self.row(**values | {self.time: moment})


EVENTS = Table("events", Event)
LEAD_FACTS = Table("lead_facts", LeadFact)
DELIVERY_FACTS = Table("delivery_facts", DeliveryFact)
DROPS = Table("drops", Drop)
SPOOL_FILES = Table("spool_files", SpoolFile, time="ingested_at")

TABLES = (EVENTS, LEAD_FACTS, DELIVERY_FACTS, DROPS, SPOOL_FILES)
