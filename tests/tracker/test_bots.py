"""Browsers and bots, on user agents as they are sent."""

from __future__ import annotations

import pytest
from crawleruseragents import CRAWLER_USER_AGENTS_DATA
from hypothesis import given
from hypothesis import strategies as st

from tests.support.user_agents import BOTS, BROWSERS
from tracker import bots
from tracker.bots import Agent


@pytest.mark.parametrize("user_agent, browser, system, device", BROWSERS)
def test_a_persons_browser_is_named(user_agent: str, browser: str | None, system: str | None, device: str):
    agent = bots.agent(user_agent)
    assert not agent.is_bot, agent.bot_name
    assert agent.device == device
    if browser is not None:
        assert agent.browser == browser
    if system is not None:
        assert agent.os == system


@pytest.mark.parametrize("user_agent, name", BOTS)
def test_a_bot_is_named(user_agent: str, name: str):
    agent = bots.agent(user_agent)
    assert agent.is_bot
    assert name.lower() in (agent.bot_name or "").lower()
    assert (agent.browser, agent.os, agent.device) == (None, None, None)


def test_precision_and_recall_over_both_lists():
    assert len(BROWSERS) >= 60 and len(BOTS) >= 90
    taken_for_bots = [row[0] for row in BROWSERS if bots.agent(row[0]).is_bot]
    found = [user_agent for user_agent, _ in BOTS if bots.agent(user_agent).is_bot]
    assert len(found) / (len(found) + len(taken_for_bots)) >= 0.99, taken_for_bots
    assert len(found) / len(BOTS) >= 0.99


def test_every_example_of_the_crawlers_own_list_is_found():
    examples = [example for entry in CRAWLER_USER_AGENTS_DATA for example in entry["instances"]]
    assert len(examples) > 2000
    assert [example for example in examples if not bots.agent(example).is_bot] == []


@pytest.mark.parametrize("user_agent", [None, "", "   "])
def test_who_sends_no_user_agent_is_no_browser(user_agent: str | None):
    assert bots.agent(user_agent) == Agent(is_bot=True, bot_name="no user agent")


@pytest.mark.parametrize(
    "user_agent, scans",
    [
        ("Barracuda Sentinel (EE)", True),
        ("Mimecast-URL-Protect/1.0", True),
        ("Mozilla/5.0 (compatible; Proofpoint URL Defense)", True),
        ("TwinWaveScanner/1.0", True),
        ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", False),
        ("curl/8.16.0", False),
        (BROWSERS[0][0], False),
    ],
)
def test_those_that_open_links_in_mail_before_its_reader_are_told_apart(user_agent: str, scans: bool):
    assert bots.agent(user_agent).is_link_scanner is scans


def test_a_very_long_user_agent_is_cut_before_it_is_read():
    agent = bots.agent(BROWSERS[0][0] + " x" * 5000 + " Googlebot/2.1")
    assert not agent.is_bot


@given(st.text(max_size=300))
def test_any_text_gives_an_answer_that_can_be_stored(user_agent: str):
    agent = bots.agent(user_agent)
    assert agent.is_bot == (agent.bot_name is not None)
    assert agent.is_bot == (agent.device is None)
    assert agent.bot_name is None or 0 < len(agent.bot_name) <= 64
