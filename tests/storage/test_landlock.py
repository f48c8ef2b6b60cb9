from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from storage import landlock

pytestmark = pytest.mark.skipif(not landlock.version(), reason="this kernel has no Landlock")


def in_a_thread(work: Callable[[], object]) -> object:
    """What `work` returned or raised. A thread of its own, for it cannot be undone."""
    found: list[object] = []

    def run() -> None:
        try:
            found.append(work())
        except OSError as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return found[0]


WRITES = {
    "a new file": lambda folder: (folder / "new").write_text("x"),
    "an old file": lambda folder: (folder / "old").write_text("x"),
    "an old file, cut off": lambda folder: os.truncate(folder / "old", 0),
    "a folder": lambda folder: (folder / "new").mkdir(),
    "another name": lambda folder: (folder / "old").rename(folder / "new"),
    "a link": lambda folder: (folder / "new").symlink_to("old"),
    "nothing any more": lambda folder: (folder / "old").unlink(),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_nothing_is_written_but_in_the_folders_named(tmp_path: Path, write: Callable[[Path], object]):
    closed, opened = tmp_path / "closed", tmp_path / "open"
    for folder in (closed, opened):
        folder.mkdir()
        (folder / "old").write_text("old")

    def work() -> object:
        landlock.write_nothing_but([opened])
        write(opened)
        assert (closed / "old").read_text() == "old"
        return write(closed)

    assert isinstance(in_a_thread(work), PermissionError)
    assert [(path.name, path.read_text()) for path in closed.iterdir()] == [("old", "old")]


def test_threads_that_it_begins_are_bound_too_and_others_are_not(tmp_path: Path):
    def work() -> object:
        assert landlock.write_nothing_but()
        return in_a_thread(lambda: (tmp_path / "x").write_text("x"))

    assert isinstance(in_a_thread(work), PermissionError)
    (tmp_path / "x").write_text("x")


def test_what_is_open_may_be_written_and_so_may_dev_null(tmp_path: Path):
    with open(tmp_path / "x", "w") as file:

        def work() -> object:
            landlock.write_nothing_but()
            Path(os.devnull).write_text("x")
            return file.write("x")

        assert in_a_thread(work) == 1


@pytest.mark.skipif(landlock.version() < 4, reason="Landlock knows TCP since version 4")
def test_no_connection_is_opened():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def work() -> object:
            landlock.write_nothing_but()
            return socket.create_connection(server.getsockname())

        assert isinstance(in_a_thread(work), PermissionError)
