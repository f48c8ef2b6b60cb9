from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from storage import publish
from storage.publish import publish_image, room_at

CONTENT = os.urandom(3_000_000)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "work.duckdb"
    path.write_bytes(CONTENT)
    return path


def test_the_image_is_a_whole_copy_that_nobody_can_write(tmp_path: Path, source: Path) -> None:
    old = os.umask(0o077)
    try:
        publish_image(source, tmp_path / "shown" / "hot.duckdb")
    finally:
        os.umask(old)
    image = tmp_path / "shown" / "hot.duckdb"
    assert image.read_bytes() == CONTENT
    assert stat.S_IMODE(image.stat().st_mode) == 0o444
    assert os.listdir(image.parent) == ["hot.duckdb"]


def test_who_has_the_old_image_open_goes_on_with_it(tmp_path: Path, source: Path) -> None:
    image = tmp_path / "hot.duckdb"
    publish_image(source, image)
    with open(image, "rb") as held:
        source.write_bytes(b"new")
        publish_image(source, image)
        assert held.read() == CONTENT
    assert image.read_bytes() == b"new"


@pytest.mark.parametrize("error", [errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP])
@pytest.mark.parametrize("after", [0, 1_000_000])
def test_a_system_that_cannot_copy_within_the_kernel_copies_by_hand(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch, error: int, after: int
) -> None:
    def copies(reading: int, writing: int, count: int, at: int, to: int) -> int:
        if at < after:
            return os.pwrite(writing, os.pread(reading, min(count, after - at), at), to)
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(publish.os, "copy_file_range", copies)
    publish_image(source, tmp_path / "hot.duckdb")
    assert (tmp_path / "hot.duckdb").read_bytes() == CONTENT


def test_a_full_disk_leaves_the_old_image_and_nothing_else(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = tmp_path / "shown" / "hot.duckdb"
    publish_image(source, image)

    def full(*_: int) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(publish.os, "copy_file_range", full)
    source.write_bytes(b"new")
    with pytest.raises(OSError, match="No space"):
        publish_image(source, image)
    assert image.read_bytes() == CONTENT
    assert os.listdir(image.parent) == ["hot.duckdb"]


def test_what_a_crash_left_half_copied_is_in_nobodys_way(tmp_path: Path, source: Path) -> None:
    half = tmp_path / "hot.duckdb.tmp"
    half.write_bytes(b"half")
    half.chmod(0o444)
    publish_image(source, tmp_path / "hot.duckdb")
    assert (tmp_path / "hot.duckdb").read_bytes() == CONTENT
    assert not half.exists()


def test_a_link_planted_in_place_of_the_copy_is_not_followed(tmp_path: Path, source: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"untouched")
    (tmp_path / "hot.duckdb.tmp").symlink_to(victim)
    publish_image(source, tmp_path / "hot.duckdb")
    assert victim.read_bytes() == b"untouched"
    assert (tmp_path / "hot.duckdb").read_bytes() == CONTENT


def test_room_is_what_may_still_be_written(tmp_path: Path) -> None:
    assert 0 < room_at(tmp_path) <= os.statvfs(tmp_path).f_blocks * os.statvfs(tmp_path).f_frsize
