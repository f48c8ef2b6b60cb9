"""A copy of the log that is whole, whatever happens while it is taken; and a storage path made of it."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from storage import backup, compact
from storage.backup import BackupError
from storage.layout import Layout
from storage.lock import hold
from storage.read import open_log
from storage.settings import StorageSettings
from storage.store import Store
from tests.support import whole_log
from tests.support.rows import Time, a_store, batch, event, layout_of, open_store, promote_all
from tests.support.whole_log import every_view

REPOSITORY = Path(__file__).resolve().parents[2]


def settings(layout: Layout) -> StorageSettings:
    return StorageSettings(path=str(layout.root), memory_limit_mb=256)


def take(layout: Layout, folder: Path, **options) -> backup.Taken:
    return backup.take(layout, settings(layout), folder, version="1", **options)


def restored(folder: Path, to: Path) -> Layout:
    """The storage path that a backup makes, with a log as ropo opens it."""
    backup.restore(folder, to)
    layout = Layout(to, hot_path=to / "hot.duckdb")
    Store.open(layout, settings(layout)).close()
    return layout


def events_in(layout: Layout) -> list[tuple]:
    with open_log(layout) as log:
        return log.execute("select event_id from events order by all").fetchall()


def files(folder: Path) -> set[str]:
    return {path.name for path in (folder / "files").iterdir()}


def test_a_restored_log_is_row_by_row_the_one_that_was_copied(tmp_path: Path) -> None:
    layout, _ = whole_log.write(tmp_path / "log")
    before = every_view(layout)
    taken = take(layout, tmp_path / "copy")
    assert every_view(restored(tmp_path / "copy", tmp_path / "new")) == before
    assert taken.manifest.rows["events"] == len(before["events"])
    assert not list(layout.root.glob(".backup-*"))


def test_a_running_ropo_is_copied_as_its_readers_see_it(tmp_path: Path) -> None:
    """With rows that are filed, that pass, that are in both places, and that are not published yet."""
    now, layout = Time(), layout_of(tmp_path)
    with a_store(tmp_path, now, part_rows=20) as store, hold(layout):
        for step in range(8):
            store.write(batch(*(event(step * 300 + row) for row in range(8))))
            store.publish()
            seen = events_in(layout)
            store.write(batch(event(step * 300 + 9)))
            now.pass_by(61)
            store.promote(now.unix)
            taken = take(layout, tmp_path / "copy")
            assert taken.manifest.rows["events"] == len(seen)
            copy = restored(tmp_path / "copy", tmp_path / f"new-{step}")
            assert events_in(copy) == seen
            store.publish()


def test_what_is_there_already_is_not_copied_again(tmp_path: Path) -> None:
    layout, now = whole_log.write(tmp_path / "log")
    first = take(layout, tmp_path / "copy")
    assert first.copied_files == len({entry.sha256 for entry in first.manifest.entries})
    stats = {path.name: path.stat().st_ino for path in (tmp_path / "copy" / "files").iterdir()}
    store = open_store(tmp_path / "log", now, part_rows=1)
    whole_log.take_day(store, layout, 6)
    promote_all(store, now)
    store.close()
    second = take(layout, tmp_path / "copy")
    assert 1 < second.copied_files < first.copied_files
    for path in (tmp_path / "copy" / "files").iterdir():
        assert stats.get(path.name, path.stat().st_ino) == path.stat().st_ino
    # The image of before is not kept.
    assert files(tmp_path / "copy") == {entry.sha256 for entry in second.manifest.entries}
    assert every_view(restored(tmp_path / "copy", tmp_path / "new")) == every_view(layout)


def test_merged_parts_take_the_place_of_the_small_ones(tmp_path: Path) -> None:
    layout, _ = whole_log.write(tmp_path / "log")
    take(layout, tmp_path / "copy")
    before = len(files(tmp_path / "copy"))
    compact.compact(layout, part_rows=10_000, now=datetime(2027, 1, 1, tzinfo=UTC))
    take(layout, tmp_path / "copy")
    assert len(files(tmp_path / "copy")) < before
    assert every_view(restored(tmp_path / "copy", tmp_path / "new")) == every_view(layout)


def test_keys_are_for_their_owner_alone_and_only_there_if_asked_for(tmp_path: Path) -> None:
    layout, _ = whole_log.write(tmp_path / "log")
    (layout.secrets / "contact.keys").write_text("secret\n")
    (tmp_path / "config.yaml").write_text("storage: {}\n")
    copy = tmp_path / "copy"
    take(layout, copy)
    assert not any(b"secret\n" in path.read_bytes() for path in (copy / "files").iterdir())
    private = backup.keys_in([layout.secrets]) | {"config.yaml": tmp_path / "config.yaml"}
    taken = take(layout, copy, private=private)
    for entry in taken.manifest.entries:
        if entry.private:
            assert stat.S_IMODE((copy / "files" / entry.sha256).stat().st_mode) == 0o600
    new = restored(copy, tmp_path / "new")
    assert (new.secrets / "contact.keys").read_text() == "secret\n"
    assert stat.S_IMODE((new.secrets / "contact.keys").stat().st_mode) == 0o600
    assert stat.S_IMODE(new.secrets.stat().st_mode) == 0o700
    assert stat.S_IMODE((new.root / "config.yaml").stat().st_mode) == 0o600


def test_a_damaged_copy_is_refused_and_nothing_is_made(tmp_path: Path) -> None:
    layout, _ = whole_log.write(tmp_path / "log")
    copy = tmp_path / "copy"
    take(layout, copy)
    path = max((copy / "files").iterdir(), key=lambda path: path.stat().st_size)
    whole = path.read_bytes()
    path.write_bytes(whole[:100] + b"x" + whole[101:])
    with pytest.raises(BackupError, match="damaged"):
        backup.restore(copy, tmp_path / "new")
    path.unlink()
    with pytest.raises(BackupError, match="missing"):
        backup.restore(copy, tmp_path / "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "log"]
    # The next run puts it right.
    take(layout, copy)
    restored(copy, tmp_path / "new")


def test_a_part_that_is_not_what_it_was_is_not_copied(tmp_path: Path) -> None:
    layout, _ = whole_log.write(tmp_path / "log")
    part = next(layout.cold.glob("events/day=*/*.parquet"))
    part.write_bytes(part.read_bytes().replace(b"PAR1", b"PAR2", 1))
    with pytest.raises(BackupError, match=r"damaged.*`ropo storage check`"):
        take(layout, tmp_path / "copy")
    assert not (tmp_path / "copy" / "manifest.json").exists()


@pytest.mark.parametrize(
    "text, said",
    [
        ("{", "cannot be read"),
        ('{"format": 99}', "cannot be read"),
        (
            '{"format": 99, "taken_at": "", "ropo": "9", "batch": 1, "migration": 1, "rows": {}, "entries": []}',
            "newer than this one",
        ),
        (
            '{"format": 1, "taken_at": "", "ropo": "1", "batch": 1, "migration": 1, "rows": {}, '
            '"entries": [{"path": "../out", "sha256": "0", "size": 1}]}',
            "no path below",
        ),
    ],
)
def test_a_manifest_that_is_none_of_ours_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(BackupError, match=said):
        backup.restore(tmp_path, tmp_path / "new")
    with pytest.raises(BackupError, match="no backup"):
        backup.restore(tmp_path / "elsewhere", tmp_path / "new")


def test_folders_with_other_things_are_left_alone(tmp_path: Path) -> None:
    layout, _ = whole_log.write(tmp_path / "log", days=4, filed=2)
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "holiday.jpg").touch()
    with pytest.raises(BackupError, match="holiday"):
        take(layout, tmp_path / "copy")
    (tmp_path / "copy" / "holiday.jpg").unlink()
    take(layout, tmp_path / "copy")
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "holiday.jpg").touch()
    with pytest.raises(BackupError, match="new folder"):
        backup.restore(tmp_path / "copy", tmp_path / "new")


SCRIPT = """
import sys
from pathlib import Path
from storage import backup
from tests.storage.test_backup import layout_of, take
if sys.argv[2] == "take":
    take(layout_of(Path(sys.argv[1]) / "log"), Path(sys.argv[1]) / "copy")
else:
    backup.restore(Path(sys.argv[1]) / "copy", Path(sys.argv[1]) / "new")
"""


@pytest.mark.parametrize("what, point", [("take", "backup-copied"), ("restore", "restore-copied")])
def test_whoever_is_killed_leaves_what_was_there_before(tmp_path: Path, what: str, point: str) -> None:
    layout, now = whole_log.write(tmp_path / "log")
    take(layout, tmp_path / "copy")
    before = every_view(layout)
    store = open_store(tmp_path / "log", now, part_rows=1)
    whole_log.take_day(store, layout, 6)
    promote_all(store, now)
    store.close()
    environment = os.environ | {"ROPO_CRASH_POINTS": f"{point}=1"}
    command = [sys.executable, "-c", SCRIPT, str(tmp_path), what]
    assert subprocess.run(command, cwd=REPOSITORY, env=environment, timeout=60).returncode == -signal.SIGKILL
    assert not (tmp_path / "new").exists()
    assert every_view(restored(tmp_path / "copy", tmp_path / "new")) == before
    take(layout, tmp_path / "copy")
    assert every_view(restored(tmp_path / "copy", tmp_path / "newer")) == every_view(layout)
    assert not list(layout.root.glob(".backup-*"))
