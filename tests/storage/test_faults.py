"""Whatever the disk does to a worker: the site goes on, what can be kept is kept, and what cannot is counted.

Faults that a test can hand in are handed in; those that only a real disk has are had from a small one.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage import spool as spool_module
from storage import spool_group
from storage.recovery import recover
from storage.sealed import sealed
from storage.spool import NEXT, SpoolWriter
from storage.spool_sync import Job, Step, perform
from tests.support.small_disk import fill, remount, small_disk, take_all_inodes
from tests.support.spools import (
    eventually,
    exchange,
    line,
    losses_in,
    names_in,
    open_writer,
    seqs_in,
    stops_in,
)  # fmt: skip
from tracker.model import encode_line


class Disk:
    """Stands in for the system calls of a writer; each refuses with the errno in `ails`, if there is one for it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ails: dict[str, int] = {}
        monkeypatch.setattr(spool_module, "create", self.standing_in("open", spool_module.create))
        rename = self.standing_in("rename", os.rename)
        monkeypatch.setattr("storage.spool_sync.perform", lambda job, **calls: perform(job, rename=rename, **calls))
        self.write = self.standing_in("write", os.write)
        self.fdatasync = self.standing_in("fdatasync", os.fdatasync)

    def standing_in(self, name: str, call: Callable) -> Callable:
        def standing_in(*arguments):
            if number := self.ails.get(name):
                raise OSError(number, os.strerror(number))
            return call(*arguments)

        return standing_in

    def writer(self, folder: Path, **changes) -> SpoolWriter:
        return open_writer(folder, write=self.write, fdatasync=self.fdatasync, **changes)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


FULL = (errno.ENOSPC, errno.EDQUOT)
REFUSALS = [
    (call, number)
    for call, numbers in {
        # ENOSPC of open: no inodes are left.
        "open": (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.ENOENT, errno.EMFILE, errno.ENFILE, errno.EIO),
        "write": (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO),
    }.items()
    for number in numbers
]  # fmt: skip


@pytest.mark.parametrize(
    "call, number", REFUSALS, ids=[f"{call} {errno.errorcode[number]}" for call, number in REFUSALS]
)
async def test_what_is_refused_waits_in_bounds_and_the_rest_is_counted_exactly(
    disk: Disk, tmp_path: Path, caplog: pytest.LogCaptureFixture, call: str, number: int
) -> None:
    writer = disk.writer(tmp_path, max_pending=10)
    writer.append(line(1), 1)
    await writer.seal()
    disk.ails[call] = number
    for seq in range(2, 41):
        writer.append(line(seq), seq)
        await asyncio.sleep(0.001)  # it tries again and again meanwhile
    assert (writer.counters["pending"], writer.counters["lost"]) == (10, 29)
    reason = "disk_full" if number in FULL else "write_error"
    assert caplog.text.count(f"error={reason}") == caplog.text.count("error=losing") == 1
    assert NEXT.get(number, "look after the disk") in caplog.text
    disk.ails.clear()
    await eventually(lambda: not writer.counters["pending"], "what waited is written")
    assert "writes again" in caplog.text and "lost=29" in caplog.text
    writer.append(line(41), 41)
    await writer.close(41)
    assert seqs_in(tmp_path) == [*range(1, 12), 41]
    [loss] = losses_in(tmp_path)
    assert (loss.first_seq, loss.last_seq, loss.count, loss.reason) == (12, 40, 29, reason)
    assert stops_in(tmp_path)[0].last_seq == 41


async def test_each_trouble_is_told_once_and_with_its_own_losses(disk: Disk, tmp_path: Path, caplog) -> None:
    writer = disk.writer(tmp_path, max_pending=0)
    for trouble in range(2):
        disk.ails["write"] = errno.ENOSPC
        for seq in range(3):
            writer.append(line(3 * trouble + seq + 1), 3 * trouble + seq + 1)
            # It is not said again each time the disk says something else.
            disk.ails["write"] = errno.EIO if disk.ails["write"] == errno.ENOSPC else errno.ENOSPC
            await asyncio.sleep(0.03)
        disk.ails.clear()
        await eventually(lambda count=trouble + 1: caplog.text.count("writes again") == count, "it writes again")
    await writer.close(6)
    assert [caplog.text.count(f"error={reason}") for reason in ("disk_full", "write_error", "losing")] == [2, 2, 2]
    assert caplog.text.count("lost=3\n") == 2
    assert sum(loss.count for loss in losses_in(tmp_path)) == 6


async def test_losses_of_an_outage_over_two_hours_are_told_of_each(disk: Disk, tmp_path: Path) -> None:
    writer = disk.writer(tmp_path, max_pending=0)
    disk.ails["write"] = errno.ENOSPC
    for seq, at in enumerate(["10:59:58.0", "10:59:59.0", "11:00:01.0"], start=1):
        record = exchange(seq)
        record.occurred_at = f"2026-11-22 {at}"
        writer.append(encode_line(record), seq)
    disk.ails.clear()
    await writer.close(3)
    assert [(loss.occurred_at[11:13], loss.count) for loss in losses_in(tmp_path)] == [("10", 2), ("11", 1)]


@given(st.lists(st.sampled_from(["line", "form", "full", "well", "seal", "turn"]), max_size=60), st.integers(0, 5))
def test_every_number_is_in_a_file_or_in_a_loss_whatever_comes_when(steps: list[str], room: int) -> None:
    """A property over all orders of lines and troubles: nothing twice, nothing silently gone."""

    async def live(folder: Path) -> int:
        ails: list[int] = []

        def write(fd: int, data: bytes) -> int:
            if ails:
                return os.write(fd, data[: ails[0]]) if ails[0] and len(data) > ails[0] else _refuse()
            return os.write(fd, data)

        writer = open_writer(folder, write=write, max_pending=room, retry_secs=0.0005)
        seq = 0
        for step in steps:
            if step == "line":
                writer.append(line(seq := seq + 1), seq)
            elif step == "form":
                writer.append_durable(line(seq := seq + 1), seq)
            elif step == "full":
                ails[:] = [seq % 40]
            elif step == "well":
                ails.clear()
            elif step == "seal":
                await writer.seal()
            else:
                await asyncio.sleep(0.001)
        ails.clear()
        await writer.close(seq)
        return seq

    from tempfile import TemporaryDirectory

    logging.getLogger("storage.spool").disabled = True
    try:
        with TemporaryDirectory() as name:
            last = asyncio.run(live(Path(name)))
            seqs, losses = seqs_in(Path(name)), losses_in(Path(name))
    finally:
        logging.getLogger("storage.spool").disabled = False
    assert len(seqs) == len(set(seqs))
    assert len(seqs) + sum(loss.count for loss in losses) == last
    for loss in losses:
        assert loss.count <= loss.last_seq - loss.first_seq + 1


def _refuse() -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


async def test_a_file_whose_sync_failed_is_never_trusted_again(disk: Disk, tmp_path: Path, caplog) -> None:
    """The kernel takes its pages for clean after that, and the next sync would claim that all is well."""
    synced: list[str] = []

    def fdatasync(fd: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{fd}"))
        disk.fdatasync(fd)

    writer = open_writer(tmp_path, fdatasync=fdatasync)
    disk.ails["fdatasync"] = errno.EIO
    for seq in (1, 2, 3):
        writer.append(line(seq), seq)
    await writer.append_durable(line(4), 4)
    assert (writer.counters["sync_errors"], writer.counters["not_durable"], len(synced)) == (1, 4, 1)
    disk.ails.clear()
    # It is the collector's at once, which can still read it, and what comes next goes into another.
    await eventually(lambda: sealed(tmp_path), "the file is sealed")
    await writer.append_durable(line(5), 5)
    assert synced[0] != synced[1]
    assert (writer.counters["syncs"], writer.counters["not_durable"]) == (1, 4)
    await writer.close(5)
    # Not written once more either: they would be in the log twice.
    assert seqs_in(tmp_path) == [1, 2, 3, 4, 5]
    assert synced.count(synced[0]) == 1
    assert caplog.text.count("error=sync_failed") == 1


async def test_files_that_cannot_be_sealed_wait_under_their_names(disk: Disk, tmp_path: Path, caplog) -> None:
    writer = disk.writer(tmp_path)
    disk.ails["rename"] = errno.EROFS
    for seq in (1, 2, 3):
        writer.append(line(seq), seq)
        await writer.seal()
    assert sealed(tmp_path) == []
    assert writer.counters["sealed"] == 0
    disk.ails.clear()
    await eventually(lambda: writer.counters["sealed"] == 3, "they are sealed after all")
    await writer.close(3)
    assert seqs_in(tmp_path) == [1, 2, 3]
    assert caplog.text.count("error=not_sealed") == 3


async def test_a_writer_that_ends_before_they_could_be_sealed_leaves_them_to_recovery(
    disk: Disk, tmp_path: Path
) -> None:
    writer = disk.writer(tmp_path)
    disk.ails["rename"] = errno.EIO
    writer.append(line(1), 1)
    await writer.close(1)
    assert [name[-5:] for name in names_in(tmp_path)] == [".open"]
    assert len(recover(tmp_path)) == 1
    assert seqs_in(tmp_path) == [1]


async def test_while_the_disk_hangs_lines_are_taken_forms_wait_and_it_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_group, "HANG_SECS", 0.01)
    go = threading.Event()

    def fdatasync(fd: int) -> None:
        go.wait(30)

    writer = open_writer(tmp_path, fdatasync=fdatasync, seal_interval_secs=0.01, durable_seal_secs=0.005)
    form = writer.append_durable(line(1), 1)
    for seq in range(2, 31):
        writer.append(line(seq), seq)
        await asyncio.sleep(0.002)
    assert not form.done()  # whoever waits for it gives up by himself: see proxy.copies
    await eventually(lambda: "disk_hangs" in caplog.text, "it is told")
    assert writer.counters["pending"] == writer.counters["lost"] == 0
    go.set()
    await form
    await eventually(lambda: "answers again" in caplog.text, "it is told that it is over")
    await writer.close(30)
    assert caplog.text.count("error=disk_hangs") == 1
    assert seqs_in(tmp_path) == list(range(1, 31))


def test_how_long_a_disk_hangs_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock:
        now = 100.0

        def time(self) -> float:
            return self.now

    group = spool_group.SyncGroup.__new__(spool_group.SyncGroup)
    group._loop, group._job, group._job_began = Clock(), None, 100.0
    assert group.hanging_secs == 0
    group._job = Job([Step("a.open", -1, 0, dirty=False, fresh=False)], sync=True)
    told = []
    for group._loop.now in (100.1, 104.9, 105.0, 112.5):
        told.append(group.hanging_secs)
    assert told == [0, 0, 5, 12]


# -- real ones


async def test_a_real_disk_without_inodes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with small_disk(tmp_path / "disk", "size=4m,nr_inodes=12") as folder:
        taken = take_all_inodes(folder)
        writer = open_writer(folder, max_pending=5)
        for seq in range(1, 11):
            writer.append(line(seq), seq)
        assert (writer.counters["pending"], writer.counters["lost"]) == (5, 5)
        assert "inodes" in caplog.text
        for path in taken:
            path.unlink()
        await eventually(lambda: not writer.counters["pending"], "what waited is written")
        await writer.close(10)
        assert seqs_in(folder) == [1, 2, 3, 4, 5]
        assert [(loss.first_seq, loss.count) for loss in losses_in(folder)] == [(6, 5)]


async def test_a_real_disk_that_became_read_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with small_disk(tmp_path / "disk", "size=4m") as folder:
        writer = open_writer(folder, max_pending=5)
        writer.append(line(1), 1)
        await writer.seal()
        remount(folder, "ro")
        for seq in range(2, 11):
            writer.append(line(seq), seq)
        assert writer.counters["lost"] == 4
        assert "read-only" in caplog.text
        remount(folder, "rw")
        await eventually(lambda: not writer.counters["pending"], "what waited is written")
        await writer.close(10)
        assert seqs_in(folder) == [1, 2, 3, 4, 5, 6]
        assert [(loss.first_seq, loss.count) for loss in losses_in(folder)] == [(7, 4)]


async def test_a_real_full_disk_gives_every_whole_line_and_counts_the_rest(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=400k") as folder:
        writer = open_writer(folder, max_pending=20, seal_interval_secs=0.05)
        seq = 0
        while not writer.counters["lost"]:
            writer.append(line(seq := seq + 1, target="/" + "x" * 700), seq)
        before = seq
        for _ in range(30):
            writer.append(line(seq := seq + 1, target="/" + "x" * 700), seq)
        await eventually(lambda: sealed(folder), "what is whole is sealed")
        whole = seqs_in(folder)
        assert whole == list(range(1, len(whole) + 1))
        # The collector takes them away, and there is room again.
        for path in sealed(folder):
            shutil.copy(path, tmp_path)
            path.unlink()
        await eventually(lambda: not writer.counters["pending"], "what waited is written")
        await writer.close(seq)
        for path in sealed(folder):
            shutil.copy(path, tmp_path)
    (tmp_path / "disk").rmdir()
    found, lost = seqs_in(tmp_path), sum(loss.count for loss in losses_in(tmp_path))
    assert found == list(range(1, before + 1))[:-1] and lost == 31
    assert len(found) + lost == seq


async def test_a_worker_that_ends_on_a_full_disk_says_what_it_lost(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=4m") as disk:
        folder = disk / "spool"
        folder.mkdir()
        writer = open_writer(folder, last_room=disk / "room")
        writer.append(line(1), 1)
        await writer.seal()
        fill(disk)
        for seq in range(2, 12):
            writer.append(line(seq), seq)
        await writer.close(11)
        assert seqs_in(folder) == [1]
        assert [(loss.first_seq, loss.last_seq, loss.count, loss.reason) for loss in losses_in(folder)] == [
            (2, 11, 10, "disk_full")
        ]
        assert [stop.last_seq for stop in stops_in(folder)] == [11]


async def test_without_the_room_that_was_kept_for_it_nobody_would_know(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=4m") as disk:
        writer = open_writer(disk)
        writer.append(line(1), 1)
        await writer.seal()
        fill(disk)
        writer.append(line(2), 2)
        await writer.close(2)
        assert (losses_in(disk), stops_in(disk)) == ([], [])
