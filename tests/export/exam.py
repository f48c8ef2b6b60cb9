"""The exam every connector sits. A connector's test file makes a `Bench` for it and subclasses `Exam`.

The exam knows what all connectors promise (export/connector.py); the bench knows one connector and its remote.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from typing import Any

import pytest

from export.connector import Connector, Delivered, Later, Message, Never, Outcome, Parked
from tests.export.leads import CONTACT_MARK, lead, message
from tests.export.world import World, until

ODD_TEXTS = [
    "Müller-Lüdenscheidt & Söhne",
    'He said "12"" pumps"; then, left\ttab',
    "line one\nline two\r\nline three",
    "'; drop table leads; --",
    "<script>alert(1)</script>",
    "{{7*7}} ${PATH} %s %n",
    '=HYPERLINK("http://evil.example";"click")',
    "+49 30 901820",
    "-1",
    "@sum(1+1)",
    "日本語 العربية עברית 😀 👩\u200d👩\u200d👧",
    "right\u202eto left, zero\u200bwidth, \ufeffmark",
    "separators \u2028 and \u2029 and \x85",
    "controls \x00 \x07 \x1b[31m \x7f",
    "\\ \\n \\u0041 ,;|\t",
    "   blanks around   ",
    "x" * 20_000,
    "",
]


class Bench(ABC):
    """One connector before its remote."""

    connector: Connector
    # What must stand in no log, reason or repr: keys, passwords, secret parts of addresses.
    secrets: list[str]
    # What the connector may say in each situation.
    answers: dict[str, tuple[type, ...]] = {
        "accepted": (Delivered,),
        "refused": (Never, Parked),
        "rate limited": (Later,),
        "server error": (Later,),
        "timeout": (Later,),
        "cut after sending": (Later,),
    }

    @abstractmethod
    def now_is(self, situation: str) -> None:
        """The remote behaves so from now on. May put another connector with the same settings to work."""

    @abstractmethod
    def received(self) -> dict[str, dict[str, Any]]:
        """What the remote has: lead id -> contact. Raises AssertionError if it would take one delivery for two."""

    def as_read(self, text: str) -> str:
        """What the remote reads where the lead has this text."""
        return text


class Exam:
    @pytest.fixture(autouse=True)
    def all_is_logged(self, caplog) -> Iterator[None]:
        with caplog.at_level(logging.DEBUG):
            yield

    @pytest.fixture
    def check(self, bench: Bench, caplog) -> Any:
        """Delivers, holds the answer against what is allowed, and looks for secrets in everything that was said."""

        async def deliver(given: Message, situation: str) -> Outcome:
            bench.now_is(situation)
            outcome = await bench.connector.deliver(given)
            assert isinstance(outcome, bench.answers[situation]), outcome
            assert isinstance(outcome, Delivered) or outcome.reason
            self.nothing_is_told([repr(outcome), repr(given), repr(bench.connector)], bench, caplog)
            return outcome

        return deliver

    def nothing_is_told(self, said: list[str], bench: Bench, caplog) -> None:
        said = said + [
            f"{record.getMessage()} {record.exc_text or ''} {record.exc_info or ''}" for record in caplog.records
        ]
        for secret in (*bench.secrets, CONTACT_MARK):
            assert not [text for text in said if secret in text]

    async def test_an_accepted_lead_arrives_whole(self, bench, check):
        given = lead(1)
        await check(message(given), "accepted")
        assert bench.received() == {given["lead_id"]: given["contact"]}

    async def test_leads_do_not_get_in_each_other_s_way(self, bench, check):
        for number in range(5):
            await check(message(lead(number)), "accepted")
        assert set(bench.received()) == {lead(number)["lead_id"] for number in range(5)}

    @pytest.mark.parametrize("situation", ["refused", "rate limited", "server error", "timeout"])
    async def test_a_lead_that_could_not_be_delivered_arrives_once_it_can(self, bench, check, situation):
        given = lead(1)
        await check(message(given), situation)
        assert bench.received() == {}
        await check(message(given, attempt=2), "accepted")
        assert set(bench.received()) == {given["lead_id"]}

    async def test_a_failure_of_one_lead_leaves_the_next_one_alone(self, bench, check):
        await check(message(lead(1)), "server error")
        await check(message(lead(2)), "accepted")
        assert set(bench.received()) == {lead(2)["lead_id"]}

    @pytest.mark.parametrize("attempt", [1, 2], ids=["ropo was killed", "ropo knows it failed"])
    async def test_a_lead_whose_answer_was_cut_off_is_recognised_when_it_comes_again(self, bench, check, attempt):
        given = lead(1)
        await check(message(given), "cut after sending")
        await check(message(given, attempt=attempt), "accepted")
        assert bench.received() == {given["lead_id"]: given["contact"]}

    async def test_a_lead_sent_twice_is_one_lead(self, bench, check):
        given = lead(1)
        first = await check(message(given), "accepted")
        again = await check(message(given), "accepted")
        assert first == again
        assert bench.received() == {given["lead_id"]: given["contact"]}

    async def test_a_lead_that_was_settled_may_be_ordered_again(self, bench, check):
        given = lead(1)
        delivery = message(given)
        await check(delivery, "accepted")
        await bench.connector.settled(delivery.delivery_id)
        await check(message(given, requeues=1), "accepted")
        assert set(bench.received()) == {given["lead_id"]}

    async def test_settling_what_was_never_delivered_is_harmless(self, bench):
        await bench.connector.settled(message(lead(1)).delivery_id)
        assert bench.received() == {}

    @pytest.mark.parametrize("text", ODD_TEXTS, ids=range(len(ODD_TEXTS)))
    async def test_odd_characters_arrive_as_they_are(self, bench, check, text):
        given = lead(1, contact={"message": text, "company": text, "name": text}, page="/" + text[:200])
        await check(message(given), "accepted")
        contact = bench.received()[given["lead_id"]]
        assert [contact[field] for field in ("message", "company", "name")] == [bench.as_read(text)] * 3

    async def test_a_lead_with_nothing_but_an_id_is_a_lead(self, bench, check):
        given = {"lead_id": lead(1)["lead_id"], "occurred_at": "2026-11-22T10:00:00.000000Z", "contact": {}}
        await check(message(given), "accepted")
        assert set(bench.received()) == {given["lead_id"]}

    async def test_it_opens_and_closes_with_nothing_done_in_between(self, bench):
        await bench.connector.open(set())
        await bench.connector.close()

    async def test_under_the_dispatcher_each_lead_arrives_and_the_log_says_so(self, bench, caplog):
        bench.now_is("server error")
        async with World({"erp": bench.connector}) as world:
            for _ in range(3):
                await world.owe("erp")
            await until(lambda: len(world.log.of("erp", "failed")) == 3)
            bench.now_is("accepted")
            async with World({"erp": bench.connector}, log=world.log) as world:
                await world.later(11)
                await until(lambda: len(world.log.of("erp", "delivered")) == 3)
        assert set(bench.received()) == set(world.log.leads)
        self.nothing_is_told([str(world.log.facts), str(world.state("erp"))], bench, caplog)


def contacts_by_lead(documents: Collection[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """For benches whose remote holds whole lead documents. Raises AssertionError if one lead is there twice."""
    by_lead = {document["lead_id"]: document["contact"] for document in documents}
    assert len(by_lead) == len(documents)
    return by_lead
