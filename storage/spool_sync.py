"""The thread that forces spool files to the disk and seals them, so that the event loop never waits for either.

Knows descriptors, paths and the system calls, one job at a time. Decides nothing: the writer says what is to be done,
and reads in the job what came of it.
"""

from __future__ import annotations

import logging
import os
import threading
from asyncio import Future
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from queue import SimpleQueue

from storage.spool_file import OPEN, SEALED, sync_folder

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Step:
    """What to do to one file, and what came of it.

    `fd` is -1 for a file that was closed before; `size` is where its whole lines end, and `torn` that there is more
    behind them. `dirty`: not all of it is on the disk. `fresh`: its folder does not know it durably yet. `reserved`:
    room was set aside for more. `tries`: how often sealing has failed so far. `lines`: how many the sync is for.
    `removed`: the text of a file that somebody had removed before it could be sealed.
    """

    path: str
    fd: int
    size: int
    dirty: bool
    fresh: bool
    seal: bool = False
    torn: bool = False
    reserved: bool = False
    tries: int = 0
    lines: int = 0
    removed: bytes = b""
    sync_error: OSError | None = None
    seal_error: OSError | None = None


@dataclass(slots=True)
class Job:
    """One round of the thread. `sync`: force what is dirty to the disk. `waiting` are the futures it will resolve."""

    steps: list[Step]
    sync: bool
    waiting: list[Future[None]] = field(default_factory=list)
    syncs: int = 0


def perform(
    job: Job,
    *,
    fdatasync: Callable[[int], None],
    truncate: Callable[[str, int], None] = os.truncate,
    rename: Callable[[str, str], None] = os.rename,
) -> None:
    """Does a job and writes into it what came of it. Raises nothing of the disk's."""
    for step in job.steps:
        if step.torn:
            try:
                truncate(step.path, step.size)
                step.torn = False
            except OSError as error:
                step.seal_error = error
        if step.dirty and job.sync:
            try:
                fdatasync(step.fd)
                if step.fresh:
                    sync_folder(os.path.dirname(step.path))
                job.syncs += 1
            except OSError as error:
                step.sync_error = error
        if step.seal:
            # A torn file keeps its name: only what is whole may be sealed.
            if step.seal_error is None:
                try:
                    rename(step.path, step.path.removesuffix(OPEN) + SEALED)
                except OSError as error:
                    step.seal_error = error
                    if isinstance(error, FileNotFoundError):
                        step.removed = _text_of_removed(step)
            # Last, because the lock goes with the descriptor. Nobody else closes a descriptor that was in a job.
            if step.fd >= 0:
                if step.reserved and step.seal_error is None:
                    # To the length it has: that gives back what was set aside. A failure only costs room.
                    with suppress(OSError):
                        os.ftruncate(step.fd, step.size)
                os.close(step.fd)
                step.fd = -1


def _text_of_removed(step: Step) -> bytes:
    """What stood in a file that has no name any more: the system keeps it until its last descriptor is closed.

    Nothing if it was only moved elsewhere: its records would come twice when somebody puts it back.
    """
    with suppress(OSError):
        if step.fd >= 0 and os.fstat(step.fd).st_nlink == 0:
            with open(f"/proc/self/fd/{step.fd}", "rb") as file:
                return file.read(step.size)
    return b""


class SyncThread:
    """A thread that performs jobs in the order they come and calls `done(job)` in itself after each."""

    def __init__(self, *, name: str, fdatasync: Callable[[int], None], done: Callable[[Job], None]) -> None:
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._fdatasync = fdatasync
        self._done = done
        # A daemon: a disk that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, job: Job) -> None:
        self._jobs.put(job)

    def stop(self, timeout_secs: float) -> bool:
        """Performs what is left and ends. False if that takes longer than `timeout_secs`."""
        self._jobs.put(None)
        self._thread.join(timeout_secs)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                perform(job, fdatasync=self._fdatasync)
            except Exception:
                # A bug, not the disk: whoever waits for this job must hear of its end all the same.
                logger.exception("spool sync failed")
            self._done(job)
