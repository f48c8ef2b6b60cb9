"""Work with DuckDB that Ctrl-C ends: on a thread of its own, while the main thread waits for the signal.

Knows threads and exit code 130. Knows nothing of what is asked, nor of what becomes of the answer.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

import click
import duckdb

INTERRUPTED = 130  # 128 + SIGINT, as shells have it
_GIVE_UP_SECS = 5.0

Answer = TypeVar("Answer")


class Work(Generic[Answer]):
    """What runs, seen by both threads. The worker works `with` its connection, and looks at `is_interrupted` between rows."""

    def __init__(self) -> None:
        self.is_interrupted = False
        self._connection: duckdb.DuckDBPyConnection | None = None
        # DuckDB aborts the program when a connection is interrupted while another thread closes it.
        self._in_use = threading.Lock()
        self._done = threading.Event()
        self._answer: list[Answer] = []
        self._raised: list[BaseException] = []

    def run(self, work: Callable[[Work[Answer]], Answer], *, every: Callable[[], None] | None = None) -> Answer:
        """What `work` returns or raises. `every` is called some times a second meanwhile, on this thread.

        Ctrl-C interrupts the query, waits for the work to clean up and ends the program with 130.
        """
        thread = threading.Thread(target=self._run, args=(work,), name="query", daemon=True)
        try:
            thread.start()
            # And not Thread.join, which Python 3.11 takes for done once it was interrupted.
            while not self._done.wait(timeout=0.2 if every else None):
                every()
        except KeyboardInterrupt:
            self._interrupt(thread)
        if self._raised:
            raise self._raised[0]
        return self._answer[0]

    @contextmanager
    def connected(self, con: duckdb.DuckDBPyConnection) -> Iterator[duckdb.DuckDBPyConnection]:
        """For the worker: the connection may be interrupted in the block, and is closed after it."""
        with self._in_use:
            self._connection = con
        try:
            yield con
        finally:
            with self._in_use:
                self._connection = None
            con.close()

    def progress(self) -> float:
        """Percent of the query; -1 if that is not known."""
        with self._in_use:
            return -1 if self._connection is None else self._connection.query_progress()

    def _run(self, work: Callable[[Work[Answer]], Answer]) -> None:
        try:
            self._answer.append(work(self))
        except BaseException as error:  # handed to the main thread, which decides
            self._raised.append(error)
        finally:
            self._done.set()

    def _interrupt(self, thread: threading.Thread) -> None:
        self.is_interrupted = True
        click.echo("ropo: interrupted", err=True)
        waited = 0.0
        # Again and again: between two statements there is nothing yet that could be interrupted. It stops within
        # milliseconds, unless it is stuck in a write to a pipe that nobody reads.
        while waited < _GIVE_UP_SECS:
            with self._in_use:
                if self._connection is not None:
                    self._connection.interrupt()
            if self._done.wait(timeout=0.05):
                thread.join(timeout=1)
                sys.exit(INTERRUPTED)
            waited += 0.05
        os._exit(INTERRUPTED)
