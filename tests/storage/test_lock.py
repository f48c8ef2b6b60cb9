import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from storage.layout import Layout
from storage.lock import BlockedError, hold

HOLDER = """
import sys, time
from pathlib import Path
from storage.layout import Layout
from storage.lock import hold
held = hold(Layout(Path(sys.argv[1])))
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def other(tmp_path: Path):
    """Another process that holds the lock of `tmp_path`."""
    root = Path(__file__).parents[2]
    process = subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path], cwd=root, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_one_is_told_who_holds_the_path(tmp_path: Path, other: subprocess.Popen) -> None:
    with pytest.raises(BlockedError, match=f"in use by another ropo .process {other.pid}.") as caught:
        hold(Layout(tmp_path))
    assert caught.value.pid == other.pid
    assert str(tmp_path) in str(caught.value)


def test_a_killed_holder_leaves_nothing_to_clear_up(tmp_path: Path, other: subprocess.Popen) -> None:
    other.send_signal(signal.SIGKILL)
    other.wait()
    with hold(Layout(tmp_path)):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


def test_it_is_free_after_release_and_inside_one_process_too(tmp_path: Path) -> None:
    held = hold(Layout(tmp_path))
    with pytest.raises(BlockedError):
        hold(Layout(tmp_path))
    held.release()
    held.release()
    with hold(Layout(tmp_path)), pytest.raises(BlockedError):
        hold(Layout(tmp_path))
    with hold(Layout(tmp_path)):
        pass


def test_a_path_that_cannot_be_locked_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()
    with pytest.raises(BlockedError, match="local disk, writable") as caught:
        hold(Layout(tmp_path))
    assert caught.value.pid is None


def test_two_paths_do_not_know_of_each_other(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    with hold(Layout(tmp_path / "a")), hold(Layout(tmp_path / "b")):
        assert {path.parent.name for path in tmp_path.glob("*/lock")} == {"a", "b"}


def test_a_child_does_not_keep_the_lock(tmp_path: Path) -> None:
    held = hold(Layout(tmp_path))
    child = subprocess.Popen(
        [sys.executable, "-c", "print(flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        close_fds=False,
    )
    try:
        assert child.stdout.readline() == b"\n"
        held.release()
        with hold(Layout(tmp_path)):
            assert child.poll() is None
    finally:
        child.communicate(b"\n")
