"""Asks the log, on one thread, each question within a time limit. Knows when to open `log.duckdb` again.

Knows nothing of SQL: the questions are functions of `storage.questions`. Every answer must be fetched whole: on DuckDB
1.5.5 a half-read result can make other instances in the same process spin (measured).
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import duckdb

from dashboard.state import Log
from storage import questions
from storage.layout import Layout
from storage.read import NoLogError, open_log

logger = logging.getLogger(__name__)

Connection = duckdb.DuckDBPyConnection
Question = Callable[[Connection], Any]


def the_page(rows: int) -> dict[str, Question]:
    """What the page asks, by the field of `Log` that holds the answer."""
    return {
        "counts": questions.counts,
        "ledger": questions.ledger,
        "deliveries": questions.delivery_counts,
        "visits": lambda con: questions.latest_visits(con, rows),
        "leads": lambda con: questions.list_leads(con, limit=rows),
    }


class LogReader:
    """A held read-only connection. All calls come from one thread at a time, `interrupt` from any."""

    def __init__(self, layout: Layout, *, time_limit_secs: float) -> None:
        self.layout = layout
        self.time_limit_secs = time_limit_secs
        self.connection: Connection | None = None
        self.opened: tuple[int, int] | None = None
        self.told = ""

    def answer(self, asked: dict[str, Question]) -> Log:
        """The answers; one that fails is None and leaves the others. Never raises for a log that cannot be read."""
        if not self.layout.log_db.exists():
            self.close()
            return Log(absent=True)
        answers: dict[str, Any] = {}
        error = ""
        for name, question in asked.items():
            try:
                answers[name] = self.ask(question)
            except duckdb.InterruptException:
                error = (
                    f"The log took longer than {self.time_limit_secs:g} s to answer; see dashboard.query_timeout_secs."
                )
            except NoLogError as failure:
                error = first_line(failure)
                break
            except (duckdb.Error, OSError) as failure:
                error = f"The log could not be read: {first_line(failure)}"
        self.tell(error)
        return Log(**answers, error=error)

    def ask(self, question: Question) -> Any:
        """One answer. A connection that fails is opened again once: the files behind it may have changed place."""
        held = self.connection is not None
        try:
            return self.ask_once(question)
        except duckdb.InterruptException:
            raise
        except (duckdb.Error, OSError):
            self.close()
            if not held:
                raise
            return self.ask_once(question)

    def ask_once(self, question: Question) -> Any:
        connection = self.open()
        with time_limit(connection, self.time_limit_secs):
            return question(connection)

    def open(self) -> Connection:
        stat = os.stat(self.layout.log_db)
        door = (stat.st_ino, stat.st_mtime_ns)
        if self.connection is None or door != self.opened:
            # A new door has new views. DuckDB shares one instance per path: the old connection must go first.
            self.close()
            self.connection, self.opened = open_log(self.layout), door
            # The page is a guest on this machine: one thread, and not much memory.
            self.connection.execute("set threads = 1")
            self.connection.execute("set memory_limit = '512MB'")
        return self.connection

    def tell(self, error: str) -> None:
        if error != self.told:
            self.told = error
            if error:
                logger.warning("dashboard without the log: error=%r", error)
            else:
                logger.info("the dashboard reads the log again")

    def interrupt(self) -> None:
        if connection := self.connection:
            connection.interrupt()

    def close(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            with suppress(duckdb.Error):
                connection.close()


@contextmanager
def time_limit(connection: Connection, secs: float) -> Iterator[None]:
    """Interrupts what runs on `connection` after `secs`, and again every 0.1 s, until the block is left.

    One interrupt alone could fall between two statements, and DuckDB forgets it when the next one starts.
    """
    left = threading.Event()

    def watch() -> None:
        delay = secs
        while not left.wait(delay):
            connection.interrupt()
            delay = 0.1

    thread = threading.Thread(target=watch, name="dashboard-time-limit", daemon=True)
    thread.start()
    try:
        yield
    finally:
        left.set()
        thread.join()


def first_line(failure: BaseException) -> str:
    text = (str(failure) or type(failure).__name__).partition("\n")[0]
    return text if len(text) <= 200 else text[:199] + "…"
