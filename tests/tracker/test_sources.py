"""Known sites, by host and by the words marketers use."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker import sources

KINDS = {"search", "social", "video", "shopping", "ai", "email", "payment", "other"}


@pytest.mark.parametrize(
    "host, name, kind",
    [
        ("google.com", "google", "search"),
        ("www.google.com", "google", "search"),
        ("www.google.de", "google", "search"),
        ("google.co.uk", "google", "search"),
        ("www.google.com.br", "google", "search"),
        ("images.google.fr", "google", "search"),
        ("com.google.android.googlequicksearchbox", "google", "search"),
        ("www.bing.com", "bing", "search"),
        ("de.search.yahoo.com", "yahoo", "search"),
        ("search.yahoo.co.jp", "yahoo", "search"),
        ("duckduckgo.com", "duckduckgo", "search"),
        ("www.ecosia.org", "ecosia", "search"),
        ("yandex.ru", "yandex", "search"),
        ("yandex.com.tr", "yandex", "search"),
        ("www.baidu.com", "baidu", "search"),
        ("search.brave.com", "brave", "search"),
        ("suche.web.de", "web.de", "search"),
        ("suche.t-online.de", "t-online", "search"),
        ("l.facebook.com", "facebook", "social"),
        ("lm.facebook.com", "facebook", "social"),
        ("l.instagram.com", "instagram", "social"),
        ("www.linkedin.com", "linkedin", "social"),
        ("lnkd.in", "linkedin", "social"),
        ("www.xing.com", "xing", "social"),
        ("t.co", "x", "social"),
        ("x.com", "x", "social"),
        ("out.reddit.com", "reddit", "social"),
        ("www.pinterest.de", "pinterest", "social"),
        ("at.pinterest.com", "pinterest", "social"),
        ("www.youtube.com", "youtube", "video"),
        ("vimeo.com", "vimeo", "video"),
        ("www.amazon.de", "amazon", "shopping"),
        ("www.amazon.co.jp", "amazon", "shopping"),
        ("www.ebay.at", "ebay", "shopping"),
        ("www.idealo.de", "idealo", "shopping"),
        ("shopping.google.com", "google shopping", "shopping"),
        ("chatgpt.com", "chatgpt", "ai"),
        ("chat.openai.com", "chatgpt", "ai"),
        ("www.perplexity.ai", "perplexity", "ai"),
        ("gemini.google.com", "gemini", "ai"),
        ("copilot.microsoft.com", "copilot", "ai"),
        ("claude.ai", "claude", "ai"),
        ("chat.mistral.ai", "mistral", "ai"),
        ("mail.google.com", "gmail", "email"),
        ("outlook.live.com", "outlook", "email"),
        ("deref-gmx.net", "gmx mail", "email"),
        ("navigator.web.de", "web.de mail", "email"),
        ("mail.yahoo.com", "yahoo mail", "email"),
        ("www.paypal.com", "paypal", "payment"),
        ("checkout.stripe.com", "stripe", "payment"),
        ("pay.amazon.de", "amazon pay", "payment"),
        ("pay.google.com", "google pay", "payment"),
        # Of a known house, but nothing but a referrer.
        ("docs.google.com", "google services", ""),
        ("news.google.com", "google services", ""),
        ("translate.google.de", "google services", ""),
        ("aws.amazon.com", "amazon services", ""),
        # Not what they look like.
        ("google.evil.com", "", ""),
        ("evil-google.com", "", ""),
        ("google.zip", "", ""),
        ("google.com.evil.net", "", ""),
        ("box.com", "", ""),
        ("example.com", "", ""),
        ("localhost", "", ""),
        ("com", "", ""),
        ("", "", ""),
    ],
)
def test_a_host_is_known_with_all_its_countries_and_subdomains(host: str, name: str, kind: str):
    assert sources.of_host(host) == (name, kind)


@pytest.mark.parametrize(
    "word, name",
    [
        ("facebook", "facebook"), ("fb", "facebook"), ("meta", "facebook"), ("facebook_ads", "facebook"),
        ("facebook-ads", "facebook"), ("m.facebook.com", "facebook"), ("ig", "instagram"), ("linkedin", "linkedin"),
        ("twitter", "x"), ("google", "google"), ("google_ads", "google"), ("adwords", "google"), ("bing", "bing"),
        ("yt", "youtube"), ("chatgpt.com", "chatgpt"), ("openai", "chatgpt"), ("perplexity", "perplexity"),
        ("www.google.de", "google"), ("hacker-news", "hacker news"), ("newsletter", ""), ("partner-gmbh.de", ""),
        ("", ""),
    ],
)  # fmt: skip
def test_a_marketers_word_means_a_known_source(word: str, name: str):
    assert sources.of_name(word).name == name


def test_each_host_stands_in_the_table_once_and_in_lower_case():
    hosts = [host for sites in sources.KNOWN.values() for text in sites.values() for host in text.split()]
    assert sorted({host for host in hosts if hosts.count(host) > 1}) == []
    assert [host for host in hosts if host != host.lower() or "/" in host] == []
    assert set(sources.KNOWN) == KINDS


def test_each_alias_leads_to_a_name_in_the_table():
    assert [word for word in sources.ALIASES if not sources.of_name(word).name] == []


@given(st.text(alphabet="abcgoogle.-*", max_size=40))
def test_any_host_gives_an_answer(host: str):
    assert sources.of_host(host).kind in KINDS | {""}
