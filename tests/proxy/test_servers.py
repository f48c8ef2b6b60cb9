"""One upstream server: its connections over TCP, TLS and Unix sockets, and how it has done of late."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from proxy.address import Address
from proxy.servers import Server
from proxy.settings import ProxySettings
from proxy.upstream import Upstream
from tests.support.certificates import Authority
from tests.support.ports import free_port
from tests.support.upstreams import Backend, Clock, context_of, eventually, exchange

Start = Callable[..., Awaitable[Backend]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """`await start(tls=..., path=...)` gives a running backend."""
    backends: list[Backend] = []

    async def started(name: str = "one", **options: object) -> Backend:
        backends.append(Backend(name, **options))
        return await backends[-1].start()

    yield started
    for backend in backends:
        await backend.stop()
    await asyncio.sleep(0.01)


def server_at(
    url: str,
    *,
    now: Clock | None = None,
    may_rest: bool = True,
    found: list[tuple[str, int]] | OSError | None = None,
    **settings: object,
) -> Server:
    """A server with `found` for its name's addresses, or what its resolver raises."""
    loop = asyncio.get_running_loop() if found is None else Names(asyncio.get_running_loop(), found)
    server = Server(Address.of(url), ProxySettings(upstream=url, **settings), loop, now=now)
    server.may_rest = may_rest
    return server


class Names:
    """A loop that knows other names: one of C has no attributes to replace."""

    def __init__(self, loop: asyncio.AbstractEventLoop, found: list[tuple[str, int]] | OSError) -> None:
        self._loop = loop
        self._found = found

    def __getattr__(self, name: str) -> object:
        return getattr(self._loop, name)

    async def getaddrinfo(self, *_: object, **__: object) -> list[object]:
        if isinstance(self._found, OSError):
            raise self._found
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in self._found]


@pytest.fixture
def silent() -> Iterator[tuple[str, int]]:
    """Where the kernel accepts connections, and nobody ever says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()


# -- idle connections


async def test_the_newest_idle_connection_is_taken_first(start: Start) -> None:
    server = server_at((await start()).url)
    one, two = await server.connect(), await server.connect()
    server.give_back(one)
    server.give_back(two)
    assert server.idle == 2
    assert server.take() is two
    assert server.take() is one
    assert server.take() is None
    one.abort()
    two.abort()


async def test_an_old_connection_is_not_taken_and_is_swept(start: Start) -> None:
    clock = Clock()
    server = server_at((await start()).url, now=clock, upstream_idle_secs=4)
    server.give_back(await server.connect())
    clock.pass_by(4.1)
    assert server.take() is None
    server.give_back(await server.connect())
    server.sweep()
    assert server.idle == 1
    clock.pass_by(4.1)
    server.sweep()
    assert server.idle == 0


@pytest.mark.parametrize("over", ["tcp", "unix"])
async def test_what_the_server_has_closed_is_not_taken(start: Start, tmp_path: Path, over: str) -> None:
    backend = await start(path=tmp_path / "http.sock" if over == "unix" else None)
    server = server_at(backend.url)
    server.give_back(await server.connect())
    await eventually(lambda: backend._writers, "it has accepted")
    for writer in backend._writers:
        with socket.socket(fileno=os.dup(writer.get_extra_info("socket").fileno())) as same:
            same.shutdown(socket.SHUT_WR)
    # No loop turn in between: asyncio has not been told of the end yet.
    assert server.take() is None


async def test_a_connection_that_was_lost_while_it_idled_is_passed_over(start: Start) -> None:
    backend = await start()
    server = server_at(backend.url)
    one = await server.connect()
    server.give_back(one)
    await backend.stop()
    await eventually(lambda: one.lost, "the end is known")
    assert server.take() is None


async def test_no_more_are_kept_than_the_setting_says(start: Start) -> None:
    server = server_at((await start()).url, upstream_idle_connections=1)
    for upstream in [await server.connect(), await server.connect()]:
        server.give_back(upstream)
    assert server.idle == 1
    server.close()
    assert server.idle == 0


# -- how it is reached


async def test_small_requests_leave_at_once_over_tcp(start: Start) -> None:
    port = (await start()).port
    for host in ("127.0.0.1", "localhost"):  # an address and a name take two ways
        upstream = await server_at(f"http://{host}:{port}").connect()
        fileno = upstream.transport.get_extra_info("socket").fileno()
        with socket.socket(fileno=os.dup(fileno)) as same:
            assert same.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert await exchange(upstream) == b"one"
        upstream.close()


async def test_over_a_unix_socket_it_answers_as_over_tcp(start: Start, tmp_path: Path) -> None:
    backend = await start(path=tmp_path / "http.sock")
    server = server_at(backend.url)
    upstream = await server.connect()
    assert await exchange(upstream) == b"one"
    server.give_back(upstream)
    assert server.take() is upstream
    assert await exchange(upstream) == b"one"
    assert backend.accepted == 1
    upstream.close()


async def test_a_unix_socket_that_is_not_there_is_an_error_like_any_other(tmp_path: Path) -> None:
    server = server_at(f"unix:{tmp_path}/none.sock")
    with pytest.raises(FileNotFoundError):
        await server.connect()
    assert server.failures == 1


async def test_all_addresses_of_a_name_are_tried(start: Start) -> None:
    backend = await start()
    # Behind the first address nothing listens; behind the second, packets vanish: its queue holds no more.
    with socket.socket() as busy, ExitStack() as waiting:
        busy.bind(("127.0.0.3", 0))
        busy.listen(0)
        for _ in range(4):
            one = waiting.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(busy.getsockname())
        found = [("127.0.0.2", free_port()), busy.getsockname(), ("127.0.0.1", backend.port)]
        upstream = await server_at("http://shop.example", found=found, connect_timeout_secs=20).connect()
        assert await exchange(upstream) == b"one"
        upstream.close()


@pytest.mark.parametrize("found", [[], socket.gaierror(socket.EAI_NONAME, "Name or service not known")])
async def test_a_name_without_an_address_is_a_failure(found: list[tuple[str, int]] | OSError) -> None:
    server = server_at("http://shop.example", found=found)
    with pytest.raises(OSError):
        await server.connect()
    assert server.failures == 1


async def test_a_name_none_of_whose_addresses_answers_is_a_failure() -> None:
    server = server_at("http://shop.example", found=[("127.0.0.1", free_port()), ("127.0.0.2", free_port())])
    with pytest.raises(ConnectionRefusedError):
        await server.connect()
    assert server.failures == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "shop.example"])
async def test_a_server_that_says_nothing_of_tls_is_given_up_in_time(silent: tuple[str, int], host: str) -> None:
    server = server_at(f"https://{host}:{silent[1]}", found=[silent], connect_timeout_secs=0.1)
    with pytest.raises(TimeoutError):
        await server.connect()
    assert server.failures == 1


# -- whom it trusts


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


# The certificate's names, whether it has expired, what is asked for, and what the operator set.
@pytest.mark.parametrize(
    ("names", "expired", "host", "settings", "well"),
    [
        (["shop.example"], False, "shop.example", {"upstream_ca_file": "authority.pem"}, True),
        (["*.shop.example"], False, "www.shop.example.", {"upstream_ca_file": "authority.pem"}, True),
        (["127.0.0.1"], False, "127.0.0.1", {"upstream_ca_file": "authority.pem"}, True),
        (["shop.example"], False, "shop.example", {"upstream_ca_file": "other.pem"}, False),
        (["shop.example"], False, "shop.example", {}, False),
        (["shop.example"], False, "other.example", {"upstream_ca_file": "authority.pem"}, False),
        (["localhost"], False, "127.0.0.1", {"upstream_ca_file": "authority.pem"}, False),
        (["shop.example"], True, "shop.example", {"upstream_ca_file": "authority.pem"}, False),
        (["shop.example"], True, "other.example", {"verify_upstream": False}, True),
        (["a"], False, "shop.example", {"verify_upstream": False, "upstream_ca_file": "none.pem"}, True),
    ],
    ids=[
        "right", "wildcard, dot at the end", "by address", "other authority", "the system's authorities", "other name",
        "name, not address", "expired", "not verified", "file not needed",
    ],
)  # fmt: skip
async def test_a_certificate_is_verified_unless_the_operator_says_otherwise(
    start: Start, authority: Authority, tmp_path: Path, names: list[str], expired: bool, host: str,
    settings: dict[str, object], well: bool,
) -> None:  # fmt: skip
    Authority(tmp_path, "other")
    if "upstream_ca_file" in settings:
        settings = {**settings, "upstream_ca_file": str(tmp_path / str(settings["upstream_ca_file"]))}
    pair = authority.pair(tmp_path, *names, days=-1 if expired else 1)
    backend = await start(tls=context_of(pair))
    server = server_at(f"https://{host}:{backend.port}", found=[("127.0.0.1", backend.port)], **settings)
    if well:
        upstream = await server.connect()
        assert await exchange(upstream) == b"one"
        upstream.close()
    else:
        with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
            await server.connect()
    assert server.failures == (0 if well else 1)


@pytest.mark.parametrize(
    ("host", "asked"),
    [("shop.example.", "shop.example"), ("Straße.example", "xn--strae-oqa.example"), ("127.0.0.1", None)],
)
async def test_it_asks_for_the_name_and_for_http_1_1(
    start: Start, authority: Authority, tmp_path: Path, host: str, asked: str | None
) -> None:
    seen: list[str | None] = []
    context = context_of(authority.pair(tmp_path, "shop.example", "xn--strae-oqa.example", "127.0.0.1"))
    context.set_alpn_protocols(["h2", "http/1.1"])
    context.sni_callback = lambda connection, name, _: seen.append(name)
    backend = await start(tls=context)
    server = server_at(
        f"https://{host}:{backend.port}", found=[("127.0.0.1", backend.port)], upstream_ca_file=str(authority.file)
    )
    upstream = await server.connect()
    assert seen == [asked]
    assert upstream.transport.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
    upstream.close()


async def test_a_file_of_authorities_that_cannot_be_used_is_said_by_name(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").touch()
    for file, why in (("none.pem", "No such file"), ("empty.pem", "not a PEM file")):
        with pytest.raises(ValueError, match=f"proxy.upstream_ca_file: .*{file} cannot be used: .*{why}"):
            server_at("https://localhost", upstream_ca_file=str(tmp_path / file))


# -- how it does


async def test_it_rests_after_several_failures_in_a_row_and_then_takes_one_probe() -> None:
    clock = Clock()
    server = server_at("http://127.0.0.1:9", now=clock, upstream_failures=3, upstream_rest_secs=10)
    server.failed()
    server.failed()
    assert (server.is_up, server.state) == (True, "up")
    server.failed()
    assert (server.is_up, server.state, server.failures) == (False, "resting", 3)
    clock.pass_by(9.9)
    assert not server.is_up
    clock.pass_by(0.2)
    assert server.is_up and server.awaits_probe and server.state == "resting"
    server.rest()  # the probe is out
    assert not server.is_up
    server.failed()
    assert not server.is_up
    clock.pass_by(10)
    assert server.is_up
    server.answered()
    assert (server.is_up, server.state, server.failures, server.failures_total) == (True, "up", 0, 4)


async def test_a_probe_that_never_comes_back_is_followed_by_another() -> None:
    clock = Clock()
    server = server_at("http://127.0.0.1:9", now=clock, upstream_failures=1, upstream_rest_secs=10)
    server.failed()
    clock.pass_by(10)
    server.rest()
    clock.pass_by(10)
    assert server.is_up


async def test_only_failures_in_a_row_count() -> None:
    server = server_at("http://127.0.0.1:9", upstream_failures=2)
    for _ in range(5):
        server.failed()
        server.answered()
    assert (server.is_up, server.failures_total) == (True, 5)


async def test_the_only_server_of_a_site_never_rests() -> None:
    server = server_at("http://127.0.0.1:9", may_rest=False, upstream_failures=1)
    server.failed()
    assert (server.is_up, server.state, server.failures_total) == (True, "up", 1)


async def test_an_unhealthy_server_is_not_up_whatever_it_answers() -> None:
    server = server_at("http://127.0.0.1:9", upstream_failures=1)
    server.failed()
    server.healthy = False
    server.answered()
    assert (server.is_up, server.state) == (False, "unhealthy")
    server.healthy = True
    assert (server.is_up, server.state) == (True, "up")


async def test_a_connection_refused_counts_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    server = server_at(f"http://127.0.0.1:{free_port()}", upstream_failures=2)
    for _ in range(4):
        with pytest.raises(ConnectionRefusedError):
            await server.connect()
    assert (server.failures, server.failures_total, server.state) == (4, 4, "resting")
    server.answered()
    server.answered()
    said = [record.message.split()[0] for record in caplog.records]
    assert said == ["event=upstream_rests", "event=upstream_back"]


async def test_what_this_machine_lacks_is_not_held_against_the_server() -> None:
    server = server_at("http://shop.example", found=OSError(errno.EMFILE, "Too many open files"), upstream_failures=1)
    with pytest.raises(OSError):
        await server.connect()
    assert (server.is_up, server.failures, server.failures_total) == (True, 0, 1)


async def test_whoever_gives_up_waiting_for_a_connection_is_no_failure(silent: tuple[str, int]) -> None:
    server = server_at(f"https://127.0.0.1:{silent[1]}")
    connecting = asyncio.create_task(server.connect())
    await asyncio.sleep(0.01)
    connecting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await connecting
    assert server.failures_total == 0


async def test_the_status_file_shows_each_server_with_its_figures(start: Start) -> None:
    backend = await start()
    server = server_at(backend.url)
    upstream: Upstream = await server.connect()
    server.give_back(upstream)
    server.running = 2
    server.failed()
    assert server.figures == {"url": backend.url, "state": "up", "idle": 1, "running": 2, "failures": 1}
    server.close()
