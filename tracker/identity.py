"""Who is this browser? The visitor's signed first-party cookie: read, set, renewed, and kept from the site.

Knows cookies (RFC 6265), signatures, and what a shared cache may store (RFC 9111). Knows nothing of visits, consent,
or what a visitor did.

The cookie is `<visitor id>.<timestamp>.<signature>` as itsdangerous' TimestampSigner writes it, with SHA-256. The
visitor id is a UUIDv7 in text.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from hashlib import sha256
from typing import Literal, NamedTuple

from itsdangerous import BadSignature, TimestampSigner
from itsdangerous.encoding import base64_encode, int_to_bytes

from tracker.settings import CookieSettings

# Part of the cookie's contract: with another salt every visitor would be a stranger.
SALT = "ropo.visitor"

DAY_SECS = 86_400

# Verifying costs some microseconds, finding a verified cookie again a tenth of one. About 500 bytes each: 16 MB.
REMEMBERED_COOKIES = 32_768

_VISITOR_ID = r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
_is_visitor_id = re.compile(_VISITOR_ID).fullmatch
_is_token = re.compile(_VISITOR_ID.encode() + rb"\.[A-Za-z0-9_-]{4,12}\.[A-Za-z0-9_-]{43}").fullmatch
_LONGEST_TOKEN = 36 + 1 + 12 + 1 + 43

_BLANKS = b" \t"
_SEMICOLON = ord(";")


class Seen(NamedTuple):
    """What a request's cookie said. `visitor_id` only if known; `issued_at` in Unix seconds, 0 if not known."""

    visitor_id: str | None
    state: Literal["known", "forged", "expired", "absent"]
    issued_at: int


ABSENT = Seen(None, "absent", 0)
FORGED = Seen(None, "forged", 0)
EXPIRED = Seen(None, "expired", 0)


class Identity:
    """The cookie of one site. `keys`: newest last; the last signs, all verify, so that a key can be replaced."""

    def __init__(self, keys: list[str] | tuple[str, ...], *, cookie: CookieSettings) -> None:
        if not keys or not all(keys):
            raise ValueError("the visitor's cookie needs at least one signing key, and none may be empty")
        self._name = cookie.name.encode("ascii")
        self._prefix = self._name + b"="
        self._max_age_secs = cookie.max_age_days * DAY_SECS
        self._secure = cookie.secure
        self._attributes = b"; Max-Age=%d; Path=/; HttpOnly; SameSite=Lax" % self._max_age_secs
        self._domain = b"; Domain=" + cookie.domain.encode("ascii") if cookie.domain else b""
        self._signer = TimestampSigner(list(keys), salt=SALT, digest_method=sha256)
        self._signing_key = self._signer.derive_key()
        # What raises is not remembered: a flood of forged cookies does not push verified ones out.
        self._verified = lru_cache(maxsize=REMEMBERED_COOKIES)(self._verify)

    def read(self, cookie_header: bytes | None, now_s: int) -> Seen:
        """Whose cookie the Cookie field value holds at `now_s` (Unix seconds).

        Of several cookies with our name the first valid one wins. RFC 6265 section 5.4 puts the one with the longer
        path first, and another application under the same domain may have set one.
        """
        if cookie_header is None:
            return ABSENT
        prefix = self._prefix
        start = cookie_header.find(prefix)
        found = ABSENT
        while start != -1:
            begin = start + len(prefix)
            if start == 0 or _begins_pair(cookie_header, start):
                end = cookie_header.find(b";", begin)
                token = cookie_header[begin:] if end == -1 else cookie_header[begin:end]
                try:
                    seen = self._verified(token.strip(_BLANKS))
                except BadSignature:
                    if found is ABSENT:
                        found = FORGED
                else:
                    if now_s - seen.issued_at <= self._max_age_secs:
                        return seen
                    # One that was ours once says more than one that never was.
                    found = EXPIRED
            start = cookie_header.find(prefix, begin)
        return found

    def _verify(self, token: bytes) -> Seen:
        """Raises BadSignature."""
        # Alphabet and length first: what is not even shaped like ours costs no cryptography.
        if len(token) > _LONGEST_TOKEN or not _is_token(token):
            raise BadSignature("not shaped like a cookie of ours")
        value, issued_at = self._signer.unsign(token, return_timestamp=True)
        return Seen(value.decode("ascii"), "known", int(issued_at.timestamp()))

    def needs_refresh(self, seen: Seen, now_s: int) -> bool:
        """Whether a known cookie should be set anew: its life counts from the last visit, and once a day is enough."""
        # Also one from the future: some clock was wrong, and the cookie would outlive its time.
        return seen.state == "known" and abs(now_s - seen.issued_at) > DAY_SECS

    def set_cookie(self, visitor_id: str, *, scheme: str, now_s: int) -> bytes:
        """The value of a Set-Cookie field (RFC 6265 section 4.1) that names `visitor_id`, issued at `now_s`.

        Raises ValueError if `visitor_id` is not a UUIDv7: it goes into a header.
        """
        if not _is_visitor_id(visitor_id):
            raise ValueError("a visitor id is a UUIDv7 in lower-case text")
        # TimestampSigner.sign reads the clock and derives its key anew each time; this is the same token.
        signed = visitor_id.encode("ascii") + b"." + base64_encode(int_to_bytes(now_s))
        signature = base64_encode(hmac.digest(self._signing_key, signed, "sha256"))
        is_secure = self._secure == "always" or (self._secure == "auto" and scheme == "https")
        secure = b"; Secure" if is_secure else b""
        return b"".join((self._prefix, signed, b".", signature, self._attributes, secure, self._domain))

    def without(self, cookie_header: bytes) -> bytes | None:
        """The Cookie field value without our cookie, all others byte for byte; None when nothing is left."""
        name = self._name
        if name not in cookie_header:
            return cookie_header
        # RFC 6265 section 4.2.1: pairs are divided by semicolons, and no value holds one, quoted or not.
        pairs = cookie_header.split(b";")
        kept = [pair for pair in pairs if pair.partition(b"=")[0].strip(_BLANKS) != name]
        if len(kept) == len(pairs):
            return cookie_header
        rest = b";".join(kept)
        if kept and kept[0] is not pairs[0]:
            # The blank belonged to the divider before it, which is gone.
            rest = rest.lstrip(_BLANKS)
        return rest if rest.strip(b" \t;") else None


def _begins_pair(header: bytes, start: int) -> bool:
    before = start - 1
    while before >= 0 and header[before] in _BLANKS:
        before -= 1
    return before < 0 or header[before] == _SEMICOLON


def mintable(method: str, get: Callable[[bytes], bytes | str | None]) -> bool:
    """Whether a request without a known cookie begins a visitor: a navigation of a person, nothing else.

    `get` looks up a request field by its lower-case name. A page fetches dozens of things at once, each without a
    cookie yet; if all of them minted, one browser would be dozens of visitors.
    """
    if method not in ("GET", "POST"):
        return False
    # Fetched ahead, perhaps never looked at. Sec-Purpose: Chrome, Firefox (WHATWG fetch, "prefetch"); Purpose: older
    # Chrome and Safari; X-Moz: older Firefox.
    for name in (b"sec-purpose", b"purpose", b"x-moz"):
        purpose = _lower(get(name))
        if "prefetch" in purpose or "preview" in purpose or "prerender" in purpose:
            return False
    dest, mode = _lower(get(b"sec-fetch-dest")), _lower(get(b"sec-fetch-mode"))
    if dest or mode:
        # W3C Fetch Metadata. Not `iframe`: inside a foreign page a SameSite=Lax cookie is not sent back, so that
        # every view would be a new visitor; inside our own page the page itself has minted already.
        return dest in ("document", "") and mode in ("navigate", "")
    # Browsers leave Sec-Fetch-* out on plain http, and old ones always.
    return "text/html" in _lower(get(b"accept")) and not get(b"x-requested-with")


def _lower(value: bytes | str | None) -> str:
    if value is None:
        return ""
    return (value if isinstance(value, str) else value.decode("latin-1")).strip().lower()


_directives = re.compile(r"""([a-z0-9_-]+)(?:\s*=\s*("[^"]*"|[^\s,;"]*))?""").findall


def storable(response_fields: Iterable[tuple[bytes, bytes]]) -> Literal["private", "shared", "unsaid"]:
    """Who may store this response (RFC 9111 section 3): nobody but the browser, a shared cache too, or it does not say.

    A cookie must not go into a `shared` one: section 7.3 warns that a cache may hand it to everybody. With `unsaid`
    a cache may still store it on its own judgement (section 4.2.2): say `private` when adding a cookie.
    """
    said: list[tuple[str, str]] = []
    targeted = False
    for name, value in response_fields:
        name = name.lower()
        if name == b"cache-control":
            said += _directives(value.decode("latin-1").lower())
        elif name == b"surrogate-control" or name.endswith(b"cdn-cache-control"):
            # RFC 9213 section 2: for the cache it names, such a field replaces Cache-Control. Surrogate-Control is
            # its forerunner (W3C note "Edge Architecture", 2001).
            told = dict(_directives(value.decode("latin-1").lower()))
            targeted = targeted or not ("no-store" in told or "private" in told)
    if targeted:
        return "shared"
    # Section 5.2.2.7: `private="field"` keeps a cache from that field only. Section 4.2.1: of directives that
    # contradict each other the most restrictive counts.
    names = {name for name, _ in said}
    if "no-store" in names or ("private", "") in said:
        return "private"
    # Sections 5.2.2.9 and 5.2.2.10.
    return "shared" if "public" in names or "s-maxage" in names else "unsaid"
