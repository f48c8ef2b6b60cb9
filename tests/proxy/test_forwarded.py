"""Who the visitor is behind proxies, and what the site is told."""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy import forwarded as forwarded_module
from proxy.exchange import Field
from proxy.forwarded import MAX_CHARS, MAX_HOPS, Origin, continued, fields_for, plain, visitor_behind

INSIDE = [ip_network("10.0.0.0/8"), ip_network("2001:db8:a::/48")]
PROXY = "10.0.0.1"


def is_trusted(address: str) -> bool:
    try:
        return any(ip_address(address) in network for network in INSIDE)
    except ValueError:
        return False


def behind(*fields: str) -> Origin:
    """The origin of a request with these lines that came by PROXY."""
    return visitor_behind(PROXY, as_fields(*fields), is_trusted)


def as_fields(*lines: str) -> tuple[Field, ...]:
    return tuple(tuple(line.encode("latin-1").split(b": ", 1)) for line in lines)


def told(raw: bytes) -> dict[str, str]:
    """The lines as the site reads them; each name once."""
    assert raw.startswith(b"\r\n") or not raw
    lines = [line.decode("latin-1").split(": ", 1) for line in raw.split(b"\r\n")[1:]]
    assert len({name for name, _ in lines}) == len(lines)
    return dict(lines)


# What proxies write, and what becomes of it when they are trusted.
WRITTEN = {
    "nginx, $proxy_add_x_forwarded_for": (
        ["X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: https"],
        Origin("203.0.113.9", "https", None),
    ),
    "nginx, the visitor claimed an address": (
        ["X-Forwarded-For: 1.1.1.1, 203.0.113.9"],
        Origin("203.0.113.9", None, None),
    ),
    "nginx, listening on ::": (["X-Forwarded-For: ::ffff:203.0.113.9"], Origin("203.0.113.9", None, None)),
    "nginx, the visitor came by a Unix socket": (["X-Forwarded-For: unix:"], Origin(PROXY, None, None)),
    "nginx's own recipe for Forwarded": (
        ['Forwarded: for="[2001:db8::9]";proto=https'],
        Origin("2001:db8::9", "https", None),
    ),
    "HAProxy, option forwardfor adds a line": (
        ["X-Forwarded-For: 1.1.1.1", "X-Forwarded-For: 203.0.113.9"],
        Origin("203.0.113.9", None, None),
    ),
    "HAProxy, option forwarded": (["forwarded: proto=http;for=203.0.113.9"], Origin("203.0.113.9", "http", None)),
    "HAProxy, option forwarded with all": (
        ['forwarded: proto=https;by="10.0.0.1:443";host="shop.example:8443";for="[2001:db8::9]:51000"'],
        Origin("2001:db8::9", "https", "shop.example:8443"),
    ),
    "Caddy": (
        ["X-Forwarded-For: 2001:db8::9", "X-Forwarded-Proto: https", "X-Forwarded-Host: shop.example:8443"],
        Origin("2001:db8::9", "https", "shop.example:8443"),
    ),
    "AWS ALB": (
        ["X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: https", "X-Forwarded-Port: 443"],
        Origin("203.0.113.9", "https", None),
    ),
    "AWS ALB, with the client's port": (["X-Forwarded-For: 203.0.113.9:51000"], Origin("203.0.113.9", None, None)),
    "Azure, with a port and IPv6": (["X-Forwarded-For: [2001:db8::9]:51000"], Origin("2001:db8::9", None, None)),
    "Traefik, for a WebSocket": (
        ["X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: wss"],
        Origin("203.0.113.9", "https", None),
    ),
    "Squid, forwarded_for off": (["X-Forwarded-For: unknown"], Origin(PROXY, None, None)),
}


@pytest.mark.parametrize(("lines", "origin"), WRITTEN.values(), ids=WRITTEN)
def test_what_trusted_proxies_write_is_understood(lines: list[str], origin: Origin) -> None:
    assert behind(*lines) == origin


# RFC 7239, with the section that has the example or the rule.
RFC_7239 = [
    ("4", 'for="_gazonk"', PROXY, None, None),
    ("4", 'For="[2001:db8:cafe::17]:4711"', "2001:db8:cafe::17", None, None),
    ("4", "for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60", "http", None),
    ("4", "for=192.0.2.43, for=198.51.100.17", "198.51.100.17", None, None),
    ("4: the order of parameters does not matter", "by=203.0.113.43;proto=https;for=192.0.2.60", "192.0.2.60", "https", None),
    ("4: names in any case", "FOR=192.0.2.60;Proto=HTTPS;hOsT=a", "192.0.2.60", "https", "a"),
    ("4: a pair may be missing", ";for=192.0.2.60;;proto=http;", "192.0.2.60", "http", None),
    ("4: unknown parameters are ignored", 'for=192.0.2.60;secret="a,b;for=1.1.1.1"', "192.0.2.60", None, None),
    ("4: no parameter twice", "for=192.0.2.60;for=192.0.2.61", PROXY, None, None),
    ("4: a quoted pair", r'for="192.0.2.\60"', "192.0.2.60", None, None),
    ("4: a quoted pair", r'secret="\"";for=192.0.2.60', "192.0.2.60", None, None),
    ("4: a quoted pair", r'secret="\\";for=192.0.2.60', "192.0.2.60", None, None),
    ("4: a quoted pair", r'secret="\\\", for=1.1.1.1";for=192.0.2.60', "192.0.2.60", None, None),
    ("5.3", 'for=192.0.2.60;host="shop.example:8443"', "192.0.2.60", None, "shop.example:8443"),
    ("5.3: a valid host", 'for=192.0.2.60;host="a/b"', "192.0.2.60", None, None),
    ("5.4: a scheme we know", "for=192.0.2.60;proto=gopher", "192.0.2.60", None, None),
    ("6", 'for="192.0.2.43:47011"', "192.0.2.43", None, None),
    ("6", 'for="[2001:db8:cafe::17]:47011"', "2001:db8:cafe::17", None, None),
    ("6: an obfuscated port", 'for="192.0.2.43:_a-b.c"', "192.0.2.43", None, None),
    ("6: quotes forgotten", "for=192.0.2.43:47011", "192.0.2.43", None, None),
    ("6: quotes forgotten", "for=[2001:db8::9]:47011", "2001:db8::9", None, None),
    ("6.2", "for=unknown", PROXY, None, None),
    ("6.2: hidden, but not how they came", "for=unknown;proto=https;host=a", PROXY, "https", "a"),
    ("6.3", "for=_hidden, for=_SEVKISEK", PROXY, None, None),
    ("6.3: behind one of ours", "for=192.0.2.43, for=_hidden, for=10.0.0.2", "10.0.0.2", None, None),
    ("7.1", "for=192.0.2.43,for=198.51.100.17;by=203.0.113.60;proto=http;host=example.com", "198.51.100.17", "http", "example.com"),
    ("7.1: spaces and empty elements", "for=192.0.2.43 ,\t, for=198.51.100.17 , ", "198.51.100.17", None, None),
    ("7.4: the hop that met the visitor says how", "for=192.0.2.43;proto=https;host=a, for=10.0.0.2;proto=http;host=b", "192.0.2.43", "https", "a"),
    ("7.4: or else the next", "for=192.0.2.43, for=10.0.0.2;proto=https;host=b", "192.0.2.43", "https", "b"),
    ("not at all", "", PROXY, None, None),
    ("not at all", "192.0.2.43", PROXY, None, None),
    ("not at all", "for", PROXY, None, None),
    ("not at all", "for=", PROXY, None, None),
    ("not at all", "for =192.0.2.43", PROXY, None, None),
    ("not at all", "for=192.0.2.43 proto=http", PROXY, None, None),
    ("not at all", 'for="192.0.2.43', PROXY, None, None),
    ("not at all", 'for=192.0.2.43"', PROXY, None, None),
    ("not at all", 'for="192.0.2.43\\"', PROXY, None, None),
    ("not at all", 'for="192.0.2.43"x', PROXY, None, None),
]  # fmt: skip


@pytest.mark.parametrize(("section", "value", "address", "scheme", "host"), RFC_7239)
def test_forwarded_is_read_as_the_rfc_has_it(
    section: str, value: str, address: str, scheme: str | None, host: str | None
) -> None:
    assert behind(f"Forwarded: {value}") == Origin(address, scheme, host)


@pytest.mark.parametrize(
    ("chain", "address"),
    [
        ("198.51.100.1, 203.0.113.9, 10.0.0.2", "203.0.113.9"),
        ("198.51.100.1,203.0.113.9,10.0.0.2,10.9.9.9", "203.0.113.9"),
        ("203.0.113.9, 2001:db8:a::2", "203.0.113.9"),
        ("203.0.113.9, 2001:DB8:A:0::2", "203.0.113.9"),
        ("203.0.113.9, ::ffff:10.0.0.2", "203.0.113.9"),
        ("10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("evil, 203.0.113.9", "203.0.113.9"),
        ("203.0.113.9, evil", PROXY),
        ("203.0.113.9, evil, 10.0.0.2", "10.0.0.2"),
        ("203.0.113.9, , 10.0.0.2", "10.0.0.2"),
        ("203.0.113.9,", PROXY),
        ("", PROXY),
        (",,,", PROXY),
        ("203.0.113.9, unknown", PROXY),
        ("203.0.113.9, _hidden", PROXY),
        ("fe80::1%eth0", PROXY),
        ("fe80::1%<script>", PROXY),
        ("203.0.113.9:123456", PROXY),
        ("203.0.113.9:", PROXY),
        ("203.0.113.009", PROXY),
        ("203.0.113.9/32", PROXY),
        ("0xcb007109", PROXY),
        ("3405803785", PROXY),
        ("[203.0.113.9]", PROXY),
        ("[2001:db8::9", PROXY),
        ("2001:db8::9]", PROXY),
        ('"203.0.113.9"', PROXY),
        ("203.0.113.9 203.0.113.10", PROXY),
        ("\xb2\xb2.0.0.1", PROXY),
        ("203.0.113.9\x00", PROXY),
    ],
)
def test_the_way_back_ends_at_the_first_that_is_not_ours_or_not_readable(chain: str, address: str) -> None:
    assert behind(f"X-Forwarded-For: {chain}").address == address


@pytest.mark.parametrize(
    ("lines", "origin"),
    [
        # Who writes one of the two families does not write the other: there it is the visitor who speaks.
        (
            ["Forwarded: for=1.1.1.1;proto=https;host=evil", "X-Forwarded-For: 203.0.113.9"],
            Origin("203.0.113.9", None, None),
        ),
        (
            ["X-Forwarded-Proto: https", "X-Forwarded-Host: evil", "Forwarded: for=203.0.113.9"],
            Origin("203.0.113.9", None, None),
        ),
        (["X-Forwarded-Proto: https"], Origin(PROXY, "https", None)),
        (["X-Forwarded-Proto: https, http"], Origin(PROXY, "http", None)),
        (["X-Forwarded-Proto: http", "X-Forwarded-Proto: HTTPS"], Origin(PROXY, "https", None)),
        (["X-Forwarded-Proto: javascript"], Origin(PROXY, None, None)),
        (["X-Forwarded-Host: a, b.example:81"], Origin(PROXY, None, "b.example:81")),
        (["X-Forwarded-Host: [2001:db8::1]:81"], Origin(PROXY, None, "[2001:db8::1]:81")),
        (["X-Forwarded-Host: user@a"], Origin(PROXY, None, None)),
        (["X-Forwarded-Host: a b"], Origin(PROXY, None, None)),
        (["X-Forwarded-Host: <script>"], Origin(PROXY, None, None)),
        (["X-Forwarded-Host: " + "a" * 254], Origin(PROXY, None, None)),
        (["X-Forwarded-Host: "], Origin(PROXY, None, None)),
    ],
)
def test_scheme_and_host_are_the_word_of_the_last_proxy(lines: list[str], origin: Origin) -> None:
    assert behind(*lines) == origin


@pytest.mark.parametrize(
    "claim",
    [
        'for="',
        'for="\\',
        'x=", for=1.1.1.1',
        'x="\\", for=1.1.1.1;y="',
        "for=1.1.1.1;",
        '"' * 999,
        '\\"' * 999,
        "for=1.1.1.1, " * 999,
        'x="' + "a," * 999,
        ";" * 5000,
        "," * 5000,
        "\xff\x00\x7f",
    ],
)
def test_nothing_a_visitor_wrote_hides_what_our_proxy_wrote_behind_it(claim: str) -> None:
    for ours in (
        "for=203.0.113.9;proto=https;host=shop.example",
        'for="[2001:db8::9]:1";host="shop.example";proto=https',
        'host="shop.example";proto=https;for="203.0.113.9"',
        r'secret="\"\\,";for=203.0.113.9;proto=https;host=shop.example',
    ):
        origin = Origin("2001:db8::9" if "2001" in ours else "203.0.113.9", "https", "shop.example")
        assert behind(f"Forwarded: {claim}, {ours}") == origin
        assert behind(f"Forwarded: {claim}", f"Forwarded: {ours}") == origin
        raw = continued(as_fields(f"Forwarded: {claim}, {ours}"), PROXY, "https", b"shop.example", "both")
        assert told(raw)["X-Forwarded-For"].endswith(f"{origin.address}, {PROXY}")
        assert told(raw)["Forwarded"].endswith(f"{ours}, for=10.0.0.1;host=shop.example;proto=https")


@pytest.mark.parametrize("style", ["x", "rfc7239", "both"])
@pytest.mark.parametrize(
    "line",
    [
        "X-Forwarded-For: " + ", ".join(f"10.1.{n // 250}.{n % 250}" for n in range(10_000)),
        "X-Forwarded-For: " + "," * 60_000,
        "X-Forwarded-For: " + " " * 60_000,
        "X-Forwarded-For: " + "1" * 60_000,
        "Forwarded: " + ", ".join(f"for=10.1.{n // 250}.{n % 250}" for n in range(10_000)),
        "Forwarded: " + "," * 60_000,
        "Forwarded: " + '"' * 60_000,
        "Forwarded: " + '\\"' * 30_000 + '"',
        "Forwarded: " + 'a="";' * 12_000,
        "Forwarded: " + "for=10.0.0.2;" * 5_000,
    ],
    ids=lambda line: line[:24],
)
def test_only_so_much_of_a_long_chain_is_worked_through(line: str, style: str, monkeypatch) -> None:
    """Counted, not timed: how many nodes are looked at, and how much is searched for them."""
    seen: list[str] = []
    for name in ("_address", "_element"):
        real = getattr(forwarded_module, name)

        def counting(text: str, real=real) -> object:
            seen.append(text)
            return real(text)

        counting.__wrapped__ = counting
        monkeypatch.setattr(forwarded_module, name, counting)
    trust_asked: list[str] = []
    visitor_behind(PROXY, as_fields(line), lambda address: trust_asked.append(address) or is_trusted(address))
    continued(as_fields(line), PROXY, "http", b"a", style)
    assert len(trust_asked) <= MAX_HOPS + 1
    assert len(seen) <= 4 * MAX_HOPS + 2
    assert sum(map(len, seen)) <= 4 * MAX_CHARS


def test_where_a_long_chain_is_cut_no_half_an_address_is_left() -> None:
    ours = ", for=10.0.0.2;x=" + "y" * 200
    for pad in range(20):
        line = "for=1" + "1.1.1.1" + "," * pad + ours * 12
        cut = behind(f"Forwarded: {line}")
        assert cut.address == "10.0.0.2"


names = st.sampled_from(
    [
        b"X-Forwarded-For",
        b"x-forwarded-for",
        b"X-Forwarded-Proto",
        b"X-Forwarded-Host",
        b"Forwarded",
        b"X-Real-IP",
        b"Host",
    ]
)
nodes = st.sampled_from(
    ["203.0.113.9", "10.0.0.2", "[2001:db8::9]:1", "2001:db8::9", "unknown", "_x", "for=10.0.0.2", "for=203.0.113.9",
     'for="[2001:db8::9]:1"', "for=_x;proto=https", 'host="a:1";for=10.0.0.3', 'x="', "\\", '"', ";", "https", "http"]
)  # fmt: skip
values = st.one_of(
    st.binary(max_size=80),
    st.lists(nodes, max_size=6).map(lambda parts: ", ".join(parts).encode()),
)
any_fields = st.lists(st.tuples(names, values), max_size=5).map(tuple)
styles = st.sampled_from(["x", "rfc7239", "both"])


@given(st.sampled_from(["203.0.113.9", "2001:db8::9", "unix", ""]), any_fields)
def test_of_a_stranger_nothing_is_believed(peer: str, fields: tuple[Field, ...]) -> None:
    assert visitor_behind(peer, fields, is_trusted) == Origin(peer, None, None)
    assert visitor_behind(peer, fields, lambda _: False) == visitor_behind(peer, (), lambda _: False)


@given(any_fields, values, st.sampled_from(["X-Forwarded-For: 203.0.113.9", "X-Forwarded-For: 203.0.113.9, 10.0.0.2"]))
def test_what_stands_left_of_a_stranger_has_no_influence(fields: tuple[Field, ...], claim: bytes, ours: str) -> None:
    others = tuple(field for field in fields if not field[0].lower().startswith((b"x-forwarded-p", b"x-forwarded-h")))
    [(name, chain)] = as_fields(ours)
    assert visitor_behind(PROXY, (*others, (name, chain)), is_trusted).address == "203.0.113.9"
    assert visitor_behind(PROXY, (*others, (name, claim + b", " + chain)), is_trusted).address == "203.0.113.9"


@given(any_fields, styles)
@example(((b"X-Forwarded-For", b"1.1.1.1\r\nX: y"),), "both")
@example(((b"Forwarded", b'for="\r\nX: y"'),), "both")
def test_whatever_came_in_the_lines_that_go_out_are_whole(fields: tuple[Field, ...], style: str) -> None:
    origin = visitor_behind(PROXY, fields, is_trusted)
    assert ip_address(origin.address)
    assert origin.scheme in (None, "http", "https")
    raw = continued(fields, PROXY, origin.scheme or "http", b"shop.example", style)
    lines = told(raw)
    assert [*lines] == {
        "x": ["X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host"],
        "rfc7239": ["Forwarded"],
        "both": ["X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Forwarded"],
    }[style]
    assert not re.search(r"[\x00-\x08\x0a-\x1f\x7f]", "".join(lines.values()))


@given(any_fields)
def test_both_families_tell_the_site_the_same_story(fields: tuple[Field, ...]) -> None:
    """A site that trusts us and what we trust gets the same visitor from either, and from what we were told."""
    origin = visitor_behind(PROXY, fields, is_trusted)
    lines = told(continued(fields, PROXY, origin.scheme or "http", b"shop.example", "both"))
    as_x = visitor_behind("10.0.0.99", as_fields(f"X-Forwarded-For: {lines['X-Forwarded-For']}"), is_trusted)
    as_rfc = visitor_behind("10.0.0.99", as_fields(f"Forwarded: {lines['Forwarded']}"), is_trusted)
    assert as_x.address == as_rfc.address == origin.address


@pytest.mark.parametrize(
    ("peer", "scheme", "authority", "x", "rfc7239"),
    [
        ("203.0.113.9", "http", b"shop.example", ("203.0.113.9", "http", "shop.example"),
         "for=203.0.113.9;host=shop.example;proto=http"),
        ("203.0.113.9", "https", b"shop.example:8443", ("203.0.113.9", "https", "shop.example:8443"),
         'for=203.0.113.9;host="shop.example:8443";proto=https'),
        ("2001:db8::9", "https", b"[2001:db8::1]", ("2001:db8::9", "https", "[2001:db8::1]"),
         'for="[2001:db8::9]";host="[2001:db8::1]";proto=https'),
        ("::ffff:203.0.113.9", "http", b"a", ("203.0.113.9", "http", "a"), "for=203.0.113.9;host=a;proto=http"),
        ("fe80::1%eth0", "http", b"a", ("fe80::1", "http", "a"), 'for="[fe80::1]";host=a;proto=http'),
        ("unix", "http", b"a", ("unknown", "http", "a"), "for=unknown;host=a;proto=http"),
        ("203.0.113.9", "http", None, ("203.0.113.9", "http", None), "for=203.0.113.9;proto=http"),
        ("203.0.113.9", "http", b"a;for=1.1.1.1,b", ("203.0.113.9", "http", "a;for=1.1.1.1,b"),
         'for=203.0.113.9;host="a;for=1.1.1.1,b";proto=http'),
        ("203.0.113.9", "http", b'a"\\', ("203.0.113.9", "http", 'a"\\'), r'for=203.0.113.9;host="a\"\\";proto=http'),
        ("203.0.113.9", "http", b"a\r\nX: y", ("203.0.113.9", "http", None), "for=203.0.113.9;proto=http"),
        ("203.0.113.9", "http", b"a" * 9000, ("203.0.113.9", "http", "a" * 9000),
         f"for=203.0.113.9;host={'a' * 9000};proto=http"),
    ],
)  # fmt: skip
def test_the_site_hears_of_a_direct_visitor(peer, scheme, authority, x, rfc7239) -> None:
    as_x = dict(zip(("X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host"), x, strict=True))
    as_x = {name: value for name, value in as_x.items() if value is not None}
    for _ in range(2):  # worked out, and remembered
        assert told(fields_for(peer, scheme, authority, "x")) == as_x
        assert told(fields_for(peer, scheme, authority, "rfc7239")) == {"Forwarded": rfc7239}
        assert told(fields_for(peer, scheme, authority, "both")) == {**as_x, "Forwarded": rfc7239}


OURS = "for=10.0.0.1;host=shop;proto=https"


@pytest.mark.parametrize(
    ("lines", "chain", "forwarded"),
    [
        ([], "10.0.0.1", OURS),
        (["X-Forwarded-For: 203.0.113.9"], "203.0.113.9, 10.0.0.1", f"for=203.0.113.9, {OURS}"),
        (["X-Forwarded-For: a", "X-Forwarded-For: 2001:db8::9"], "a, 2001:db8::9, 10.0.0.1",
         f'for=unknown, for="[2001:db8::9]", {OURS}'),
        (["X-Forwarded-For: 203.0.113.9:51000"], "203.0.113.9:51000, 10.0.0.1", f"for=203.0.113.9, {OURS}"),
        (["X-Forwarded-For: "], "10.0.0.1", OURS),
        (['Forwarded: for="[2001:db8::9]:1";by=_x;ext="a, b"', "Forwarded: for=_hidden"],
         "2001:db8::9, unknown, 10.0.0.1", f'for="[2001:db8::9]:1";by=_x;ext="a, b", for=_hidden, {OURS}'),
        # What cannot be read cannot be continued either: a quote left open would swallow what follows.
        (['Forwarded: for="oh, for=203.0.113.9'], "203.0.113.9, 10.0.0.1", f"for=203.0.113.9, {OURS}"),
        (['Forwarded: for="oh'], "10.0.0.1", OURS),
        # Both, and they agree: each is continued as it came.
        (["X-Forwarded-For: 203.0.113.9, unknown", "Forwarded: for=203.0.113.9;proto=https;by=_a, for=_b"],
         "203.0.113.9, unknown, 10.0.0.1", f"for=203.0.113.9;proto=https;by=_a, for=_b, {OURS}"),
        # Both, and they do not: Forwarded is what a visitor got past a proxy that does not know it.
        (["X-Forwarded-For: 203.0.113.9", "Forwarded: for=1.1.1.1"], "203.0.113.9, 10.0.0.1",
         f"for=203.0.113.9, {OURS}"),
    ],
)  # fmt: skip
def test_a_trusted_proxys_chain_goes_on_with_the_proxy_itself(lines: list[str], chain: str, forwarded: str) -> None:
    fields = as_fields("Host: shop", *lines, "X-Forwarded-Proto: gopher")
    x = {"X-Forwarded-For": chain, "X-Forwarded-Proto": "https", "X-Forwarded-Host": "shop"}
    for _ in range(2):
        assert told(continued(fields, PROXY, "https", b"shop", "x")) == x
        assert told(continued(fields, PROXY, "https", b"shop", "rfc7239")) == {"Forwarded": forwarded}
        assert told(continued(fields, PROXY, "https", b"shop", "both")) == {**x, "Forwarded": forwarded}


@pytest.mark.parametrize(
    ("lines", "host"),
    [
        (["X-Forwarded-Host: shop.example:8443"], "shop.example:8443"),
        (["X-Forwarded-Host: evil", "X-Forwarded-Host: a, shop.example"], "shop.example"),
        (["X-Forwarded-Host: <script>"], "behind"),
        (["X-Forwarded-For: 203.0.113.9", "Forwarded: for=1.1.1.1;host=evil"], "behind"),
        (['Forwarded: for=1.1.1.1;host=evil, for=203.0.113.9;host="shop.example:8443"'], "shop.example:8443"),
        (["Forwarded: for=1.1.1.1;host=evil, for=203.0.113.9"], "behind"),
        (["Forwarded: for=203.0.113.9;host=shop.example", "X-Forwarded-Host: evil"], "shop.example"),
    ],
)
def test_the_host_that_the_proxy_in_front_got_is_passed_on(lines: list[str], host: str) -> None:
    raw = told(continued(as_fields(*lines), PROXY, "https", b"behind", "both"))
    assert raw["X-Forwarded-Host"] == host
    own = f'"{host}"' if ":" in host else host
    assert raw["Forwarded"].endswith(f"for=10.0.0.1;host={own};proto=https")


@pytest.mark.parametrize(
    ("address", "known_as"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:DB8::9", "2001:db8::9"),
        ("fe80::1%eth0", "fe80::1"),
        ("unix", "unix"),
        ("", ""),
    ],
)
def test_a_peer_is_known_by_one_name(address: str, known_as: str) -> None:
    assert plain(address) == known_as
