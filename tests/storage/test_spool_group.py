import asyncio
import errno
import os
import threading
from pathlib import Path

import pytest

from storage.spool_file import create
from storage.spool_group import SyncGroup
from storage.spool_sync import Step
from tests.support.spools import eventually


class Gate:
    """An fdatasync that waits to be let through, and notes what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.entered = threading.Semaphore(0)
        self.pass_on = threading.Semaphore(0)
        self.together = 0
        self.most_together = 0

    def __call__(self, fd: int) -> None:
        self.asked.append(fd)
        self.together += 1
        self.most_together = max(self.most_together, self.together)
        self.entered.release()
        self.pass_on.acquire(timeout=30)
        os.fdatasync(fd)
        self.together -= 1

    async def enter(self) -> None:
        assert await asyncio.to_thread(self.entered.acquire, timeout=30)


class File:
    """What the writer is for the group: one open file, dirty or not."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "a.open")
        self.fd = create(self.path)
        self.dirty = False
        self.failed: list[str] = []
        self.removed: list[bytes] = []

    def step(self) -> Step | None:
        if not self.dirty:
            return None
        self.dirty = False
        return Step(self.path, self.fd, 0, dirty=True, fresh=False)

    def left(self) -> Step:
        return Step(self.path, self.fd, 0, dirty=True, fresh=True, seal=True)


@pytest.fixture
def file(tmp_path: Path) -> File:
    return File(tmp_path)


def group_of(file: File, fdatasync, *, sync: str = "group", retry_secs: float = 0.01) -> SyncGroup:
    return SyncGroup(
        asyncio.get_running_loop(),
        name="s",
        sync=sync,
        interval_secs=0.001,
        retry_secs=retry_secs,
        fdatasync=fdatasync,
        open_step=file.step,
        sync_failed=file.failed.append,
        removed=file.removed.append,
    )


async def test_one_sync_is_in_flight_and_the_next_group_gathers_meanwhile(file: File) -> None:
    gate = Gate()
    group = group_of(file, gate)
    file.dirty = True
    first = group.wait()
    await gate.enter()
    file.dirty = True
    later = [group.wait() for _ in range(5)]
    await asyncio.sleep(0.01)
    assert gate.asked == [file.fd]
    assert not first.done()
    gate.pass_on.release()
    await first
    await gate.enter()
    assert not any(future.done() for future in later)
    gate.pass_on.release()
    await asyncio.gather(*later)
    assert gate.asked == [file.fd, file.fd]
    assert gate.most_together == 1
    assert group.syncs == 2
    assert await group.close(10)
    os.close(file.fd)


async def test_all_that_is_asked_for_in_one_turn_of_the_loop_shares_a_sync(file: File) -> None:
    group = group_of(file, os.fdatasync)
    file.dirty = True
    await asyncio.gather(*(group.wait() for _ in range(50)))
    assert group.syncs == 1
    assert await group.close(10)
    os.close(file.fd)


async def test_a_file_that_was_left_while_its_sync_runs_is_closed_by_a_later_job(file: File, tmp_path: Path) -> None:
    gate = Gate()
    group = group_of(file, gate)
    file.dirty = True
    synced = group.wait()
    await gate.enter()
    group.leave(file.left())
    sealed = group.wait_for_seals()
    await asyncio.sleep(0.01)
    os.fstat(file.fd)  # still open: the thread uses it
    assert group.is_sealing
    gate.pass_on.release(2)
    await synced
    await sealed
    assert (tmp_path / "a.ndjson").exists()
    assert not group.is_sealing
    assert await group.close(10)


@pytest.mark.parametrize(("sync", "syncs"), [("group", 1), ("always", 1), ("off", 0)])
async def test_the_setting_says_whether_a_dirty_file_is_synced(file: File, sync: str, syncs: int) -> None:
    group = group_of(file, os.fdatasync, sync=sync)
    file.dirty = True
    group.dirtied()
    if syncs:
        await eventually(lambda: group.syncs, "the group was synced")
    await asyncio.sleep(0.01)
    assert group.syncs == syncs
    assert file.dirty is (sync == "off")
    assert await group.close(10)
    os.close(file.fd)


async def test_who_waits_has_a_sync_even_if_syncing_is_off(file: File) -> None:
    group = group_of(file, os.fdatasync, sync="off")
    file.dirty = True
    await group.wait()
    assert group.syncs == 1
    assert await group.close(10)
    os.close(file.fd)


async def test_a_failing_disk_lets_go_who_waits_and_is_told_once(file: File, caplog: pytest.LogCaptureFixture) -> None:
    refusing = True

    def fdatasync(fd: int) -> None:
        if refusing:
            raise OSError(errno.EIO, "no")

    group = group_of(file, fdatasync)
    for _ in range(3):
        file.dirty = True
        await group.wait()
    assert (group.syncs, group.sync_errors) == (0, 3)
    assert file.failed == [file.path] * 3
    assert caplog.text.count("sync_failed") == 1
    refusing = False
    for _ in range(2):
        file.dirty = True
        await group.wait()
    assert caplog.text.count("syncs again") == 1
    assert await group.close(10)
    os.close(file.fd)


async def test_a_file_that_cannot_be_sealed_is_tried_again_until_it_can(
    file: File, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a.ndjson").mkdir()
    group = group_of(file, os.fdatasync)
    group.leave(file.left())
    await group.wait_for_seals()
    assert (tmp_path / "a.open").exists()
    await asyncio.sleep(0.05)
    assert caplog.text.count("not_sealed") == 1
    (tmp_path / "a.ndjson").rmdir()
    await eventually(lambda: group.sealed, "the file is sealed after all")
    assert (tmp_path / "a.ndjson").is_file()
    assert group.syncs == 1
    assert await group.close(10)


async def test_close_tries_once_more_to_seal_what_could_not_be_sealed(file: File, tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").mkdir()
    group = group_of(file, os.fdatasync, retry_secs=3600)
    group.leave(file.left())
    await group.wait_for_seals()
    (tmp_path / "a.ndjson").rmdir()
    assert await group.close(10)
    assert (tmp_path / "a.ndjson").is_file()


async def test_a_file_that_somebody_removed_is_told_and_not_tried_again(file: File, tmp_path: Path, caplog) -> None:
    group = group_of(file, os.fdatasync)
    (tmp_path / "a.open").unlink()
    group.leave(file.left())
    await group.wait_for_seals()
    await asyncio.sleep(0.03)
    assert caplog.text.count("who removed it") == 1
    assert await group.close(10)


async def test_cancelling_who_waits_is_harmless(file: File) -> None:
    group = group_of(file, os.fdatasync)
    file.dirty = True
    impatient, patient = group.wait(), group.wait()
    impatient.cancel()
    await patient
    assert await group.close(10)
    os.close(file.fd)


async def test_waiting_for_seals_with_nothing_to_seal_is_over_at_once(file: File) -> None:
    group = group_of(file, os.fdatasync)
    assert group.wait_for_seals().done()
    assert await group.close(10)
    os.close(file.fd)


async def test_close_does_what_is_left_and_lets_go_who_waits(file: File, tmp_path: Path) -> None:
    gate = Gate()
    group = group_of(file, gate)
    file.dirty = True
    running = group.wait()
    await gate.enter()
    group.leave(file.left())
    waiting = group.wait()
    gate.pass_on.release(2)
    assert await group.close(10)
    assert running.done()
    assert waiting.done()
    assert (tmp_path / "a.ndjson").exists()
    await asyncio.sleep(0)  # the thread's own call comes too late and does nothing
    assert group.sealed == 1


async def test_close_gives_up_on_a_disk_that_hangs(file: File) -> None:
    gate = Gate()
    group = group_of(file, gate)
    file.dirty = True
    waiting = group.wait()
    await gate.enter()
    assert not await group.close(0.01)
    assert waiting.done()
    gate.pass_on.release()
    await asyncio.sleep(0.01)
    os.close(file.fd)
