"""An arrival read as marketing contact: source, medium and campaign for grouping.

Knows which of a URL's word, a click ID and the referrer counts. Knows nothing of visits, and leaves the channel to
`channel`. Lower case and trimmed here; the letters of the URL stay in the campaign.
"""

from __future__ import annotations

from typing import NamedTuple

from tracker import sources
from tracker.campaign import Campaign
from tracker.referrer import Referral

# GA4's words for a visitor of whom nothing is known.
DIRECT_SOURCE, DIRECT_MEDIUM = "(direct)", "(none)"


class Touch(NamedTuple):
    """`kind` is what the source is (see `sources`). `referred` says that a referrer that counts was there."""

    source: str | None
    medium: str | None
    campaign: str | None
    kind: str
    referred: bool = False
    click_ids: frozenset[str] = frozenset()


def read(campaign: Campaign, referral: Referral) -> Touch:
    """The URL's own words win, then what a click ID stands for, then the referrer."""
    referred = referral.host is not None
    if campaign.key is None:
        if not referred:
            return Touch(DIRECT_SOURCE, DIRECT_MEDIUM, None, "")
        return Touch(referral.source, referral.medium, None, referral.kind, True)
    source, medium = _grouped(campaign.source), _grouped(campaign.medium)
    known = sources.of_name(source) if source else sources.UNKNOWN
    if campaign.network is not None:
        network_source, network_medium = campaign.network
        # A newsletter's link shared on Facebook carries fbclid and stays the newsletter's.
        if source is None:
            source, known = network_source, sources.of_name(network_source)
            medium = medium or network_medium
        elif medium is None and known.name == network_source:
            medium = network_medium
    elif source is None and referred:
        source, known = referral.source, sources.Source(referral.source or "", referral.kind)
        medium = medium or referral.medium
    return Touch(source, medium, _grouped(campaign.name), known.kind, referred, frozenset(campaign.click_ids or ()))


def _grouped(text: str | None) -> str | None:
    return " ".join(text.lower().split()) or None if text else None
