"""SIGHUP under load: no request is refused, none is cut, none is answered with an error, and each is in the log once."""

from __future__ import annotations

import asyncio
import http.client
import os
import signal
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import yaml
from aiohttp import web

from tests.support.origins import Origin
from tests.support.ports import free_port, is_open
from tests.support.ropo_process import RopoProcess
from tests.support.waiting import until

# A download and an upload that take longer than a reload, in pieces.
PIECES, PIECE, PAUSE_SECS = 25, b"x" * 2000, 0.1


class NamedSite(Origin):
    """Pages with the site's name on them, and a download and an upload that take their time."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    async def serve(self) -> Callable[[], Awaitable[None]]:
        app = web.Application()
        app.add_routes(
            [web.get("/page", self._page), web.get("/download", self._download), web.post("/upload", self._upload)]
        )
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.port, reuse_address=True).start()
        return runner.cleanup

    async def _page(self, _: web.Request) -> web.Response:
        return web.Response(text=self.name)

    async def _download(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = PIECES * len(PIECE)
        await response.prepare(request)
        for _ in range(PIECES):
            await response.write(PIECE)
            await asyncio.sleep(PAUSE_SECS)
        return response

    async def _upload(self, request: web.Request) -> web.Response:
        return web.Response(text=str(len(await request.read())))


class Visitors:
    """Visitors without end, until `stop`. `answered` has the marker and body of each answer, `failed` what went wrong."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.answered: dict[str, bytes] = {}
        self.failed: list[str] = []
        self.announced = 0
        self.stopping = False

    async def kept_alive(self, name: str, pause_secs: float) -> None:
        """One connection, as long as the server does not announce its end."""
        connection = None
        turn = 0
        while not self.stopping:
            turn += 1
            if connection is None:
                connection = await self._connected(f"{name}-{turn}")
            if connection is not None and not await self._ask(*connection, f"{name}-{turn}"):
                connection[1].close()
                connection = None
            await asyncio.sleep(pause_secs)
        if connection is not None:
            connection[1].close()

    async def fresh(self, name: str) -> None:
        """A connection for each request."""
        turn = 0
        while not self.stopping:
            turn += 1
            marker = f"{name}-{turn}"
            if (connection := await self._connected(marker)) is not None:
                await self._ask(*connection, marker)
                connection[1].close()
            await asyncio.sleep(0.005)

    async def download(self, name: str) -> None:
        turn = 0
        while not self.stopping:
            turn += 1
            marker = f"{name}-{turn}"
            if (connection := await self._connected(marker)) is not None:
                await self._ask(*connection, marker, path="/download")
                connection[1].close()

    async def upload(self, name: str) -> None:
        turn = 0
        while not self.stopping:
            turn += 1
            marker = f"{name}-{turn}"
            if (connection := await self._connected(marker)) is None:
                continue
            reader, writer = connection
            head = f"POST /upload?m={marker} HTTP/1.1\r\nHost: h\r\nContent-Length: {PIECES * len(PIECE)}\r\n\r\n"
            try:
                writer.write(head.encode())
                for _ in range(PIECES):
                    writer.write(PIECE)
                    await writer.drain()
                    await asyncio.sleep(PAUSE_SECS)
                await self._answer(reader, marker)
            except (OSError, asyncio.IncompleteReadError) as error:
                self.failed.append(f"{marker}: {error!r}")
            writer.close()

    async def _connected(self, marker: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        try:
            return await asyncio.open_connection("127.0.0.1", self.port)
        except OSError as error:
            self.failed.append(f"{marker}: refused: {error!r}")
            return None

    async def _ask(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, marker: str, *, path: str = "/page"
    ) -> bool:
        """Whether the connection may be used again."""
        try:
            writer.write(f"GET {path}?m={marker} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
            return await self._answer(reader, marker)
        except (OSError, asyncio.IncompleteReadError) as error:
            self.failed.append(f"{marker}: {error!r}")
            return False

    async def _answer(self, reader: asyncio.StreamReader, marker: str) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
        body = await reader.readexactly(length)
        if not head.startswith(b"http/1.1 200 "):
            self.failed.append(f"{marker}: {head.splitlines()[0]!r}")
        self.answered[marker] = body
        self.announced += b"\r\nconnection: close" in head
        return b"\r\nconnection: close" not in head

    async def more(self, count: int) -> None:
        goal = len(self.answered) + count
        await eventually(lambda: len(self.answered) >= goal or self.failed, f"{count} more answers")


async def eventually(question: Callable[[], Any], what: str) -> None:
    await asyncio.to_thread(until, question, what)


@asynccontextmanager
async def visitors(port: int, them: Visitors | None = None) -> AsyncIterator[Visitors]:
    them = them or Visitors(port)
    tasks = [asyncio.create_task(them.kept_alive(f"k{n}", 0.005 * (n + 1))) for n in range(6)]
    tasks += [asyncio.create_task(them.kept_alive(f"seldom{n}", 0.7)) for n in range(3)]
    tasks += [asyncio.create_task(them.fresh(f"f{n}")) for n in range(3)]
    tasks += [asyncio.create_task(them.download(f"d{n}")) for n in range(3)]
    tasks += [asyncio.create_task(them.upload(f"u{n}")) for n in range(3)]
    try:
        yield them
    finally:
        them.stopping = True
        await asyncio.gather(*tasks)


def change(ropo: RopoProcess, **sections: dict[str, Any]) -> None:
    settings = yaml.safe_load(ropo.config.read_text())
    for name, section in sections.items():
        settings.setdefault(name, {}).update(section)
    ropo.config.write_text(yaml.safe_dump(settings, sort_keys=False))


def hang_up(ropo: RopoProcess) -> None:
    ropo.process.send_signal(signal.SIGHUP)


def reloads(ropo: RopoProcess) -> int:
    return ropo.said().count("event=reloaded ")


def page(port: int) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", "/page?m=asked")
        return connection.getresponse().read()
    finally:
        connection.close()


def workers(ropo: RopoProcess) -> dict[str, dict[str, Any]]:
    return {name: state for name, state in ropo.states().items() if state["kind"] == "worker"}


async def test_reloads_under_load_refuse_and_cut_nothing_and_the_ledger_balances(tmp_path: Path):
    with NamedSite("one") as one, NamedSite("two") as two, RopoProcess(tmp_path, upstream=one.url) as ropo:
        first = {state["pid"] for state in workers(ropo).values()}
        async with visitors(ropo.port) as load:
            await load.more(100)
            hang_up(ropo)
            await eventually(lambda: reloads(ropo) == 1, "the first reload is done")

            good = ropo.config.read_text()
            ropo.config.write_text(good.replace("upstream:", "upstraem:"))
            hang_up(ropo)
            await eventually(lambda: "event=reload_refused" in ropo.said(), "the wrong file is refused")
            assert "upstraem" in ropo.said()
            ropo.config.write_text(good)
            await load.more(100)

            change(ropo, proxy={"upstream": two.url})
            hang_up(ropo)
            await eventually(lambda: reloads(ropo) == 2, "the second reload is done")
            assert await asyncio.to_thread(page, ropo.port) == b"two"
            # During a reload, and it is run after it.
            hang_up(ropo)
            await load.more(20)
            change(ropo, proxy={"workers": 1})
            hang_up(ropo)
            await eventually(lambda: reloads(ropo) >= 4 or load.failed, "two more reloads are done")
            await load.more(100)
        assert load.failed == []
        assert load.announced >= 6, "no kept connection was told that it ends"
        assert {body for marker, body in load.answered.items() if marker[0] in "kfs"} == {b"one", b"two"}
        assert {body for marker, body in load.answered.items() if marker[0] == "u"} == {b"%d" % (PIECES * len(PIECE))}
        assert {len(body) for marker, body in load.answered.items() if marker[0] == "d"} == {PIECES * len(PIECE)}

        until(lambda: len(workers(ropo)) == 1, "the retired workers have gone")
        assert not any(psutil.pid_exists(pid) and psutil.Process(pid).ppid() == ropo.process.pid for pid in first)
        assert ropo.stop() == 0
        markers = ropo.markers()
        assert markers.pop("asked") == 1
        assert Counter(markers) == Counter(load.answered.keys())
        [(received, logged, missing, stopped)] = ropo.sql(
            "select sum(received), sum(logged), sum(missing), bool_and(stopped) from ledger"
        )
        assert (received, logged, missing, stopped) == (len(markers) + 1, len(markers) + 1, 0, True)
        assert list((ropo.data / "spool").iterdir()) == []
        assert "process_died" not in ropo.said() and "Traceback" not in ropo.said()


async def test_a_changed_address_is_served_before_the_old_one_is_given_up(tmp_path: Path):
    with NamedSite("one") as one, RopoProcess(tmp_path, upstream=one.url) as ropo:
        old, new = ropo.port, free_port()
        async with visitors(old) as load:
            await load.more(50)
            # These do nothing but wait: whoever has connected is served.
            waiting = [socket.create_connection(("127.0.0.1", old)) for _ in range(20)]
            change(ropo, proxy={"listen": f"127.0.0.1:{new}"})
            hang_up(ropo)
            await eventually(lambda: is_open(new), "the new address is served")
            load.port = new
            await eventually(lambda: reloads(ropo) == 1, "the reload is done")
            for number, connection in enumerate(waiting):
                with connection:
                    connection.settimeout(20)
                    connection.sendall(b"GET /page?m=w%d HTTP/1.1\r\nHost: h\r\n\r\n" % number)
                    assert (await asyncio.to_thread(connection.recv, 4096)).startswith(b"HTTP/1.1 200 ")
            await load.more(50)
        assert load.failed == []
        assert not is_open(old)


def test_what_cannot_be_reloaded_is_told_and_the_rest_is_applied(tmp_path: Path):
    with NamedSite("one") as one, NamedSite("two") as two, RopoProcess(tmp_path, upstream=one.url) as ropo:
        until(lambda: "dashboard" in ropo.states(), "all processes have said something")
        collector, dashboard = ropo.pid("collector"), ropo.pid("dashboard")
        change(ropo, storage={"path": str(tmp_path / "elsewhere")}, proxy={"upstream": two.url})
        hang_up(ropo)
        until(lambda: reloads(ropo) == 1, "the reload is done")
        assert "event=reload_left key=storage.path" in ropo.said()
        assert not (tmp_path / "elsewhere").exists()
        assert page(ropo.port) == b"two"
        assert (ropo.pid("collector"), ropo.pid("dashboard")) == (collector, dashboard), "nothing new for them"

        change(ropo, storage={"publish_interval_secs": 0.4}, dashboard={"refresh_secs": 7})
        hang_up(ropo)
        until(lambda: reloads(ropo) == 2, "the second reload is done")
        until(
            lambda: (
                not {collector, dashboard} & {state["pid"] for state in ropo.states().values()}
                and {"collector", "dashboard"} <= ropo.states().keys()
            ),
            "both are replaced",
        )
        assert page(ropo.port) == b"two"
        until(lambda: ropo.markers() == {"asked": 2}, "the new collector goes on")
        assert "process_died" not in ropo.said()


def test_an_address_that_is_taken_leaves_all_as_it_was(tmp_path: Path):
    with NamedSite("one") as one, RopoProcess(tmp_path, upstream=one.url) as ropo:
        before = workers(ropo)
        with socket.create_server(("127.0.0.1", 0)) as other:
            change(ropo, proxy={"listen": f"127.0.0.1:{other.getsockname()[1]}"})
            hang_up(ropo)
            until(lambda: "event=reload_refused" in ropo.said(), "the reload is refused")
        assert "proxy.listen: cannot listen" in ropo.said()
        assert workers(ropo).keys() == before.keys()
        assert page(ropo.port) == b"one"


def test_a_worker_that_dies_right_during_a_reload_is_replaced_and_a_stop_during_one_ends_all_in_order(tmp_path: Path):
    with NamedSite("one") as one, RopoProcess(tmp_path, upstream=one.url) as ropo:
        hang_up(ropo)
        ropo.kill("worker-1")
        coming = until(
            lambda: [child for child in ropo.family() if child.pid not in {s["pid"] for s in ropo.states().values()}],
            "a new worker is being started",
        )
        os.kill(coming[0].pid, signal.SIGKILL)
        until(lambda: reloads(ropo) == 1, "the reload is done all the same")
        assert page(ropo.port) == b"one"
        hang_up(ropo)
        family = until(lambda: (now := ropo.family()) and len(now) > 4 and now, "the next reload has begun")
        assert ropo.stop() == 0
        assert [process for process in family if process.is_running()] == []
        assert ropo.states() == {}
        assert ropo.markers() == {"asked": 1}
        assert list((ropo.data / "spool").iterdir()) == []


def test_the_dashboard_takes_a_retired_worker_for_no_dead_one(tmp_path: Path):
    with NamedSite("one") as one, RopoProcess(tmp_path, upstream=one.url) as ropo:
        with socket.create_connection(("127.0.0.1", ropo.port)):
            idle = until(
                lambda: [name for name, state in workers(ropo).items() if state["connections"]], "it is connected"
            )
            hang_up(ropo)
            until(lambda: reloads(ropo) == 1, "the reload is done")
            until(lambda: workers(ropo)[idle[0]]["retiring"], "it waits for the idle connection")
            seen = time.monotonic()
            while idle[0] in workers(ropo):
                assert ropo._health() == 200
                assert time.monotonic() - seen < 60
                time.sleep(0.2)
        assert workers(ropo).keys() == {"worker-3", "worker-4"}
        hang_up(ropo)
        until(lambda: workers(ropo).keys() == {"worker-1", "worker-2"}, "the lowest names are given again")
        assert ropo._health() == 200


def test_a_retired_worker_that_is_killed_leaves_no_state_and_no_open_file(tmp_path: Path):
    with NamedSite("one") as one, RopoProcess(tmp_path, upstream=one.url, storage={"seal_interval_secs": 30}) as ropo:
        with socket.create_connection(("127.0.0.1", ropo.port)) as idle:
            idle.sendall(b"GET /page?m=asked HTTP/1.1\r\nHost: h\r\n\r\n")
            assert idle.recv(4096).startswith(b"HTTP/1.1 200 ")
            [name] = until(lambda: [n for n, s in workers(ropo).items() if s["exchanges"]], "it has served")
            hang_up(ropo)
            until(lambda: workers(ropo).get(name, {}).get("retiring"), "it waits for the idle connection")
            ropo.kill(name)
            until(lambda: name not in workers(ropo), "its state is cleared up")
        assert [path.name for path in (ropo.data / "spool").glob(f"{name}-*.open")] == []
        until(lambda: ropo.markers() == {"asked": 1}, "what it wrote is in the log")
