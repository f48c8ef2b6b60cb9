"""The ledger's rows: which file went in, and what was dropped. Knows writers and their numbers, nothing of
what was asked.

received = logged + dropped can only be told if each drop names its writer and, where there is one, its number.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from tracker import clock
from tracker.model import Drop, LossRecord, Record, SpoolFile, SpoolHeader, StopRecord


def writer_of(name: str) -> SpoolHeader:
    """The writer of a file whose header cannot be read, by its name: `<worker>-<epoch>-<n>.ndjson`."""
    worker, _, rest = name.removesuffix(".ndjson").rpartition("-")[0].rpartition("-")
    return SpoolHeader("", worker or name, int(rest) if rest.isascii() and rest.isdigit() else 0)


def spool_file(name: str, writer: SpoolHeader, records: Sequence[Record], broken: int, now: str) -> SpoolFile:
    """The row of a file: how much was in it, and the highest number it tells of."""
    last_seq, stopped = None, False
    for record in records:
        seq = record.last_seq if isinstance(record, (LossRecord, StopRecord)) else getattr(record, "seq", None)
        if seq is not None and (last_seq is None or seq > last_seq):
            last_seq = seq
        stopped = stopped or isinstance(record, StopRecord)
    return SpoolFile(
        name,
        now,
        node=writer.node or None,
        worker=writer.worker or None,
        epoch=writer.epoch or None,
        records=len(records),
        quarantined=broken,
        stopped=stopped,
        last_seq=last_seq,
    )


def moment_of(records: Sequence[Record], otherwise: str) -> str:
    """When the lines of a file that could not be read were written, by those around them: the ledger adds up by hour."""
    for record in records:
        with suppress(ValueError):
            clock.micros_of(record.occurred_at)
            return record.occurred_at
    return otherwise


def drop(
    writer: SpoolHeader, occurred_at: str, reason: str, count: int = 1, *, first_seq: int | None, last_seq: int | None
) -> Drop:
    """A row for what is not in `events`; the numbers are None where they cannot be told."""
    return Drop(
        occurred_at,
        writer.node or None,
        writer.worker or None,
        writer.epoch or None,
        reason,
        count,
        first_seq=first_seq,
        last_seq=last_seq,
    )
