import os
import threading
from pathlib import Path

import pytest

from storage import status
from storage.layout import Layout
from tests.support.small_disk import fill, small_disk
from tracker import clock


@pytest.fixture
def here(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path, hot_path=tmp_path / "hot.duckdb")
    layout.create()
    return layout


def test_what_was_written_last_is_read(here: Layout) -> None:
    status.write(here, "worker-1", {"records": 1})
    status.write(here, "worker-1", {"records": 2, "spool": {"pending": 0}})
    status.write(here, "collector", {"pid": 7, "started_at": "x", "updated_at": "y"})
    states = status.read_all(here)
    assert list(states) == ["collector", "worker-1"]
    assert states["collector"] == {"pid": 7, "started_at": "x", "updated_at": "y"}
    assert states["worker-1"]["records"] == 2
    assert states["worker-1"]["pid"] == os.getpid()
    assert clock.parse(states["worker-1"]["started_at"]) <= clock.parse(states["worker-1"]["updated_at"])


def test_a_stopped_process_is_forgotten(here: Layout) -> None:
    status.write(here, "worker-1", {})
    status.remove(here, "worker-1")
    status.remove(here, "worker-1")
    assert status.read_all(here) == {}


def test_a_broken_file_does_not_hide_the_others(here: Layout) -> None:
    status.write(here, "good", {})
    (here.status / "bad.json").write_bytes(b"")
    (here.status / "list.json").write_bytes(b"[]")
    assert list(status.read_all(here)) == ["good"]


def test_a_reader_never_sees_half_a_state(here: Layout) -> None:
    seen = []
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            seen.extend(state["text"] for state in status.read_all(here).values())

    reader = threading.Thread(target=watch)
    reader.start()
    for size in range(200):
        status.write(here, "worker", {"text": "x" * (size * 100)})
    done.set()
    reader.join()
    assert seen
    assert all(set(text) <= {"x"} and len(text) % 100 == 0 for text in seen)


def test_no_rest_is_left_beside_the_states(here: Layout) -> None:
    status.write(here, "worker", {})
    (here.status / "taken.json").mkdir()
    with pytest.raises(OSError, match=r"taken\.json"):
        status.write(here, "taken", {})
    assert sorted(path.name for path in here.status.iterdir()) == ["taken.json", "worker.json"]


@pytest.mark.parametrize("name", ["", "../x", "a/b", "a.b"])
def test_a_name_that_is_no_file_name_is_refused(here: Layout, name: str) -> None:
    with pytest.raises(ValueError, match="status"):
        status.write(here, name, {})


def test_on_a_full_disk_the_state_is_written_over_the_last_one(tmp_path: Path) -> None:
    """Just then somebody wants to read it."""
    with small_disk(tmp_path / "disk", "size=1m") as disk:
        layout = Layout(disk, hot_path=disk / "hot.duckdb")
        layout.create()
        status.write(layout, "worker-1", {"kind": "worker", "spool": {"pending": 0, "note": "x" * 100}})
        fill(disk)
        for pending in (1, 22_222):
            status.write(layout, "worker-1", {"kind": "worker", "spool": {"pending": pending}})
            assert status.read_all(layout)["worker-1"]["spool"] == {"pending": pending}
        with pytest.raises(OSError, match="No such file"):
            status.write(layout, "worker-2", {"kind": "worker"})
        assert [path.name for path in layout.status.iterdir()] == ["worker-1.json"]
