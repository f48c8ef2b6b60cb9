"""Which files are forced to the disk and sealed together, and who waits for it: the loop's half of `spool_sync`.

Knows jobs, futures and timers. Knows nothing of lines: the writer leaves files here and says when it is dirty. At most
one job is in the thread; what comes meanwhile gathers for the next. All of it belongs to the loop's thread.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from storage.settings import Sync
from storage.spool_sync import Job, Step, SyncThread

logger = logging.getLogger(__name__)

# A sync takes milliseconds; a disk that takes this long for one is told of.
HANG_SECS = 5.0


class SyncGroup:
    """Gathers work for the sync thread.

    `open_step` gives the unsynced part of the file that is being written, or None, and takes it for synced then.
    `sync_failed(path)` is called when a file could not be made durable, `removed(text)` when it was gone before it
    could be sealed. `sync`: see the setting of that name.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        name: str,
        sync: Sync,
        interval_secs: float,
        retry_secs: float,
        fdatasync: Callable[[int], None],
        open_step: Callable[[], Step | None],
        sync_failed: Callable[[str], None],
        removed: Callable[[bytes], None],
    ) -> None:
        self.syncs = self.sync_errors = self.not_durable = self.sealed = 0
        self._loop = loop
        self._sync = sync
        self._interval_secs = interval_secs
        self._retry_secs = retry_secs
        self._open_step = open_step
        self._sync_failed = sync_failed
        self._removed = removed
        self._failing = False
        self._hanging = False
        self._job_began = 0.0
        self._left: list[Step] = []  # to be sealed by the next job
        self._stuck: list[Step] = []  # could not be cut or renamed
        self._waiting: list[asyncio.Future[None]] = []  # for the end of the next job
        self._job: Job | None = None  # in the thread
        self._again = False  # a job is wanted when that one is done
        self._timer: asyncio.Handle | None = None
        self._timer_is_soon = False
        self._retry_timer: asyncio.TimerHandle | None = None
        self._closing = False
        self._thread = SyncThread(name=name, fdatasync=fdatasync, done=self._done_in_thread)

    @property
    def is_sealing(self) -> bool:
        return bool(self._left) or self._job is not None and any(step.seal for step in self._job.steps)

    @property
    def hanging_secs(self) -> int:
        """How long the running job has taken, if that is longer than a disk in order takes; else 0."""
        secs = 0.0 if self._job is None else self._loop.time() - self._job_began
        return int(secs) if secs >= HANG_SECS else 0

    def tell_if_hanging(self) -> None:
        """To be asked now and then while there is something to do: there is no timer for it."""
        if not self._hanging and (secs := self.hanging_secs):
            self._hanging = True
            logger.error(
                "spool error=disk_hangs secs=%d file=%s next='look after the disk: until it answers, nothing new gets "
                "into the log, and forms wait'", secs, self._job.steps[0].path if self._job.steps else "",
            )  # fmt: skip

    # What the writer says

    def dirtied(self) -> None:
        """The first line since a job took the open file."""
        if self._sync == "always":
            self.soon()
        elif self._sync == "group" and self._timer is None and not self._closing:
            self._timer = self._loop.call_later(self._interval_secs, self._due)

    def soon(self) -> None:
        """At the end of this turn of the loop, so that all lines of the turn share it; or after the running job."""
        if self._job is not None:
            self._again = True
        elif not self._timer_is_soon and not self._closing:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_is_soon = True
            self._timer = self._loop.call_soon(self._due)

    def leave(self, step: Step) -> None:
        """A file that is complete: the next job seals it, and only the thread may close it."""
        self._left.append(step)
        self.soon()

    def wait(self) -> asyncio.Future[None]:
        """A future for the end of the next job, which forces to the disk all that is written by now."""
        future: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append(future)
        self.soon()
        return future

    def wait_for_seals(self) -> asyncio.Future[None]:
        """A future for the end of the job that seals what was left by now."""
        if self._left:
            return self.wait()
        future: asyncio.Future[None] = self._loop.create_future()
        if self._job is None:
            future.set_result(None)
        else:
            self._job.waiting.append(future)
        return future

    # Jobs

    def _due(self) -> None:
        self._timer = None
        self._timer_is_soon = False
        if self._job is not None:
            self._again = True
        else:
            self._start()

    def _start(self) -> None:
        job = self._next_job()
        if job.steps or job.waiting:
            self._job = job
            self._job_began = self._loop.time()
            self._thread.put(job)

    def _next_job(self) -> Job:
        sync = self._sync != "off" or bool(self._waiting)
        steps, self._left = self._left, []
        if sync and (step := self._open_step()) is not None:
            steps.append(step)
        waiting, self._waiting = self._waiting, []
        return Job(steps, sync, waiting)

    def _done_in_thread(self, job: Job) -> None:
        # RuntimeError: the loop was closed without a word to us. The next start recovers the file.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._done, job)

    def _done(self, job: Job) -> None:
        if self._job is not job:
            return  # `close` was faster
        if self._hanging:
            self._hanging = False
            logger.warning("spool disk answers again after_secs=%d", self._loop.time() - self._job_began)
        self._job = None
        self._settle(job)
        if self._again or self._left or self._waiting:
            self._again = False
            self._start()

    def _settle(self, job: Job) -> None:
        """Counts and tells what came of a job, and lets go who waited for it."""
        self.syncs += job.syncs
        failed = [step for step in job.steps if step.sync_error is not None]
        self.sync_errors += len(failed)
        self.not_durable += sum(step.lines for step in failed)
        if failed and not self._failing:
            logger.error(
                "spool error=sync_failed detail=%r file=%s next='look after the disk: a power cut may take records'",
                str(failed[0].sync_error), failed[0].path,
            )  # fmt: skip
        elif job.syncs and not failed and self._failing:
            logger.warning("spool syncs again file=%s", job.steps[0].path)
        if failed or job.syncs:
            self._failing = bool(failed)
        for step in failed:
            step.sync_error = None
            self._sync_failed(step.path)
        for step in job.steps:
            if step.seal:
                self._settle_seal(step)
        self._let_go(job)

    def _let_go(self, job: Job) -> None:
        for future in job.waiting:
            if not future.done():
                future.set_result(None)

    def _settle_seal(self, step: Step) -> None:
        error, step.seal_error = step.seal_error, None
        if error is None:
            self.sealed += 1
            if step.tries:
                logger.warning("spool file=%s sealed='after all' tries=%d", step.path, step.tries + 1)
            return
        gone = isinstance(error, FileNotFoundError)
        if not step.tries or gone:
            logger.error(
                "spool error=not_sealed detail=%r file=%s next='%s'",
                str(error), step.path,
                f"who removed it? {'its records are written again' if step.removed else 'its records are gone'}"
                if gone else "tried again every second and at the next start",
            )  # fmt: skip
        if gone and step.removed:
            self._removed(step.removed)
        if not gone:
            step.dirty = False
            step.tries += 1
            self._stuck.append(step)
            if self._retry_timer is None and not self._closing:
                self._retry_timer = self._loop.call_later(self._retry_secs, self._retry)

    def _retry(self) -> None:
        self._retry_timer = None
        self._left += self._stuck
        self._stuck = []
        self.soon()

    # The end

    async def close(self, timeout_secs: float) -> bool:
        """One last job with all there is to do, then the end of the thread. False if that took too long."""
        self._closing = True
        for timer in (self._timer, self._retry_timer):
            if timer is not None:
                timer.cancel()
        running, self._job = self._job, None
        self._left += self._stuck
        self._stuck = []
        last = self._next_job()
        self._thread.put(last)
        ended = await self._loop.run_in_executor(None, self._thread.stop, timeout_secs)
        for job in (running, last):
            if job is not None and ended:
                self._settle(job)
            elif job is not None:
                self._let_go(job)  # the thread still has it, so what came of it cannot be told
        return ended
