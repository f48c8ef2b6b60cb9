from __future__ import annotations

import json
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from ropo.cli.values import as_csv, as_json, as_text, is_number, to_json

BERLIN = timezone(timedelta(hours=1))

# value: for people, for CSV, for JSON
VALUES: list[tuple[Any, str | None, str, str]] = [
    (None, None, "", "null"),
    (True, "true", "true", "true"),
    (42, "42", "42", "42"),
    (2**100, str(2**100), str(2**100), str(2**100)),
    (Decimal("10.50"), "10.50", "10.50", "10.50"),
    (float("nan"), "nan", "nan", "null"),
    ("a\nb", "a\nb", "a\nb", '"a\\nb"'),
    (b"\x00a\\", "\\x00a\\x5C", "\\x00a\\x5C", '"\\\\x00a\\\\x5C"'),
    (date(2026, 11, 22), "2026-11-22", "2026-11-22", '"2026-11-22"'),
    (time(10, 0), "10:00:00", "10:00:00", '"10:00:00"'),
    (timedelta(days=1, hours=2), "1 day, 2:00:00", "1 day, 2:00:00", '"1 day, 2:00:00"'),
    (UUID(int=1), str(UUID(int=1)), str(UUID(int=1)), f'"{UUID(int=1)}"'),
    ([1, None, "x"], '[1,null,"x"]', '[1,null,"x"]', '[1,null,"x"]'),
    ({1: Decimal("1.0")}, '{"1":1.0}', '{"1":1.0}', '{"1":1.0}'),
    (
        datetime(2026, 11, 22, 11, 0, 0, 5, tzinfo=BERLIN),
        "2026-11-22 11:00:00.000005+01:00",
        "2026-11-22T10:00:00.000005Z",
        '"2026-11-22T10:00:00.000005Z"',
    ),
    (
        datetime(2026, 11, 22, 11, 0),
        "2026-11-22 11:00:00",
        "2026-11-22T11:00:00.000000",
        '"2026-11-22T11:00:00.000000"',
    ),
    (
        {"at": [datetime(2026, 11, 22, tzinfo=UTC)]},
        '{"at":["2026-11-22T00:00:00.000000Z"]}',
        '{"at":["2026-11-22T00:00:00.000000Z"]}',
        '{"at":["2026-11-22T00:00:00.000000Z"]}',
    ),
]


@pytest.mark.parametrize("value, text, csv, json_text", VALUES, ids=repr)
def test_values_as_people_csv_and_json_have_them(value: Any, text: str | None, csv: str, json_text: str):
    assert as_text(value) == text
    assert as_csv(value) == csv
    assert to_json(as_json(value)) == json_text
    json.loads(json_text)


def test_a_column_of_json_is_data_and_not_text_of_it():
    assert to_json(as_json('{"a": [1, 2]}', "JSON")) == '{"a": [1, 2]}'
    assert to_json(as_json('{"a": 1}', "VARCHAR")) == '"{\\"a\\": 1}"'
    assert to_json(as_json("no json", "JSON")) == '"no json"'


@pytest.mark.parametrize("value, is_one", [(1, True), (1.5, True), (Decimal(1), True), (True, False), ("1", False)])
def test_numbers_are_told_from_what_looks_like_them(value: Any, is_one: bool):
    assert is_number(value) is is_one
