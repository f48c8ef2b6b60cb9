"""What becomes of the rows, lines and files of a person who is erased; those of others stay as they are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage import archive, erasure, quarantine
from storage.erasure import Subject, hash_of, redact
from storage.layout import Layout
from storage.sealed import read
from tests.tracker.records import HEADER, exchange, submission, submitted
from tracker.model import DeliveryRecord, FactRecord, SubmitRecord, decode_line, encode_line

WHO = Subject(visitors=frozenset({"v-needle"}), leads=frozenset({"lead-needle"}), orders=frozenset({"order-1"}))
THEIRS = {
    "visitor_id": "v-needle",
    "client_ip": "203.0.113.9",
    "user_agent": "Needle/1",
    "referrer": "https://n.example/",
}


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path / "data", hot_path=tmp_path / "data" / "hot.duckdb")
    layout.create()
    return layout


def redacted(record):
    return decode_line(redact(encode_line(record), WHO))


def test_an_exchange_keeps_its_number_its_page_and_its_times() -> None:
    before = exchange(7, 3, "/page?gclid=abc", **THEIRS, language="de", location="/next?email=x", duration_us=5)
    after = redacted(before)
    assert (after.seq, after.occurred_at, after.target, after.duration_us) == (7, before.occurred_at, "/page", 5)
    told = (after.visitor_id, after.client_ip, after.user_agent, after.referrer, after.language, after.location)
    assert told == (None,) * 6


def test_a_form_keeps_its_name_and_loses_its_contact() -> None:
    after = redacted(submitted(3, 0, "lead-needle", visitor_id=None))
    assert (after.submission.form, after.submission.contact, after.submission.lead_id) == ("contact", "", "lead-needle")
    sent = SubmitRecord(3, "2026-11-22 10:00:00.000000", None, "/contact?x", submission("lead-needle"), **THEIRS)
    assert (redacted(sent).visitor_id, redacted(sent).submission.contact) == (None, "")


def test_another_persons_form_of_the_same_browser_keeps_its_contact() -> None:
    after = redacted(submitted(3, 0, "lead-other", **THEIRS))
    assert (after.visitor_id, after.submission.contact) == (None, "sealed-contact")


def test_facts_and_deliveries_lose_what_was_said() -> None:
    fact = FactRecord(
        "f", "2026-11-22 10:00:00.000000", "call.received", "phone", {"visitor_id": "v-needle", "note": "E."}
    )
    assert redacted(fact).properties == {}
    order = FactRecord("f", "2026-11-22 10:00:00.000000", erasure.ORDERED, "operator", {"order": "order-1", "visitor": "v-needle", "subject": "h"})  # fmt: skip
    assert redacted(order).properties == {"order": "order-1", "subject": "h"}
    sent = DeliveryRecord(
        "d", "lead-needle", "erp", "2026-11-22 10:00:00.000000", "failed", reason="no Erika", remote_ref="r"
    )
    assert (redacted(sent).reason, redacted(sent).remote_ref, redacted(sent).fact) == ("", None, "failed")


def test_a_line_that_cannot_be_read_stays_a_line_that_cannot_be_read() -> None:
    text = redact(b'{"t":"exchange","seq":"no","visitor_id":"v-needle"}\n\xff v-needle\n', WHO)
    assert text == b"{}\n{}\n"
    with pytest.raises(ValueError):
        decode_line(b"{}")


def test_an_id_that_stands_in_a_path_takes_the_line_with_it() -> None:
    assert redact(encode_line(exchange(1, 0, "/of/v-needle", visitor_id="other")), WHO) == b"{}"


@given(st.lists(st.sampled_from(["v1", "v2", "v-needle"]), max_size=30))
def test_lines_of_others_are_the_same_bytes(visitors: list[str]) -> None:
    lines = [encode_line(exchange(number, number, visitor_id=one)) for number, one in enumerate(visitors, 1)]
    after = redact(b"\n".join(lines), WHO).split(b"\n") if lines else []
    assert len(after) == len(lines)
    for one, line, now in zip(visitors, lines, after, strict=True):
        assert (now == line) is (one != "v-needle")
        assert b"v-needle" not in now


def test_the_archive_is_rewritten_packed_and_loose_and_can_still_be_restored(layout: Layout) -> None:
    for number, visitor in enumerate(("v-needle", "v1", "v-needle", "v1"), 1):
        path = layout.archive / f"w1-{HEADER.epoch:020d}-{number:06d}.ndjson"
        path.write_bytes(encode_line(HEADER) + b"\n" + encode_line(exchange(number, visitor_id=visitor)) + b"\n")
        if number == 2:
            archive.prune(layout, hours=1000, now=datetime.now(UTC) + timedelta(hours=1))
    before = {path.name: path.stat().st_mtime_ns for path in layout.archive.iterdir()}
    assert erasure.redact_archive(layout, WHO) == 2
    assert erasure.redact_archive(layout, WHO) == 0
    loose = {path.name: path.stat().st_mtime_ns for path in layout.archive.glob("*.ndjson")}
    assert before.keys() == {path.name for path in layout.archive.iterdir()} and loose.items() <= before.items()
    restored = archive.restore(layout)
    assert len(restored) == 4
    seen = [(record.seq, record.visitor_id) for path in restored for record in read(path)[1]]
    assert seen == [(1, None), (2, "v1"), (3, None), (4, "v1")]


def test_a_bundle_that_cannot_be_read_is_of_no_use_and_goes(layout: Layout) -> None:
    (layout.archive / f"20261122T000000000000{archive.BUNDLE}").write_bytes(b"torn")
    erasure.redact_archive(layout, WHO)
    assert list(layout.archive.iterdir()) == []


def test_the_quarantine_loses_lines_with_an_id_or_a_contact(layout: Layout) -> None:
    quarantine.put(layout, "a", [(b"v-needle", "r"), (b"other", "r"), ('{"name":"Jürgen "Q""}'.encode(), "r")])
    who = Subject(visitors=WHO.visitors, values=frozenset({"Jürgen", "ot"}))
    assert erasure.redact_quarantine(layout, who) == 1
    [path] = layout.quarantine.iterdir()
    # Two letters would be found everywhere.
    assert [b"other" in line for line in path.read_bytes().splitlines()] == [True]
    assert erasure.redact_quarantine(layout, who) == 0


def test_a_hash_tells_who_only_to_whoever_has_the_key_and_asks_for_them() -> None:
    assert hash_of(b"k", "Erika@Example.org ") == hash_of(b"k", "erika@example.org")
    assert hash_of(b"k", "erika@example.org") != hash_of(b"other", "erika@example.org")
    assert "erika" not in hash_of(b"k", "erika@example.org")


def test_a_subject_shows_nobody() -> None:
    assert repr(WHO) == "Subject(1 visitors, 1 leads, 1 orders)"


def test_a_visit_gets_one_new_name_in_all_tables_and_another_in_the_next_night() -> None:
    def named(salt: str) -> list[str | None]:
        change = next(change for change in erasure.changes(salt=salt) if change.reason == "events")
        with duckdb.connect() as con:
            asked = f"select {change.values['visit_id']} from (values ('x'), ('y'), ('x'), (null)) as t(visit_id)"
            return [one for (one,) in con.execute(asked).fetchall()]

    first = named("salt")
    assert first[0] == first[2] != first[1] and first[3] is None
    assert named("other")[0] != first[0] and "x" not in first[0] and len(first[0]) == 36


def test_what_somebody_put_beside_the_log_is_named(layout: Layout) -> None:
    assert erasure.out_of_reach(layout) == []
    (layout.root / "work.duckdb.before").touch()
    assert [path.name for path in erasure.out_of_reach(layout)] == ["work.duckdb.before"]
