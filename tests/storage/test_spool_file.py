import os
import subprocess
import sys
from pathlib import Path

import pytest

from storage import spool_file
from storage.spool_file import (
    LAST_ROOM_BYTES,
    SpoolName,
    check_worker,
    create,
    give_room,
    keep_room,
    parse,
    reserve,
    sync_folder,
    take,
)


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("w1-00001795000000000000-000001", SpoolName("w1", 1_795_000_000_000_000, 1)),
        ("web-2_a-00000000000000000007-1234567", SpoolName("web-2_a", 7, 1_234_567)),
        ("w1-7-000001", None),
        ("w1-00001795000000000000-01", None),
        ("-00001795000000000000-000001", None),
        ("w 1-00001795000000000000-000001", None),
        ("", None),
    ],
)
def test_a_name_says_who_wrote_the_file(stem: str, name: SpoolName | None) -> None:
    assert parse(stem) == name
    if name is not None:
        assert name.stem == stem


def test_the_names_of_one_epoch_sort_as_they_were_written() -> None:
    stems = [SpoolName("w1", 9, number).stem for number in (1, 9, 10, 99_999, 100_000)]
    assert sorted(stems) == stems


@pytest.mark.parametrize("worker", ["", "../w", "a/b", "a b", "ü", "x" * 65])
def test_a_writer_whose_name_is_no_file_name_is_refused(worker: str) -> None:
    with pytest.raises(ValueError, match="cannot name a writer"):
        check_worker(worker)


def test_a_new_file_is_locked_and_for_its_owner_alone(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        fd = create(tmp_path / "a")
    finally:
        os.umask(old)
    other = os.open(tmp_path / "a", os.O_RDWR)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600
    assert not take(other)
    os.close(fd)
    assert take(other)
    os.close(other)


def test_a_file_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    with pytest.raises(FileExistsError):
        create(tmp_path / "a")
    assert (tmp_path / "a").read_text() == "x"


def test_a_file_that_recovery_removed_before_the_lock_is_not_taken_for_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_late(fd: int) -> bool:
        (tmp_path / "a").unlink()
        return True

    monkeypatch.setattr(spool_file, "take", too_late)
    with pytest.raises(FileExistsError):
        create(tmp_path / "a")


def test_the_lock_goes_with_a_killed_process(tmp_path: Path) -> None:
    script = "import sys, time; from storage.spool_file import create; create(sys.argv[1]); print(flush=True); time.sleep(60)"
    writer = subprocess.Popen(
        [sys.executable, "-c", script, tmp_path / "a"], cwd=Path(__file__).parents[2], stdout=subprocess.PIPE
    )
    writer.stdout.readline()
    fd = os.open(tmp_path / "a", os.O_RDWR)
    assert not take(fd)
    writer.kill()
    writer.communicate()
    assert take(fd)
    os.close(fd)


def test_a_folder_that_is_gone_cannot_be_synced(tmp_path: Path) -> None:
    sync_folder(tmp_path)
    with pytest.raises(FileNotFoundError):
        sync_folder(tmp_path / "gone")


def test_room_is_set_aside_without_changing_the_length(tmp_path: Path) -> None:
    fd = create(tmp_path / "a")
    if not reserve(fd, 1 << 20):
        pytest.skip("this file system cannot set room aside")
    os.write(fd, b"line\n")
    assert (tmp_path / "a").read_bytes() == b"line\n"
    assert os.fstat(fd).st_blocks * 512 >= 1 << 20
    os.close(fd)


def test_room_that_cannot_be_had_is_no_error(tmp_path: Path) -> None:
    fd = create(tmp_path / "a")
    assert not reserve(fd, 1 << 62)
    os.close(fd)
    assert not reserve(fd, 1)


def test_room_is_kept_and_given_back(tmp_path: Path) -> None:
    path = tmp_path / "room"
    keep_room(path)
    assert path.stat().st_blocks * 512 >= LAST_ROOM_BYTES
    give_room(path)
    give_room(path)
    keep_room(None)
    keep_room(tmp_path / "nowhere" / "room")
    assert list(tmp_path.iterdir()) == []
