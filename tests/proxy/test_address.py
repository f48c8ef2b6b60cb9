"""Addresses of upstream servers, in all forms operators write them in."""

from __future__ import annotations

import pytest

from proxy.address import Address, host_name


@pytest.mark.parametrize(
    ("text", "host", "port", "tls", "field"),
    [
        ("http://127.0.0.1:9000", "127.0.0.1", 9000, False, b"127.0.0.1:9000"),
        ("http://shop.example", "shop.example", 80, False, b"shop.example"),
        ("http://shop.example:80/", "shop.example", 80, False, b"shop.example"),
        ("http://Shop.Example:443", "shop.example", 443, False, b"shop.example:443"),
        ("https://shop.example/", "shop.example", 443, True, b"shop.example"),
        ("https://shop.example:", "shop.example", 443, True, b"shop.example"),
        ("https://[::1]:8443", "::1", 8443, True, b"[::1]:8443"),
        ("https://[0:0:0:0:0:0:0:1]", "::1", 443, True, b"[::1]"),
        ("http://[fe80::1%eth0]:81", "fe80::1%eth0", 81, False, b"[fe80::1]:81"),
        ("http://app_1:8000", "app_1", 8000, False, b"app_1:8000"),
        ("http://shop.example.", "shop.example.", 80, False, b"shop.example."),
        ("https://München.example:8443", "xn--mnchen-3ya.example", 8443, True, b"xn--mnchen-3ya.example:8443"),
        ("http://straße.example", "xn--strae-oqa.example", 80, False, b"xn--strae-oqa.example"),
    ],
)
def test_a_server_is_a_url_without_a_path(text: str, host: str, port: int, tls: bool, field: bytes) -> None:
    assert Address.of(text) == Address(host, port, tls, field)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("unix:/run/site/http.sock", "/run/site/http.sock"),
        ("unix:///run/site/http.sock", "/run/site/http.sock"),
        ("unix:/run/my site/http:1.sock", "/run/my site/http:1.sock"),
        ("unix:/" + "x" * 106, "/" + "x" * 106),
    ],
)
def test_or_a_unix_socket(text: str, path: str) -> None:
    address = Address.of(text)
    assert (address.path, address.host_field, address.tls) == (path, b"localhost", False)
    assert address.label == f"unix:{path}"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected http://"),
        ("demo", "expected http://"),
        ("127.0.0.1:9000", "expected http://"),
        ("ftp://a", "expected http://"),
        ("http://", "expected http://"),
        ("http://a/path", "expected no path"),
        ("http://a?q", "expected no path"),
        ("http://a#f", "expected no path"),
        ("http://user:s3cret@a", "expected no path, query or user"),
        ("http://@a", "expected no path, query or user"),
        ("http://a:0", "never 0"),
        ("http://a:65536", "cannot be read"),
        ("http://a:b", "cannot be read"),
        ("http://[::1", "cannot be read"),
        ("http://[127.0.0.1]", "cannot be read|neither a name"),
        ("http://a b", "expected no space"),
        ("http://a\nHost: b", "expected no space"),
        ("http://a\x00", "expected no space"),
        ("http://-a.example", "neither a name nor"),
        ("http://a..example", "neither a name nor"),
        ("http://a,b", "neither a name nor"),
        ("http://a\\b", "neither a name nor"),
        ("http://" + "a" * 64, "neither a name nor"),
        ("http://" + "ü" * 64, "neither a name nor"),
        ("http://" + "a." * 127 + "aa", "neither a name nor"),
        ("unix:", "absolute path"),
        ("unix:run/http.sock", "absolute path"),
        ("unix://run/http.sock", "absolute path"),
        ("unix:/", "not of a folder"),
        ("unix:/run/", "not of a folder"),
        ("unix:/run/a\nb", "no control character"),
        ("unix:/" + "x" * 107, "at most 107 bytes"),
        ("unix:/" + "ü" * 54, "at most 107 bytes"),
    ],
)
def test_anything_else_is_said_to_be_wrong_without_repeating_it(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        Address.of(text)
    assert "s3cret" not in str(caught.value)


def test_one_place_is_one_address_however_it_is_written() -> None:
    same = {Address.of(text) for text in ("http://A.example", "http://a.example:80", "http://a.example/")}
    assert len(same) == 1
    assert len({Address.of("http://a.example"), Address.of("https://a.example:80")}) == 2


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("http://A.example:80/", "http://a.example"),
        ("https://[::1]:8443", "https://[::1]:8443"),
        ("https://münchen.example", "https://xn--mnchen-3ya.example"),
    ],
)
def test_logs_call_it_by_what_it_is_configured_as(text: str, label: str) -> None:
    assert Address.of(text).label == label
    assert Address.of(label) == Address.of(text)


def test_only_an_ip_address_is_one() -> None:
    assert str(Address.of("http://[::1]:1").ip) == "::1"
    assert str(Address.of("http://127.0.0.1").ip) == "127.0.0.1"
    assert Address.of("http://localhost").ip is None
    assert Address.of("unix:/run/a").ip is None


@pytest.mark.parametrize("text", ["", ".", "[a]", "[127.0.0.1]", "*.a", "a/b", "a:80", "%41"])
def test_a_host_is_a_name_or_an_ip_address(text: str) -> None:
    with pytest.raises(ValueError):
        host_name(text)
