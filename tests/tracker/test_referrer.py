"""Where a visitor came from."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker import referrer
from tracker.referrer import Referrers
from tracker.settings import CookieSettings, TrackerSettings

HOST = "www.example.com"


def read(url: str | None, host: str | None = HOST, **settings: object) -> referrer.Referral:
    return Referrers(TrackerSettings(**settings)).read(url, host)


@pytest.mark.parametrize(
    "url, host, source, medium",
    [
        ("https://www.google.com/", "www.google.com", "google", "organic"),
        ("https://www.google.de/search?q=x", "www.google.de", "google", "organic"),
        ("android-app://com.duckduckgo.mobile.android/", "com.duckduckgo.mobile.android", "duckduckgo", "organic"),
        ("https://l.facebook.com/l.php?u=x", "l.facebook.com", "facebook", "social"),
        ("https://www.youtube.com/watch?v=x", "www.youtube.com", "youtube", "video"),
        ("https://chatgpt.com/", "chatgpt.com", "chatgpt", "ai-assistant"),
        ("https://www.amazon.de/dp/1", "www.amazon.de", "amazon", "referral"),
        ("android-app://com.google.android.gm/", "com.google.android.gm", "gmail", "email"),
        ("https://www.partner.example/links", "www.partner.example", "partner.example", "referral"),
        ("http://192.0.2.7/x", "192.0.2.7", "192.0.2.7", "referral"),
        ("http://[2001:db8::1]:8080/", "[2001:db8::1]", "[2001:db8::1]", "referral"),
        ("https://Partner.Example:8443/x", "partner.example", "partner.example", "referral"),
        ("https://user:secret@partner.example/", "partner.example", "partner.example", "referral"),
        ("https://partner.example", "partner.example", "partner.example", "referral"),
        ("https://partner.example?x=1", "partner.example", "partner.example", "referral"),
        ("https://xn--mller-kva.example/", "xn--mller-kva.example", "xn--mller-kva.example", "referral"),
        ("https://example.com.evil.example/", "example.com.evil.example", "example.com.evil.example", "referral"),
        ("https://notexample.com/", "notexample.com", "notexample.com", "referral"),
        ("https://shop.example.com/", "shop.example.com", "shop.example.com", "referral"),
    ],
)  # fmt: skip
def test_another_site_is_named(url: str, host: str, source: str, medium: str):
    found = read(url)
    assert (found.host, found.source, found.medium) == (host, source, medium)
    assert found.url == url


@pytest.mark.parametrize(
    "url",
    [
        "https://www.example.com/page",
        "http://www.example.com:8080/",
        "https://WWW.EXAMPLE.COM./",
        "https://example.com/",  # the same site without its www
        "https://www.paypal.com/checkoutnow",
        "https://checkout.stripe.com/c/pay/x",
        "https://pay.amazon.de/",
        "about:blank",
        "about:client",
        "data:text/html,x",
        "file:///C:/x.html",
        "chrome-extension://abc/x",
        "https://",
        "https:///path",
        "//partner.example/",
        "partner.example",
        "https://bad host/",
        "https://<script>/",
        "\\xff",
    ],
)
def test_what_is_no_other_site_is_kept_but_does_not_count(url: str):
    found = read(url)
    assert found == referrer.Referral(url)


def test_no_referrer_is_none():
    assert read(None) == read("") == referrer.NONE


def test_a_site_at_an_address_with_a_port_knows_itself():
    assert read("http://127.0.0.1:8080/", "127.0.0.1:8080").host is None
    assert read("http://[::1]:8080/", "[::1]:8080").host is None
    assert read("http://localhost/", "127.0.0.1:8080").host == "localhost"


def test_own_hosts_are_globs():
    assert read("https://shop.example.com/", own_hosts=["*.example.com"]).host is None
    assert read("https://Example.NET/", own_hosts=["example.net"]).host is None
    assert read("https://shop.example.net/", own_hosts=["example.net"]).host == "shop.example.net"


def test_hosts_that_share_the_cookie_are_one_site():
    shared = {"cookie": CookieSettings(domain=".example.com")}
    assert read("https://shop.example.com/", **shared).host is None
    assert read("https://example.com/", "shop.example.com", **shared).host is None
    assert read("https://notexample.com/", **shared).host == "notexample.com"


def test_a_request_without_host_still_has_a_referrer():
    assert read("https://partner.example/", None).host == "partner.example"


def test_a_persons_parameters_are_masked_in_it():
    assert read("https://www.example.com/?mc_eid=abc").url == "https://www.example.com/?mc_eid=[masked]"


def test_long_referrers_are_read_like_short_ones():
    assert read("https://www.google.com/?q=" + "x" * 2000).source == "google"


@given(st.text(max_size=80))
def test_any_text_gives_an_answer(url: str):
    found = read(url)
    assert (found.host is None) == (found.source is None) == (found.medium is None)
