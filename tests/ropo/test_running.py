from __future__ import annotations

import os
from pathlib import Path

from ropo.running import holder
from storage.layout import Layout
from storage.lock import hold


def test_nobody_serves_a_path_that_does_not_exist(tmp_path: Path):
    assert holder(Layout(tmp_path / "nowhere")) is None


def test_who_holds_the_lock_serves(tmp_path: Path):
    layout = Layout(tmp_path, tmp_path / "hot.duckdb")
    with hold(layout):
        assert holder(layout) == os.getpid()
        assert holder(layout) == os.getpid(), "asking does not disturb the holder"
    assert holder(layout) is None
    assert layout.lock.exists(), "the file stays, only the lock on it counts"


def test_a_holder_that_has_not_said_its_number_is_one_all_the_same(tmp_path: Path):
    layout = Layout(tmp_path, tmp_path / "hot.duckdb")
    with hold(layout):
        layout.lock.write_text("")
        assert holder(layout) == 0
