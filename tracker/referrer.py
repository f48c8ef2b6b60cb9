"""Where a visitor came from, by the Referer field: a site with a name and a kind, or nowhere that counts.

Knows RFC 9110 section 10.1.3 and which hosts are the site's own. Knows nothing of campaigns, channels or visits.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from tracker import campaign, paths, sources
from tracker.settings import TrackerSettings

# What reports call the medium of a link without campaign parameters. GA4 says referral for social and video too;
# we say what they are. ai-assistant is GA4's word since May 2026.
MEDIA = {"search": "organic", "social": "social", "video": "video", "ai": "ai-assistant", "email": "email"}


class Referral(NamedTuple):
    """`url` is what the log keeps of the field. `host` is the other site's; None if there is none that counts:
    no referrer, the site itself, or a payment page. `source` and `medium` are None with it."""

    url: str | None = None
    host: str | None = None
    kind: str = ""
    source: str | None = None
    medium: str | None = None


NONE = Referral()

# scheme://[user@]host[:port]; android-app://package and ios-app://number/... name an app in the host's place.
_URL = re.compile(r"([a-z][a-z0-9+.-]*)://(?:[^/?#@]*@)?(\[[0-9a-f:.]+\]|[^/?#:@]*)", re.IGNORECASE)
_HOST = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\]")


class Referrers:
    """Reads Referer fields for one site. Bounded memory of what it read."""

    def __init__(self, settings: TrackerSettings) -> None:
        globs = [glob.lower() for glob in settings.own_hosts]
        if settings.cookie.domain:
            # Hosts that share the visitor's cookie are one site.
            domain = settings.cookie.domain.lstrip(".").lower()
            globs += [domain, f"*.{domain}"]
        self._is_own = paths.matcher(globs)
        self._remembered = lru_cache(maxsize=16_384)(self._read)

    def read(self, referrer: str | None, host: str | None) -> Referral:
        """Who sent the visitor, given the raw Referer and Host fields of the request."""
        if not referrer:
            return NONE
        if len(referrer) > 512:
            return self._read(referrer, host)
        return self._remembered(referrer, host)

    def _read(self, referrer: str, host: str | None) -> Referral:
        url = campaign.mask(referrer)
        found = _URL.match(referrer)
        if found is None:
            return Referral(url)
        scheme, other = found.group(1).lower(), bare(found.group(2))
        if (
            not other
            or len(other) > 253
            or _HOST.fullmatch(other) is None
            or scheme not in ("http", "https", "android-app", "ios-app")
        ):
            return Referral(url)
        own = bare(host or "")
        if own and (other == own or other.removeprefix("www.") == own.removeprefix("www.")):
            return Referral(url)
        if self._is_own is not None and self._is_own(other):
            return Referral(url)
        known = sources.of_host(other)
        if known.kind == "payment":
            return Referral(url)
        return Referral(url, other, known.kind, name_of(other), MEDIA.get(known.kind, "referral"))


def name_of(host: str) -> str:
    """What reports call the site at `host`: its name if it is a known one, else the host without www."""
    known = sources.of_host(host)
    return known.name if known.kind else host.removeprefix("www.")


def bare(host: str) -> str:
    """A host as in a Host field, lower case and without port and closing dot. IPv6 addresses keep their brackets."""
    host = host.lower()
    if host[:1] == "[":
        return host.partition("]")[0] + "]"
    return host.partition(":")[0].rstrip(".")
