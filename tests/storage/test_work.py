from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from storage.settings import StorageSettings
from storage.work import UnusableLogError, connect, is_damaged, is_locked, is_lost
from tests.support.rows import a_store, batch, event, layout_of


def settings(folder: Path) -> StorageSettings:
    return StorageSettings(path=str(folder), memory_limit_mb=256)


def test_a_damaged_block_is_not_taken_for_a_lock(tmp_path: Path) -> None:
    """DuckDB tells of a corrupt "block", and that holds the word "lock"."""
    with a_store(tmp_path) as store:
        store.write(batch(event()))
    layout = layout_of(tmp_path)
    with open(layout.work_db, "r+b") as file:
        file.seek(20_000)
        file.write(b"x" * 16)
    with pytest.raises(UnusableLogError, match=r"cannot be opened.*block.*`ropo storage rebuild`"):
        connect(layout, settings(tmp_path)).close()


@pytest.mark.parametrize(
    "text, locked, damaged",
    [
        ("Corrupt database file: computed checksum 5 does not match stored checksum 2 in block at 12288", False, True),
        ('Could not set lock on file "/x/work.duckdb": Conflicting lock is held in python (PID 7)', True, False),
        ("Could not read enough bytes from file: attempted to read 262144 bytes", False, True),
        ("No space left on device", False, False),
    ],
)
def test_what_duckdb_says_is_told_apart(text: str, locked: bool, damaged: bool) -> None:
    error = duckdb.IOException(text)
    assert (is_locked(error), is_damaged(error)) == (locked, damaged)
    assert not is_damaged(ValueError(text))


def test_a_database_is_lost_only_if_there_was_one(tmp_path: Path) -> None:
    layout = layout_of(tmp_path)
    layout.create()
    assert not is_lost(layout)
    (layout.archive / "w-1.ndjson").touch()
    assert is_lost(layout)
    layout.work_db.touch()
    assert not is_lost(layout)
