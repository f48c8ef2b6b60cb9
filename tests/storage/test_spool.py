import asyncio
import errno
import logging
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.recovery import recover
from storage.sealed import read, sealed
from tests.support.spools import (
    EPOCH,
    eventually,
    line,
    losses_in,
    names_in,
    open_writer,
    records_in,
    seqs_in,
    stops_in,
)
from tracker.model import SpoolHeader

ROOT = Path(__file__).parents[2]


def name(number: int, suffix: str) -> str:
    return f"w1-{EPOCH:020d}-{number:06d}{suffix}"


class Disk:
    """An os.write that can be told to refuse: `fate` is an errno, ("short", bytes), or None for a good disk."""

    def __init__(self, fate: object = None) -> None:
        self.fate = fate

    def write(self, fd: int, data: bytes) -> int:
        match self.fate:
            case None:
                return os.write(fd, data)
            case ("short", size):
                self.fate = errno.ENOSPC
                return os.write(fd, data[:size])
            case number:
                raise OSError(number, os.strerror(number))


class TestLines:
    async def test_a_line_stands_in_the_file_when_append_returns(self, tmp_path: Path) -> None:
        writer = open_writer(tmp_path)
        writer.append(line(1), 1)
        assert (tmp_path / name(1, ".open")).read_bytes().endswith(line(1) + b"\n")
        writer.append(line(2), 2)
        assert (tmp_path / name(1, ".open")).read_bytes().endswith(line(1) + b"\n" + line(2) + b"\n")
        await writer.close(2)

    async def test_an_idle_writer_has_no_file_and_no_timer(self, tmp_path: Path) -> None:
        loop = asyncio.get_running_loop()
        calls = []
        writer = open_writer(tmp_path, loop=_Spy(loop, calls))
        await asyncio.sleep(0.01)
        assert names_in(tmp_path) == []
        writer.append(line(1), 1)
        assert "call_later" in calls
        await writer.seal()
        calls.clear()
        await asyncio.sleep(0.05)
        assert calls == []
        await writer.close(1)

    async def test_a_killed_reader_of_the_header_knows_the_writer(self, tmp_path: Path) -> None:
        writer = open_writer(tmp_path)
        writer.append(line(1), 1)
        await writer.seal()
        assert read(tmp_path / name(1, ".ndjson"))[0] == SpoolHeader(node="n1", worker="w1", epoch=EPOCH, version="1")
        await writer.close(1)

    async def test_the_counters_count(self, tmp_path: Path) -> None:
        writer = open_writer(tmp_path)
        for seq in (1, 2):
            writer.append(line(seq), seq)
        await writer.append_durable(line(3), 3)
        counters = writer.counters
        assert (counters["records"], counters["syncs"], counters["sealed"]) == (3, 1, 0)
        assert counters["bytes"] == (tmp_path / name(1, ".open")).stat().st_size
        await writer.seal()
        writer.append(line(4), 4)
        counters = writer.counters
        assert (counters["records"], counters["sealed"], counters["pending"], counters["lost"]) == (4, 1, 0, 0)
        assert counters["bytes"] == sum((tmp_path / file).stat().st_size for file in names_in(tmp_path))
        await writer.close(4)

    async def test_a_name_that_is_taken_is_passed_over(self, tmp_path: Path) -> None:
        (tmp_path / name(1, ".open")).write_bytes(b"somebody's")
        writer = open_writer(tmp_path)
        writer.append(line(1), 1)
        await writer.close(1)
        assert names_in(tmp_path) == [name(1, ".open"), name(2, ".ndjson")]
        assert (tmp_path / name(1, ".open")).read_bytes() == b"somebody's"


class _Spy:
    """An event loop that notes who asks for a timer or a call."""

    def __init__(self, loop: asyncio.AbstractEventLoop, calls: list[str]) -> None:
        self._loop, self._calls = loop, calls

    def __getattr__(self, attribute: str):
        if attribute in ("call_later", "call_soon", "call_at"):
            self._calls.append(attribute)
        return getattr(self._loop, attribute)


class TestDurable:
    async def test_the_future_is_done_after_a_sync_that_covers_its_line(self, tmp_path: Path) -> None:
        sizes = []
        go = threading.Event()

        def fdatasync(fd: int) -> None:
            go.wait(30)
            sizes.append(os.fstat(fd).st_size)
            os.fdatasync(fd)

        writer = open_writer(tmp_path, fdatasync=fdatasync)
        future = writer.append_durable(line(1), 1)
        end = (tmp_path / name(1, ".open")).stat().st_size
        await asyncio.sleep(0.01)
        assert not future.done()
        go.set()
        await future
        assert sizes[0] >= end
        await writer.close(1)

    async def test_it_does_not_wait_for_the_interval(self, tmp_path: Path) -> None:
        writer = open_writer(tmp_path, sync_interval_ms=3_600_000)
        writer.append(line(1), 1)
        async with asyncio.timeout(30):
            await writer.append_durable(line(2), 2)
        assert writer.counters["syncs"] == 1
        await writer.close(2)

    async def test_a_line_whose_file_is_left_meanwhile_is_synced_in_its_own_file(self, tmp_path: Path) -> None:
        synced: list[bytes] = []

        def fdatasync(fd: int) -> None:
            os.fdatasync(fd)
            synced.append(Path(f"/proc/self/fd/{fd}").read_bytes())

        writer = open_writer(tmp_path, fdatasync=fdatasync)
        first = writer.append_durable(line(1), 1)
        writer.seal()
        second = writer.append_durable(line(2), 2)
        for future, seq in ((first, 1), (second, 2)):
            await future
            assert any(line(seq) in text for text in synced)
        await writer.close(2)
        assert seqs_in(tmp_path) == [1, 2]

    async def test_its_file_is_sealed_early(self, tmp_path: Path) -> None:
        writer = open_writer(tmp_path, durable_seal_secs=0.01)
        writer.append(line(1), 1)
        await asyncio.sleep(0.03)
        assert sealed(tmp_path) == []
        writer.append_durable(line(2), 2)
        await eventually(lambda: sealed(tmp_path), "the file with the form is sealed")
        assert seqs_in(tmp_path) == [1, 2]
        await writer.close(2)

    async def test_the_site_goes_on_when_the_sync_fails(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        def fdatasync(fd: int) -> None:
            raise OSError(errno.EIO, "no")

        writer = open_writer(tmp_path, fdatasync=fdatasync)
        await writer.append_durable(line(1), 1)
        assert writer.counters["sync_errors"] >= 1
        assert caplog.text.count("sync_failed") == 1
        # A file whose sync failed is not trusted with more lines.
        await writer.append_durable(line(2), 2)
        await writer.close(2)
        assert [len(read(path)[1]) for path in sorted(sealed(tmp_path))][:2] == [1, 1]
        assert seqs_in(tmp_path) == [1, 2]

    async def test_the_site_goes_on_when_the_write_fails(self, tmp_path: Path) -> None:
        disk = Disk(errno.EROFS)
        writer = open_writer(tmp_path, write=disk.write)
        assert writer.append_durable(line(1), 1).done()
        assert writer.counters["pending"] == 1
        disk.fate = None
        await eventually(lambda: not writer.counters["pending"], "what waited is written")
        await writer.close(1)
        assert seqs_in(tmp_path) == [1]

    @pytest.mark.parametrize("sync", ["group", "always", "off"])
    async def test_it_is_kept_in_every_mode(self, tmp_path: Path, sync: str) -> None:
        writer = open_writer(tmp_path, sync=sync)
        for seq in range(1, 6):
            writer.append(line(2 * seq - 1), 2 * seq - 1)
            await writer.append_durable(line(2 * seq), 2 * seq)
        assert writer.counters["syncs"] >= 5
        await writer.close(10)
        assert seqs_in(tmp_path) == list(range(1, 11))


class TestSyncing:
    async def test_group_syncs_by_itself_and_off_does_not(self, tmp_path: Path) -> None:
        grouped = open_writer(tmp_path)
        left = open_writer(tmp_path, worker="w2", sync="off")
        for writer in (grouped, left):
            writer.append(line(1), 1)
        await eventually(lambda: grouped.counters["syncs"], "the group was synced")
        await left.seal()
        assert left.counters["sealed"] == 1
        left.append(line(2), 2)
        assert grouped.counters["syncs"] == 1
        for writer in (grouped, left):
            await writer.close(1)

    async def test_always_asks_for_a_sync_at_each_append(self, tmp_path: Path) -> None:
        writer = open_writer(tmp_path, sync="always", sync_interval_ms=3_600_000)
        for seq in range(1, 4):
            writer.append(line(seq), seq)
            await eventually(lambda seq=seq: writer.counters["syncs"] == seq, "it was synced")
        await writer.close(3)

    async def test_many_lines_share_a_sync(self, tmp_path: Path) -> None:
        writer = open_writer(tmp_path, sync_interval_ms=20)
        for seq in range(1, 1001):
            writer.append(line(seq), seq)
        await eventually(lambda: writer.counters["syncs"], "the group was synced")
        assert writer.counters["syncs"] == 1
        await writer.close(1000)

    async def test_a_new_files_folder_is_synced_with_its_first_group(self, tmp_path: Path, monkeypatch) -> None:
        folders = []
        monkeypatch.setattr("storage.spool_sync.sync_folder", folders.append)
        writer = open_writer(tmp_path)
        await writer.append_durable(line(1), 1)
        await writer.append_durable(line(2), 2)
        assert folders == [str(tmp_path)]
        await writer.close(2)


class TestSealing:
    async def test_a_file_is_sealed_after_its_time_and_the_next_is_begun_by_the_next_line(self, tmp_path: Path) -> None:
        writer = open_writer(tmp_path, seal_interval_secs=0.02)
        writer.append(line(1), 1)
        await eventually(lambda: sealed(tmp_path), "the file is sealed")
        assert names_in(tmp_path) == [name(1, ".ndjson")]
        writer.append(line(2), 2)
        assert names_in(tmp_path) == [name(1, ".ndjson"), name(2, ".open")]
        await writer.close(2)

    async def test_seal_hands_over_at_once(self, tmp_path: Path) -> None:
        writer = open_writer(tmp_path)
        writer.append(line(1), 1)
        await writer.seal()
        assert seqs_in(tmp_path) == [1]
        await writer.seal()  # nothing to do
        assert len(sealed(tmp_path)) == 1
        await writer.close(1)

    async def test_no_line_is_lost_or_doubled_however_often_it_seals(self, tmp_path: Path) -> None:
        writer = open_writer(tmp_path, seal_interval_secs=0.001)
        for seq in range(1, 2001):
            if seq % 7 == 0:
                writer.append_durable(line(seq), seq)
            else:
                writer.append(line(seq), seq)
            if seq % 50 == 0:
                await asyncio.sleep(0.001)
            if seq % 333 == 0:
                writer.seal()
        await writer.close(2000)
        assert seqs_in(tmp_path) == list(range(1, 2001))
        assert len(sealed(tmp_path)) > 6

    async def test_a_disk_that_hangs_costs_no_more_descriptors(self, tmp_path: Path) -> None:
        go = threading.Event()

        def fdatasync(fd: int) -> None:
            go.wait(30)

        before = len(os.listdir("/proc/self/fd"))
        writer = open_writer(tmp_path, fdatasync=fdatasync, seal_interval_secs=0.001, durable_seal_secs=0.001)
        for seq in range(1, 51):
            writer.append(line(seq), seq)
            await asyncio.sleep(0.002)
        assert len(os.listdir("/proc/self/fd")) - before <= 2
        go.set()
        await writer.close(50)
        assert seqs_in(tmp_path) == list(range(1, 51))

    async def test_room_that_was_set_aside_is_given_back(self, tmp_path: Path) -> None:
        writer = open_writer(tmp_path)
        writer.append(line(1), 1)
        await writer.seal()
        await writer.close(1)
        assert all((tmp_path / file).stat().st_blocks * 512 <= 16_384 for file in names_in(tmp_path))


class TestTrouble:
    @pytest.mark.parametrize(
        ("fate", "reason"),
        [
            (errno.ENOSPC, "disk_full"),
            (errno.EDQUOT, "disk_full"),
            (errno.EIO, "write_error"),
            (errno.EROFS, "write_error"),
            (("short", 1), "disk_full"),
            (("short", 40), "disk_full"),
        ],
    )
    async def test_what_the_disk_refuses_waits_and_is_written_later(
        self, tmp_path: Path, fate: object, reason: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        disk = Disk()
        writer = open_writer(tmp_path, write=disk.write)
        writer.append(line(1), 1)
        disk.fate = fate
        for seq in range(2, 6):
            writer.append(line(seq), seq)
        assert writer.counters["pending"] == 4
        await eventually(lambda: sealed(tmp_path), "what is whole is sealed")
        assert seqs_in(tmp_path) == [1]
        await asyncio.sleep(0.03)
        assert caplog.text.count(f"error={reason}") == 1
        assert "next=" in caplog.text
        disk.fate = None
        await eventually(lambda: not writer.counters["pending"], "what waited is written")
        writer.append(line(6), 6)
        await writer.close(6)
        assert caplog.text.count("writes again") == 1
        assert seqs_in(tmp_path) == [1, 2, 3, 4, 5, 6]
        assert losses_in(tmp_path) == []
        assert writer.counters["lost"] == 0

    async def test_what_finds_no_room_in_memory_is_counted_and_told(self, tmp_path: Path) -> None:
        disk = Disk(errno.ENOSPC)
        writer = open_writer(tmp_path, write=disk.write, max_pending=10)
        for seq in range(1, 31):
            writer.append(line(seq), seq)
        assert (writer.counters["pending"], writer.counters["lost"]) == (10, 20)
        disk.fate = None
        await eventually(lambda: not writer.counters["pending"], "what waited is written")
        await writer.close(30)
        assert seqs_in(tmp_path) == list(range(1, 11))
        [loss] = losses_in(tmp_path)
        assert (loss.first_seq, loss.last_seq, loss.count, loss.reason) == (11, 30, 20, "disk_full")

    async def test_losses_alone_are_told_too(self, tmp_path: Path) -> None:
        disk = Disk(errno.EIO)
        writer = open_writer(tmp_path, write=disk.write, max_pending=0)
        writer.append(line(1), 1)
        disk.fate = None
        await writer.close(1)
        [loss] = losses_in(tmp_path)
        assert (loss.first_seq, loss.last_seq, loss.count, loss.reason) == (1, 1, 1, "write_error")

    async def test_a_disk_that_refuses_from_the_start_leaves_no_rubbish(self, tmp_path: Path) -> None:
        disk = Disk(errno.ENOSPC)
        writer = open_writer(tmp_path, write=disk.write)
        writer.append(line(1), 1)
        await asyncio.sleep(0.05)
        assert names_in(tmp_path) == []
        disk.fate = ("short", 10)
        await asyncio.sleep(0.03)
        assert names_in(tmp_path) == []
        disk.fate = None
        await writer.close(1)
        assert seqs_in(tmp_path) == [1]

    async def test_trouble_to_the_end_is_told_and_close_returns(self, tmp_path: Path, caplog) -> None:
        disk = Disk()
        writer = open_writer(tmp_path, write=disk.write)
        writer.append(line(1), 1)
        disk.fate = errno.EIO
        writer.append(line(2), 2)
        await writer.close(2)
        assert seqs_in(tmp_path) == [1]
        assert stops_in(tmp_path) == []
        assert "closed in trouble reason=write_error" in caplog.text and "lost=1" in caplog.text

    async def test_a_folder_that_vanishes_and_comes_back(self, tmp_path: Path) -> None:
        folder = tmp_path / "spool"
        writer = open_writer(folder)
        writer.append(line(1), 1)
        assert writer.counters["pending"] == 1
        folder.mkdir()
        await eventually(lambda: not writer.counters["pending"], "what waited is written")
        await writer.seal()
        # Sealed files are gone with it; the one that was not sealed is still in our hands.
        writer.append(line(2), 2)
        writer.append(line(3), 3)
        shutil.rmtree(folder)
        await writer.seal()
        writer.append(line(4), 4)
        assert writer.counters["pending"] == 3
        folder.mkdir()
        await eventually(lambda: not writer.counters["pending"], "what waited is written")
        await writer.close(4)
        assert seqs_in(folder) == [2, 3, 4]
        assert writer.counters["records"] == 5  # with the StopRecord

    async def test_a_file_that_was_moved_away_is_not_written_again(self, tmp_path: Path, caplog) -> None:
        """It may be put back, and then its records would be in the log twice."""
        spool, elsewhere = tmp_path / "spool", tmp_path / "elsewhere"
        spool.mkdir()
        writer = open_writer(spool)
        writer.append(line(1), 1)
        spool.rename(elsewhere)
        spool.mkdir()
        await writer.seal()
        writer.append(line(2), 2)
        await writer.close(2)
        assert seqs_in(spool) == [2]
        assert "who removed it? its records are gone" in caplog.text
        assert len(recover(elsewhere)) == 1

    async def test_too_many_open_files_are_a_trouble_that_passes(self, tmp_path: Path) -> None:
        writer = open_writer(tmp_path)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            writer.append(line(1), 1)
            assert writer.counters["pending"] == 1
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        await eventually(lambda: not writer.counters["pending"], "what waited is written")
        await writer.close(1)
        assert seqs_in(tmp_path) == [1]

    async def test_no_contact_data_is_in_what_it_logs(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        disk = Disk(("short", 30))
        writer = open_writer(tmp_path, write=disk.write, max_pending=1)
        for seq in range(1, 4):
            writer.append(line(seq, target="/secret"), seq)
        await writer.close(3)
        assert "disk_full" in caplog.text
        assert "secret" not in caplog.text


fates = st.one_of(
    st.none(),
    st.sampled_from([errno.ENOSPC, errno.EIO, errno.EROFS]),
    st.tuples(st.just("short"), st.integers(0, 120)),
)
actions = st.lists(
    st.one_of(
        st.sampled_from(["append", "append", "append", "durable", "submit", "seal", "turn", "wait"]),
        fates.map(lambda fate: ("disk", fate)),
        st.booleans().map(lambda works: ("sync", works)),
    ),
    max_size=60,
)


@settings(deadline=None, max_examples=60)
@given(actions=actions, sync=st.sampled_from(["group", "always", "off"]), room=st.integers(0, 12))
def test_whatever_the_disk_does_every_number_is_written_once_or_counted(actions: list, sync: str, room: int) -> None:
    async def live(folder: Path) -> tuple[int, dict[str, int]]:
        disk, works = Disk(), True

        def fdatasync(fd: int) -> None:
            if not works:
                raise OSError(errno.EIO, "no")

        writer = open_writer(
            folder, write=disk.write, fdatasync=fdatasync, sync=sync, max_pending=room,
            seal_interval_secs=0.003, durable_seal_secs=0.001, retry_secs=0.001,
        )  # fmt: skip
        seq, waiting = 0, []
        for action in actions:
            match action:
                case "append":
                    seq += 1
                    writer.append(line(seq), seq)
                case "durable":
                    seq += 1
                    waiting.append(writer.append_durable(line(seq), seq))
                case "submit":
                    waiting.append(
                        writer.append_durable(b'{"t":"fact","fact_id":"f","occurred_at":"","name":"","source":""}')
                    )
                case "seal":
                    waiting.append(writer.seal())
                case "turn":
                    await asyncio.sleep(0)
                case "wait":
                    await asyncio.sleep(0.004)
                case ("disk", fate):
                    disk.fate = fate
                case ("sync", answer):
                    works = answer
        disk.fate, works = None, True
        if waiting:
            await asyncio.wait_for(asyncio.gather(*waiting), 30)
        await writer.close(seq)
        return seq, writer.counters

    with tempfile.TemporaryDirectory() as folder_name:
        folder = Path(folder_name)
        last, counters = asyncio.run(live(folder))
        written, losses = seqs_in(folder), losses_in(folder)
        [stop] = stops_in(folder)
        assert written == sorted(set(written))
        assert set(written) <= set(range(1, last + 1))
        assert len(written) + sum(loss.count for loss in losses) == last
        missing = set(range(1, last + 1)) - set(written)
        assert all(any(loss.first_seq <= seq <= loss.last_seq for loss in losses) for seq in missing)
        assert stop.last_seq == last
        assert counters["pending"] == 0
        assert counters["records"] == len(records_in(folder))
        assert all(file.endswith(".ndjson") for file in names_in(folder))


class TestClose:
    async def test_the_last_line_tells_the_highest_number(self, tmp_path: Path) -> None:
        writer = open_writer(tmp_path)
        writer.append(line(1), 1)
        await writer.close(1)
        assert [stop.last_seq for stop in stops_in(tmp_path)] == [1]
        assert names_in(tmp_path) == [name(1, ".ndjson")]

    async def test_a_writer_that_wrote_nothing_says_so(self, tmp_path: Path) -> None:
        writer = open_writer(tmp_path)
        await writer.close(0)
        assert [stop.last_seq for stop in stops_in(tmp_path)] == [0]

    async def test_it_lets_go_who_waits_and_a_second_call_does_nothing(self, tmp_path: Path) -> None:
        writer = open_writer(tmp_path)
        waiting = [writer.append_durable(line(seq), seq) for seq in (1, 2)]
        await writer.close(2)
        assert all(future.done() for future in waiting)
        await writer.close(2)
        assert len(stops_in(tmp_path)) == 1

    async def test_what_comes_after_it_is_an_error(self, tmp_path: Path) -> None:
        writer = open_writer(tmp_path)
        await writer.close(0)
        with pytest.raises(RuntimeError, match="closed writer"):
            writer.append(line(1), 1)

    async def test_it_leaves_no_thread(self, tmp_path: Path) -> None:
        writer = open_writer(tmp_path, worker="alone")
        assert "spool-alone" in {thread.name for thread in threading.enumerate()}
        await writer.close(0)
        assert "spool-alone" not in {thread.name for thread in threading.enumerate()}


def test_it_runs_on_uvloop(tmp_path: Path) -> None:
    async def live() -> None:
        writer = open_writer(tmp_path, seal_interval_secs=0.02, durable_seal_secs=0.01)
        for seq in range(1, 101):
            writer.append(line(seq), seq)
        await writer.append_durable(line(101), 101)
        await eventually(lambda: sealed(tmp_path), "the file is sealed")
        await writer.close(101)

    uvloop.run(live())
    assert seqs_in(tmp_path) == list(range(1, 102))


WORKER = """
import asyncio, os, sys, time
from pathlib import Path
from storage.spool import SpoolWriter
from tests.support.spools import line

async def live():
    folder, worker = Path(sys.argv[1]), sys.argv[2]
    writer = SpoolWriter(folder, node="n1", worker=worker, epoch=time.time_ns(), version="1",
                         seal_interval_secs=0.01, durable_seal_secs=0.005)
    for seq in range(1, 1_000_000):
        if seq % 5:
            writer.append(line(seq, target="/" + "x" * (seq % 3000)), seq)
        else:
            await writer.append_durable(line(seq), seq)
        os.write(1, b"%d\\n" % seq)  # answered

asyncio.run(live())
"""


def test_a_worker_that_is_killed_has_lost_nothing_that_it_answered(tmp_path: Path) -> None:
    for life in range(6):
        worker = f"w{life}"
        process = subprocess.Popen(
            [sys.executable, "-c", WORKER, tmp_path, worker], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        # At another place of its life each time.
        for _ in range(200 + 331 * life):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        # Not `communicate`: it does not know of what `readline` has read ahead.
        rest, errors = process.stdout.read(), process.stderr.read()
        process.communicate()
        assert errors == b""
        answered = 200 + 331 * life + rest.count(b"\n")

        recover(tmp_path, worker=worker)
        mine = [path for path in sealed(tmp_path) if path.name.startswith(worker)]
        seqs = [record.seq for path in sorted(mine) for record in read(path)[1]]
        assert all(read(path)[2] == [] and read(path)[0] is not None for path in mine)
        assert seqs == list(range(1, len(seqs) + 1))
        assert len(seqs) in (answered, answered + 1)
        assert not [path for path in tmp_path.iterdir() if path.suffix != ".ndjson"]


LIMITED = """
import asyncio, resource, sys
from pathlib import Path
from tests.support.spools import line, open_writer

async def live():
    folder, limit = Path(sys.argv[1]), int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    writer = open_writer(folder, retry_secs=0.001)
    for seq in range(1, 301):
        writer.append(line(seq), seq)
        if seq % 10 == 0:
            await asyncio.sleep(0.003)
    while writer.counters["pending"]:
        await asyncio.sleep(0.003)
    print(writer.counters["lost"])
    await writer.close(300)

asyncio.run(live())
"""


def test_a_real_limit_on_file_size_tears_lines_and_none_is_lost(tmp_path: Path) -> None:
    # The kernel itself writes short, then says EFBIG (setrlimit(2)).
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, tmp_path, "1500"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "0\n"
    assert seqs_in(tmp_path) == list(range(1, 301))
    assert max(path.stat().st_size for path in sealed(tmp_path)) <= 1500
    assert len(sealed(tmp_path)) > 10


FULL = """
import asyncio, os, sys
from pathlib import Path
from tests.support.spools import line, open_writer

async def live():
    folder = Path(sys.argv[1])
    ballast = folder / "ballast"
    ballast.write_bytes(b"x" * 100_000)
    writer = open_writer(folder, retry_secs=0.01, seal_interval_secs=0.01, max_pending=100)
    seq = 0
    while not writer.counters["lost"]:
        seq += 1
        writer.append(line(seq, target="/" + "x" * 500), seq)
        if seq % 20 == 0:
            await asyncio.sleep(0.001)
    await asyncio.sleep(0.05)
    ballast.unlink()
    while writer.counters["pending"]:
        await asyncio.sleep(0.003)
    await writer.close(seq)
    print(seq, flush=True)
    for path in sorted(folder.glob("*.ndjson")):
        sys.stdout.flush()
        os.write(1, path.read_bytes())

asyncio.run(live())
"""


def test_a_real_full_disk_is_survived_and_what_was_lost_is_told(tmp_path: Path) -> None:
    # A small tmpfs of its own, in a mount namespace of its own.
    command = 'mount -t tmpfs -o size=300k none "$1" && exec "$2" -c "$3" "$1"'
    unshare = ["unshare", "--mount"] if os.getuid() == 0 else ["unshare", "--mount", "--map-root-user"]
    probe = subprocess.run([*unshare, "mount", "-t", "tmpfs", "none", tmp_path], capture_output=True)
    if probe.returncode:
        pytest.skip(f"no mounts here: {probe.stderr.decode().strip()}")
    done = subprocess.run(
        [*unshare, "sh", "-c", command, "sh", tmp_path, sys.executable, FULL],
        cwd=ROOT, capture_output=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    assert b"error=disk_full" in done.stderr
    assert b"writes again" in done.stderr
    first, _, text = done.stdout.partition(b"\n")
    last = int(first)
    (tmp_path / name(1, ".ndjson")).write_bytes(text)
    # One after the other, so all headers but the first stand inside.
    _, records, broken = read(tmp_path / name(1, ".ndjson"))
    assert {reason for _, reason in broken} <= {"a header that is not the first line"}
    seqs = [record.seq for record in records if hasattr(record, "seq")]
    lost = sum(record.count for record in records if hasattr(record, "count"))
    assert seqs == sorted(set(seqs))
    assert lost > 0
    assert len(seqs) + lost == last
