import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.backlog import Backlog, seq_of
from tests.support.spools import AT, exchange, line
from tracker.model import LossRecord, StopRecord, Submission, SubmitRecord, encode_line


def lines_of(backlog: Backlog) -> list[bytes]:
    found = []
    while backlog:
        found.append(backlog.first)
        backlog.drop_first()
    return found


def losses_of(backlog: Backlog) -> list[LossRecord]:
    found = []
    while (loss := backlog.next_loss()) is not None:
        found.append(loss[1])
        backlog.told(loss[0])
    return found


def test_lines_come_out_as_they_went_in() -> None:
    backlog = Backlog(max_lines=10, max_bytes=100)
    assert all(backlog.keep(text, 1, durable=False, reason="disk_full") for text in (b"a", b"b", b"c"))
    assert lines_of(backlog) == [b"a", b"b", b"c"]
    assert losses_of(backlog) == []


def test_what_is_let_go_is_counted_by_reason() -> None:
    backlog = Backlog(max_lines=0, max_bytes=100)
    for seq, reason in [(1, "disk_full"), (5, "disk_full"), (3, "disk_full"), (7, "write_error")]:
        backlog.keep(line(seq), seq, durable=False, reason=reason)
    assert backlog.lost == 4
    assert losses_of(backlog) == [
        LossRecord(occurred_at=AT, first_seq=1, last_seq=5, count=3, reason="disk_full"),
        LossRecord(occurred_at=AT, first_seq=7, last_seq=7, count=1, reason="write_error"),
    ]
    assert losses_of(backlog) == []


def test_what_is_let_go_is_told_by_the_hour_in_which_it_happened() -> None:
    """Not by the one in which the disk was mended: the ledger adds up by the hour."""
    backlog = Backlog(max_lines=0, max_bytes=0)
    for seq, at in [(1, "2026-11-22 10:59:59.9"), (2, "2026-11-22 10:59:59.95"), (3, "2026-11-22 11:00:00.0")]:
        record = exchange(seq)
        record.occurred_at = at
        backlog.keep(encode_line(record), seq, durable=False, reason="disk_full")
    assert [(loss.occurred_at, loss.count) for loss in losses_of(backlog)] == [
        ("2026-11-22 10:59:59.9", 2),
        ("2026-11-22 11:00:00.0", 1),
    ]


@pytest.mark.parametrize("text", [b"", b"no JSON", b"[]", b"{}", b"\xff", b'{"occurred_at":1}'])
def test_a_line_that_does_not_say_when_it_happened_is_lost_now(text: bytes) -> None:
    backlog = Backlog(max_lines=0, max_bytes=0)
    backlog.keep(text, 5, durable=False, reason="disk_full")
    [loss] = losses_of(backlog)
    assert loss.occurred_at[:4] >= "2026"


@pytest.mark.parametrize(
    "text, seq",
    [
        (line(7), 7),
        (encode_line(SubmitRecord(7, AT, "h", "/", Submission("l", "f", "r"))), 0),
        (encode_line(StopRecord(AT, 7)), 0),
        (b"{", 0),
        (b'{"t":"exchange"}', 0),
    ],
)
def test_only_an_exchanges_own_record_has_its_number(text: bytes, seq: int) -> None:
    assert seq_of(text) == seq


def test_what_waits_to_the_end_is_lost_by_the_hour_too() -> None:
    backlog = Backlog(max_lines=10, max_bytes=10_000)
    for text in (line(1), encode_line(SubmitRecord(2, AT, "h", "/", Submission("l", "f", "r"))), line(2), line(3)):
        backlog.keep(text, 9, durable=False, reason="disk_full")
    backlog.let_go_all("disk_full")
    assert (len(backlog), backlog.lost) == (0, 4)
    assert losses_of(backlog) == [LossRecord(occurred_at=AT, first_seq=1, last_seq=3, count=3, reason="disk_full")]


def test_a_line_that_is_no_exchanges_only_record_leaves_no_gap() -> None:
    backlog = Backlog(max_lines=0, max_bytes=100)
    backlog.keep(b"x", 0, durable=False, reason="disk_full")
    assert backlog.lost == 1
    assert losses_of(backlog) == []


def test_forms_find_room_when_page_views_find_none() -> None:
    backlog = Backlog(max_lines=10, max_bytes=1000)
    kept = [backlog.keep(b"x", seq, durable=False, reason="disk_full") for seq in range(20)]
    assert kept.count(True) == 10
    assert backlog.keep(b"x", 20, durable=True, reason="disk_full")
    assert not backlog.keep(b"x", 21, durable=True, reason="disk_full")


def test_large_lines_are_bounded_by_their_bytes() -> None:
    backlog = Backlog(max_lines=1000, max_bytes=100)
    assert backlog.keep(b"x" * 60, 1, durable=False, reason="disk_full")
    assert not backlog.keep(b"x" * 60, 2, durable=False, reason="disk_full")
    backlog.drop_first()
    assert backlog.keep(b"x" * 60, 3, durable=False, reason="disk_full")


@given(
    st.lists(st.tuples(st.booleans(), st.booleans(), st.sampled_from(["disk_full", "write_error"])), max_size=80),
    st.integers(0, 10),
)
def test_every_number_is_kept_or_counted(steps: list[tuple[bool, bool, str]], room: int) -> None:
    backlog = Backlog(max_lines=room, max_bytes=1000)
    kept, out = [], []
    for seq, (takes, durable, reason) in enumerate(steps, 1):
        if takes and backlog:
            out.append(backlog.first)
            backlog.drop_first()
        if backlog.keep(b"%d" % seq, seq, durable=durable, reason=reason):
            kept.append(b"%d" % seq)
    assert out + lines_of(backlog) == kept
    losses = losses_of(backlog)
    assert sum(loss.count for loss in losses) == backlog.lost == len(steps) - len(kept)
    assert all(loss.last_seq - loss.first_seq + 1 >= loss.count for loss in losses)
