import errno
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from storage import archive
from storage.archive import prune, put, restore, zstd
from storage.layout import Layout
from tests.support.spools import EPOCH, line, names_in

LATER = timedelta(minutes=11)


@pytest.fixture
def here(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path, hot_path=tmp_path / "hot.duckdb")
    layout.create()
    return layout


def file_in(here: Layout, number: int, text: bytes = b"") -> Path:
    path = here.spool / f"w1-{EPOCH:020d}-{number:06d}.ndjson"
    path.write_bytes(text or line(number) + b"\n")
    return path


def loose_in(here: Layout) -> list[str]:
    return [name[-13:] for name in names_in(here.archive) if name.endswith(".ndjson")]


def present() -> datetime:
    """Files get the present moment as their change time; nobody can set that one."""
    return datetime.now(UTC)


def pack(here: Layout, times: int = 1, hours: int = 48) -> Path:
    [bundle] = prune(here, hours=hours, now=present() + LATER * times)
    return bundle


def test_a_file_in_the_log_leaves_the_spool(here: Layout) -> None:
    path = file_in(here, 1)
    put(here, path)
    assert names_in(here.spool) == []
    assert names_in(here.archive) == [path.name]


def test_putting_it_away_again_is_harmless(here: Layout) -> None:
    put(here, file_in(here, 1))
    put(here, here.spool / names_in(here.archive)[0])
    # A power cut can undo a rename: the same file is there again.
    put(here, file_in(here, 1))
    assert names_in(here.spool) == []
    assert len(names_in(here.archive)) == 1


def test_an_archive_that_is_gone_is_an_error_and_the_file_stays(here: Layout) -> None:
    path = file_in(here, 1)
    here.archive.rmdir()
    with pytest.raises(FileNotFoundError):
        put(here, path)
    assert path.exists()


def test_loose_files_are_packed_when_they_are_due(here: Layout) -> None:
    for number in (1, 2):
        put(here, file_in(here, number))
    assert prune(here, hours=48, now=present() + timedelta(minutes=9)) == []
    assert len(loose_in(here)) == 2
    bundle = pack(here)
    assert names_in(here.archive) == [bundle.name]
    assert bundle.stat().st_mode & 0o777 == 0o600
    assert prune(here, hours=48, now=present() + LATER) == []


def test_many_bytes_are_due_at_once_in_bundles_of_a_bounded_size(here: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "PACK_BYTES", 2500)
    for number in range(1, 6):
        put(here, file_in(here, number, b"x" * 1000))
    assert len(prune(here, hours=48, now=present())) == 2
    assert loose_in(here) == ["000005.ndjson"]
    assert len(restore(here)) == 5


def test_one_call_packs_a_bounded_part(here: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "PACK_BYTES", 1)
    monkeypatch.setattr(archive, "PACK_BUNDLES", 2)
    for number in range(1, 4):
        put(here, file_in(here, number))
    assert len(prune(here, hours=48, now=present())) == 2
    assert loose_in(here) == ["000003.ndjson"]


def test_what_is_restored_is_what_was_put_in(here: Layout) -> None:
    texts = {number: line(number, target="/" + "ä" * number) * number for number in range(1, 8)}
    ages = {}
    for number, text in texts.items():
        path = file_in(here, number, text)
        ages[path.name] = path.stat().st_mtime
        put(here, path)
        if number in (2, 4):
            pack(here, number)
    restored = restore(here)
    assert [path.read_bytes() for path in restored] == list(texts.values())
    assert {path.name: path.stat().st_mtime for path in restored} == pytest.approx(ages)
    assert names_in(here.spool) == [path.name for path in restored]
    assert restore(here) == []


def test_what_is_in_the_spool_already_is_not_written_over(here: Layout) -> None:
    put(here, file_in(here, 1))
    file_in(here, 1, b"newer\n")
    assert restore(here) == []
    assert [path.read_bytes() for path in here.spool.iterdir()] == [b"newer\n"]


def test_a_pack_that_was_killed_before_its_files_went_harms_nothing(here: Layout) -> None:
    text = file_in(here, 1).read_bytes()
    put(here, *here.spool.iterdir())
    pack(here)
    put(here, file_in(here, 1))
    pack(here, 2)
    assert len(names_in(here.archive)) == 2
    assert [path.read_bytes() for path in restore(here)] == [text]


def test_a_bundle_that_was_never_finished_is_removed_and_its_files_are_packed(here: Layout) -> None:
    put(here, file_in(here, 1))
    (here.archive / "20260101T000000000000.tar.zst.part").write_bytes(b"half")
    bundle = pack(here)
    assert names_in(here.archive) == [bundle.name]


def test_bundles_are_kept_for_their_hours(here: Layout) -> None:
    put(here, file_in(here, 1))
    bundle = pack(here)
    prune(here, hours=48, now=present() + LATER + timedelta(hours=47))
    assert bundle.exists()
    prune(here, hours=48, now=present() + LATER + timedelta(hours=49))
    assert names_in(here.archive) == []


def test_the_usual_tools_open_a_bundle(here: Layout, tmp_path: Path) -> None:
    path = file_in(here, 1)
    text = path.read_bytes()
    put(here, path)
    (tmp_path / "bundle.tar").write_bytes(zstd.decompress(pack(here).read_bytes()))
    subprocess.run(["tar", "-xf", "bundle.tar"], cwd=tmp_path, check=True)
    assert (tmp_path / path.name).read_bytes() == text


def test_a_bundle_the_disk_has_damaged_does_not_hide_the_others(here: Layout, caplog: pytest.LogCaptureFixture) -> None:
    for number in (1, 2):
        put(here, file_in(here, number, line(number) * 2000))
        bundle = pack(here, number)
        if number == 1:
            bundle.write_bytes(bundle.read_bytes()[:40])
    assert [path.name[-9:] for path in restore(here)] == ["02.ndjson"]
    assert "skipped" in caplog.text


def test_a_full_disk_takes_the_oldest_bundle_first_and_no_record(
    here: Layout, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for number in (1, 2):
        put(here, file_in(here, number))
        pack(here, number)
    first, second = names_in(here.archive)
    put(here, file_in(here, 3))
    works = archive.zstd.open

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(archive.zstd, "open", full)
    assert prune(here, hours=48, now=present() + LATER * 3) == []
    assert first not in names_in(here.archive)
    assert second in names_in(here.archive)
    for _ in range(2):
        assert prune(here, hours=48, now=present() + LATER * 3) == []
    assert names_in(here.archive) == [f"w1-{EPOCH:020d}-000003.ndjson"]
    assert "free space" in caplog.text
    monkeypatch.setattr(archive.zstd, "open", works)
    pack(here, 3)
    assert loose_in(here) == []
