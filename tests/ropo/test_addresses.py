from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ropo.addresses import (
    endpoint,
    host_and_port,
    host_name,
    leads_to,
    overlap,
    problem_of_host,
    problem_of_listen,
    problem_of_network,
    problem_of_upstream,
    problem_of_url,
    problems_of_upstreams,
    written,
)


@pytest.mark.parametrize(
    "text, parts",
    [
        ("127.0.0.1:8080", ("127.0.0.1", 8080)),
        ("0.0.0.0:80", ("0.0.0.0", 80)),
        ("[::1]:8080", ("::1", 8080)),
        ("localhost:0", ("localhost", 0)),
        ("web_1:9000", ("web_1", 9000)),
    ],
)
def test_a_listener_is_host_and_port(text: str, parts: tuple[str, int]):
    assert host_and_port(text) == parts
    assert problem_of_listen(text) is None
    assert written(parts) == text


@pytest.mark.parametrize(
    "text, words",
    [
        ("8080", "write 127.0.0.1:8080"),
        (":8080", "write 127.0.0.1:8080"),
        ("127.0.0.1", "the port is missing"),
        ("127.0.0.1:", "the port is a number"),
        ("127.0.0.1:65536", "the port is a number"),
        ("127.0.0.1:http", "the port is a number"),
        ("127.0.0.1:٣", "the port is a number"),
        ("::1:8080", "in brackets"),
        ("[127.0.0.1]:80", "no IPv6 address"),
        ("999.0.0.1:80", "neither a name nor an IP"),
        ("a b:80", "neither a name nor an IP"),
        ("http://127.0.0.1:80", "no scheme"),
        ("", "the port is missing"),
    ],
)
def test_a_listener_that_is_none_is_told_with_a_better_one(text: str, words: str):
    assert words in problem_of_listen(text)


@pytest.mark.parametrize(
    "text",
    [
        "demo",
        "http://127.0.0.1:9000",
        "https://www.example.com",
        "http://[::1]:9000/",
        "http://müller.example",
        "unix:/run/site.sock",
        "unix:/run/my site/a:b.sock",
    ],
)
def test_good_upstreams(text: str):
    assert problem_of_upstream(text) is None


@pytest.mark.parametrize(
    "text, words",
    [
        ("localhost:3000", "write http://localhost:3000"),
        ("the old server", "no URL of http"),
        ("htp://127.0.0.1:9", "no URL of http"),
        ("http://", "names no host"),
        ("http://127.0.0.1:0", "port 0"),
        ("http://127.0.0.1:99999", "cannot be read"),
        ("http://[::1", "cannot be read"),
        ("http://site/path", "write http://site"),
        ("http://site?x=1", "has a path"),
        ("", "no URL"),
        ("unix:run/site.sock", "absolute path"),
        ("unix:", "absolute path"),
        ("unix:/run/", "absolute path"),
        ("unix:///run/site.sock", "write unix:/run/site.sock"),
        ("http://unix:/run/site.sock", "write unix:/run/site.sock"),
        ("http://unix:/run/site.sock:", "write unix:/run/site.sock"),
        ("unix:/run/a\nb", "cannot be seen"),
        ("unix:/" + "ä" * 54, "107 bytes at most"),
    ],
)
def test_upstreams_that_are_none(text: str, words: str):
    assert words in problem_of_upstream(text)


def test_the_built_in_site_is_refused_where_it_may_not_be():
    assert "stands as proxy.upstream alone" in problem_of_upstream("demo", demo=False)
    assert "built-in" not in problem_of_upstream("localhost:3000", demo=False)


@pytest.mark.parametrize(
    "value",
    [
        "demo",
        "http://a",
        ["http://a"],
        ["http://a:1", "http://a:2", "http://b:1"],
        ["https://a", "https://b"],
        ["http://a", "unix:/run/b"],  # as in nginx: a socket beside servers on other machines
        ["unix:/run/a", "unix:/run/b"],
    ],
)
def test_good_servers_of_one_site(value: str | list[str]):
    assert list(problems_of_upstreams(value)) == []


@pytest.mark.parametrize(
    "value, said",
    [
        ("localhost:1", ["has no scheme"]),
        ([], ["the list is empty"]),
        (["demo"], ["stands alone"]),
        (["http://a", "demo"], ["stands alone"]),
        (["http://a", "http://b", "http://a"], ['"http://a" stands there twice']),
        (["http://a", "http://A:80/"], ['"http://A:80/" is the same server as "http://a"']),
        (["unix:/run/a", "unix:/run/a"], ['"unix:/run/a" stands there twice']),
        (["http://a", "https://b"], ["write http or https for all of them"]),
        (["http://a:443", "https://a"], ["write http or https for all of them"]),
        (["http://a/x", "b", "https://c"], ["has a path", "has no scheme"]),
    ],
)
def test_servers_that_do_not_go_together(value: str | list[str], said: list[str]):
    found = list(problems_of_upstreams(value))
    assert len(found) == len(said)
    assert all(words in problem for words, problem in zip(said, found, strict=True))


def test_a_site_of_its_own_may_not_be_the_built_in_one():
    assert [list(problems_of_upstreams(value, demo=False)) for value in ("demo", ["demo"])] == [
        ["`demo` is the built-in site, and stands as proxy.upstream alone"]
    ] * 2


@pytest.mark.parametrize(
    "text, name",
    [
        ("shop.example.com", "shop.example.com"),
        ("*.example.com", "*.example.com"),
        ("Shop.Example.COM.", "shop.example.com"),
        ("müller.example", "xn--mller-kva.example"),
        ("*.Müller.example", "*.xn--mller-kva.example"),
        ("localhost", "localhost"),
        ("192.0.2.7", "192.0.2.7"),
        ("web_1", "web_1"),
        ("straße.de", "xn--strae-oqa.de"),  # as browsers have it since IDNA 2008
        ("[::1]", "::1"),
    ],
)
def test_hosts_of_sites(text: str, name: str):
    assert problem_of_host(text) is None
    assert host_name(text) == name


@pytest.mark.parametrize(
    "text, words",
    [
        ("shop.example.com:443", "has a port: sites are told apart by name alone; write shop.example.com"),
        ("https://shop.example.com", "has a scheme"),
        ("https://shop.example.com:443/x", "has a scheme and a port and a path"),
        ("shop.example.com/x", "has a path"),
        ("*", "goes to proxy.upstream"),
        ("_", "goes to proxy.upstream"),
        ("shop.*", "star elsewhere"),
        ("a*.example.com", "star elsewhere"),
        ("*.*.example.com", "star elsewhere"),
        ("*.", "no host name"),
        (".example.com", "write example.com and *.example.com"),
        ("a b", "no host name"),
        ("-a.example", "no host name"),
        ("~^www", "no host name"),
        ("*.192.0.2.7", "no host name"),
        ("[::1]:80", "no host name"),
        ("", "no host name"),
        (".".join(["a" * 60] * 5), "no host name"),
    ],
)
def test_hosts_that_are_none(text: str, words: str):
    assert words in problem_of_host(text)


@pytest.mark.parametrize(
    "one, other, do",
    [
        ("127.0.0.1:80", "127.0.0.1:80", True),
        ("127.0.0.1:80", "127.0.0.1:81", False),
        ("127.0.0.1:80", "127.0.0.2:80", False),
        ("0.0.0.0:80", "127.0.0.1:80", True),
        ("localhost:80", "127.0.0.1:80", True),
        ("0.0.0.0:80", "[::1]:80", False),
        ("[::]:80", "[::1]:80", True),
        ("[::]:80", "192.0.2.1:80", True),
        ("[::1]:80", "[0:0::1]:80", True),
        ("0.0.0.0:0", "0.0.0.0:0", False),
    ],
)
def test_listeners_in_each_others_way(one: str, other: str, do: bool):
    assert overlap(host_and_port(one), host_and_port(other)) is do
    assert overlap(host_and_port(other), host_and_port(one)) is do


@pytest.mark.parametrize(
    "server, listener, does",
    [
        ("http://127.0.0.1", "127.0.0.1:80", True),
        ("http://localhost", "127.0.0.1:80", True),
        ("https://127.0.0.1", "127.0.0.1:443", True),
        ("http://127.0.0.1:8080", "0.0.0.0:8080", True),
        ("http://127.0.0.5:8080", "0.0.0.0:8080", True),
        ("http://0.0.0.0:8080", "127.0.0.1:8080", True),
        ("http://[::1]:8080", "[::]:8080", True),
        ("http://127.0.0.1:8080", "192.0.2.1:8080", False),
        ("http://192.0.2.9:8080", "0.0.0.0:8080", False),
        ("http://site:8080", "0.0.0.0:8080", False),
        ("http://127.0.0.1:9000", "127.0.0.1:80", False),
    ],
)
def test_a_server_that_is_a_listener_of_our_own(server: str, listener: str, does: bool):
    assert leads_to(endpoint(server), host_and_port(listener)) is does


def test_a_url_with_a_password_is_not_shown():
    problem = problem_of_url("https://user:hunter2@example.com/")
    assert "user or password" in problem
    assert "hunter2" not in problem


@pytest.mark.parametrize(
    "text, words",
    [
        ("10.0.0.0/8", None),
        ("192.0.2.7", None),
        ("::1", None),
        ("10.0.0.1/8", "write 10.0.0.0/8"),
        ("lan", "no network"),
    ],
)
def test_networks(text: str, words: str | None):
    problem = problem_of_network(text)
    assert problem is None if words is None else words in problem


def test_an_endpoint_has_the_port_of_its_scheme():
    assert endpoint("https://example.com/x") == ("example.com", 443)
    assert endpoint("http://[::1]") == ("::1", 80)
    assert endpoint("http://a:81") == ("a", 81)


@given(st.text())
def test_any_text_is_judged_without_an_exception(text: str):
    judges = (problem_of_listen, problem_of_upstream, problem_of_url, problem_of_network, problem_of_host)
    for judge in judges:
        for said in (text, f"unix:/{text}", f"*.{text}", f"http://{text}"):
            assert judge(said) is None or judge(said)
    if problem_of_host(text) is None:
        assert problem_of_host(host_name(text)) is None and host_name(host_name(text)) == host_name(text)
