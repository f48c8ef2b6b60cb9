"""One thread that does blocking work, in order. Knows nothing of what the work is.

A share that hangs blocks the thread that touches it, and nothing can end that. So the work has a thread of its own,
the caller waits only so long, and the thread is a daemon: a process that stops does not wait for it.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

Result = TypeVar("Result")


class FileThread:
    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: queue.SimpleQueue[tuple[Future, Callable[[], object]] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = False

    async def run(self, work: Callable[[], Result], *, within_secs: float) -> Result:
        """What `work` returns or raises. Raises TimeoutError if that takes longer.

        Work that has not begun by then never will. Work that has begun goes on, and what comes after it waits.
        """
        if self._closed:
            raise RuntimeError(f"{self._name} is closed")
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()
        job: Future[Result] = Future()
        self._jobs.put((job, work))
        async with asyncio.timeout(within_secs):
            return await asyncio.wrap_future(job)

    def close(self) -> None:
        """No more work comes; the thread ends after what it has."""
        self._closed = True
        self._jobs.put(None)

    def _work(self) -> None:
        while (item := self._jobs.get()) is not None:
            job, work = item
            if not job.set_running_or_notify_cancel():
                continue
            try:
                job.set_result(work())
            except BaseException as error:
                job.set_exception(error)
            # Do not hold the last lead in memory until the next one comes.
            del item, job, work
