from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest

from storage import shelves
from storage.door import STORAGE_VERSION

CLI = Path(sys.executable).parent / "duckdb"


@pytest.fixture
def cold(tmp_path: Path) -> Path:
    cold = tmp_path / "cold"
    (cold / "events" / "day=2026-11-22").mkdir(parents=True)
    (cold / "events" / "base-001.parquet").write_text("base")
    (cold / "events" / "day=2026-11-22" / "0-1.parquet").write_text("first")
    return cold


def a_door(path: Path) -> Path:
    path.unlink(missing_ok=True)
    with duckdb.connect(str(path), config={"storage_compatibility_version": STORAGE_VERSION}) as con:
        con.execute("create view v as select 1")
    return path


def texts(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in Path(os.path.realpath(folder)).rglob("*.parquet")}


def test_a_shelf_that_was_set_apart_keeps_the_parts_it_had(cold: Path) -> None:
    shelf = shelves.current(cold)
    assert (shelf.name, os.readlink(shelf), shelves.current(cold)) == ("0001", "../cold", shelf)
    before = texts(shelf)
    with shelves.moving(cold):
        shelves.set_apart(cold)
        fresh = cold.with_name("cold.new")
        (fresh / "events").mkdir(parents=True)
        (fresh / "events" / "0-1.parquet").write_text("merged")
        shelves.exchange(cold, fresh)
    assert texts(shelf) == before
    assert texts(shelves.current(cold)) == {"0-1.parquet": "merged"}
    assert shelves.current(cold).name == "0002"


def test_new_parts_are_put_on_every_shelf_and_the_links_are_repeated_without_harm(cold: Path) -> None:
    old = shelves.current(cold)
    with shelves.moving(cold):
        shelves.set_apart(cold)
        part = cold / "events" / "day=2026-11-23" / "1-2.parquet"
        part.parent.mkdir()
        part.write_text("second")
        shelves.share(cold, part)
        shelves.share(cold, part)
    assert texts(old)["1-2.parquet"] == texts(shelves.current(cold))["1-2.parquet"] == "second"


def test_a_tree_that_was_left_half_made_is_made_anew(cold: Path) -> None:
    shelf = shelves.current(cold)
    half = shelf.with_name("0001.parts") / "events"
    half.mkdir(parents=True)
    (half / "stale.parquet").touch()
    with shelves.moving(cold):
        shelves.set_apart(cold)
    assert "stale.parquet" not in texts(shelf)


OPENING = {
    "python": "import duckdb, sys; c = duckdb.connect({0!r}, read_only=True); print(1, flush=True); sys.stdin.read()",
    "attach": "import duckdb, sys; c = duckdb.connect(); c.execute(\"attach '{0}' (read_only)\"); print(1, flush=True); "
    "sys.stdin.read()",
}


@pytest.mark.parametrize("how", [*OPENING, "cli"])
def test_a_door_is_told_to_be_open_for_as_long_as_a_session_has_it(tmp_path: Path, how: str) -> None:
    if how == "cli" and not CLI.exists():
        pytest.skip("duckdb-cli is not installed")
    door = a_door(tmp_path / "log.duckdb")
    kept = tmp_path / "kept"
    os.link(door, kept)
    a_door(door)
    assert not shelves.is_open(kept)
    command = [CLI, "-readonly", str(kept)] if how == "cli" else [sys.executable, "-c", OPENING[how].format(str(kept))]
    session = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        if how == "cli":
            session.stdin.write("from v;\n")
            session.stdin.flush()
        session.stdout.readline()
        assert shelves.is_open(kept)
        assert not shelves.is_open(door)
    finally:
        session.communicate("")
    assert not shelves.is_open(kept)


def test_a_shelf_goes_when_its_doors_are_replaced_and_closed(cold: Path) -> None:
    door = a_door(cold.with_name("log.duckdb"))
    old = shelves.current(cold)
    shelves.note_door(old, door)
    with shelves.moving(cold):
        shelves.set_apart(cold)
        new = shelves.make(cold)
    # The door that is shown still reads through the old one.
    shelves.sweep(cold, door, grace_secs=0)
    assert old.is_symlink()
    fresh = a_door(cold.with_name("fresh.duckdb"))
    shelves.note_door(new, fresh)
    os.replace(fresh, door)
    # Somebody may just be opening the one that was replaced.
    shelves.sweep(cold, door, grace_secs=60)
    assert old.is_symlink()
    shelves.sweep(cold, door, grace_secs=60, now=time.time() + 61)
    assert not old.is_symlink()
    assert sorted(path.name for path in old.parent.iterdir()) == ["0002", f"0002-{door.stat().st_ino}.door"]
    assert texts(new)["0-1.parquet"] == "first"


def test_a_door_from_before_there_were_shelves_is_remembered(cold: Path) -> None:
    door = a_door(cold.with_name("log.duckdb"))
    shelf = shelves.current(cold)
    shelves.note_former_door(cold, door)
    assert [path.name[:4] for path in shelf.parent.glob("*.door")] == ["0000"]
    assert shelves.open_former_doors(cold) == []
    session = subprocess.Popen(
        [sys.executable, "-c", OPENING["python"].format(str(door))], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        session.stdout.readline()
        assert len(shelves.open_former_doors(cold)) == 1
    finally:
        session.communicate(b"")
    # One that is known already is not taken for an old one.
    fresh = a_door(cold.with_name("fresh.duckdb"))
    shelves.note_door(shelf, fresh)
    shelves.note_former_door(cold, fresh)
    assert len(list(shelf.parent.glob("0000-*"))) == 1


def test_whether_names_can_be_exchanged_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert shelves.can_exchange(tmp_path)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(shelves, "_renameat2", None)
    assert not shelves.can_exchange(tmp_path)
    with pytest.raises(OSError, match="not implemented"):
        shelves.exchange(tmp_path, tmp_path)
