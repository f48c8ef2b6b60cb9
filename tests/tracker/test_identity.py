"""The visitor's cookie: signed, renewed, kept from the site; and when one may be set."""

from __future__ import annotations

import time
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st
from itsdangerous import TimestampSigner

from tracker import identity
from tracker.clock import new_id
from tracker.identity import ABSENT, EXPIRED, FORGED, Identity, mintable, storable
from tracker.settings import CookieSettings

NOW_S = 1_795_341_600
DAY_S = 86_400
KEYS = ["an old key, long enough", "the newest key, long enough"]


def an_identity(keys: list[str] = KEYS, **cookie: object) -> Identity:
    return Identity(keys, cookie=CookieSettings(**cookie))


def cookie_of(ours: Identity, visitor_id: str, now_s: int = NOW_S) -> bytes:
    """What a browser sends back."""
    return ours.set_cookie(visitor_id, scheme="https", now_s=now_s).split(b";")[0]


# -- read


def test_a_cookie_that_was_set_is_known_again():
    ours, visitor_id = an_identity(), new_id()
    assert ours.read(cookie_of(ours, visitor_id), NOW_S + 5) == (visitor_id, "known", NOW_S)


def test_a_cookie_is_found_among_others():
    ours, visitor_id = an_identity(), new_id()
    cookie = cookie_of(ours, visitor_id)
    for header in (
        b"a=1; " + cookie,
        cookie + b"; b=2",
        b"a=1;" + cookie + b";b=2",
        b"xropo_id=1; \t" + cookie + b" ;",
    ):
        assert ours.read(header, NOW_S).visitor_id == visitor_id


def test_a_second_read_of_the_same_cookie_comes_from_memory_and_says_the_same():
    ours, visitor_id = an_identity(), new_id()
    cookie = cookie_of(ours, visitor_id)
    first = ours.read(cookie, NOW_S)
    assert ours.read(b"a=1; " + cookie, NOW_S + 1) is first


def test_no_cookie_is_absent():
    ours = an_identity()
    for header in (None, b"", b"a=1", b"xropo_id=1", b"a=ropo_id=1", b"ropo_id"):
        assert ours.read(header, NOW_S) == ABSENT


def test_of_several_cookies_of_our_name_the_first_valid_one_wins():
    ours, one, other = an_identity(), new_id(), new_id()
    header = b"; ".join([b"ropo_id=", b"ropo_id=foreign", cookie_of(ours, one), cookie_of(ours, other)])
    assert ours.read(header, NOW_S).visitor_id == one


def test_an_expired_cookie_does_not_hide_a_valid_one():
    ours, visitor_id = an_identity(), new_id()
    header = cookie_of(ours, new_id(), NOW_S - 400 * DAY_S) + b"; " + cookie_of(ours, visitor_id)
    assert ours.read(header, NOW_S).visitor_id == visitor_id


def test_a_cookie_is_expired_after_its_life():
    ours = an_identity(max_age_days=30)
    cookie = cookie_of(ours, new_id())
    assert ours.read(cookie, NOW_S + 30 * DAY_S).state == "known"
    assert ours.read(cookie, NOW_S + 30 * DAY_S + 1) == EXPIRED


def test_a_cookie_remembered_as_valid_expires_all_the_same():
    ours = an_identity(max_age_days=1)
    cookie = cookie_of(ours, new_id())
    assert ours.read(cookie, NOW_S).state == "known"
    assert ours.read(cookie, NOW_S + DAY_S + 1) == EXPIRED


def test_every_old_key_still_verifies_and_the_newest_signs():
    visitor_id = new_id()
    before, after = an_identity(KEYS[:1]), an_identity(KEYS)
    assert after.read(cookie_of(before, visitor_id), NOW_S).visitor_id == visitor_id
    assert before.read(cookie_of(after, visitor_id), NOW_S) == FORGED
    assert an_identity(KEYS[1:]).read(cookie_of(after, visitor_id), NOW_S).visitor_id == visitor_id


def test_the_cookie_is_what_itsdangerous_itself_reads():
    ours, visitor_id = an_identity(), new_id()
    value = cookie_of(ours, visitor_id).removeprefix(b"ropo_id=")
    signer = TimestampSigner(KEYS, salt=identity.SALT, digest_method=sha256)
    read, issued_at = signer.unsign(value, return_timestamp=True)
    assert (read.decode(), issued_at.timestamp()) == (visitor_id, NOW_S)


def test_a_cookie_that_itsdangerous_signed_itself_is_known():
    ours, visitor_id = an_identity(), new_id()
    signed = TimestampSigner(KEYS, salt=identity.SALT, digest_method=sha256).sign(visitor_id)
    assert ours.read(b"ropo_id=" + signed, int(time.time())).visitor_id == visitor_id


@pytest.mark.parametrize(
    "visitor_id",
    [b"' or 1=1", b"01a20165-b571-4b78-8e60-950f09e75383", b"01A20165-B571-7B78-8E60-950F09E75383", b"\xff" * 36, b""],
)
def test_a_rightly_signed_value_that_is_no_visitor_id_is_forged(visitor_id: bytes):
    signed = TimestampSigner(KEYS, salt=identity.SALT, digest_method=sha256).sign(visitor_id)
    assert an_identity().read(b"ropo_id=" + signed, NOW_S) == FORGED


def test_what_is_not_shaped_like_ours_costs_no_cryptography(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(TimestampSigner, "unsign", lambda *_, **__: pytest.fail("it was verified"))
    ours = an_identity()
    for value in (b"", b"x", b"." * 95, b"a" * 100_000, b"0" * 36 + b"." + b"A" * 6 + b"." + b"A" * 43):
        assert ours.read(b"ropo_id=" + value, NOW_S) == FORGED


@given(st.data())
def test_a_cookie_with_any_octet_changed_is_forged(data: st.DataObject):
    ours = an_identity()
    cookie = bytearray(cookie_of(ours, "01a20165-b571-7b78-8e60-950f09e75383"))
    # The last sign of base64 carries two bits that mean nothing.
    place = data.draw(st.integers(len(b"ropo_id="), len(cookie) - 2))
    octet = data.draw(st.integers(0, 255).filter(lambda octet: octet not in (cookie[place], *b"; \t")))
    cookie[place] = octet
    assert ours.read(bytes(cookie), NOW_S) == FORGED


@given(st.binary(max_size=200))
def test_no_header_is_too_strange_to_read(header: bytes):
    assert an_identity().read(header, NOW_S).state in ("absent", "forged")
    assert an_identity().read(b"ropo_id=" + header, NOW_S).visitor_id is None


def test_a_flood_of_forged_cookies_is_not_remembered():
    ours = an_identity()
    known = cookie_of(ours, new_id())
    first = ours.read(known, NOW_S)
    for number in range(100):
        assert ours.read(known[:-4] + b"%04d" % number, NOW_S) == FORGED
    assert ours._verified.cache_info().currsize == 1
    assert ours.read(known, NOW_S) is first


def test_an_identity_without_a_key_is_refused_and_none_shows_its_keys():
    for keys in ([], [""], ["good enough, this one", ""]):
        with pytest.raises(ValueError, match="at least one signing key"):
            an_identity(keys)
    assert KEYS[1] not in repr(an_identity()) + repr(vars(an_identity()))


# -- set and renew


def test_the_cookie_is_kept_from_scripts_and_from_other_sites():
    value = an_identity(max_age_days=390).set_cookie(new_id(), scheme="http", now_s=NOW_S)
    assert value.split(b"; ")[1:] == [b"Max-Age=33696000", b"Path=/", b"HttpOnly", b"SameSite=Lax"]


@pytest.mark.parametrize(
    "secure, scheme, expected",
    [
        ("auto", "https", True),
        ("auto", "http", False),
        ("always", "http", True),
        ("never", "https", False),
    ],
)
def test_the_cookie_is_secure_as_the_scheme_and_the_settings_say(secure: str, scheme: str, expected: bool):
    value = an_identity(secure=secure).set_cookie(new_id(), scheme=scheme, now_s=NOW_S)
    assert (b"Secure" in value.split(b"; ")) is expected


def test_the_cookie_has_the_configured_name_and_domain():
    value = an_identity(name="visitor", domain="example.com").set_cookie(new_id(), scheme="https", now_s=NOW_S)
    assert value.startswith(b"visitor=")
    assert value.endswith(b"; Domain=example.com")


@pytest.mark.parametrize("visitor_id", ["", "x", "01a20165-b571-7b78-8e60-950f09e75383\r\nX: y", "a; Domain=evil"])
def test_only_a_visitor_id_goes_into_the_header(visitor_id: str):
    with pytest.raises(ValueError, match="UUIDv7"):
        an_identity().set_cookie(visitor_id, scheme="https", now_s=NOW_S)


@pytest.mark.parametrize(
    "age_secs, expected", [(0, False), (DAY_S, False), (DAY_S + 1, True), (-60, False), (-2 * DAY_S, True)]
)
def test_a_cookie_is_renewed_once_a_day(age_secs: int, expected: bool):
    ours = an_identity()
    seen = ours.read(cookie_of(ours, new_id(), NOW_S - age_secs), NOW_S)
    assert ours.needs_refresh(seen, NOW_S) is expected


def test_what_is_not_known_is_not_renewed():
    assert not any(an_identity().needs_refresh(seen, NOW_S) for seen in (ABSENT, FORGED, EXPIRED))


# -- without


@pytest.mark.parametrize(
    "header, rest",
    [
        (b"ropo_id=x", None),
        (b"ropo_id=x; ", None),
        (b"ropo_id=x; ropo_id=y", None),
        (b"ropo_id=x; a=1", b"a=1"),
        (b"a=1; ropo_id=x", b"a=1"),
        (b"a=1; ropo_id=x; b=2", b"a=1; b=2"),
        (b"a=1;ropo_id=x;b=2", b"a=1;b=2"),
        (b"a=1; ropo_id =x; b=2", b"a=1; b=2"),
        (b"a=1; ropo_id; b=2", b"a=1; b=2"),
        (b"a=ropo_id=x", b"a=ropo_id=x"),
        (b"xropo_id=x; ropo_idx=y", b"xropo_id=x; ropo_idx=y"),
        (b"ROPO_ID=x", b"ROPO_ID=x"),
        (b'a="1=\xff,\x00"; ropo_id=x;  b', b'a="1=\xff,\x00";  b'),
        (b"", b""),
    ],
)
def test_the_site_gets_all_cookies_but_ours(header: bytes, rest: bytes | None):
    assert an_identity().without(header) == rest


@given(
    st.lists(st.binary(min_size=1, max_size=20).map(lambda raw: b"c" + raw.replace(b";", b"_").replace(b"ropo", b"x"))),
    st.data(),
)
def test_other_cookies_stay_byte_for_byte(others: list[bytes], data: st.DataObject):
    pairs = list(others)
    for _ in range(data.draw(st.integers(1, 3))):
        pairs.insert(data.draw(st.integers(0, len(pairs))), b"ropo_id=" + data.draw(st.sampled_from([b"", b"x.y.z"])))
    assert (an_identity().without(b"; ".join(pairs)) or b"") == b"; ".join(others)


@given(st.binary(max_size=100).filter(lambda raw: b"ropo_id" not in raw))
def test_a_header_without_our_cookie_is_not_touched(header: bytes):
    assert an_identity().without(header) is header


# -- when a visitor begins

PAGE = {b"accept": b"text/html,application/xhtml+xml,*/*;q=0.8"}
NAVIGATION = {b"sec-fetch-dest": b"document", b"sec-fetch-mode": b"navigate", **PAGE}


@pytest.mark.parametrize(
    "method, fields, expected",
    [
        ("GET", NAVIGATION, True),
        ("POST", NAVIGATION, True),
        ("HEAD", NAVIGATION, False),
        ("OPTIONS", NAVIGATION, False),
        ("GET", PAGE, True),
        ("POST", PAGE, True),
        ("GET", {}, False),
        ("GET", {b"accept": b"*/*"}, False),
        ("GET", {b"accept": b"image/avif,image/webp,*/*"}, False),
        ("GET", {b"accept": b"application/json, text/javascript"}, False),
        ("GET", PAGE | {b"x-requested-with": b"XMLHttpRequest"}, False),
        ("GET", NAVIGATION | {b"sec-fetch-dest": b"iframe"}, False),
        ("GET", NAVIGATION | {b"sec-fetch-dest": b"empty", b"sec-fetch-mode": b"cors"}, False),
        ("GET", NAVIGATION | {b"sec-fetch-dest": b"image", b"sec-fetch-mode": b"no-cors"}, False),
        ("GET", {b"sec-fetch-mode": b"navigate"}, True),
        ("GET", NAVIGATION | {b"sec-purpose": b"prefetch"}, False),
        ("GET", NAVIGATION | {b"sec-purpose": b"prefetch;prerender"}, False),
        ("GET", PAGE | {b"purpose": b"prefetch"}, False),
        ("GET", PAGE | {b"purpose": b"Preview"}, False),
        ("GET", PAGE | {b"x-moz": b"prefetch"}, False),
    ],
)
def test_only_a_person_who_opens_a_page_begins_a_visitor(method: str, fields: dict[bytes, bytes], expected: bool):
    assert mintable(method, fields.get) is expected
    assert mintable(method, {name: value.decode() for name, value in fields.items()}.get) is expected


@pytest.mark.parametrize(
    "fields, expected",
    [
        ([], "unsaid"),
        ([(b"Content-Type", b"text/html")], "unsaid"),
        ([(b"Cache-Control", b"max-age=600")], "unsaid"),
        ([(b"Cache-Control", b"no-cache")], "unsaid"),
        ([(b"Cache-Control", b"")], "unsaid"),
        ([(b"Cache-Control", b"private")], "private"),
        ([(b"cache-control", b"max-age=0, PRIVATE")], "private"),
        ([(b"Cache-Control", b"no-store")], "private"),
        ([(b"Cache-Control", b"public, max-age=600")], "shared"),
        ([(b"Cache-Control", b"s-maxage=60")], "shared"),
        ([(b"Cache-Control", b"max-age=60"), (b"Cache-Control", b"public")], "shared"),
        # The most restrictive counts, but not when it speaks of one field only.
        ([(b"Cache-Control", b"public, private")], "private"),
        ([(b"Cache-Control", b"public"), (b"Cache-Control", b"no-store")], "private"),
        ([(b"Cache-Control", b'public, private="x-user, set-cookie"')], "shared"),
        ([(b"Cache-Control", b'private="x-user"')], "unsaid"),
        ([(b"Cache-Control", b'x="public"')], "unsaid"),
        # Fields for caches in front of us go before Cache-Control.
        ([(b"CDN-Cache-Control", b"max-age=600"), (b"Cache-Control", b"private")], "shared"),
        ([(b"CDN-Cache-Control", b"no-store"), (b"Cache-Control", b"private")], "private"),
        ([(b"Cloudflare-CDN-Cache-Control", b"max-age=60")], "shared"),
        ([(b"Surrogate-Control", b"max-age=60"), (b"Cache-Control", b"no-store")], "shared"),
        ([(b"Surrogate-Control", b"no-store")], "unsaid"),
    ],
)
def test_a_cookie_is_not_set_where_a_shared_cache_keeps_it(fields: list[tuple[bytes, bytes]], expected: str):
    assert storable(fields) == expected
