"""Which site a request belongs to, and the servers of all of them."""

from __future__ import annotations

import asyncio
import tracemalloc

import pytest

from proxy.settings import HealthSettings, ProxySettings, SiteSettings
from proxy.sites import Sites, host_pattern
from tests.support.upstreams import Backend, Clock, eventually

HERE = "http://127.0.0.1:9000"


def sites_of(*sites: tuple[list[str], str | list[str]], upstream: str | list[str] = HERE, **settings: object) -> Sites:
    listed = [SiteSettings(hosts=hosts, upstream=to) for hosts, to in sites]
    merged = ProxySettings(upstream=upstream, sites=listed, **settings)
    return Sites(merged, asyncio.get_running_loop(), now=Clock())


SHOPS = (
    (["shop.example.com", "shop.example"], "http://127.0.0.1:9001"),
    (["*.example.com"], "http://127.0.0.1:9002"),
    (["*.de.example.com", "blog.example.org"], "http://127.0.0.1:9003"),
    (["127.0.0.1", "[2001:db8::1]"], "http://127.0.0.1:9004"),
    (["Straße.example", "*.münchen.example"], "http://127.0.0.1:9005"),
)


@pytest.mark.parametrize(
    ("authority", "port"),
    [
        # exact
        (b"shop.example.com", 9001),
        (b"shop.example", 9001),
        (b"blog.example.org", 9003),
        # whatever its port, its case and the dot at its end
        (b"shop.example.com:8080", 9001),
        (b"SHOP.Example.COM", 9001),
        (b"shop.example.com.", 9001),
        (b"Shop.example.com.:443", 9001),
        # wildcards: below the name, however deep; the longest wins, and an exact name over all
        (b"www.example.com", 9002),
        (b"a.b.c.example.com:80", 9002),
        (b"sub.shop.example.com", 9002),
        (b"de.example.com", 9002),
        (b"www.de.example.com", 9003),
        (b"a.b.de.example.com", 9003),
        (b"under_score.example.com", 9002),
        (b"-.example.com", 9002),
        # addresses, in any form of theirs
        (b"127.0.0.1:8080", 9004),
        (b"[2001:db8::1]", 9004),
        (b"[2001:DB8:0:0:0:0:0:1]:8080", 9004),
        # names that are not ASCII arrive as they are registered
        (b"xn--strae-oqa.example", 9005),
        (b"www.xn--mnchen-3ya.example", 9005),
        # none of them
        (None, 9000),
        (b"", 9000),
        (b".", 9000),
        (b":80", 9000),
        (b"example.com", 9000),
        (b".example.com", 9000),
        (b"shop.example.com..", 9000),
        (b"notexample.com", 9000),
        (b"www.shop.example", 9000),
        (b"*.example.com.evil", 9000),
        (b"2001:db8::1", 9000),
        (b"[2001:db8::2]", 9000),
        (b"[::ffff:127.0.0.1]", 9000),
        (b"[", 9000),
        (b"[]", 9000),
        (b"stra\xdfe.example", 9000),
        (b"\xff\x00", 9000),
        (b"strasse.example", 9000),
        (b"a." * 4000 + b"example.com", 9000),
    ],
)
async def test_the_host_says_which_site_it_is(authority: bytes | None, port: int) -> None:
    sites = sites_of(*SHOPS)
    for _ in range(2):  # looked up, and remembered
        [server] = sites.site_for(authority).balancer.servers
        assert server.address.port == port


async def test_sites_have_names_and_say_which_host_goes_upstream() -> None:
    settings = ProxySettings(
        upstream=HERE,
        host="upstream",
        sites=[
            SiteSettings(hosts=["Shop.example", "www.shop.example"], upstream="http://a"),
            SiteSettings(hosts=["*.example.org"], upstream="http://b", host="upstream"),
        ],
    )
    sites = Sites(settings, asyncio.get_running_loop())
    found = [sites.site_for(host) for host in (b"other", b"www.shop.example", b"a.example.org")]
    assert [(site.name, site.keep_host) for site in found] == [
        ("default", False), ("shop.example", True), ("*.example.org", False),
    ]  # fmt: skip


async def test_strangers_hosts_cost_no_memory_without_bound() -> None:
    sites = sites_of(*SHOPS)
    for number in range(3000):
        sites.site_for(b"%d.example.com" % number)
    tracemalloc.start()
    for number in range(20_000):
        sites.site_for(b"%d.example.net" % number)
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < 1_000_000


async def test_a_server_that_several_sites_name_is_one_server() -> None:
    sites = sites_of(
        (["a.example"], ["http://127.0.0.1:9001", "http://127.0.0.1:9002"]),
        (["b.example"], ["http://127.0.0.1:9002", HERE, "http://127.0.0.1:9002/"]),
    )
    assert [server.address.port for server in sites.servers] == [9000, 9001, 9002]
    [first] = sites.default.balancer.servers
    assert first in sites.site_for(b"b.example").balancer.servers
    assert len(sites.site_for(b"b.example").balancer.servers) == 2
    assert [figures["url"] for figures in sites.figures] == [f"http://127.0.0.1:{port}" for port in (9000, 9001, 9002)]


@pytest.mark.parametrize(
    ("upstream", "sites", "words"),
    [
        ("demo", [], "proxy.upstream: expected http://"),
        ([], [], "proxy.upstream: names no server"),
        ([HERE, "http://u:s3cret@b"], [], "proxy.upstream: expected no path, query or user"),
        (HERE, [(["a"], "b")], r"proxy.sites\[0\].upstream: expected http://"),
        (HERE, [(["a"], HERE), (["b", "a:80"], HERE)], r'proxy.sites\[1\].hosts: "a:80" is no host name'),
        (HERE, [(["a"], HERE), (["b", "A."], HERE)], r"proxy.sites\[1\].hosts: a is a host of another site"),
    ],
)
async def test_a_setting_that_cannot_be_used_is_named(
    upstream: str | list[str], sites: list[tuple[list[str], str]], words: str
) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        sites_of(*sites, upstream=upstream)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("Shop.Example.", "shop.example"),
        ("*.Example", "*.example"),
        ("*.münchen.example", "*.xn--mnchen-3ya.example"),
        ("[::1]", "::1"),
        ("0:0::1", "::1"),
    ],
)
def test_a_host_is_compared_in_one_form(text: str, pattern: str) -> None:
    assert host_pattern(text) == pattern


@pytest.mark.parametrize(
    "text",
    ["", "*", "*.", "*.*.example", "a.*", "*a.example", "http://a", "a:80", "a/b", "*.[::1]", "a b"],
)
def test_what_is_no_host_is_said_to_be_none(text: str) -> None:
    with pytest.raises(ValueError):
        host_pattern(text)


async def test_health_checks_come_with_a_host_the_site_knows() -> None:
    backends = [await Backend(str(number)).start() for number in range(5)]
    to = [backend.url for backend in backends]
    settings = ProxySettings(
        upstream=to[0],
        health=HealthSettings(path="/healthz", interval_secs=0.02),
        sites=[
            SiteSettings(hosts=["*.example.com", "shop.example.com"], upstream=to[1]),
            SiteSettings(hosts=["*.example.org"], upstream=to[2]),
            SiteSettings(hosts=["::1"], upstream=to[3]),
            SiteSettings(hosts=["other.example"], upstream=to[4], host="upstream"),
        ],
    )
    sites = Sites(settings, asyncio.get_running_loop())
    sites.start()
    await eventually(lambda: all(backend.asked for backend in backends), "all were asked")
    await sites.stop()
    hosts = [backend.asked[0][2] for backend in backends]
    assert hosts == [to[0][7:], "shop.example.com", "www.example.org", "[::1]", to[4][7:]]
    for backend in backends:
        await backend.stop()


async def test_without_health_settings_nobody_is_asked() -> None:
    sites = sites_of()
    before = asyncio.all_tasks()
    sites.start()
    assert asyncio.all_tasks() == before
    await sites.stop()


async def test_idle_connections_of_all_sites_are_swept_and_closed() -> None:
    one, two = await Backend("one").start(), await Backend("two").start()
    clock = Clock()
    settings = ProxySettings(upstream=one.url, sites=[SiteSettings(hosts=["two.example"], upstream=two.url)])
    sites = Sites(settings, asyncio.get_running_loop(), now=clock)
    for server in sites.servers:
        server.give_back(await server.connect())
    sites.sweep()
    assert [server.idle for server in sites.servers] == [1, 1]
    clock.pass_by(5)
    sites.sweep()
    assert [server.idle for server in sites.servers] == [0, 0]
    for server in sites.servers:
        server.give_back(await server.connect())
    sites.close()
    assert [server.idle for server in sites.servers] == [0, 0]
    await one.stop()
    await two.stop()
