"""Asking upstream servers how they are, with servers that drain, fall silent, go and come back."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import aiohttp
import pytest

from proxy.address import Address
from proxy.balancer import Balancer
from proxy.health import HealthChecks
from proxy.servers import Server
from proxy.settings import HealthSettings, ProxySettings
from tests.support.certificates import Authority
from tests.support.ports import free_port
from tests.support.upstreams import Backend, ask, context_of, eventually

PATH = "/healthz"
Start = Callable[..., Awaitable[Backend]]
Watch = Callable[..., list[Server]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    backends: list[Backend] = []

    async def started(name: str = "one", **options: object) -> Backend:
        backends.append(Backend(name, **options))
        backends[-1].statuses[PATH] = 200
        return await backends[-1].start()

    yield started
    for backend in backends:
        await backend.stop()
    await asyncio.sleep(0.01)


@pytest.fixture
async def watch() -> AsyncIterator[Watch]:
    """`watch(url, ...)` gives servers that are asked every 20 ms, at first at once."""
    all_checks: list[HealthChecks] = []

    def watched(*urls: str, host: str = "shop.example", health: dict[str, object] | None = None, **settings: object):
        loop = asyncio.get_running_loop()
        merged = ProxySettings(upstream=list(urls), **settings)
        servers = [Server(Address.of(url), merged, loop) for url in urls]
        asked = HealthSettings(
            **{"path": PATH, "interval_secs": 0.02, "timeout_secs": 5, "failures": 2, **(health or {})}
        )
        all_checks.append(HealthChecks(dict.fromkeys(servers, host), asked, jitter=lambda: 0.0))
        all_checks[-1].start()
        return servers

    yield watched
    for checks in all_checks:
        await checks.stop()


@pytest.fixture
def silent() -> Iterator[str]:
    """Where the kernel accepts connections, and nobody ever says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


async def test_a_server_is_asked_as_a_visitor_would_over_a_connection_of_its_own(start: Start, watch: Watch) -> None:
    backend = await start()
    [server] = watch(backend.url)
    await eventually(lambda: len(backend.asked) >= 3, "it was asked again and again")
    assert set(backend.asked) == {("GET", PATH, "shop.example")}
    assert set(backend.agents) == {"ropo-health"}
    assert backend.accepted >= 3
    assert (server.state, server.idle, server.running, server.failures_total) == ("up", 0, 0, 0)


@pytest.mark.parametrize(
    ("status", "well"), [(200, True), (204, True), (302, True), (399, True), (400, False), (404, False), (503, False)]
)
async def test_2xx_and_3xx_are_well_and_no_redirect_is_followed(
    start: Start, watch: Watch, status: int, well: bool
) -> None:
    backend = await start()
    backend.statuses[PATH] = status
    [server] = watch(backend.url)
    await eventually(lambda: backend.targets(PATH) >= 3, "it was asked")
    assert server.healthy is well
    assert backend.targets("/") == 0


async def test_a_server_that_drains_finishes_what_it_has_and_gets_nothing_new(start: Start, watch: Watch) -> None:
    old, new = await start("old"), await start("new")
    servers = watch(old.url, new.url)
    balancer = Balancer(servers)
    old.hold.clear()
    running = asyncio.create_task(ask(balancer, "/slow"))
    await eventually(lambda: old.targets("/slow"), "its request runs")
    old.statuses[PATH] = 503
    await eventually(lambda: servers[0].state == "unhealthy", "it is found draining")
    assert servers[0].running == 1
    assert [await ask(balancer) for _ in range(10)] == ["new"] * 10
    assert old.targets("/") == 0
    old.hold.set()
    assert await running == "old"
    old.statuses[PATH] = 200
    await eventually(lambda: servers[0].state == "up", "it is found well")
    assert sorted([await ask(balancer), await ask(balancer)]) == ["new", "old"]
    for server in servers:
        server.close()


@pytest.mark.parametrize("over", ["tcp", "unix"])
async def test_a_server_that_is_gone_is_found_and_found_again(
    start: Start, watch: Watch, tmp_path: Path, caplog: pytest.LogCaptureFixture, over: str
) -> None:
    caplog.set_level(logging.INFO, "proxy.health")
    backend = await start(path=tmp_path / "http.sock" if over == "unix" else None)
    [server] = watch(backend.url)
    await eventually(lambda: backend.asked, "it was asked")
    await backend.stop()
    await eventually(lambda: not server.healthy, "its absence is known")
    await asyncio.sleep(0.1)  # it is asked several times more, and nothing more is said
    await backend.start()
    await eventually(lambda: server.healthy, "its return is known")
    down, up = (record.getMessage() for record in caplog.records)
    assert down.startswith(f"event=upstream_unhealthy server={backend.url} path={PATH} why=")
    assert up == f"event=upstream_healthy server={backend.url}"


async def test_one_bad_answer_is_not_enough_where_the_settings_say_more(start: Start, watch: Watch) -> None:
    backend = await start()
    backend.statuses[PATH] = 500
    [server] = watch(backend.url, health={"failures": 100})
    await eventually(lambda: backend.targets(PATH) >= 3, "it was asked")
    assert server.healthy
    [server] = watch(backend.url, health={"failures": 1})
    await eventually(lambda: not server.healthy, "one was enough")


async def test_silence_is_a_bad_answer(watch: Watch, silent: str, caplog: pytest.LogCaptureFixture) -> None:
    [server] = watch(silent, health={"timeout_secs": 0.05})
    await eventually(lambda: not server.healthy, "it was waited for in vain")
    assert "why=timeout" in caplog.text


@pytest.mark.parametrize("sent", [b"\x15\x03\x01 no HTTP\r\n\r\n", b"HTTP/1.1 200 OK\r\nA: s3cret", b""])
async def test_so_is_what_is_no_http_and_none_of_it_is_logged(
    watch: Watch, caplog: pytest.LogCaptureFixture, sent: bytes
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(sent)
        writer.close()
        await writer.wait_closed()

    odd = await asyncio.start_server(answer, "127.0.0.1", 0)
    [server] = watch(f"http://127.0.0.1:{odd.sockets[0].getsockname()[1]}")
    await eventually(lambda: not server.healthy, "it was understood")
    assert caplog.text.count("event=upstream_unhealthy") == 1
    assert "s3cret" not in caplog.text and "no HTTP" not in caplog.text
    odd.close()


@pytest.mark.parametrize(("trusts", "well"), [(True, True), (False, False)])
async def test_its_certificate_is_verified_as_for_visitors(
    start: Start, watch: Watch, tmp_path: Path, caplog: pytest.LogCaptureFixture, trusts: bool, well: bool
) -> None:
    authority, other = Authority(tmp_path), Authority(tmp_path, "other")
    backend = await start(tls=context_of(authority.pair(tmp_path, "127.0.0.1")))
    [server] = watch(backend.url, upstream_ca_file=str((authority if trusts else other).file))
    if well:
        await eventually(lambda: backend.asked, "it was asked")
        assert server.healthy
    else:
        await eventually(lambda: not server.healthy, "it was refused")
        assert "why=certificate_or_tls" in caplog.text


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (OSError(errno.EMFILE, "Too many open files"), 0),
        (KeyError("a bug"), 1),
    ],
    ids=["too few descriptors", "a bug"],
)
async def test_what_goes_wrong_on_this_side_is_not_held_against_the_server(
    start: Start, watch: Watch, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    raised: Exception, said: int,
) -> None:  # fmt: skip
    tries = []

    def get(*_: object, **__: object) -> None:
        tries.append(1)
        raise raised

    backend = await start()
    with monkeypatch.context() as patch:
        patch.setattr(aiohttp.ClientSession, "get", get)
        [server] = watch(backend.url)
        await eventually(lambda: len(tries) >= 4, "it was tried again and again")
        assert server.healthy
        assert len(caplog.records) == said
    await eventually(lambda: backend.asked, "asking goes on")


async def test_with_all_unhealthy_visitors_are_served_all_the_same(start: Start, watch: Watch) -> None:
    backends = [await start("one"), await start("two")]
    for backend in backends:
        backend.statuses[PATH] = 404  # a path that is not there, say
    servers = watch(*(backend.url for backend in backends))
    await eventually(lambda: not any(server.healthy for server in servers), "all are unhealthy")
    balancer = Balancer(servers)
    assert sorted([await ask(balancer), await ask(balancer)]) == ["one", "two"]
    for server in servers:
        server.close()


async def test_stopping_waits_for_no_answer(silent: str) -> None:
    server = Server(Address.of(silent), ProxySettings(upstream=silent), asyncio.get_running_loop())
    checks = HealthChecks({server: "a"}, HealthSettings(path=PATH, timeout_secs=3600), jitter=lambda: 0.0)
    checks.start()
    before = asyncio.all_tasks()
    await asyncio.sleep(0.05)  # it is being asked
    async with asyncio.timeout(30):
        await checks.stop()
    assert len(before - asyncio.all_tasks()) == 1
    assert server.healthy


async def test_what_was_never_started_can_be_stopped() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    server = Server(Address.of(url), ProxySettings(upstream=url), asyncio.get_running_loop())
    await HealthChecks({server: "a"}, HealthSettings(path=PATH)).stop()


async def test_workers_that_start_together_do_not_ask_together(start: Start) -> None:
    backend = await start()
    server = Server(Address.of(backend.url), ProxySettings(upstream=backend.url), asyncio.get_running_loop())
    late = HealthChecks({server: "a"}, HealthSettings(path=PATH, interval_secs=3600), jitter=lambda: 0.5)
    early = HealthChecks({server: "b"}, HealthSettings(path=PATH, interval_secs=3600), jitter=lambda: 0.0)
    late.start()
    early.start()
    await eventually(lambda: backend.asked, "one has asked")
    await late.stop()
    await early.stop()
    assert [host for _, _, host in backend.asked] == ["b"]


@pytest.mark.parametrize("path", ["/a?b=c&d", "/a%2Fb", "//a", "/%C3%BC"])
async def test_the_path_is_asked_for_as_it_is_written(start: Start, watch: Watch, path: str) -> None:
    backend = await start()
    [server] = watch(backend.url, health={"path": path})
    await eventually(lambda: backend.asked, "it was asked")
    assert backend.asked[0][1] == path
    assert server.healthy
