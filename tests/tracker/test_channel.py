"""Channels, as URL and referrer lead to them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker import campaign, channel, touch
from tracker.referrer import Referrers
from tracker.settings import TrackerSettings

REFERRERS = Referrers(TrackerSettings())

# query, referrer, channel
CASES: list[tuple[str | None, str | None, str]] = [
    # Nothing said.
    (None, None, "Direct"),
    ("page=2", None, "Direct"),
    (None, "https://www.example.com/other", "Direct"),
    (None, "https://www.paypal.com/", "Direct"),
    ("utm_source=direct&utm_medium=none", None, "Direct"),
    ("itm_campaign=teaser", None, "Direct"),
    # Cross-network.
    ("utm_source=google&utm_medium=cross-network&utm_campaign=cross-network", None, "Cross-network"),
    ("utm_source=google&utm_medium=cpc&utm_campaign=Pmax%20Cross-Network%20DE", None, "Cross-network"),
    # Shopping.
    ("utm_source=google&utm_medium=cpc&utm_campaign=shopping-pumps", None, "Paid Shopping"),
    ("utm_source=google&utm_medium=cpc&utm_campaign=DE_Shop_Pumps", None, "Paid Shopping"),
    ("utm_source=idealo&utm_medium=cpc", None, "Paid Shopping"),
    ("utm_source=amazon&utm_medium=paid", None, "Paid Shopping"),
    ("utm_source=google&utm_medium=organic&utm_campaign=shopping", None, "Organic Shopping"),
    (None, "https://www.ebay.de/itm/1", "Organic Shopping"),
    (None, "https://www.amazon.co.uk/", "Organic Shopping"),
    ("utm_source=google&utm_medium=cpc&utm_campaign=workshop", None, "Paid Search"),
    # Search.
    ("gclid=x", None, "Paid Search"),
    ("gclid=x", "https://www.google.com/", "Paid Search"),
    ("gbraid=x&gad_source=1", None, "Paid Search"),
    ("gad_source=1&gad_campaignid=7", None, "Paid Search"),
    ("msclkid=x", "https://www.bing.com/", "Paid Search"),
    ("yclid=x", None, "Paid Search"),
    ("utm_source=google&utm_medium=cpc", None, "Paid Search"),
    ("utm_source=google&utm_medium=ppc", None, "Paid Search"),
    ("utm_source=google&utm_medium=retargeting", None, "Paid Search"),
    ("utm_source=google&utm_medium=cpm", None, "Paid Search"),
    ("utm_source=GOOGLE&utm_medium=CPC", None, "Paid Search"),
    ("utm_source=google_ads&utm_medium=paidsearch", None, "Paid Search"),
    ("utm_source=google&utm_medium=banner&gclid=x", None, "Paid Search"),
    ("utm_source=bing&utm_medium=web&msclkid=x", None, "Paid Search"),
    ("utm_source=whoever&utm_medium=sea", None, "Paid Search"),
    ("hsa_net=adwords&hsa_cam=7", None, "Paid Search"),
    (None, "https://www.google.com/", "Organic Search"),
    (None, "https://www.google.de/", "Organic Search"),
    (None, "https://duckduckgo.com/", "Organic Search"),
    (None, "https://www.ecosia.org/", "Organic Search"),
    (None, "android-app://com.google.android.googlequicksearchbox/", "Organic Search"),
    ("utm_source=google&utm_medium=organic", None, "Organic Search"),
    ("utm_source=some-engine&utm_medium=organic", None, "Organic Search"),
    ("utm_source=google", None, "Organic Search"),
    ("srsltid=x", "https://www.google.com/", "Organic Search"),
    # Social.
    ("utm_source=facebook&utm_medium=cpc", None, "Paid Social"),
    ("utm_source=fb&utm_medium=paid_social", None, "Paid Social"),
    ("utm_source=linkedin&utm_medium=paid", None, "Paid Social"),
    ("utm_source=someone&utm_medium=paid_social", None, "Paid Social"),
    ("ttclid=x", None, "Paid Social"),
    ("li_fat_id=x", "https://www.linkedin.com/", "Paid Social"),
    ("twclid=x", "https://t.co/", "Paid Social"),
    ("rdt_cid=x", None, "Paid Social"),
    ("ScCid=x", None, "Paid Social"),
    ("hsa_net=facebook&hsa_cam=7", None, "Paid Social"),
    ("fbclid=x", "https://l.facebook.com/", "Organic Social"),
    ("fbclid=x", None, "Organic Social"),
    ("igshid=x", None, "Organic Social"),
    (None, "https://www.xing.com/", "Organic Social"),
    (None, "https://t.co/abc", "Organic Social"),
    ("utm_source=employees&utm_medium=social", None, "Organic Social"),
    ("utm_source=ig&utm_medium=bio", None, "Organic Social"),
    # Video.
    ("utm_source=youtube&utm_medium=cpc", None, "Paid Video"),
    ("utm_source=youtube&utm_medium=cpv", None, "Paid Video"),
    (None, "https://www.youtube.com/", "Organic Video"),
    (None, "https://vimeo.com/1", "Organic Video"),
    ("utm_source=agency&utm_medium=video", None, "Organic Video"),
    # Display and other paid: cpm is Display although GA4's expression for paid takes it along.
    ("utm_source=portal&utm_medium=cpm", None, "Display"),
    ("utm_source=portal&utm_medium=banner", None, "Display"),
    ("utm_source=portal&utm_medium=display", "https://portal.example/", "Display"),
    ("dclid=x", None, "Display"),
    ("utm_source=portal&utm_medium=cpc", None, "Paid Other"),
    ("utm_source=portal&utm_medium=cpl", None, "Paid Other"),
    ("obclid=x", None, "Paid Other"),
    ("tblci=x", None, "Paid Other"),
    # AI.
    (None, "https://chatgpt.com/", "AI Assistant"),
    ("utm_source=chatgpt.com", "https://chatgpt.com/", "AI Assistant"),
    ("utm_source=chatgpt.com", None, "AI Assistant"),
    (None, "https://www.perplexity.ai/search/x", "AI Assistant"),
    (None, "https://gemini.google.com/", "AI Assistant"),
    (None, "https://copilot.microsoft.com/", "AI Assistant"),
    ("utm_source=unknown-bot&utm_medium=ai-assistant", None, "AI Assistant"),
    ("oppref=x", "https://chatgpt.com/", "Paid AI"),
    ("utm_source=chatgpt&utm_medium=cpc", None, "Paid AI"),
    # Mail.
    ("utm_source=newsletter&utm_medium=email", None, "Email"),
    ("utm_source=newsletter", None, "Email"),
    ("utm_source=crm&utm_medium=E-Mail", None, "Email"),
    ("utm_source=crm&utm_medium=newsletter", None, "Email"),
    ("utm_source=newsletter&utm_medium=email&fbclid=x", "https://l.facebook.com/", "Email"),
    (None, "https://mail.google.com/", "Email"),
    (None, "https://deref-gmx.net/", "Email"),
    ("mc_cid=1&mc_eid=2", None, "Email"),
    # The rest of GA4's.
    ("utm_source=awin&utm_medium=affiliate", None, "Affiliates"),
    ("awc=x", "https://blog.example/", "Affiliates"),
    ("utm_source=show&utm_medium=podcast", None, "Audio"),
    ("utm_source=crm&utm_medium=sms", None, "SMS"),
    ("utm_source=app&utm_medium=web-push", None, "Mobile Push Notifications"),
    ("utm_source=firebase", None, "Mobile Push Notifications"),
    ("utm_source=partner&utm_medium=referral", None, "Referral"),
    (None, "https://partner.example/", "Referral"),
    (None, "https://docs.google.com/", "Referral"),
    ("utm_source=partner&utm_medium=whatever", "https://partner.example/", "Referral"),
    ("utm_source=partner&utm_medium=whatever", None, "Unassigned"),
    ("utm_campaign=only-a-name", None, "Unassigned"),
    # Ours.
    ("utm_source=fair-2026&utm_medium=qr", None, "QR/Print"),
    ("utm_source=catalogue-autumn&utm_medium=print", None, "QR/Print"),
    ("utm_source=QR&utm_campaign=truck", None, "QR/Print"),
    ("utm_source=flyer-7&utm_medium=offline-code", None, "Offline code"),
    ("utm_source=hotline&utm_medium=phone", None, "Phone"),
    ("utm_source=website&utm_medium=whatsapp", None, "Chat"),
    ("utm_source=fair&utm_medium=staff-asked", None, "Staff-asked"),
    ("utm_source=home&utm_medium=internal", None, "Internal"),
]


def found(query: str | None, referrer: str | None, **flags: bool) -> str:
    read = touch.read(campaign.read(query), REFERRERS.read(referrer, "www.example.com"))
    return channel.of(read, **flags)


@pytest.mark.parametrize("query, referrer, name", CASES)
def test_an_arrival_has_its_channel(query: str | None, referrer: str | None, name: str):
    assert found(query, referrer) == name


def test_every_channel_has_a_case():
    assert len(CASES) >= 60
    assert {name for _, _, name in CASES} | {channel.LINK_SCANNER} == set(channel.NAMES)


def test_a_link_scanners_click_is_nobodys_whatever_the_link_says():
    assert found("utm_source=newsletter&utm_medium=email", None, is_link_scanner=True) == "Link-scanner"


def test_the_names_are_each_there_once():
    assert len(set(channel.NAMES)) == len(channel.NAMES)


@given(st.text(max_size=20), st.text(max_size=20), st.text(max_size=20))
def test_whatever_a_marketer_writes_has_a_channel(source: str, medium: str, name: str):
    written = touch.Touch(source or None, medium or None, name or None, "")
    assert channel.of(written) in channel.NAMES
