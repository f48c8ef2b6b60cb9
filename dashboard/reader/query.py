"""One statement in a process of its own: locked in first, then read, checked, run and answered, and gone.

Knows DuckDB and the socket to the reader. It may read the parts, the published rows and the door, and nothing else; it
writes to its socket only. Whatever it is talked into ends with it.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import msgspec

# Loaded before this process may open no more files: DuckDB's client asks for it at the first moment with a zone.
import pytz  # noqa: F401

from dashboard.reader import confine, files, formats, statement
from dashboard.reader.frames import GRACE_SECS, End, Head, Kind, Order, frame, frames_of
from dashboard.reader.problem import Problem, Refused, no_log, of_duckdb, too_late, too_long
from storage import landlock, questions, sql

# DuckDB counts what it keeps, not what its functions make on the way (measured: 7.9 GB with a limit of 256 MB, by
# `repeat(repeat('x', 1000000), 2000)`). Beyond this the system gives no more, which it reports like its own limit.
_BESIDES_MB, _SHARE = 256, 1.5
# An answer is told of as early as this much of it is there, and fetched in batches of about this size.
_BATCH_BYTES, _MOST_ROWS = 1 << 20, 4096

# What DuckDB wants to know of the machine when it starts: processors and memory, no names. 2.0 aborts if it may not.
_OF_THE_MACHINE = (
    Path("/proc/self/cgroup"), Path("/proc/meminfo"), Path("/sys/fs/cgroup"), Path("/sys/devices/system/cpu"),
)  # fmt: skip


class _Out:
    """Frames to the reader. `begun`: the answer has been told of, so that what goes wrong now comes after it."""

    def __init__(self, sock: socket.socket) -> None:
        self.begun = False
        self._sock = sock

    def head(self, form: str) -> None:
        self.begun = True
        self._sock.sendall(frame(Kind.HEAD, msgspec.json.encode(Head(form))))

    def data(self, octets: bytes) -> None:
        for one in frames_of(octets):
            self._sock.sendall(one)

    def end(self, rows: int) -> None:
        self._sock.sendall(frame(Kind.END, msgspec.json.encode(End(rows))))

    def problem(self, problem: Problem) -> None:
        self._sock.sendall(frame(Kind.PROBLEM, msgspec.json.encode(problem)))

    def again(self) -> None:
        self._sock.sendall(frame(Kind.AGAIN))


def serve(sock: socket.socket, order: Order) -> None:
    """Does what it is told, and says so in frames. For a process that was forked for it and ends afterwards."""
    out = _Out(sock)
    try:
        if order.sql is None and not order.schema:
            said = msgspec.json.encode(files.of_door(Path(order.door)))
            out.head("json")
            out.data(said)
            out.end(0)
        else:
            _answer(sock, order, out)
    except Refused as refused:
        out.problem(refused.problem)
    except (ConnectionError, AssertionError):
        raise
    except _FAILURES as error:
        out.problem(_problem(error, order))
    except Exception:
        out.problem(Problem(500, "internal", "This query failed. The log of ropo says why."))
        raise


def _answer(sock: socket.socket, order: Order, out: _Out) -> None:
    # What has to be read from other files is read now: later it cannot be.
    arrow = _Arrow() if order.form == "arrow" else None
    ours = questions.log_columns() if order.schema else None
    before = [place_of(name) for name in (order.door, *order.files)]
    if not any(before[1:]):
        raise Refused(no_log())  # after a restart of the machine, until the collector publishes again
    lock_in(order)
    try:
        con = connect(order)
        if place_of(order.door) != order.place:
            out.again()  # another door was put there meanwhile, which reads other files
            return
        watch = _Watch(sock, con, order.secs)
        confine.start_nothing()
        try:
            asked = ours or statement.checked(con, order.sql or "")
            con.execute("begin transaction read only")
            if arrow is None:
                _send_rows(con.execute(asked, order.parameters or None), order, out)
            else:
                arrow.send(con, order, out)
        finally:
            watch.left.set()
    except duckdb.IOException:
        if out.begun or before == [place_of(name) for name in (order.door, *order.files)]:
            raise
        # The image or the door was replaced between our looking and DuckDB's opening.
        out.again()


def lock_in(order: Order) -> None:
    """Takes from this process, which has one thread yet, all that it does not need for its order."""
    readable = [Path(order.door), *map(Path, order.trees), *map(_own_folder_or_file, map(Path, order.files))]
    memory = int((order.memory_limit_mb * _SHARE + _BESIDES_MB) * (1 << 20))
    confine.write_nothing()
    confine.use_at_most(memory_bytes=memory, cpu_secs=int(order.limit_secs * (order.threads + 1)) + 10)
    # By the system, whether or not anything in here listens.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, max(0.0, order.secs) + GRACE_SECS)
    landlock.read_only([*readable, *_OF_THE_MACHINE])


def connect(order: Order) -> duckdb.DuckDBPyConnection:
    """The log as a database that cannot be written, in an instance that reads nothing else and cannot be told to."""
    con = duckdb.connect(
        ":memory:",
        config={
            "threads": order.threads,
            "memory_limit": f"{order.memory_limit_mb}MB",
            # A query that does not fit into memory fails: there is nowhere it could write.
            "temp_directory": "",
            "max_temp_directory_size": "0B",
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "allow_community_extensions": False,
            "allow_persistent_secrets": False,
        },
    )
    con.execute("set errors_as_json = true")
    con.execute("set timezone = 'UTC'")
    con.execute("set enable_progress_bar = false")
    con.execute("set python_enable_replacements = false")
    con.execute(f"attach {sql.literal(order.door)} as log (read_only)")
    con.execute("use log")
    con.execute(f"set allowed_paths = [{', '.join(map(sql.literal, order.files))}]")
    con.execute(f"set allowed_directories = [{', '.join(map(sql.literal, order.folders))}]")
    con.execute("set enable_external_access = false")
    con.execute("set lock_configuration = true")
    return con


def _send_rows(result: duckdb.DuckDBPyConnection, order: Order, out: _Out) -> None:
    form = formats.form_of(order.form)
    columns = [(column[0], str(column[1])) for column in result.description]
    # The first rows are there before anything is told: most of what can go wrong has gone wrong by then.
    size, count = 16, 0
    rows = result.fetchmany(size)
    out.head(order.form)
    out.data(form.begin(columns))
    try:
        while rows and count + len(rows) <= order.max_rows:
            count += len(rows)
            octets = form.rows(rows)
            size = max(1, min(_MOST_ROWS, size * 4, size * _BATCH_BYTES // len(octets)))
            out.data(octets)
            rows = result.fetchmany(size)
        problem = too_long(order.max_rows) if rows else None
    except _FAILURES as error:
        problem = _problem(error, order)
    if problem is None:
        out.data(form.end(count))
        out.end(count)
    else:
        out.data(form.broken(problem))
        out.problem(problem)


_FAILURES = (duckdb.Error, MemoryError, msgspec.EncodeError, ValueError, OverflowError, TypeError)


def _problem(error: BaseException, order: Order) -> Problem:
    if isinstance(error, duckdb.InterruptException) or "INTERRUPT" in str(error)[:100]:
        return too_late(order.limit_secs)
    if isinstance(error, MemoryError):
        return of_duckdb(MemoryError("Out of Memory Error: Python"), "")
    if isinstance(error, duckdb.Error):
        return of_duckdb(error, order.sql or "")
    return Problem(400, "sql", f"A value of the answer cannot be told as {order.form}; cast it to varchar.")


class _Arrow:
    """The answer as an Arrow stream. Made before the process is locked in, because it loads pyarrow."""

    def __init__(self) -> None:
        import pyarrow
        import pyarrow.ipc

        self._arrow = pyarrow

    def send(self, con: duckdb.DuckDBPyConnection, order: Order, out: _Out) -> None:
        # The one that fetches as it is read; the other holds the whole answer (measured on 1.5.5 and 2.0.0).
        ask = con.execute if duckdb.__version__.startswith("1.") else partial(_related, con)
        batches = ask(order.sql or "", order.parameters or None).to_arrow_reader(2048)
        sink = _Sink(out)
        writer = self._arrow.ipc.new_stream(self._arrow.PythonFile(sink, mode="w"), batches.schema)
        count, problem = 0, None
        try:
            for batch in batches:
                if count + batch.num_rows > order.max_rows:
                    problem = too_long(order.max_rows)
                    break
                count += batch.num_rows
                writer.write_batch(batch)
        except (*_FAILURES, self._arrow.ArrowException, OSError) as error:
            if sink.refused is not None:
                raise sink.refused from None
            if not out.begun:
                raise
            problem = _problem(error, order)
        if problem is None:
            writer.close()
            out.end(count)
        else:
            if not out.begun:
                raise Refused(problem)
            out.problem(problem)


def _related(con: duckdb.DuckDBPyConnection, text: str, parameters: list | dict | None) -> Any:
    return con.sql(text, params=parameters)


class _Sink:
    """A file for pyarrow. The schema is held back until there are rows, or an end: an early error has a status then."""

    closed = False

    def __init__(self, out: _Out) -> None:
        self.refused: ConnectionError | None = None
        self._out, self._writes = out, 0

    def write(self, octets: Any) -> int:
        octets = bytes(octets)
        try:
            if not self._out.begun:
                self._out.head("arrow")
            self._out.data(octets)
        except ConnectionError as error:
            self.refused = error
            raise
        return len(octets)

    def flush(self) -> None: ...
    def close(self) -> None: ...


class _Watch(threading.Thread):
    """Ends the process when the reader is gone, and interrupts DuckDB when the time is over."""

    def __init__(self, sock: socket.socket, con: duckdb.DuckDBPyConnection, secs: float) -> None:
        super().__init__(name="watch", daemon=True)
        self.left = threading.Event()
        self._sock, self._con, self._until = sock, con, time.monotonic() + secs
        self.start()

    def run(self) -> None:
        poll = select.poll()
        poll.register(self._sock, select.POLLRDHUP)
        while not self.left.is_set():
            left = self._until - time.monotonic()
            # Again and again: DuckDB forgets an interrupt that comes between two statements.
            if poll.poll(max(50, left * 1000)):
                os._exit(0)
            if time.monotonic() >= self._until:
                self._con.interrupt()


def place_of(name: str) -> tuple[int, int] | None:
    """Which file stands under this name at the moment; None: none."""
    try:
        there = os.stat(name)
    except OSError:
        return None
    return there.st_ino, there.st_mtime_ns


def _own_folder_or_file(path: Path) -> Path:
    """The folder, if nothing but this file and its like lies there: then it may be replaced meanwhile. Else the file."""
    with suppress(OSError):
        if all(name.startswith(path.name) for name in os.listdir(path.parent)):
            return path.parent
    return path
