from hypothesis import given
from hypothesis import strategies as st

from storage.backlog import Backlog
from tracker.model import LossRecord


def lines_of(backlog: Backlog) -> list[bytes]:
    found = []
    while backlog:
        found.append(backlog.first)
        backlog.drop_first()
    return found


def losses_of(backlog: Backlog) -> list[LossRecord]:
    found = []
    while (loss := backlog.next_loss("now")) is not None:
        found.append(loss[1])
        backlog.told(loss[0])
    return found


def test_lines_come_out_as_they_went_in() -> None:
    backlog = Backlog(max_lines=10, max_bytes=100)
    assert all(backlog.keep(text, 1, durable=False, reason="disk_full") for text in (b"a", b"b", b"c"))
    assert lines_of(backlog) == [b"a", b"b", b"c"]
    assert losses_of(backlog) == []


def test_what_is_let_go_is_counted_by_reason() -> None:
    backlog = Backlog(max_lines=1, max_bytes=100)
    for seq, reason in [(1, "disk_full"), (5, "disk_full"), (3, "disk_full"), (7, "write_error")]:
        backlog.keep(b"x", seq, durable=False, reason=reason)
    assert backlog.lost == 3
    assert losses_of(backlog) == [
        LossRecord(occurred_at="now", first_seq=3, last_seq=5, count=2, reason="disk_full"),
        LossRecord(occurred_at="now", first_seq=7, last_seq=7, count=1, reason="write_error"),
    ]
    assert losses_of(backlog) == []


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
