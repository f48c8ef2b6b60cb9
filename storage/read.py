"""Opens the log to read it, as any analyst's tool can. Knows what to say when there is nothing to open.

Knows nothing of the writer: it may run or not.
"""

from __future__ import annotations

import duckdb

from storage.layout import Layout


class NoLogError(Exception):
    """There is no log to read. The message says what to do."""


def open_log(layout: Layout) -> duckdb.DuckDBPyConnection:
    """A read-only connection to log.duckdb with times in UTC. Raises `NoLogError`.

    It may be kept open: each query shows the log as of a few seconds ago. Fetch every result whole.
    """
    door = layout.log_db
    if not door.exists():
        raise NoLogError(f"There is no log at {door} yet. Start `ropo serve` with this storage.path; it makes one.")
    try:
        con = duckdb.connect(str(door), read_only=True)
    except duckdb.Error as error:
        raise NoLogError(f"{door} cannot be opened: {error}") from error
    try:
        con.execute("set timezone = 'UTC'")
        # DuckDB draws one on stdout after two seconds, in the middle of whatever is written there.
        con.execute("set enable_progress_bar = false")
        con.execute("from spool_files limit 0").fetchall()
    except duckdb.IOException as error:
        con.close()
        raise NoLogError(
            f"The rows behind {door} cannot be read. After a restart of the machine, or if its files were moved, start "
            f"`ropo serve` once: it puts them in place. ({error})"
        ) from error
    return con
