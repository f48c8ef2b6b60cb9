import resource
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from storage.layout import Layout
from storage.quarantine import prune, put
from tests.support.spools import names_in, text_of

NOW = datetime(2026, 11, 22, 23, 59, 59, 123456, tzinfo=UTC)


@pytest.fixture
def here(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path, hot_path=tmp_path / "hot.duckdb")
    layout.create()
    return layout


def test_a_line_is_kept_with_its_reason_its_file_and_the_time(here: Layout) -> None:
    path = put(here, "w1-1.ndjson", [(b'{"half', "truncated"), (b"\0\xff\xc3\xa4\n", "not UTF-8")], now=NOW)
    assert path == here.quarantine / "2026-11-22.ndjson"
    assert text_of(path) == [
        {
            "occurred_at": "2026-11-22 23:59:59.123456",
            "reason": "truncated",
            "source": "w1-1.ndjson",
            "line": '{"half',
        },
        {
            "occurred_at": "2026-11-22 23:59:59.123456",
            "reason": "not UTF-8",
            "source": "w1-1.ndjson",
            "line": "\0\\xffä\n",
        },
    ]
    assert path.stat().st_mode & 0o777 == 0o600


def test_later_lines_are_put_behind_the_earlier_ones_by_day_in_utc(here: Layout) -> None:
    put(here, "a", [(b"1", "x")], now=NOW)
    put(here, "b", [(b"2", "x")], now=NOW.astimezone(timezone(timedelta(hours=5))))
    put(here, "c", [(b"3", "x")], now=NOW + timedelta(seconds=1))
    assert names_in(here.quarantine) == ["2026-11-22.ndjson", "2026-11-23.ndjson"]
    assert [row["line"] for row in text_of(here.quarantine / "2026-11-22.ndjson")] == ["1", "2"]


def test_without_lines_there_is_no_file(here: Layout) -> None:
    assert put(here, "a", [], now=NOW) is None
    assert names_in(here.quarantine) == []


def test_a_line_that_a_kill_left_half_is_not_glued_to_the_next(here: Layout) -> None:
    path = here.quarantine / "2026-11-22.ndjson"
    path.write_bytes(b'{"half')
    put(here, "a", [(b"1", "x")], now=NOW)
    first, second = path.read_text().splitlines()
    assert first == '{"half'
    assert '"line":"1"' in second


def test_when_the_disk_refuses_none_of_the_lines_is_kept(here: Layout) -> None:
    path = put(here, "a", [(b"1", "x")], now=NOW)
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 50, limits[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            put(here, "b", [(b"2" * 10, "x"), (b"3" * 100, "x")], now=NOW)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before


def test_old_days_are_removed_and_nothing_else(here: Layout) -> None:
    for day in ("2026-10-22", "2026-10-23", "2026-11-22"):
        (here.quarantine / f"{day}.ndjson").write_text("")
    (here.quarantine / "notes.ndjson").write_text("")
    assert prune(here, days=30, now=NOW) == 1
    assert names_in(here.quarantine) == ["2026-10-23.ndjson", "2026-11-22.ndjson", "notes.ndjson"]


def test_the_folder_knows_a_new_file_for_good_before_the_batch_that_counts_its_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = Layout(tmp_path)
    layout.create()
    folders: list[Path] = []
    monkeypatch.setattr("storage.quarantine.sync_folder", folders.append)
    for _ in range(2):
        put(layout, "a.ndjson", [(b"x", "why")])
    assert folders == [layout.quarantine]
