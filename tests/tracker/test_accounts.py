"""Rows of the ledger."""

from __future__ import annotations

import pytest

from tests.tracker.records import EPOCH, HEADER, at, exchange, submission
from tracker import accounts
from tracker.model import Drop, FactRecord, LossRecord, SpoolFile, SpoolHeader, StopRecord, SubmitRecord


def test_a_file_tells_how_much_was_in_it_and_its_highest_number():
    row = accounts.spool_file("a.ndjson", HEADER, [exchange(7), exchange(3)], 2, at(9))
    assert row == SpoolFile(
        "a.ndjson", at(9), node="n1", worker="w1", epoch=EPOCH, records=2, quarantined=2, stopped=False, last_seq=7
    )


@pytest.mark.parametrize(
    "record, last_seq, stopped",
    [
        (StopRecord(at(0), 12), 12, True),
        (StopRecord(at(0), 0), 0, True),
        (LossRecord(at(0), 4, 9, 6, "disk_full"), 9, False),
        (SubmitRecord(5, at(0), "h", "/x", submission()), 5, False),
        (FactRecord("f", at(0), "lead.confirmed", "operator"), None, False),
    ],
)
def test_every_kind_of_record_tells_its_number(record: object, last_seq: int | None, stopped: bool):
    row = accounts.spool_file("a.ndjson", HEADER, [record], 0, at(9))
    assert (row.last_seq, row.stopped) == (last_seq, stopped)


@pytest.mark.parametrize(
    "name, worker, epoch",
    [
        ("w1-01795341600000000000-000003.ndjson", "w1", 1_795_341_600_000_000_000),
        ("my-worker-7-00000000000000000005-000000.ndjson", "my-worker-7", 5),
        ("strange.ndjson", "strange.ndjson", 0),
        ("a-b-c.ndjson", "a", 0),
        ("", "", 0),
    ],
)
def test_a_file_without_its_header_tells_its_writer_by_its_name(name: str, worker: str, epoch: int):
    assert accounts.writer_of(name) == SpoolHeader("", worker, epoch)


def test_a_drop_names_its_writer_as_far_as_it_is_known():
    assert accounts.drop(HEADER, at(0), "excluded", first_seq=3, last_seq=3) == Drop(
        at(0), "n1", "w1", EPOCH, "excluded", 1, 3, 3
    )
    assert accounts.drop(SpoolHeader("", "", 0), at(0), "quarantined", 4, first_seq=None, last_seq=None) == Drop(
        at(0), None, None, None, "quarantined", 4
    )


@pytest.mark.parametrize(
    "records, moment",
    [
        ([], at(9)),
        ([exchange(1, 3), exchange(2, 5)], at(3)),
        ([StopRecord("soon", 1), LossRecord(at(4), 1, 2, 2, "disk_full")], at(4)),
    ],
)
def test_a_line_that_cannot_be_read_was_written_when_its_neighbours_were(records: list, moment: str):
    assert accounts.moment_of(records, at(9)) == moment
