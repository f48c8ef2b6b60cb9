from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ropo import rooms
from ropo.rooms import HOUSE, ROOMS, RoomError


def run_among(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """ropo, with `folder` before everything else in the import path."""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(HOUSE)])}
    command = [sys.executable, "-c", "import sys; sys.argv[0] = 'ropo'; from ropo.cli import main; main()", *arguments]
    return subprocess.run(command, cwd=folder.parent, env=environ, capture_output=True, text=True)


def test_in_its_own_house_all_is_well():
    rooms.check()


def intruder(folder: Path, kind: str) -> Path:
    """A stranger called `proxy`: a package as PyPI's proxy.py has it, a single file, or a mere folder."""
    place = folder / "proxy"
    if kind == "file":
        place = folder / "proxy.py"
        place.write_text("raise SystemExit('the intruder was imported')")
        return place
    place.mkdir()
    if kind == "package":
        (place / "__init__.py").write_text("raise SystemExit('the intruder was imported')")
    return place


@pytest.mark.parametrize("kind", ["package", "file"])
def test_an_intruder_is_refused_with_its_path_and_not_imported(tmp_path: Path, kind: str):
    folder = tmp_path / "site-packages"
    folder.mkdir()
    place = intruder(folder, kind)
    done = run_among(folder, "check")
    assert done.returncode == 1
    assert f"the room `proxy` in {place}, not in {HOUSE / 'proxy'}" in done.stderr
    assert "Traceback" not in done.stderr and "was imported" not in done.stderr + done.stdout


def test_a_mere_folder_of_that_name_does_no_harm(tmp_path: Path):
    folder = tmp_path / "home"
    folder.mkdir()
    intruder(folder, "folder")
    done = run_among(folder, "check", "--config", "nope.yaml")
    assert done.returncode == 2
    assert "there is no such file" in done.stderr


def test_a_house_without_its_rooms_is_told(tmp_path: Path):
    with pytest.raises(RoomError, match=f"the room `proxy` in {HOUSE / 'proxy'}, not in {tmp_path / 'proxy'}"):
        rooms.check(tmp_path)


def test_a_room_that_is_missing_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rooms, "find_spec", lambda name: None)
    with pytest.raises(RoomError, match="the room `proxy` is missing.*install ropo again"):
        rooms.check()


def test_a_room_somebody_imported_without_a_trace_is_found_all_the_same(monkeypatch: pytest.MonkeyPatch):
    import export

    monkeypatch.setattr(export, "__spec__", None)
    rooms.check()
    monkeypatch.setattr(export, "__file__", "/opt/other/export/__init__.py")
    with pytest.raises(RoomError, match="the room `export` in /opt/other/export"):
        rooms.check()


def test_every_room_stands_in_the_house():
    assert [room for room in ROOMS if not (HOUSE / room / "__init__.py").exists()] == []
