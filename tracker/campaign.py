"""What a URL's query says of the campaign that led to it: parameters, click IDs, and the network they imply.

Knows the parameters of the campaign tools and the click IDs of the networks. Changes no value: grouping is for
`touch`. Knows nothing of referrers, channels or visits.

Sources: Google Analytics help 10917952 (utm_*), Matomo FAQ "manually build campaign URLs" (mtm_*, pk_*), HubSpot
(hsa_*), Piano Analytics (at_*), AdGuard's TrackParamFilter for what else is about, PostHog's and Umami's lists of
click IDs, the vendors' own pages for what they mean.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

# First in the list wins, first in the URL among equals.
SOURCE = ("utm_source", "mtm_source", "matomo_source", "pk_source", "piwik_source", "at_platform", "dpg_source")
MEDIUM = ("utm_medium", "mtm_medium", "matomo_medium", "pk_medium", "piwik_medium", "at_medium", "dpg_medium")
CAMPAIGN = (
    "utm_campaign", "mtm_campaign", "matomo_campaign", "mtm_cpn", "pk_campaign", "pk_cpn", "piwik_campaign",
    "at_campaign", "dpg_campaign", "wt_mc", "s_cid", "xtor", "cm_mmc", "utm_name",
)  # fmt: skip
TERM = (
    "utm_term", "mtm_keyword", "mtm_kwd", "matomo_keyword", "matomo_kwd", "pk_keyword", "pk_kwd", "piwik_kwd",
    "utm_keyword", "hsa_kw", "at_term",
)  # fmt: skip
CONTENT = ("utm_content", "mtm_content", "matomo_content", "pk_content", "at_creation", "dpg_content")
ID = ("utm_id", "mtm_cid", "matomo_cid", "pk_cid", "gad_campaignid", "hsa_cam", "mc_cid")

_PREFIXES = ("utm_", "mtm_", "matomo_", "pk_", "piwik_", "hsa_", "gad_", "dpg_", "itm_", "cm_mmc")
_NAMES = {
    *SOURCE, *MEDIUM, *CAMPAIGN, *TERM, *CONTENT, *ID,
    "gclsrc", "at_variant", "at_format", "at_network", "at_general_placement", "at_detail_placement", "at_type",
}  # fmt: skip

# Click ID to the network it stands for: source and medium when the URL does not name them. First in the list wins.
# Of paid clicks only, unless said otherwise.
CLICK_IDS: dict[str, tuple[str, str]] = {
    "gclid": ("google", "cpc"),
    "gbraid": ("google", "cpc"),
    "wbraid": ("google", "cpc"),
    "dclid": ("google", "display"),  # Campaign Manager 360 and Display & Video 360
    "msclkid": ("bing", "cpc"),
    "yclid": ("yandex", "cpc"),
    "oppref": ("chatgpt", "cpc"),  # ads inside ChatGPT
    "ttclid": ("tiktok", "paid-social"),
    "li_fat_id": ("linkedin", "paid-social"),
    "twclid": ("x", "paid-social"),
    "rdt_cid": ("reddit", "paid-social"),
    "epik": ("pinterest", "paid-social"),
    "sccid": ("snapchat", "paid-social"),
    "qclid": ("quora", "paid-social"),
    "ldtag_cl": ("line", "paid-social"),
    "obclid": ("outbrain", "cpc"),
    "ob_click_id": ("outbrain", "cpc"),
    "dicbo": ("outbrain", "cpc"),
    "tblci": ("taboola", "cpc"),
    "irclickid": ("impact", "affiliate"),
    "irclid": ("impact", "affiliate"),
    "awc": ("awin", "affiliate"),
    "tduid": ("tradedoubler", "affiliate"),
    "sscid": ("shareasale", "affiliate"),
    "cjevent": ("cj", "affiliate"),
    "ransiteid": ("rakuten advertising", "affiliate"),
    "admitad_uid": ("admitad", "affiliate"),
    "dub_id": ("dub", "affiliate"),
    # Facebook puts it on every outgoing link, so it proves no ad.
    "fbclid": ("facebook", "social"),
    "igshid": ("instagram", "social"),
    "igsh": ("instagram", "social"),
    "ysclid": ("yandex", "organic"),
    "srsltid": ("google", "organic"),  # Merchant Center's free listings
}

# Google's own stand-ins where consent or the system allows no click ID (Google Ads help 16193746), and HubSpot's word
# for the network an ad ran in.
_STAND_INS = ("gad_source", "gad_campaignid")
_HUBSPOT_NETWORKS = {
    "adwords": ("google", "cpc"),
    "facebook": ("facebook", "paid-social"),
    "linkedin": ("linkedin", "paid-social"),
}

# Parameters that name a person or browser. That one is there may say "by mail"; its value goes into no column.
_PERSONS: dict[str, tuple[str, str] | None] = {
    "mc_eid": ("mailchimp", "email"),
    "_kx": ("klaviyo", "email"),
    "mkt_tok": ("marketo", "email"),
    "vero_id": ("vero", "email"),
    "vero_conv": ("vero", "email"),
    "bsft_uid": ("blueshift", "email"),
    "bsft_clkid": ("blueshift", "email"),
    "ml_subscriber": ("mailerlite", "email"),
    "ml_subscriber_hash": ("mailerlite", "email"),
    "elqtrackid": ("eloqua", "email"),
    "_hsenc": ("hubspot", "email"),
    "_hsmi": ("hubspot", "email"),
    "at_recipient_id": ("at internet", "email"),
    "wickedid": None,
    "__hstc": None,
    "__hssc": None,
    "__hsfp": None,
    "_gl": None,
    "_ga": None,
}
MASKED = "[masked]"


class Campaign(NamedTuple):
    """One query, read. Values are as the URL says, percent-decoded.

    `query` is what the log keeps of it. `source` to `id` are the first of their list that is not empty; `params` has
    every campaign parameter under its lower-case name, a second value of the same name as `name[2]`. `click_ids` are
    under their canonical names. `network` is the (source, medium) a click ID stands for.
    `key` tells one campaign from another; None: the query names none.
    """

    query: str | None = None
    source: str | None = None
    medium: str | None = None
    name: str | None = None
    term: str | None = None
    content: str | None = None
    id: str | None = None
    params: dict[str, str] | None = None
    click_ids: dict[str, str] | None = None
    network: tuple[str, str] | None = None
    key: tuple | None = None


NONE = Campaign()
EMPTY = Campaign(query="")

# Where one parameter ends: at `&`, at `&amp;` of a badly escaped link, at `;` and a second `?` only when a name
# follows, for both may stand in a value.
_SEPARATOR = re.compile(
    r"&(?:amp;)?|;(?=[A-Za-z_][\w.%-]*=)|\?(?=(?:utm|mtm|pk|hsa|gad)_|(?:" + "|".join(CLICK_IDS) + ")=)", re.IGNORECASE
)
_PERSON_PARAMETER = re.compile(
    r"((?:^|[?&;])(?:amp;)?(?:" + "|".join(map(re.escape, _PERSONS)) + r")=)[^&;#]+", re.IGNORECASE
)
_SURROGATES = re.compile("[\udc80-\udcff]")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")


def read(query: str | None) -> Campaign:
    """What `query` (raw, without `?`) says; equal queries give the same object while they are remembered."""
    if query is None:
        return NONE
    if not query:
        return EMPTY
    # A visitor chooses what we remember: long queries are read anew each time.
    return _remembered(query) if len(query) <= 1024 else _read(query)


def key_of(params: Mapping[str, str], click_ids: Mapping[str, str]) -> tuple | None:
    """What tells one campaign from another; None if both are empty."""
    return (tuple(sorted(params.items())), tuple(sorted(click_ids.items()))) if params or click_ids else None


def mask(url: str) -> str:
    """The URL or query without the values of parameters that name a person."""
    return _PERSON_PARAMETER.sub(rf"\1{MASKED}", url) if "=" in url else url


def _read(query: str) -> Campaign:
    params: dict[str, str] = {}
    click_ids: dict[str, str] = {}
    for part in _SEPARATOR.split(query.lstrip("?&").removeprefix("amp;")):
        raw_name, equals, raw_value = part.partition("=")
        if not equals:
            continue
        name = (decode(raw_name) if "%" in raw_name or "+" in raw_name else raw_name).strip().lower()
        if name in CLICK_IDS:
            if raw_value:
                click_ids.setdefault(name, decode(raw_value))
        elif name in _PERSONS:
            if raw_value and _PERSONS[name] is not None:
                click_ids.setdefault(name, MASKED)
        elif name in _NAMES or name.startswith(_PREFIXES):
            _keep(params, name, decode(raw_value))
    if not params and not click_ids:
        return Campaign(query=mask(query))
    source, medium, campaign = _first(params, SOURCE), _first(params, MEDIUM), _first(params, CAMPAIGN)
    term, content, number = _first(params, TERM), _first(params, CONTENT), _first(params, ID)
    network = _network(params, click_ids)
    # itm_* and unknown utm_* are kept, but bring nobody to the site.
    arrives = source or medium or campaign or term or content or number or network
    key = key_of(params, click_ids) if arrives else None
    return Campaign(
        mask(query), source, medium, campaign, term, content, number, params or None, click_ids or None, network, key
    )


_remembered = lru_cache(maxsize=8192)(_read)


def decode(text: str) -> str:
    """Percent-decoded, `+` as space. What is not UTF-8 and control characters stay escaped as they were."""
    if "%" not in text:
        return text.replace("+", " ")
    raw = unquote_to_bytes(text.replace("+", " "))
    try:
        decoded = raw.decode()
    except UnicodeDecodeError:
        decoded = raw.decode("utf-8", "surrogateescape")
        decoded = _SURROGATES.sub(lambda found: f"%{ord(found.group()) - 0xDC00:02X}", decoded)
    # A NUL is text in no database.
    return _CONTROLS.sub(lambda found: f"%{ord(found.group()):02X}", decoded)


def _keep(params: dict[str, str], name: str, value: str) -> None:
    """The first value of a name has the name; further ones that differ are kept beside it."""
    place, number = name, 1
    while place in params:
        if params[place] == value:
            return
        number += 1
        place = f"{name}[{number}]"
        if number > 9:
            return
    params[place] = value


def _first(params: dict[str, str], names: tuple[str, ...]) -> str | None:
    for name in names:
        value = params.get(name)
        if value and not value.isspace():
            return value
    return None


def _network(params: dict[str, str], click_ids: dict[str, str]) -> tuple[str, str] | None:
    for name, network in CLICK_IDS.items():
        if name in click_ids:
            return network
    if any(params.get(name) for name in _STAND_INS):
        return ("google", "cpc")
    if network := _HUBSPOT_NETWORKS.get(params.get("hsa_net", "").lower()):
        return network
    for name in click_ids:
        if network := _PERSONS.get(name):
            return network
    return None
