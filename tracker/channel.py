"""Which channel a touchpoint belongs to. Knows GA4's default groups and our deviations, listed below.
Knows nothing of cookies, visits or storage.

The list is read from the top and the first that fits is taken. GA4's rules: Analytics help 9756891, as of 2026-06.

Where we deviate, and why:
- Seven channels of our own stand first: Internal, QR/Print, Offline code, Phone, Chat, Staff-asked and Paid AI have no
  place in GA4, and each needs a medium (or a click ID) that GA4 would leave unassigned or misread. Link-scanner is for
  machines that open the links of a mail before its reader does, whatever the link says.
- A Google or Microsoft click ID beside that network's own name is Paid Search whatever the medium says.
- sem, sea and paid_search are Paid Search, paid_social is Paid Social, even if the source is not known: GA4 calls
  both Paid Other or nothing.
- newsletter, mail and mailing are Email; so is a link from a webmail page. affiliates is Affiliates.
- What is tagged and fits nothing is Unassigned, GA4's own word; Direct is only what says nothing at all.
- Perplexity and others Google's list lacks are AI assistants as well.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from tracker.touch import DIRECT_SOURCE, Touch

# Analytics help 9756891: "matches regex ^(.*cp.*|ppc|retargeting|paid.*)$". It takes cpm along, so Display comes first
# where the source says no more.
_PAID = re.compile(r".*cp.*|ppc|retargeting|paid.*")
_SHOPPING_CAMPAIGN = re.compile(r".*(?:(?:[^a-df-z]|^)shop|shopping).*")

_DISPLAY = {"display", "banner", "expandable", "interstitial", "cpm"}
_SOCIAL = {"social", "social-network", "social-media", "sm", "social network", "social media", "social_network"}
_EMAIL = {"email", "e-mail", "e_mail", "e mail", "newsletter", "mail", "mailing", "e-mailing", "emailing"}
_PAID_SEARCH = {"sem", "sea", "paid-search", "paid_search", "paidsearch", "paid search", "search-paid"}
_PAID_SOCIAL = {"paid-social", "paid_social", "paidsocial", "paid social", "social-paid", "social_paid", "socialpaid"}
_PRINT = {
    "qr", "qr-code", "qr_code", "qrcode", "qr code", "print", "flyer", "brochure", "poster", "catalog", "catalogue",
    "katalog", "prospekt", "broschuere", "broschüre", "mailing-print", "postcard", "postkarte", "postal",
    "direct-mail", "direct_mail", "business-card", "visitenkarte", "packaging", "nfc",
}  # fmt: skip
_CODE = {"offline-code", "offline_code", "code", "coupon", "voucher", "gutschein", "gutscheincode", "promo-code"}
_PHONE = {"phone", "call", "tel", "telephone", "telefon", "anruf", "hotline", "call-tracking"}
_CHAT = {"chat", "livechat", "live-chat", "live_chat", "whatsapp", "messenger", "chatbot", "telegram", "rcs"}
_STAFF = {"staff", "staff-asked", "staff_asked", "asked", "self-reported", "self_reported", "how-did-you-hear"}
_INTERNAL = {"internal", "intern", "onsite", "on-site", "on_site"}


def is_paid(touch: Touch) -> bool:
    return touch.medium is not None and _PAID.fullmatch(touch.medium) is not None


def is_shopping(touch: Touch) -> bool:
    return touch.kind == "shopping" or (
        touch.campaign is not None and _SHOPPING_CAMPAIGN.fullmatch(touch.campaign) is not None
    )


def is_internal(touch: Touch) -> bool:
    return touch.medium in _INTERNAL or touch.source in _INTERNAL


def is_paid_ai(touch: Touch) -> bool:
    return "oppref" in touch.click_ids or (touch.kind == "ai" and is_paid(touch))


def is_cross_network(touch: Touch) -> bool:
    return touch.campaign is not None and "cross-network" in touch.campaign


def is_paid_search(touch: Touch) -> bool:
    if touch.kind == "search" and is_paid(touch):
        return True
    if touch.source in _GOOGLE and touch.click_ids & {"gclid", "gbraid", "wbraid"}:
        return True
    return (touch.source in _BING and "msclkid" in touch.click_ids) or touch.medium in _PAID_SEARCH


def is_paid_social(touch: Touch) -> bool:
    return (touch.kind == "social" and is_paid(touch)) or touch.medium in _PAID_SOCIAL


def is_organic_social(touch: Touch) -> bool:
    return touch.kind == "social" or touch.medium in _SOCIAL


def is_organic_video(touch: Touch) -> bool:
    return touch.kind == "video" or (touch.medium is not None and "video" in touch.medium)


def is_email(touch: Touch) -> bool:
    return touch.source in _EMAIL or touch.medium in _EMAIL or touch.kind == "email"


def is_push(touch: Touch) -> bool:
    medium = touch.medium or ""
    return medium.endswith("push") or "mobile" in medium or "notification" in medium or touch.source == "firebase"


_GOOGLE = {"google", "adwords", "googleads", "google ads", "google_ads", "google-ads"}
_BING = {"bing", "bingads", "bing ads", "bing_ads", "microsoft"}

CHANNELS: tuple[tuple[str, Callable[[Touch], bool]], ...] = (
    ("Internal", is_internal),
    ("QR/Print", lambda touch: touch.medium in _PRINT or touch.source in ("qr", "qrcode", "qr-code", "qr_code")),
    ("Offline code", lambda touch: touch.medium in _CODE),
    ("Phone", lambda touch: touch.medium in _PHONE),
    ("Chat", lambda touch: touch.medium in _CHAT),
    ("Staff-asked", lambda touch: touch.medium in _STAFF),
    ("Paid AI", is_paid_ai),
    ("Cross-network", is_cross_network),
    ("Paid Shopping", lambda touch: is_shopping(touch) and is_paid(touch)),
    ("Paid Search", is_paid_search),
    ("Paid Social", is_paid_social),
    ("Paid Video", lambda touch: touch.kind == "video" and is_paid(touch)),
    ("Display", lambda touch: touch.medium in _DISPLAY),
    ("Paid Other", is_paid),
    ("Organic Shopping", is_shopping),
    ("Organic Social", is_organic_social),
    ("Organic Video", is_organic_video),
    ("AI Assistant", lambda touch: touch.kind == "ai" or touch.medium == "ai-assistant"),
    ("Organic Search", lambda touch: touch.kind == "search" or touch.medium == "organic"),
    ("Email", is_email),
    ("Affiliates", lambda touch: touch.medium in ("affiliate", "affiliates")),
    ("Audio", lambda touch: touch.medium in ("audio", "podcast")),
    ("SMS", lambda touch: "sms" in (touch.source, touch.medium)),
    ("Mobile Push Notifications", is_push),
    ("Referral", lambda touch: touch.referred or touch.medium in ("referral", "app", "link")),
    ("Direct", lambda touch: touch.source in (DIRECT_SOURCE, "direct") and touch.medium in _NO_MEDIUM),
)
_NO_MEDIUM = (None, "(none)", "none", "(not set)")
UNASSIGNED, LINK_SCANNER = "Unassigned", "Link-scanner"

# Every value the column can have.
NAMES = (*(name for name, _ in CHANNELS), LINK_SCANNER, UNASSIGNED)


def of(touch: Touch, *, is_link_scanner: bool = False) -> str:
    """The channel's name. A link scanner's click is nobody's, whatever the link says."""
    if is_link_scanner:
        return LINK_SCANNER
    for name, fits in CHANNELS:
        if fits(touch):
            return name
    return UNASSIGNED
