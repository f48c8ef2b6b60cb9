import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.model import (
    DROP_REASONS,
    Batch,
    Drop,
    Event,
    ExchangeRecord,
    FactRecord,
    FormAnswer,
    LossRecord,
    SpoolHeader,
    StopRecord,
    Submission,
    SubmitRecord,
    decode_line,
    encode_line,
)

AT = "2026-11-22 10:00:00.000000"
SUBMISSION = Submission("lead", "contact", "generic", contact="sealed", answer=FormAnswer(303, location="/thanks"))
LINES = [
    SpoolHeader("node", "w1", 7),
    ExchangeRecord(1, AT, "GET", "/", 200),
    ExchangeRecord(2, AT, "POST", "/contact", 303, submission=SUBMISSION),
    SubmitRecord(2, AT, "example.com", "/contact", SUBMISSION),
    LossRecord(AT, 3, 9, 7, "disk_full"),
    StopRecord(AT, 9),
    FactRecord("id", AT, "delivery.requeued", "cli", {"lead_id": "lead", "attempt": 1, "final": False, "note": None}),
]


@pytest.mark.parametrize("line", LINES, ids=lambda line: type(line).__name__)
def test_a_line_of_the_spool_is_read_as_it_was_written(line: msgspec.Struct):
    assert decode_line(encode_line(line)) == line


numbers = st.integers(0, 2**63 - 1)
submissions = st.builds(Submission, page=..., contact=..., field_names=..., withheld=numbers)


@given(
    st.builds(ExchangeRecord, seq=numbers, status=numbers, host=..., user_agent=..., submission=st.none() | submissions)
)
def test_any_exchange_is_one_line_and_comes_back(record: ExchangeRecord):
    line = encode_line(record)
    assert b"\n" not in line
    assert decode_line(line) == record


@pytest.mark.parametrize("line", LINES, ids=lambda line: type(line).__name__)
def test_what_a_newer_worker_adds_does_not_stop_an_older_collector(line: msgspec.Struct):
    newer = json.loads(encode_line(line)) | {"invented_later": [1, {"two": 3}]}
    assert decode_line(json.dumps(newer).encode()) == line


def test_what_an_older_worker_did_not_know_has_its_default():
    line = (
        b'{"t":"exchange","seq":1,"occurred_at":"2026-11-22 10:00:00.000000","method":"GET","target":"/","status":200}'
    )
    assert decode_line(line) == ExchangeRecord(1, AT, "GET", "/", 200)
    assert decode_line(line).identity == "absent"


def test_fields_at_their_default_cost_nothing_in_the_spool():
    assert json.loads(encode_line(LINES[1])).keys() == {"t", "seq", "occurred_at", "method", "target", "status"}


@pytest.mark.parametrize(
    "line",
    [b"", b"{}", b'{"t":"invented"}', b'{"t":"stop"}', b'{"t":"stop","occurred_at":"x","last_seq":"nine"}', b"[1]"],
)
def test_a_line_that_is_no_record_is_refused(line: bytes):
    with pytest.raises(msgspec.DecodeError):
        decode_line(line)


def test_a_batch_is_true_when_any_table_gets_a_row():
    assert not Batch()
    assert Batch(events=[Event("id", AT, "page_view", "proxy")])
    assert Batch(drops=[Drop(AT, "node", "w1", 7, "excluded")])


def test_every_reason_to_drop_is_explained():
    assert all(reason.isidentifier() and text for reason, text in DROP_REASONS.items())
