"""Campaign parameters and click IDs, as they stand in real and in badly made URLs."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker import campaign
from tracker.campaign import CLICK_IDS, MASKED

# query, and what must be read from it
READINGS: list[tuple[str, dict]] = [
    # The first parameter is not lost, whatever stands before it.
    ("utm_source=google&utm_medium=cpc", {"source": "google", "medium": "cpc"}),
    ("utm_source=google", {"source": "google"}),
    ("?utm_source=google&utm_medium=cpc", {"source": "google", "medium": "cpc"}),
    ("&utm_source=google", {"source": "google"}),
    ("amp;utm_source=google&amp;utm_medium=cpc", {"source": "google", "medium": "cpc"}),
    ("id=7&amp;utm_source=google&amp;utm_medium=cpc", {"source": "google", "medium": "cpc"}),
    ("id=7;utm_source=google;utm_medium=cpc", {"source": "google", "medium": "cpc"}),
    ("id=7?utm_source=google&utm_medium=cpc", {"source": "google", "medium": "cpc"}),
    ("id=7?gclid=AbC", {"click_ids": {"gclid": "AbC"}}),
    ("flag&utm_source=google", {"source": "google"}),
    ("=x&utm_source=google", {"source": "google"}),
    ("%&utm_source=google", {"source": "google"}),
    # Names in any case, values to the letter.
    ("UTM_Source=Google&Utm_Medium=CPC", {"source": "Google", "medium": "CPC"}),
    ("utm_campaign=Herbst%202026", {"name": "Herbst 2026"}),
    ("utm_campaign=Herbst+2026", {"name": "Herbst 2026"}),
    ("utm_campaign=%C3%84pfel", {"name": "Äpfel"}),
    ("utm_campaign=Äpfel", {"name": "Äpfel"}),
    ("utm%5Fsource=google", {"source": "google"}),
    ("utm_term=a%26b%3Dc", {"term": "a&b=c"}),
    ("utm_content=a=b", {"content": "a=b"}),
    ("utm_content=a;b", {"content": "a;b"}),
    ("utm_content=what?", {"content": "what?"}),
    # What cannot be decoded stays as it was.
    ("utm_source=caf%E9", {"source": "caf%E9"}),
    ("utm_source=%C3%A4%FF%C3%A4", {"source": "ä%FFä"}),
    ("utm_source=100%25", {"source": "100%"}),
    ("utm_source=100%", {"source": "100%"}),
    ("utm_source=%zz", {"source": "%zz"}),
    ("utm_source=a%00b%0D%0Ac", {"source": "a%00b%0D%0Ac"}),
    # A repeated name: the first counts, none is lost.
    (
        "utm_source=a&utm_source=b&utm_medium=m",
        {"source": "a", "medium": "m", "params": {"utm_source": "a", "utm_source[2]": "b", "utm_medium": "m"}},
    ),
    ("utm_source=a&utm_source=a", {"source": "a", "params": {"utm_source": "a"}}),
    (
        "utm_source=&utm_medium=cpc",
        {"source": None, "medium": "cpc", "params": {"utm_source": "", "utm_medium": "cpc"}},
    ),
    ("utm_source=&mtm_source=x", {"source": "x"}),
    ("utm_source=+&mtm_source=x", {"source": "x"}),
    # All of GA4's.
    (
        "utm_source=s&utm_medium=m&utm_campaign=c&utm_term=t&utm_content=o&utm_id=i&utm_source_platform=p"
        "&utm_creative_format=f&utm_marketing_tactic=r",
        {
            "source": "s", "medium": "m", "name": "c", "term": "t", "content": "o", "id": "i",
            "params": {
                "utm_source": "s", "utm_medium": "m", "utm_campaign": "c", "utm_term": "t", "utm_content": "o",
                "utm_id": "i", "utm_source_platform": "p", "utm_creative_format": "f", "utm_marketing_tactic": "r",
            },
        },
    ),
    ("utm_adgroup=x&utm_source=s", {"params": {"utm_adgroup": "x", "utm_source": "s"}}),
    # Other tools.
    (
        "mtm_campaign=c&mtm_source=s&mtm_medium=m&mtm_keyword=k&mtm_content=o&mtm_cid=i&mtm_group=g&mtm_placement=p",
        {"name": "c", "source": "s", "medium": "m", "term": "k", "content": "o", "id": "i"},
    ),
    ("mtm_cpn=c&mtm_kwd=k", {"name": "c", "term": "k"}),
    ("matomo_campaign=c&matomo_kwd=k", {"name": "c", "term": "k"}),
    ("pk_campaign=c&pk_source=s&pk_medium=m&pk_kwd=k", {"name": "c", "source": "s", "medium": "m", "term": "k"}),
    ("utm_campaign=ours&pk_campaign=theirs", {"name": "ours"}),
    ("pk_campaign=theirs&utm_campaign=ours", {"name": "ours"}),
    ("at_medium=sl&at_campaign=c&at_creation=b", {"medium": "sl", "name": "c", "content": "b"}),
    ("wt_mc=nl.herbst", {"name": "nl.herbst"}),
    ("s_cid=x1", {"name": "x1"}),
    ("xtor=SEC-12-GOO", {"name": "SEC-12-GOO"}),
    ("cm_mmc=a-_-b-_-c-_-d", {"name": "a-_-b-_-c-_-d"}),
    ("hsa_acc=1&hsa_cam=2&hsa_kw=pumpe&hsa_net=adwords", {"id": "2", "term": "pumpe", "network": ("google", "cpc")}),
    ("hsa_net=facebook&hsa_cam=2", {"network": ("facebook", "paid-social")}),
    # Google without a click ID.
    ("gad_source=1&gad_campaignid=123", {"id": "123", "network": ("google", "cpc")}),
    ("gad_source=1&gbraid=0AAA", {"click_ids": {"gbraid": "0AAA"}, "network": ("google", "cpc")}),
    ("gclid=X&gclsrc=aw.ds", {"click_ids": {"gclid": "X"}, "params": {"gclsrc": "aw.ds"}}),
    # Click IDs keep their letters; several are all kept.
    ("gclid=EAIaIQobChMI-_.~", {"click_ids": {"gclid": "EAIaIQobChMI-_.~"}, "network": ("google", "cpc")}),
    ("GCLID=AbC", {"click_ids": {"gclid": "AbC"}}),
    ("ScCid=aB", {"click_ids": {"sccid": "aB"}, "network": ("snapchat", "paid-social")}),
    ("fbclid=IwAR1&gclid=Cj0", {"click_ids": {"fbclid": "IwAR1", "gclid": "Cj0"}, "network": ("google", "cpc")}),
    ("gclid=&utm_source=x", {"click_ids": None, "source": "x"}),
    ("gclid=first&gclid=second", {"click_ids": {"gclid": "first"}}),
]  # fmt: skip


@pytest.mark.parametrize("query, said", READINGS)
def test_what_a_query_says_is_read(query: str, said: dict):
    read = campaign.read(query)._asdict()
    assert {name: read[name] for name in said} == said
    assert read["key"] is not None


@pytest.mark.parametrize("name, network", CLICK_IDS.items())
def test_every_click_id_stands_for_its_network(name: str, network: tuple[str, str]):
    read = campaign.read(f"a=1&{name}=AbC-_1")
    assert read.click_ids == {name: "AbC-_1"}
    assert read.network == network
    assert read.key is not None


@pytest.mark.parametrize(
    "query",
    [
        "", "page=2", "a=1&b=2", "utm_source=", "utm_source=&utm_medium=", "itm_source=home&itm_campaign=banner",
        "itm_medium=teaser", "utm_nooverride=1", "utm_adgroup=x", "via=menu", "source=x", "gclid=", "_ga=2.1",
        "utm_source",
        "q=utm_source%3Dx",
    ],
)  # fmt: skip
def test_what_names_no_campaign_brings_nobody(query: str):
    assert campaign.read(query).key is None


def test_internal_campaigns_are_kept_but_bring_nobody():
    read = campaign.read("itm_source=home&itm_campaign=banner")
    assert read.params == {"itm_source": "home", "itm_campaign": "banner"}
    assert (read.source, read.name, read.key) == (None, None, None)


def test_no_query_and_an_empty_one_are_told_apart():
    assert campaign.read(None).query is None
    assert campaign.read("").query == ""


@pytest.mark.parametrize(
    "query, kept, network",
    [
        ("mc_cid=7&mc_eid=abc", f"mc_cid=7&mc_eid={MASKED}", ("mailchimp", "email")),
        ("a=1&amp;mc_eid=abc", f"a=1&amp;mc_eid={MASKED}", ("mailchimp", "email")),
        ("MC_EID=abc&a=1", f"MC_EID={MASKED}&a=1", ("mailchimp", "email")),
        ("_kx=a.b%3D%3D", f"_kx={MASKED}", ("klaviyo", "email")),
        ("mkt_tok=x;a=1", f"mkt_tok={MASKED};a=1", ("marketo", "email")),
        ("_hsenc=p2&_hsmi=7", f"_hsenc={MASKED}&_hsmi={MASKED}", ("hubspot", "email")),
        ("_ga=2.1.3&_gl=1*x", f"_ga={MASKED}&_gl={MASKED}", None),
    ],
)
def test_what_names_a_person_is_masked_and_still_says_where_it_came_from(query: str, kept: str, network: object):
    read = campaign.read(query)
    assert read.query == kept
    assert read.network == network
    assert "abc" not in repr(read)


def test_a_url_is_masked_in_its_query_only():
    assert campaign.mask("https://x.example/mc_eid=1?a=2&mc_eid=3#top") == (
        f"https://x.example/mc_eid=1?a=2&mc_eid={MASKED}#top"
    )


def test_the_key_tells_campaigns_apart_and_not_the_order_of_their_parameters():
    one, other = campaign.read("utm_source=a&utm_medium=b"), campaign.read("x=1&utm_medium=b&utm_source=a")
    assert one.key == other.key
    assert one.key != campaign.read("utm_source=a&utm_medium=c").key
    assert one.key == campaign.key_of(one.params or {}, one.click_ids or {})


def test_hundreds_of_parameters_of_one_name_do_not_grow_the_row():
    read = campaign.read("&".join(f"utm_source={number}" for number in range(600)))
    assert read.source == "0"
    assert len(read.params or {}) <= 10


@given(st.text(max_size=200))
def test_any_query_gives_rows_that_can_be_written(query: str):
    read = campaign.read(query)
    written = msgspec.json.encode([read.source, read.params, read.click_ids])
    assert b"\x00" not in written and b"\\u0000" not in written


names = st.sampled_from(["utm_source", "utm_medium", "utm_campaign", "gclid", "fbclid", "page", "UTM_Term"])
letters = st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_characters="&=;?#%+")
values = st.text(alphabet=letters, min_size=1, max_size=8)


@given(st.lists(st.tuples(names, values), max_size=8), st.sampled_from(["&", "&amp;", ";"]))
def test_no_parameter_disturbs_another(pairs: list[tuple[str, str]], separator: str):
    read = campaign.read(separator.join(f"{name}={value}" for name, value in pairs))
    first: dict[str, str] = {}
    for name, value in pairs:
        first.setdefault(name.lower(), value)
    first.pop("page", None)
    kept = (read.params or {}) | (read.click_ids or {})
    assert {name: kept.get(name) for name in first} == first
