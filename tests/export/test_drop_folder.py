import asyncio
import errno
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from export.connector import Delivered, Later
from export.drop_folder import SWEEP_AFTER_DAYS, DropFolder
from tests.export import drop_child
from tests.export.drop_child import CONTENT, KEY, NAME
from tests.export.world import until

ROOT = Path(__file__).parents[2]
OTHER = "0" * 32
# In the order they happen; `test_these_are_all_the_steps` holds them against the code.
STEPS = [
    "notes made",
    "part opened",
    "part written",
    "part synced",
    "marked",
    "mark synced",
    "moved",
    "move synced",
]


class Killed(BaseException):
    """The process dies here."""


def put(folder: Path, key: str = KEY, name: str = NAME, content: bytes = CONTENT, **more):
    async def drop():
        drop_folder = DropFolder(folder, **more)
        try:
            return await drop_folder.put(key, name, content)
        finally:
            drop_folder.close()

    return asyncio.run(drop())


def forget(folder: Path, key: str = KEY, **more) -> None:
    async def drop():
        drop_folder = DropFolder(folder, **more)
        await drop_folder.forget(key)
        drop_folder.close()

    asyncio.run(drop())


def sweep(folder: Path, owed: set[str]) -> None:
    async def drop():
        drop_folder = DropFolder(folder)
        await drop_folder.sweep(owed)
        drop_folder.close()

    asyncio.run(drop())


def collect(folder: Path, into: Path) -> None:
    """What an ERP does, at any moment: moves away what it finds."""
    for path in folder.glob("*.csv"):
        path.rename(into / f"{len(list(into.iterdir()))}-{path.name}")


def notes(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / ".ropo").iterdir())


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


@pytest.fixture
def erp(tmp_path) -> Path:
    (tmp_path / "erp").mkdir()
    return tmp_path / "erp"


def test_a_file_appears_whole_under_its_name(folder):
    assert put(folder) == Delivered(remote_ref=NAME)
    assert (folder / NAME).read_bytes() == CONTENT
    assert [path.name for path in folder.iterdir() if path.name != ".ropo"] == [NAME]


def test_contact_data_is_not_for_everyone_on_the_machine(folder):
    put(folder)
    assert (folder / NAME).stat().st_mode & 0o007 == 0
    assert (folder / ".ropo").stat().st_mode & 0o077 == 0


def test_these_are_all_the_steps(folder):
    steps = []
    put(folder, at_step=steps.append)
    assert steps == STEPS


def test_the_note_goes_when_the_log_has_the_outcome(folder):
    put(folder)
    assert notes(folder) == [f"{KEY}.sent"]
    forget(folder)
    assert notes(folder) == []
    assert (folder / NAME).exists()


@pytest.mark.parametrize("collected", [False, True], ids=["left", "collected"])
def test_the_same_delivery_again_is_the_same_file(folder, erp, collected):
    put(folder)
    if collected:
        collect(folder, erp)
    assert put(folder) == Delivered(remote_ref=NAME)
    collect(folder, erp)
    assert len(list(erp.iterdir())) == 1


def test_a_delivery_ordered_again_is_another_file_even_if_an_old_note_is_left(folder, erp):
    put(folder)
    collect(folder, erp)
    assert put(folder, key=f"{KEY}.1") == Delivered(remote_ref=NAME)
    collect(folder, erp)
    assert len(list(erp.iterdir())) == 2
    forget(folder)
    assert notes(folder) == []


def run_child(folder: Path, *arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", drop_child.__name__, str(folder), *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("collected", [False, True], ids=["left", "collected"])
@pytest.mark.parametrize("step", STEPS)
def test_a_process_killed_at_any_step_still_drops_the_file_exactly_once(folder, erp, step, collected):
    assert run_child(folder, "--kill-after", step).returncode == -signal.SIGKILL
    if collected:
        collect(folder, erp)
    ran = run_child(folder)
    assert ran.stdout.strip() == repr(Delivered(remote_ref=NAME)), ran.stderr
    collect(folder, erp)
    assert [path.read_bytes() for path in erp.iterdir()] == [CONTENT]


@pytest.mark.parametrize("step", STEPS[STEPS.index("marked") :])
def test_a_process_killed_again_and_again_still_drops_the_file_exactly_once(folder, erp, step):
    assert run_child(folder, "--kill-after", step).returncode == -signal.SIGKILL
    # "marked" does not come a second time; then it gets through.
    assert run_child(folder, "--kill-after", step).returncode in (-signal.SIGKILL, 0)
    collect(folder, erp)
    run_child(folder)
    collect(folder, erp)
    assert len(list(erp.iterdir())) == 1


def test_a_process_killed_while_it_forgets_leaves_nothing_that_could_be_sent(folder, erp):
    put(folder)
    collect(folder, erp)
    assert run_child(folder, "--forget", "--kill-after", "removed").returncode == -signal.SIGKILL
    assert list(folder.glob("*.csv")) == []
    assert notes(folder) == []


def test_without_the_mark_a_kill_would_drop_the_file_twice(folder, erp):
    """Shows that the tests above can fail: the mark is what they rest on."""
    assert run_child(folder, "--kill-after", "moved").returncode == -signal.SIGKILL
    collect(folder, erp)
    (folder / ".ropo" / f"{KEY}.sent").unlink()
    run_child(folder)
    collect(folder, erp)
    assert len(list(erp.iterdir())) == 2


FAULTS = st.tuples(st.sampled_from(STEPS), st.sampled_from(["killed", "failed"]))
MOVES = st.lists(st.one_of(FAULTS, st.sampled_from(["collected", "again"])), max_size=12)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(MOVES)
def test_whatever_is_killed_fails_or_is_collected_in_between_the_file_appears_exactly_once(tmp_path, moves):
    folder, erp = tmp_path / "in", tmp_path / "erp"
    for path in (folder, erp):
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
    for move in moves:
        if move == "collected":
            collect(folder, erp)
        elif move == "again":
            put(folder)
        else:
            at, how = move

            def at_step(step, at=at, how=how):
                if step == at:
                    raise Killed if how == "killed" else OSError(errno.EIO, "planted")

            with suppress(Killed):
                assert isinstance(put(folder, at_step=at_step), Delivered | Later)
    assert put(folder) == Delivered(remote_ref=NAME)
    collect(folder, erp)
    assert [path.read_bytes() for path in erp.iterdir()] == [CONTENT]


@pytest.mark.parametrize("collected", [False, True], ids=["left", "collected"])
@pytest.mark.parametrize("step", STEPS)
def test_a_disk_that_is_full_at_any_step_is_a_reason_to_wait_and_the_file_appears_once(folder, erp, step, collected):
    def full(at):
        if at == step:
            raise OSError(errno.ENOSPC, "planted")

    outcome = put(folder, at_step=full)
    assert isinstance(outcome, Later)
    assert outcome.reason == f"{folder}: no space left; make room"
    if collected:
        collect(folder, erp)
    assert put(folder) == Delivered(remote_ref=NAME)
    collect(folder, erp)
    assert [path.read_bytes() for path in erp.iterdir()] == [CONTENT]


@pytest.mark.parametrize("step", ["part opened", "part written", "part synced"])
def test_a_full_disk_gets_its_room_back(folder, step):
    def full(at):
        if at == step:
            raise OSError(errno.ENOSPC, "planted")

    put(folder, at_step=full)
    assert notes(folder) == []


def test_a_disk_that_really_is_full_keeps_the_lead_until_there_is_room(tmp_path):
    mount = tmp_path / "small"
    mount.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", mount], capture_output=True).returncode:
        pytest.skip("may not mount here; the planted faults above cover the same steps")
    try:
        (mount / "ballast").write_bytes(b"x" * 61_440)
        outcome = put(mount, content=b"y" * 8192)
        assert isinstance(outcome, Later)
        assert outcome.reason == f"{mount}: no space left; make room"
        assert list(mount.glob("*.csv")) == []
        (mount / "ballast").unlink()
        assert put(mount, content=b"y" * 8192) == Delivered(remote_ref=NAME)
        assert (mount / NAME).read_bytes() == b"y" * 8192
    finally:
        subprocess.run(["umount", mount], check=True)


def test_a_read_only_disk_keeps_the_lead_until_it_is_writable(tmp_path):
    mount = tmp_path / "readonly"
    mount.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "none", mount], capture_output=True).returncode:
        pytest.skip("may not mount here")
    try:
        assert put(mount).reason == f"{mount}: it is read-only; mount it writable"
        subprocess.run(["mount", "-o", "remount,rw", mount], check=True)
        assert put(mount) == Delivered(remote_ref=NAME)
    finally:
        subprocess.run(["umount", mount], check=True)


def test_a_file_larger_than_allowed_is_not_left_half(folder):
    ran = run_child(folder, "--limit", "1000")
    assert "Later" in ran.stdout, ran.stderr
    assert "may not be that large" in ran.stdout
    assert list(folder.glob("*.csv")) == []
    assert notes(folder) == []
    assert "Delivered" in run_child(folder).stdout


def test_a_folder_we_may_not_write_to_says_so():
    # Not below tmp_path: nobody but its owner may enter that.
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "in"
        folder.mkdir()
        Path(place).chmod(0o755)
        folder.chmod(0o555)
        ran = run_child(folder, "--as-nobody")
        assert "make it writable for the user ropo runs as" in ran.stdout, ran.stderr
        folder.chmod(0o777)
        ran = run_child(folder, "--as-nobody")
        assert "Delivered" in ran.stdout, ran.stderr


def test_a_folder_that_is_a_file_says_so(tmp_path):
    (tmp_path / "in").write_text("")
    assert put(tmp_path / "in") == Later(f"{tmp_path / 'in'}: it is not a folder")
    assert put(tmp_path / "in" / "deeper") == Later(f"{tmp_path / 'in' / 'deeper'}: it is not a folder")


def test_a_folder_that_is_missing_is_not_made_unless_asked(tmp_path):
    missing = tmp_path / "share" / "in"
    assert put(missing) == Later(f"{missing}: it does not exist; make it, or mount the share")
    assert not missing.exists()
    assert put(missing, create=True) == Delivered(remote_ref=NAME)


def empty(notes: Path) -> None:
    for note in notes.iterdir():
        note.unlink()


@pytest.mark.parametrize("gone", ["folder", "notes", "what is in the notes"])
def test_a_share_that_went_away_in_between_is_not_taken_for_a_delivery(folder, gone):
    """The file to move is not there, but neither is the mark: nothing was delivered."""
    take_away = {
        "folder": lambda: shutil.rmtree(folder),
        "notes": lambda: shutil.rmtree(folder / ".ropo"),
        "what is in the notes": lambda: empty(folder / ".ropo"),
    }[gone]

    def at_step(step):
        if step == "mark synced":
            take_away()

    assert isinstance(put(folder, at_step=at_step), Later)
    folder.mkdir(exist_ok=True)
    assert put(folder) == Delivered(remote_ref=NAME)
    assert (folder / NAME).exists()


def test_a_move_that_was_done_though_it_says_it_was_not_is_a_delivery(folder, monkeypatch):
    """NFS: the server moves, its answer gets lost, the client asks again and hears that there is nothing to move."""
    rename = os.rename

    def twice(source, target):
        rename(source, target)
        rename(source, target)

    monkeypatch.setattr(os, "rename", twice)
    assert put(folder) == Delivered(remote_ref=NAME)


async def test_a_share_that_hangs_is_waited_for_only_so_long_and_then_in_order(folder, erp):
    free = threading.Event()

    def hang(step):
        if step == "part written":
            free.wait(10)

    drop = DropFolder(folder, answer_secs=0.02, at_step=hang)
    slow = await drop.put(KEY, NAME, CONTENT)
    assert slow == Later(f"{folder}: no answer within 0.02 s; is the share up?")
    # The second one never begins: the first still has the disk.
    assert isinstance(await drop.put(OTHER, "lead-2.csv", CONTENT), Later)
    free.set()
    patient = DropFolder(folder, answer_secs=10)
    await until((folder / NAME).exists)
    collect(folder, erp)
    # It arrived after we had stopped waiting; the next attempt knows.
    assert await patient.put(KEY, NAME, CONTENT) == Delivered(remote_ref=NAME)
    collect(folder, erp)
    assert Counter(path.name.partition("-")[2] for path in erp.iterdir()) == {NAME: 1}
    drop.close()
    patient.close()


def test_a_link_laid_in_our_way_is_not_written_through(folder, tmp_path):
    (tmp_path / "victim").write_text("precious")
    (folder / ".ropo").mkdir()
    (folder / ".ropo" / f"{KEY}.part").symlink_to(tmp_path / "victim")
    assert isinstance(put(folder), Later)
    assert (tmp_path / "victim").read_text() == "precious"


@pytest.mark.parametrize("name", ["../x.csv", "a/b.csv", "/etc/passwd", ".hidden.csv", ""])
def test_a_name_that_leaves_the_folder_is_refused(folder, name):
    with pytest.raises(ValueError, match="not fit"):
        put(folder, name=name)


@pytest.mark.parametrize("key", ["", "../a", "a/b", "A.part", "ab.", "ab.c", "ab.1.2"])
def test_a_key_that_leaves_the_notes_is_refused(folder, key):
    with pytest.raises(ValueError, match="not fit"):
        put(folder, key=key)


def test_old_notes_that_are_owed_no_more_are_swept(folder):
    put(folder)
    put(folder, key=OTHER, name="lead-2.csv")
    old = os.stat(folder).st_mtime - (SWEEP_AFTER_DAYS + 1) * 86_400
    for note in (folder / ".ropo").iterdir():
        os.utime(note, (old, old))
    sweep(folder, {OTHER})
    assert notes(folder) == [f"{OTHER}.sent"]


def test_young_notes_are_not_swept_for_they_may_be_another_ropo_s(folder):
    put(folder)
    sweep(folder, set())
    assert notes(folder) == [f"{KEY}.sent"]


def test_sweeping_and_forgetting_where_there_is_nothing_is_harmless(tmp_path):
    sweep(tmp_path / "missing", set())
    forget(tmp_path / "missing")
    (tmp_path / "file").write_text("")
    sweep(tmp_path / "file", set())
    forget(tmp_path / "file")
    assert (tmp_path / "file").read_text() == ""
