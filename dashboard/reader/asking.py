"""Has queries answered: keeps the nursery running, and gives each query a process of its own.

Knows processes and sockets, nothing of HTTP. A conversation that is closed ends its process, whatever that is doing.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import msgspec

from dashboard.reader.frames import GRACE_SECS, HEADER_BYTES, PIECE_BYTES, Kind, Order, header, of_order
from dashboard.reader.problem import Problem, Refused, no_log, too_late
from dashboard.settings import SqlSettings
from storage.layout import Layout

logger = logging.getLogger(__name__)

# The published rows are replaced every two seconds: to meet that so often in a row, the door would have to be a fan.
MOST_AGAIN = 20

_LOST = Problem(503, "lost", "The process of this query ended without an answer. Ask again, and for less.")


class Asking:
    def __init__(self, layout: Layout, settings: SqlSettings) -> None:
        self._door, self._settings = layout.log_db, settings
        # Parts are reached by either, and which way leads where may change while a query runs: see storage.shelves.
        self._trees = [str(layout.cold), str(layout.root / "shelves")]
        self._nursery: asyncio.subprocess.Process | None = None
        self._control: socket.socket | None = None
        self._starting = asyncio.Lock()
        # Of which door the files are known.
        self._known: tuple[tuple[int, int], list[str], list[str]] | None = None
        self.lost = 0

    @asynccontextmanager
    async def answer(
        self,
        sql: str | None,
        *,
        until: float,
        parameters: list | dict | None = None,
        form: str = "json",
    ) -> AsyncIterator[Pieces]:
        """The answer to `sql`, or without it the columns of the views, in pieces; its head has come.

        `until` is by time.monotonic(). Raises `Refused`.
        """
        limit = self._settings.timeout_secs
        for _ in range(MOST_AGAIN):
            place, names, folders = await self._files(until)
            order = Order(
                door=str(self._door), limit_secs=limit, secs=until - time.monotonic(), sql=sql, parameters=parameters,
                schema=sql is None, form=form, files=names, folders=folders, trees=self._trees, place=place,
                max_rows=self._settings.max_rows,
                memory_limit_mb=self._settings.memory_limit_mb, threads=self._settings.threads,
            )  # fmt: skip
            async with self._conversation(order, until) as pieces:
                if await pieces.begins():
                    yield pieces
                    return
        raise Refused(no_log())

    async def _files(self, until: float) -> tuple[tuple[int, int], list[str], list[str]]:
        """What the views read, asked once of every door."""
        try:
            there = os.stat(self._door)
        except OSError:
            raise Refused(no_log()) from None
        place = (there.st_ino, there.st_mtime_ns)
        if self._known is None or self._known[0] != place:
            order = Order(door=str(self._door), limit_secs=self._settings.timeout_secs, secs=until - time.monotonic())
            async with self._conversation(order, until) as pieces:
                await pieces.begins()
                said = b"".join([piece async for piece in pieces])
            names, folders = msgspec.json.decode(said, type=tuple[list[str], list[str]])
            self._known = (place, names, folders)
        return self._known

    @asynccontextmanager
    async def _conversation(self, order: Order, until: float) -> AsyncIterator[Pieces]:
        sock = await self._process()
        reader, writer = await asyncio.open_connection(sock=sock, limit=PIECE_BYTES)
        pieces = Pieces(reader, order.limit_secs, until + GRACE_SECS / 2)
        try:
            writer.write(of_order(order))
            yield pieces
        finally:
            self.lost += pieces.is_lost
            # The process on the other side ends with it.
            writer.transport.abort()

    async def _process(self) -> socket.socket:
        """Our end of the socket of a new process."""
        for last in (False, True):
            await self._start()
            ours, theirs = socket.socketpair()
            ours.setblocking(False)
            with theirs:
                try:
                    socket.send_fds(self._control, [b"q"], [theirs.fileno()])
                    return ours
                except OSError:
                    ours.close()
                    self._forget()
                    if last:
                        raise Refused(_LOST) from None
        raise AssertionError

    async def _start(self) -> None:
        async with self._starting:
            if self._nursery is not None and self._nursery.returncode is None and self._control is not None:
                return
            if self._nursery is not None:
                logger.error("event=process_died name=reader.nursery exit=%s restart=now", self._nursery.returncode)
            self._forget()
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            ours.setblocking(False)
            with theirs:
                self._nursery = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "dashboard.reader.nursery", str(theirs.fileno()), str(os.getpid()),
                    stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, pass_fds=(theirs.fileno(),),
                    process_group=0, env=_environment(),
                )  # fmt: skip
            self._control = ours

    def _forget(self) -> None:
        control, self._control = self._control, None
        if control is not None:
            control.close()

    async def close(self) -> None:
        self._forget()
        if self._nursery is not None:
            with suppress(ProcessLookupError):
                self._nursery.kill()
            await self._nursery.wait()


def _environment() -> dict[str, str]:
    """What Python needs to start. Secrets come to ropo by the environment, too: they go no further."""
    kept = ("PATH", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "LANG", "LC_ALL", "LD_LIBRARY_PATH")
    return {name: os.environ[name] for name in kept if name in os.environ}


class Pieces:
    """The answer of one process, read as it is asked for: what is not fetched here waits over there."""

    def __init__(self, reader: asyncio.StreamReader, limit_secs: float, until: float) -> None:
        self._reader, self._limit_secs, self._until = reader, limit_secs, until
        self.is_lost = False

    async def begins(self) -> bool:
        """Waits for the head. False: the same has to be asked again. Raises `Refused`."""
        kind, _ = await self._next()
        return kind is Kind.HEAD

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Raises `Refused` if it breaks off, after what there was of it."""
        while True:
            kind, body = await self._next()
            if kind is not Kind.DATA:
                return
            yield body

    async def _next(self) -> tuple[Kind, bytes]:
        try:
            async with asyncio.timeout(max(0.0, self._until - time.monotonic())):
                kind, size = header(await self._reader.readexactly(HEADER_BYTES))
                if size > PIECE_BYTES:
                    raise ValueError(f"a frame of {size} bytes")
                body = await self._reader.readexactly(size)
            problem = msgspec.json.decode(body, type=Problem) if kind is Kind.PROBLEM else _LOST
        except TimeoutError:
            raise Refused(too_late(self._limit_secs)) from None
        # A query's process is not believed either: what breaks DuckDB may speak in its place.
        except (asyncio.IncompleteReadError, ConnectionError, ValueError):
            self.is_lost = True
            late = time.monotonic() >= self._until
            raise Refused(too_late(self._limit_secs) if late else _LOST) from None
        if kind is Kind.PROBLEM:
            raise Refused(problem)
        return kind, body
