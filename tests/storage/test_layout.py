import os
import stat
from pathlib import Path

import pytest

from storage import layout
from storage.layout import Layout, is_ours, is_tmpfs

MOUNTS = """\
/dev/vda / ext4 rw 0 0
tmpfs /dev/shm tmpfs rw,nosuid 0 0
tmpfs /run/with\\040blank tmpfs rw 0 0
/dev/vdb /dev/shm/disk ext4 rw 0 0
broken
"""


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/dev/shm", True),
        ("/dev/shm/ropo", True),
        ("/dev/shm/disk/ropo", False),
        ("/dev/shmoo", False),
        ("/run/with blank/x", True),
        ("/var/lib", False),
    ],
)
def test_the_nearest_mount_point_says_whether_it_is_tmpfs(path: str, answer: bool) -> None:
    assert is_tmpfs(Path(path), MOUNTS) is answer


def test_the_later_of_two_mounts_on_one_point_counts() -> None:
    assert is_tmpfs(Path("/mnt/a"), "tmpfs /mnt tmpfs rw\n/dev/x /mnt ext4 rw\n") is False


def test_create_makes_every_folder_and_closes_secrets_to_all_others(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        Layout(tmp_path / "a" / "data", shared_memory=tmp_path).create()
    finally:
        os.umask(old)
    root = tmp_path / "a" / "data"
    assert sorted(path.name for path in root.iterdir()) == [
        "archive", "cold", "export", "quarantine", "secrets", "spool", "status",
    ]  # fmt: skip
    assert mode(root / "secrets") == 0o700
    assert {mode(path) for path in root.iterdir() if path.name != "secrets"} == {0o750}


def test_create_can_be_called_again_and_closes_secrets_that_were_open(tmp_path: Path) -> None:
    here = Layout(tmp_path, shared_memory=tmp_path)
    here.create()
    here.secrets.chmod(0o755)
    here.create()
    assert mode(here.secrets) == 0o700


def test_a_path_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError) as caught:
        Layout(tmp_path / "file" / "data", shared_memory=tmp_path).create()
    assert str(caught.value.filename).startswith(str(tmp_path / "file"))


def test_a_relative_root_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    here = Layout(Path("data"), hot_path=Path("hot/h.duckdb"))
    assert here.log_db == tmp_path / "data" / "log.duckdb"
    assert here.hot_db == tmp_path / "hot" / "h.duckdb"


def test_without_tmpfs_the_hot_rows_lie_beside_the_log(tmp_path: Path) -> None:
    assert Layout(tmp_path, shared_memory=tmp_path / "missing").hot_db == tmp_path / "hot.duckdb"


class TestOnTmpfs:
    @pytest.fixture
    def memory(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A folder that is taken for a tmpfs with room."""
        monkeypatch.setattr(layout, "is_tmpfs", lambda path, mounts: True)
        monkeypatch.setattr(layout, "MIN_FREE_BYTES", 0)
        folder = tmp_path / "shm"
        folder.mkdir()
        return folder

    def test_the_hot_rows_lie_in_a_folder_of_this_user_and_root(self, tmp_path: Path, memory: Path) -> None:
        one = Layout(tmp_path / "one", shared_memory=memory)
        two = Layout(tmp_path / "two", shared_memory=memory)
        assert one.hot_db.parent.parent == memory
        assert one.hot_db.parent.name.startswith(f"ropo-{os.getuid()}-")
        assert one.hot_db != two.hot_db
        assert Layout(tmp_path / "one", shared_memory=memory).hot_db == one.hot_db
        one.create()
        assert one.hot_db.parent.is_dir()

    def test_a_full_tmpfs_is_not_used(self, tmp_path: Path, memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(layout, "MIN_FREE_BYTES", 1 << 62)
        assert Layout(tmp_path / "one", shared_memory=memory).hot_db == tmp_path / "one" / "hot.duckdb"

    def test_what_was_published_there_stays_there_when_it_fills(
        self, tmp_path: Path, memory: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = Layout(tmp_path / "one", shared_memory=memory)
        first.create()
        first.hot_db.write_bytes(b"")
        monkeypatch.setattr(layout, "MIN_FREE_BYTES", 1 << 62)
        assert Layout(tmp_path / "one", shared_memory=memory).hot_db == first.hot_db

    @pytest.mark.parametrize("trap", ["link", "open to others"])
    def test_a_folder_that_is_not_ours_alone_is_not_used(self, tmp_path: Path, memory: Path, trap: str) -> None:
        folder = Layout(tmp_path / "one", shared_memory=memory).hot_db.parent
        if trap == "link":
            (tmp_path / "elsewhere").mkdir()
            folder.symlink_to(tmp_path / "elsewhere")
        else:
            folder.mkdir()
            folder.chmod(0o777)
        assert Layout(tmp_path / "one", shared_memory=memory).hot_db == tmp_path / "one" / "hot.duckdb"

    def test_a_trap_set_after_the_choice_is_refused(self, tmp_path: Path, memory: Path) -> None:
        here = Layout(tmp_path / "one", shared_memory=memory)
        here.hot_db.parent.mkdir()
        here.hot_db.parent.chmod(0o777)
        with pytest.raises(PermissionError, match=r"storage\.hot_path"):
            here.create()


def test_a_folder_of_another_user_is_not_ours(tmp_path: Path) -> None:
    there = os.lstat(tmp_path)
    assert is_ours(there, there.st_uid)
    assert not is_ours(there, there.st_uid + 1)
