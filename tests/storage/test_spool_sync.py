import errno
import os
import threading
from pathlib import Path

import pytest

from storage.spool_file import create
from storage.spool_sync import Job, Step, SyncThread, perform


def step_of(folder: Path, text: bytes = b"whole\n", **changes) -> Step:
    path = folder / "a.open"
    fd = create(path)
    os.write(fd, text)
    options = {"size": len(text), "dirty": True, "fresh": True, "seal": True}
    return Step(str(path), fd, **(options | changes))


def is_closed(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError as error:
        return error.errno == errno.EBADF
    return False


def refuse(*_: object) -> None:
    raise OSError(errno.EIO, "no")


def test_a_file_is_synced_then_sealed_then_closed(tmp_path: Path) -> None:
    step = step_of(tmp_path)
    fd = step.fd
    seen = []

    def fdatasync(number: int) -> None:
        seen.append((number, (tmp_path / "a.open").exists()))
        os.fdatasync(number)

    job = Job([step], sync=True)
    perform(job, fdatasync=fdatasync)
    assert seen == [(fd, True)]
    assert (tmp_path / "a.ndjson").read_bytes() == b"whole\n"
    assert is_closed(fd)
    assert (job.syncs, step.sync_error, step.seal_error) == (1, None, None)


def test_a_file_that_is_still_written_is_synced_and_stays_open(tmp_path: Path) -> None:
    step = step_of(tmp_path, seal=False)
    perform(Job([step], sync=True), fdatasync=os.fdatasync)
    assert not is_closed(step.fd)
    assert (tmp_path / "a.open").exists()
    os.close(step.fd)


@pytest.mark.parametrize(("dirty", "sync"), [(False, True), (True, False)])
def test_nothing_is_synced_that_is_clean_or_not_asked_for(tmp_path: Path, dirty: bool, sync: bool) -> None:
    job = Job([step_of(tmp_path, dirty=dirty)], sync=sync)
    perform(job, fdatasync=refuse)
    assert job.syncs == 0
    assert (tmp_path / "a.ndjson").exists()


def test_a_torn_file_is_cut_before_it_is_sealed(tmp_path: Path) -> None:
    perform(Job([step_of(tmp_path, b"whole\nhal", size=6, torn=True)], sync=True), fdatasync=os.fdatasync)
    assert (tmp_path / "a.ndjson").read_bytes() == b"whole\n"


def test_a_torn_file_that_cannot_be_cut_is_not_sealed_until_it_can(tmp_path: Path) -> None:
    step = step_of(tmp_path, b"whole\nhal", size=6, torn=True)
    fd = step.fd
    perform(Job([step], sync=True), fdatasync=os.fdatasync, truncate=refuse)
    assert step.seal_error is not None
    assert (tmp_path / "a.open").exists()
    assert is_closed(fd)

    step.seal_error, step.dirty = None, False
    perform(Job([step], sync=True), fdatasync=refuse)
    assert (tmp_path / "a.ndjson").read_bytes() == b"whole\n"


def test_a_failed_sync_is_told_and_the_file_is_sealed_all_the_same(tmp_path: Path) -> None:
    step = step_of(tmp_path)
    job = Job([step], sync=True)
    perform(job, fdatasync=refuse)
    assert step.sync_error is not None
    assert job.syncs == 0
    assert (tmp_path / "a.ndjson").exists()


def test_a_failed_rename_is_told_and_the_file_keeps_its_name(tmp_path: Path) -> None:
    step = step_of(tmp_path)
    fd = step.fd
    (tmp_path / "a.ndjson").mkdir()
    perform(Job([step], sync=True), fdatasync=os.fdatasync)
    assert isinstance(step.seal_error, IsADirectoryError)
    assert (tmp_path / "a.open").exists()
    assert is_closed(fd)


def test_jobs_are_done_in_order_in_one_other_thread_and_stop_waits_for_all() -> None:
    done = []
    thread = SyncThread(
        name="s", fdatasync=os.fdatasync, done=lambda job: done.append((job, threading.current_thread()))
    )
    jobs = [Job([], sync=True) for _ in range(20)]
    for job in jobs:
        thread.put(job)
    assert thread.stop(10)
    assert [job for job, _ in done] == jobs
    assert {where.name for _, where in done} == {"s"}


def test_a_bug_in_a_job_does_not_keep_others_waiting(caplog: pytest.LogCaptureFixture) -> None:
    done = []
    thread = SyncThread(name="s", fdatasync=os.fdatasync, done=done.append)
    broken, good = Job([None], sync=True), Job([], sync=True)
    thread.put(broken)
    thread.put(good)
    assert thread.stop(10)
    assert done == [broken, good]
    assert "spool sync failed" in caplog.text


def test_a_disk_that_hangs_does_not_hold_stop_for_ever() -> None:
    go = threading.Event()
    thread = SyncThread(name="s", fdatasync=os.fdatasync, done=lambda job: go.wait())
    thread.put(Job([], sync=True))
    assert not thread.stop(0.01)
    go.set()
    assert thread.stop(10)
