"""Source, medium and campaign of an arrival."""

from __future__ import annotations

import pytest

from tracker import campaign, touch
from tracker.referrer import Referrers
from tracker.settings import TrackerSettings

REFERRERS = Referrers(TrackerSettings())
GOOGLE, FACEBOOK, PARTNER = "https://www.google.com/", "https://m.facebook.com/", "https://partner.example/x"


def read(query: str | None, referrer: str | None = None) -> touch.Touch:
    return touch.read(campaign.read(query), REFERRERS.read(referrer, "www.example.com"))


@pytest.mark.parametrize(
    "query, referrer, source, medium, name",
    [
        (None, None, "(direct)", "(none)", None),
        ("page=2", None, "(direct)", "(none)", None),
        ("itm_campaign=x", None, "(direct)", "(none)", None),
        (None, "https://www.example.com/", "(direct)", "(none)", None),
        (None, GOOGLE, "google", "organic", None),
        (None, FACEBOOK, "facebook", "social", None),
        (None, PARTNER, "partner.example", "referral", None),
        # The URL's own words win over the referrer.
        ("utm_source=Partner&utm_medium=Banner&utm_campaign=Herbst", GOOGLE, "partner", "banner", "herbst"),
        ("utm_source=%20News%20%20Letter%20", None, "news letter", None, None),
        ("utm_source=partner", GOOGLE, "partner", None, None),
        ("utm_campaign=herbst", GOOGLE, "google", "organic", "herbst"),
        ("utm_campaign=herbst", None, None, None, "herbst"),
        ("utm_medium=email", GOOGLE, "google", "email", None),
        # What a click ID stands for fills what the URL leaves out.
        ("gclid=x", None, "google", "cpc", None),
        ("gclid=x&utm_campaign=Brand", None, "google", "cpc", "brand"),
        ("gclid=x&utm_source=google", None, "google", "cpc", None),
        ("gclid=x&utm_source=Google&utm_medium=banner", None, "google", "banner", None),
        ("gclid=x&utm_medium=display", None, "google", "display", None),
        ("gclid=x&utm_source=google_ads", None, "google_ads", "cpc", None),
        ("wbraid=x", GOOGLE, "google", "cpc", None),
        ("dclid=x", None, "google", "display", None),
        ("msclkid=x", "https://www.bing.com/", "bing", "cpc", None),
        ("fbclid=x", FACEBOOK, "facebook", "social", None),
        ("fbclid=x", None, "facebook", "social", None),
        ("fbclid=x&utm_source=fb", None, "fb", "social", None),
        # A newsletter's link, shared on Facebook, stays the newsletter's.
        ("fbclid=x&utm_source=newsletter&utm_medium=email", FACEBOOK, "newsletter", "email", None),
        ("fbclid=x&utm_source=newsletter", FACEBOOK, "newsletter", None, None),
        ("ttclid=x", None, "tiktok", "paid-social", None),
        ("li_fat_id=x", None, "linkedin", "paid-social", None),
        ("oppref=x", "https://chatgpt.com/", "chatgpt", "cpc", None),
        ("irclickid=x", PARTNER, "impact", "affiliate", None),
        ("mc_cid=1&mc_eid=2", None, "mailchimp", "email", None),
        ("gad_source=1", GOOGLE, "google", "cpc", None),
        ("hsa_net=linkedin&hsa_cam=1", None, "linkedin", "paid-social", None),
        ("mtm_source=S&mtm_medium=M&mtm_campaign=C", None, "s", "m", "c"),
        ("utm_source=chatgpt.com", "https://chatgpt.com/", "chatgpt.com", None, None),
    ],
)
def test_the_url_wins_then_the_click_id_then_the_referrer(
    query: str | None, referrer: str | None, source: str | None, medium: str | None, name: str | None
):
    found = read(query, referrer)
    assert (found.source, found.medium, found.campaign) == (source, medium, name)


def test_the_kind_is_the_sources_and_not_the_referrers():
    assert read("utm_source=partner", FACEBOOK).kind == ""
    assert read("utm_source=fb", GOOGLE).kind == "social"
    assert read("utm_campaign=x", FACEBOOK).kind == "social"
    assert read(None, PARTNER).kind == ""


def test_it_is_told_whether_a_referrer_was_there():
    assert read("utm_source=x", PARTNER).referred
    assert not read("utm_source=x", "https://www.example.com/").referred
