from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from storage.crash import ALL_POINTS, chances
from storage.sql import ROOM

REPOSITORY = Path(__file__).resolve().parents[2]


def run(points: str) -> int:
    code = "from storage.crash import crash_point; crash_point('part-named'); crash_point('part-written')"
    environment = os.environ | {"ROPO_CRASH_POINTS": points}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, env=environment, stderr=subprocess.DEVNULL
    ).returncode


@pytest.mark.parametrize(
    "text, found",
    [
        ("", {}),
        ("part-named", {"part-named": 1.0}),
        ("part-named=0.5,batch-committed=0", {"part-named": 0.5, "batch-committed": 0.0}),
    ],
)
def test_the_environment_says_where_to_die_and_how_likely(text: str, found: dict[str, float]) -> None:
    assert chances(text) == found


def test_a_place_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="no crash point"):
        chances("part-lost=1")


def test_a_process_dies_at_once_where_it_was_told_to_and_nowhere_else() -> None:
    assert run("part-named=1") == -signal.SIGKILL
    assert run("part-named=0,rows-inserted=1") == 0
    assert run("") == 0


def test_every_crash_point_is_passed_somewhere() -> None:
    source = "".join(path.read_text() for path in ROOM.glob("*.py") if path.name != "crash.py")
    assert sorted(re.findall(r'crash_point\("([a-z-]+)"\)', source)) == sorted(ALL_POINTS)
