"""Moments as text and as numbers, and identifiers that sort by them."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker import clock

moments = st.integers(0, 4_102_444_800_000_000)  # until the year 2100


@given(st.lists(moments, min_size=1, max_size=5))
def test_a_moment_written_is_the_same_when_read(found: list[int]):
    assert [clock.micros_of(clock.text_of(moment)) for moment in found] == found
    for moment in found:
        assert clock.parse(clock.text_of(moment)) == datetime.fromtimestamp(moment // 1_000_000, UTC).replace(
            microsecond=moment % 1_000_000
        )


@given(moments, moments)
def test_text_sorts_as_time_does(one: int, other: int):
    assert (clock.text_of(one) < clock.text_of(other)) == (one < other)


@pytest.mark.parametrize(
    "text",
    [
        "", "now", "2026-11-22", "2026-11-22 10:00:00", "2026-11-22T10:00:00.000000", "2026-11-22 10:00:00.000000Z",
        "2026-11-22 10:00:00.00000", "2026-11-22 10:00:00.0000000", "2026-11-22 10:00:00,000000",
        "2026-13-22 10:00:00.000000", "2026-11-22 25:00:00.000000", "2026-11-22 10:00:60.000000",
        "2026-11-22 10:00:00.-00001", "2026-11-22 10:00:00.00000١", "infinity", "20261122 100000+00.000000",
    ],
)  # fmt: skip
def test_what_the_log_does_not_write_is_no_moment(text: str):
    with pytest.raises(ValueError):
        clock.micros_of(text)


def test_a_moment_that_is_refused_does_not_spoil_the_next():
    good = "2026-11-22 10:00:00.000001"
    for bad in ("2026-11-22 10:00:99.000000", "2026-11-22 10:00:00.xxxxxx"):
        with pytest.raises(ValueError):
            clock.micros_of(bad)
        assert clock.text_of(clock.micros_of(good)) == good


def test_an_identifier_is_a_uuid_of_its_moment():
    for found in (clock.new_id(1_795_341_600_123_456), clock.derived_id(1_795_341_600_123_456, "n1", 7)):
        assert uuid.UUID(found).version == 7
        assert uuid.UUID(found).variant == uuid.RFC_4122
        assert uuid.UUID(found).int >> 80 == 1_795_341_600_123


@given(st.lists(st.tuples(st.text(max_size=5), st.integers(0, 9)), min_size=2, max_size=9, unique=True))
def test_a_derived_identifier_is_the_same_for_the_same_parts_only(parts: list[tuple[str, int]]):
    parts = [pair for pair in parts if "\0" not in pair[0]]
    found = [clock.derived_id(0, *pair) for pair in parts]
    assert found == [clock.derived_id(0, *pair) for pair in parts]
    assert len(set(found)) == len(parts)
