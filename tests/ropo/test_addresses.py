from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ropo.addresses import (
    endpoint,
    host_and_port,
    problem_of_listen,
    problem_of_network,
    problem_of_upstream,
    problem_of_url,
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
    ["demo", "http://127.0.0.1:9000", "https://www.example.com", "http://[::1]:9000/", "http://müller.example"],
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
    ],
)
def test_upstreams_that_are_none(text: str, words: str):
    assert words in problem_of_upstream(text)


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
    for judge in (problem_of_listen, problem_of_upstream, problem_of_url, problem_of_network):
        assert judge(text) is None or judge(text)
