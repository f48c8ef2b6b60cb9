"""The writer of a worker's spool files: appends lines at once, forces them to the disk in groups, seals often.

Knows files, the disk's moods and the event loop's timers. Knows nothing of what a line says, except its number.

    A line stands in the file when `append` returns: a killed process has lost nothing that it had appended.
    A line is on the disk within `sync_interval_ms`: that much a power cut can take. `append_durable` says when.
    A file is sealed, and the collector may have it, after `seal_interval_secs`; sooner if a form is in it.
    While the disk refuses, lines wait in memory, and those that find no room there are counted. The site goes on.

All methods belong to the loop's thread. There are no timers while there is nothing to do.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from storage.backlog import Backlog, seq_of
from storage.settings import Sync
from storage.spool_file import OPEN, SpoolName, check_worker, create, give_room, keep_room, reserve
from storage.spool_group import SyncGroup
from storage.spool_sync import Step
from tracker import clock
from tracker.model import SpoolHeader, StopRecord, encode_line

logger = logging.getLogger(__name__)

MAX_PENDING_BYTES = 32 * 1024 * 1024
CLOSE_TIMEOUT_SECS = 10.0
# Room set aside for a new file: twice what the last one took, within these bounds.
MIN_RESERVE_BYTES, MAX_RESERVE_BYTES = 256 * 1024, 16 * 1024 * 1024

# What an operator can do about a refusal.
NEXT = {
    errno.ENOSPC: "free space; if there is some, it lacks inodes (df -i)",
    errno.EDQUOT: "raise the quota, or free space",
    errno.EROFS: "the kernel's log says why the disk became read-only; mount it writable again",
    errno.EACCES: "give the folder back to the user that ropo runs as",
    errno.EPERM: "give the folder back to the user that ropo runs as",
    errno.ENOENT: "somebody removed the folder: make it again, or mount its disk",
    errno.EMFILE: "raise the limit of open files (LimitNOFILE= in the unit)",
    errno.ENFILE: "raise the system's limit of open files (fs.file-max)",
}


class SpoolWriter:
    """Writes the files of one `worker` in one life (`epoch`, Unix nanoseconds of its start).

    `folder` must exist. `sync` is `group`, `always` (each append asks for a sync at once) or `off` (only durable lines
    are synced). `durable_seal_secs`: a file with a durable line in it is sealed that early. `max_pending`: how many
    lines may wait in memory. `last_room`: a file to keep some room in, with which a worker that ends on a full disk can
    still say what it lost. `write` and `fdatasync` are os.write and os.fdatasync, or what stands in for them.
    """

    __slots__ = (
        "_backlog", "_bytes", "_clean", "_closed", "_closing", "_durable_seal_secs", "_fd", "_folder", "_fresh",
        "_group", "_header", "_last_room", "_lines", "_loop", "_lost_before", "_name", "_number", "_path", "_records",
        "_reserve_bytes", "_reserved", "_retry_secs", "_retry_timer", "_seal_secs", "_seal_timer", "_size", "_sync",
        "_taken_lines", "_told", "_trouble", "_write",
    )  # fmt: skip

    def __init__(
        self,
        folder: Path,
        *,
        node: str,
        worker: str,
        epoch: int,
        version: str,
        loop: asyncio.AbstractEventLoop | None = None,
        sync: Sync = "group",
        sync_interval_ms: float = 10,
        seal_interval_secs: float = 1.0,
        durable_seal_secs: float = 0.2,
        retry_secs: float = 1.0,
        max_pending: int = 10_000,
        last_room: Path | None = None,
        write: Callable[[int, bytes], int] = os.write,
        fdatasync: Callable[[int], None] = os.fdatasync,
    ) -> None:
        self._loop = loop or asyncio.get_running_loop()
        self._folder = os.path.abspath(folder)
        self._name = SpoolName(check_worker(worker), epoch, 0)
        self._header = encode_line(SpoolHeader(node=node, worker=worker, epoch=epoch, version=version)) + b"\n"
        self._write = write
        self._sync = sync
        self._seal_secs = seal_interval_secs
        self._durable_seal_secs = min(durable_seal_secs, seal_interval_secs)
        self._retry_secs = retry_secs
        self._last_room = last_room
        keep_room(last_room)
        self._backlog = Backlog(max_lines=max_pending, max_bytes=MAX_PENDING_BYTES)
        self._trouble = ""  # why the disk refuses to take lines: a drop reason
        self._told: set[str] = set()  # what was said of this trouble
        self._lost_before = 0  # lines lost before this trouble

        # The open file. -1: none, because nothing was appended since the last one was left, or because of trouble.
        self._fd = -1
        self._path = ""
        self._number = 0
        self._size = 0  # where its whole lines end
        self._lines = 0  # without the header
        self._taken_lines = 0  # those of them that a job has taken
        self._fresh = True  # its folder was not synced since
        self._clean = True  # nothing was appended since a job took it
        self._reserved = False
        self._reserve_bytes = MIN_RESERVE_BYTES

        self._records = self._bytes = 0  # in files that were left
        self._seal_timer: asyncio.TimerHandle | None = None
        self._retry_timer: asyncio.TimerHandle | None = None
        self._closing = self._closed = False
        self._group = SyncGroup(
            self._loop,
            name=f"spool-{worker}",
            sync=sync,
            interval_secs=sync_interval_ms / 1000,
            retry_secs=retry_secs,
            fdatasync=fdatasync,
            open_step=self._open_step,
            sync_failed=self._sync_failed,
            removed=self._removed,
        )

    @property
    def counters(self) -> dict[str, int]:
        """What was done since the start. `pending`: lines in memory now. `lost`: lines let go.

        `sync_errors`: how often the disk refused to make a file durable, `not_durable`: how many lines that concerns.
        They go into the log like others; what a power cut would leave of them cannot be known. `hanging_secs`: how
        long the disk has taken for the sync that runs, 0 if that is nothing to speak of.
        """
        is_open = self._fd >= 0
        return {
            "records": self._records + self._lines * is_open,
            "bytes": self._bytes + self._size * is_open,
            "syncs": self._group.syncs,
            "sync_errors": self._group.sync_errors,
            "not_durable": self._group.not_durable,
            "hanging_secs": self._group.hanging_secs,
            "sealed": self._group.sealed,
            "pending": len(self._backlog),
            "lost": self._backlog.lost,
        }

    # Lines

    def append(self, line: bytes, seq: int) -> None:
        """Writes one encoded record (no newline in it) to the file.

        `seq` is the number of the exchange whose record this is. It is 0 for a line that is no exchange's only
        record, such as a submission ahead of its exchange: losing it leaves no gap in the numbers.
        """
        line += b"\n"
        if self._fd < 0 and not self._open() or not self._put(line):
            self._keep(line, seq, durable=False)

    def append_durable(self, line: bytes, seq: int = 0) -> asyncio.Future[None]:
        """As `append`; the future is done when the line will survive a power cut.

        It is also done when the disk refuses, then or later: the site goes on, and the counters tell. Cancelling it
        is harmless.
        """
        line += b"\n"
        if self._fd < 0 and not self._open() or not self._put(line):
            self._keep(line, seq, durable=True)
            future: asyncio.Future[None] = self._loop.create_future()
            future.set_result(None)
            return future
        self._arm_seal(self._durable_seal_secs)
        return self._group.wait()

    def _put(self, line: bytes) -> bool:
        """Writes a line to the open file; False if the disk refuses, and then there is no open file any more."""
        try:
            written = self._write(self._fd, line)
            if written != len(line):
                self._put_rest(line, written)
        except OSError as error:
            self._refused(error)
            return False
        self._size += len(line)
        self._lines += 1
        if self._clean:
            self._clean = False
            self._group.dirtied()
        return True

    def _put_rest(self, line: bytes, written: int) -> None:
        # A short write says that something is wrong, the next one says what.
        while written < len(line):
            more = self._write(self._fd, line[written:])
            if more <= 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            written += more

    # The open file

    def _open(self) -> bool:
        """Makes the next file, unless the disk is known to refuse."""
        if self._closed:
            raise RuntimeError("spool: appended to a closed writer")
        return not self._trouble and self._create()

    def _create(self) -> bool:
        self._lines = self._taken_lines = 0
        try:
            self._fd = self._create_next()
            self._reserved = self._sync != "off" and reserve(self._fd, self._reserve_bytes)
            written = self._write(self._fd, self._header)
            if written != len(self._header):
                self._put_rest(self._header, written)
        except OSError as error:
            self._refused(error)
            return False
        self._size = len(self._header)
        self._fresh = self._clean = True
        # All writers of a machine seal at the same moments, so that what one visitor did through several of them is
        # taken in together and in order: see `sealed.ready`.
        self._arm_seal(self._seal_secs - time.time() % self._seal_secs)
        return True

    def _create_next(self) -> int:
        for _ in range(8):
            self._number += 1
            self._path = f"{self._folder}/{self._name._replace(number=self._number).stem}{OPEN}"
            try:
                return create(self._path)
            except FileExistsError:
                continue
        raise FileExistsError(errno.EEXIST, "the names of the next spool files are taken", self._folder)

    def _open_step(self) -> Step | None:
        if self._clean or self._fd < 0:
            return None
        step = Step(self._path, self._fd, self._size, dirty=True, fresh=self._fresh)
        step.lines, self._taken_lines = self._lines - self._taken_lines, self._lines
        self._clean, self._fresh = True, False
        return step

    def _leave(self, *, torn: bool = False) -> None:
        """The open file is complete. `torn`: behind its whole lines stands part of one."""
        if self._seal_timer is not None:
            self._seal_timer.cancel()
            self._seal_timer = None
        fd, self._fd = self._fd, -1
        if not self._lines:
            # Nothing but a header, so no job has ever had it.
            try:
                os.unlink(self._path)
            except OSError as error:
                logger.warning("spool file=%s error=%r left='for the next start'", self._path, str(error))
            os.close(fd)
            return
        self._records += self._lines
        self._bytes += self._size
        self._reserve_bytes = min(max(2 * self._size, MIN_RESERVE_BYTES), MAX_RESERVE_BYTES)
        step = Step(self._path, fd, self._size, dirty=not self._clean, fresh=self._fresh, seal=True)
        step.torn, step.reserved, step.lines = torn, self._reserved, self._lines - self._taken_lines
        self._group.leave(step)
        self._clean = True

    def _sync_failed(self, path: str) -> None:
        # After a failed sync the kernel takes the pages for clean, and the next sync of this file would claim that
        # all is well (https://wiki.postgresql.org/wiki/Fsync_Errors). So what comes next goes into another file, and
        # this one to the collector, which can still read it and writes its records elsewhere. Writing them here once
        # more would have them in the log twice.
        if self._fd >= 0 and path == self._path:
            self._leave()

    def _removed(self, text: bytes) -> None:
        """Somebody removed a file before it was sealed, and the system still had its text: it is written again."""
        lines = text.splitlines(keepends=True)[1:]
        self._records -= len(lines)
        self._bytes -= len(text)
        if not self._trouble:
            self._refused(FileNotFoundError(errno.ENOENT, "a file was removed before it was sealed", self._folder))
        for line in lines:
            self._keep(line, seq_of(line), durable=False)

    # Sealing

    def seal(self) -> asyncio.Future[None]:
        """Hands the lines written so far to the collector at once. The future is done when that was tried."""
        if self._fd >= 0:
            self._leave()
        return self._group.wait_for_seals()

    def _arm_seal(self, secs: float) -> None:
        if self._closing:
            return
        if self._seal_timer is not None:
            if self._seal_timer.when() <= self._loop.time() + secs:
                return
            self._seal_timer.cancel()
        self._seal_timer = self._loop.call_later(secs, self._seal_due)

    def _seal_due(self) -> None:
        self._seal_timer = None
        if self._group.is_sealing:
            # The disk is slower than we are. More files would only cost more descriptors.
            self._group.tell_if_hanging()
            self._arm_seal(self._durable_seal_secs)
        elif self._fd >= 0:
            self._leave()

    # Trouble

    def _keep(self, line: bytes, seq: int, *, durable: bool) -> None:
        if not self._backlog.keep(line, seq, durable=durable, reason=self._trouble) and "losing" not in self._told:
            self._told.add("losing")
            logger.error(
                "spool error=losing reason=%s folder=%s waiting=%d next='what comes now is let go and counted'",
                self._trouble, self._folder, len(self._backlog),
            )  # fmt: skip

    def _refused(self, error: OSError) -> None:
        """The disk took a line not at all or in part: leave the file, cut it to what is whole, try again later."""
        reason = "disk_full" if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else "write_error"
        if not self._trouble:
            self._lost_before = self._backlog.lost
        self._trouble = reason
        if reason not in self._told:
            self._told.add(reason)
            logger.error(
                "spool error=%s detail=%r folder=%s next='%s'; until then %d lines wait in memory, more are lost",
                reason, str(error), self._folder,
                NEXT.get(error.errno, "look after the disk, its mount and its permissions"), self._backlog.max_lines,
            )  # fmt: skip
        if self._fd >= 0:
            self._leave(torn=True)
        if self._retry_timer is None and not self._closing:
            self._retry_timer = self._loop.call_later(self._retry_secs, self._retry)

    def _retry(self) -> None:
        """Writes what waits in memory, then what was lost; with that the trouble is over."""
        self._retry_timer = None
        if not self._create():
            return
        while self._backlog:
            if not self._put(self._backlog.first):
                return
            self._backlog.drop_first()
        while (loss := self._backlog.next_loss()) is not None:
            key, record = loss
            if not self._put(encode_line(record) + b"\n"):
                return
            self._backlog.told(key)
        lost = self._backlog.lost - self._lost_before
        logger.warning("spool writes again after=%s folder=%s lost=%d", self._trouble, self._folder, lost)
        self._trouble = ""
        self._told.clear()
        if not self._lines:
            self._leave()

    # The end

    async def close(self, last_seq: int) -> None:
        """Writes the `StopRecord`, syncs, seals, and ends the thread; at most 10 s for a disk that hangs.

        `last_seq` is the highest number an exchange was given. Nothing can be appended after this; a second call does
        nothing. A writer that is not closed loses nothing either: its file is sealed by `recovery` at the next start.
        """
        if self._closed:
            return
        self._closing = True
        for timer in (self._seal_timer, self._retry_timer):
            if timer is not None:
                timer.cancel()
        if self._trouble:
            self._retry()
        if self._trouble:
            # The last words: what waits is lost, and there is room to say so.
            give_room(self._last_room)
            self._backlog.let_go_all(self._trouble)
            self._retry()
        stop = encode_line(StopRecord(occurred_at=clock.now_text(), last_seq=last_seq)) + b"\n"
        stopped = (self._fd >= 0 or self._open()) and self._put(stop)
        self._closed = True
        if self._fd >= 0:
            self._leave()
        if not await self._group.close(CLOSE_TIMEOUT_SECS):
            logger.error("spool error=close_timeout folder=%s left='for the next start'", self._folder)
        if not stopped:
            logger.error(
                "spool closed in trouble reason=%s folder=%s lost=%d", self._trouble, self._folder, self._backlog.lost
            )
