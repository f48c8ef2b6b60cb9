"""From the spool into the log: which files, through which pipeline, in one transaction, and then to the archive.

Knows the order that makes it exactly once: a file's rows and its name are committed together; only then it leaves the
spool. A file found again is one whose name is already in the log, and is only put away.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from storage import archive, quarantine, questions
from storage.erasure import ORDERED
from storage.layout import Layout
from storage.sealed import read, ready, sealed
from storage.store import Store
from tracker.pipeline import Pipeline

# What one transaction takes: enough to be cheap per row, little enough to be quick and bounded in memory.
MAX_FILES, MAX_BYTES = 64, 32 * 1024 * 1024


@dataclass(frozen=True)
class Taken:
    files: int = 0
    events: int = 0
    quarantined: int = 0
    deliveries: int = 0
    waiting_files: int = 0
    oldest_secs: float = 0.0
    # An erasure that is not to wait for the night.
    is_urgent: bool = False


class Intake:
    def __init__(
        self, layout: Layout, store: Store, new_pipeline: Callable[[], Pipeline], *, seal_secs: float = 1.0
    ) -> None:
        self._seal_secs = seal_secs
        self._layout = layout
        self._store = store
        self._new_pipeline = new_pipeline
        self._pipeline: Pipeline | None = None

    def take(self, *, everything: bool = False) -> Taken:
        """Takes in the oldest files whose turn it is; `everything`: no worker runs any more, so it is everybody's.

        Raises what the log or the disk raises; nothing is lost by that.
        """
        waiting = sealed(self._layout.spool)
        if not waiting:
            return Taken()
        turn = waiting if everything else ready(self._layout.spool, seal_secs=self._seal_secs, now=time.time())
        chosen = _first_of(turn)
        if not chosen:
            return Taken(waiting_files=len(waiting), oldest_secs=_age_secs(waiting[0]))
        known = self._store.ingested([path.name for path in chosen])
        fresh = [path for path in chosen if path.name not in known]
        events = quarantined = deliveries = 0
        is_urgent = False
        if fresh:
            if self._pipeline is None:
                self._pipeline = self._new_pipeline()
                self._pipeline.restore(questions.open_visits(self._store.connection, self._pipeline.restore_since()))
            files = []
            for path in fresh:
                header, records, broken = read(path)
                if broken:
                    quarantine.put(self._layout, path.name, broken)
                    quarantined += len(broken)
                files.append((header, path.name, records, len(broken)))
            try:
                batch = self._pipeline.run(files)
                for name, line, reason in self._pipeline.rejected:
                    quarantine.put(self._layout, name, [(line, reason)])
                quarantined += len(self._pipeline.rejected)
                self._store.write(batch)
            except Exception:
                # The pipeline's visits have moved on, the log has not: the next try begins from the log.
                self._pipeline = None
                raise
            events, deliveries = len(batch.events), len(batch.delivery_facts)
            is_urgent = any(event.name == ORDERED and "now" in (event.properties or {}) for event in batch.events)
        for path in chosen:
            archive.put(self._layout, path)
        return Taken(
            files=len(chosen),
            events=events,
            quarantined=quarantined,
            deliveries=deliveries,
            waiting_files=len(waiting) - len(chosen),
            oldest_secs=_age_secs(waiting[0]),
            is_urgent=is_urgent,
        )


def _first_of(paths: list[Path]) -> list[Path]:
    chosen, size = [], 0
    for path in paths[:MAX_FILES]:
        size += path.stat().st_size
        if chosen and size > MAX_BYTES:
            break
        chosen.append(path)
    return chosen


def _age_secs(path: Path) -> float:
    try:
        return max(0.0, time.time() - path.stat().st_mtime)
    except FileNotFoundError:
        return 0.0
