"""Several servers behind a whole ropo: one goes away and comes back, others stand behind a socket, TLS, a name."""

from __future__ import annotations

import asyncio
import http.client
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.e2e.test_reload import Visitors, eventually
from tests.support.certificates import Authority
from tests.support.ropo_process import RopoProcess
from tests.support.upstreams import Backend, context_of


@asynccontextmanager
async def standing(*backends: Backend) -> AsyncIterator[None]:
    try:
        for backend in backends:
            await backend.start()
        yield
    finally:
        for backend in backends:
            await backend.stop()


@asynccontextmanager
async def small_load(port: int) -> AsyncIterator[Visitors]:
    """Visitors who only read, some on connections that are kept."""
    them = Visitors(port)
    tasks = [asyncio.create_task(them.kept_alive(f"k{n}", 0.005 * (n + 1))) for n in range(4)]
    tasks += [asyncio.create_task(them.fresh(f"f{n}")) for n in range(2)]
    try:
        yield them
    finally:
        them.stopping = True
        await asyncio.gather(*tasks)


@asynccontextmanager
async def ropo_before(folder: Path, upstream: str | list[str], **proxy: object) -> AsyncIterator[RopoProcess]:
    """A whole ropo, started and ended beside the loop, on which its upstream servers live."""
    ropo = RopoProcess(folder, upstream="", proxy={"upstream": upstream, **proxy})
    try:
        await asyncio.to_thread(ropo.start)
        yield ropo
    finally:
        await asyncio.to_thread(ropo.end)


def page(port: int, host: str = "www.example.com", target: str = "/page") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", target, headers={"Host": host})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize("health", [None, {"path": "/health", "interval_secs": 0.2}], ids=["from requests", "asked"])
async def test_a_server_that_goes_away_and_comes_back_costs_no_visitor_anything(tmp_path: Path, health: dict | None):
    one, two, three = Backend("one"), Backend("two"), Backend("three")
    async with (
        standing(one, two, three),
        ropo_before(tmp_path, [one.url, two.url, three.url], upstream_rest_secs=0.5, health=health) as ropo,
        small_load(ropo.port) as load,
    ):

        async def used(backend: Backend) -> None:
            """Until visitors, and not health checks, have asked it again."""
            before = len(load.answered), visits(backend)
            await eventually(
                lambda: visits(backend) > before[1] + 5 and len(load.answered) > before[0] + 50 or load.failed,
                f"{backend.name} is asked",
            )

        for backend in (one, two, three):
            await used(backend)
        for _ in range(2):
            # It refuses connections, and drops those that wait for an answer or idle.
            await two.stop()
            await load.more(300)
            await two.start()
            await used(two)
        assert load.failed == []
    assert set(load.answered.values()) == {b"one", b"two", b"three"}


def visits(backend: Backend) -> int:
    return sum(target.startswith("/page") for _, target, _ in list(backend.asked))


async def test_a_site_behind_a_unix_socket(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory):
    # A path of a socket has 108 characters at most.
    path = tmp_path_factory.mktemp("s") / "http.sock"
    backend = Backend("behind a socket", path=path)
    async with standing(backend), ropo_before(tmp_path, backend.url) as ropo:
        assert await asyncio.to_thread(page, ropo.port) == (200, b"behind a socket")
        await backend.stop()
        assert (await asyncio.to_thread(page, ropo.port))[0] == 502
        await backend.start()
        assert await asyncio.to_thread(page, ropo.port) == (200, b"behind a socket")
    assert ("GET", "/page", "www.example.com") in backend.asked


async def test_a_site_behind_https_with_a_certificate_of_an_authority_of_its_own(tmp_path: Path):
    ours, another = Authority(tmp_path, "ours"), Authority(tmp_path, "another")
    backend = Backend("behind tls", tls=context_of(ours.pair(tmp_path, "127.0.0.1")))
    async with standing(backend):
        for name, authority, status in (("right", ours, 200), ("wrong", another, 502)):
            folder = tmp_path / name
            folder.mkdir()
            async with ropo_before(folder, backend.url, upstream_ca_file=str(authority.file)) as ropo:
                answered, body = await asyncio.to_thread(page, ropo.port)
            assert answered == status
            assert (body == b"behind tls") == (status == 200)
    assert len(backend.asked) == 1


async def test_sites_are_told_apart_by_their_names(tmp_path: Path):
    shop, blog, rest = Backend("shop"), Backend("blog"), Backend("rest")
    async with standing(shop, blog, rest):
        sites = [
            {"hosts": ["shop.example.com"], "upstream": shop.url},
            {"hosts": ["*.blog.example.com"], "upstream": [blog.url], "host": "upstream"},
        ]
        async with ropo_before(tmp_path, rest.url, sites=sites) as ropo:
            names = {
                "shop.example.com": b"shop",
                "SHOP.example.com:8080": b"shop",
                "anna.blog.example.com": b"blog",
                "www.example.com": b"rest",
                "127.0.0.1": b"rest",
            }
            for name, body in names.items():
                assert await asyncio.to_thread(page, ropo.port, name) == (200, body)
    assert [host for _, _, host in shop.asked] == ["shop.example.com", "SHOP.example.com:8080"]
    assert [host for _, _, host in blog.asked] == [f"127.0.0.1:{blog.port}"]
