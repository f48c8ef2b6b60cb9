"""One sink at work, seen through a dispatcher with a single lane."""

import asyncio
import logging

import pytest

from export import lane
from export.connector import Delivered, Later, Never, Parked
from export.outbox import delivery_id
from export.settings import CircuitSettings, ExportSettings, RetrySettings
from tests.export.leads import CONTACT_MARK, lead
from tests.export.world import START, Sink, World
from tracker.clock import text_of

DAY = 86_400


def at(secs: float) -> str:
    return text_of(int((START + secs) * 1e6))


async def test_a_lead_is_delivered_recorded_and_then_settled():
    sink = Sink(Delivered(remote_ref="lead 24"))
    async with World({"erp": sink}) as world:
        lead_id = await world.owe("erp")
        assert sink.leads() == [lead_id]
        (fact,) = world.log.of("erp", "delivered")
        assert (fact.attempt, fact.remote_ref, fact.occurred_at) == (1, "lead 24", at(0))
        assert sink.done == [delivery_id(lead_id, "erp")]
        assert world.state("erp")["delivered"] == 1
        assert world.state("erp")["owed"] == 0


async def test_the_message_is_the_lead_document_with_its_attempt():
    sink = Sink(Later("busy"))
    async with World({"erp": sink}) as world:
        lead_id = await world.owe("erp")
        await world.later(10)
        first, second = sink.got
        assert first.data == world.log.leads[lead_id]
        assert (first.delivery_id, first.type, first.occurred_at) == (
            delivery_id(lead_id, "erp"),
            "lead.created",
            lead()["occurred_at"],
        )
        assert (first.attempt, second.attempt) == (1, 2)
        assert CONTACT_MARK not in repr(first)


async def test_half_a_character_from_a_form_stops_no_lead():
    sink = Sink()
    async with World({"erp": sink}) as world:
        world.log.owe("erp", document=lead(1, contact={"name": "a\ud800"}))
        await world.look()
        assert sink.got[0].data["contact"]["name"] == "a\ufffd"


async def test_what_failed_is_tried_again_by_the_schedule_and_the_log_knows_when():
    sink = Sink(Later("answered 503"))
    async with World({"erp": sink}) as world:
        await world.owe("erp")
        waited = 0
        for attempt, wait in enumerate([10, 60, 300, 1800], start=1):
            fact = world.log.of("erp", "failed")[-1]
            assert (fact.attempt, fact.reason) == (attempt, "answered 503")
            assert fact.next_attempt_at == at(waited + wait)
            await world.later(wait - 1)
            assert len(sink.got) == attempt
            await world.later(1)
            waited += wait
            assert len(sink.got) == attempt + 1


async def test_after_a_week_it_is_a_dead_letter_and_is_left_alone():
    sink = Sink(Later("down"))
    async with World({"erp": sink}) as world:
        lead_id = await world.owe("erp")
        for _ in range(40):
            await world.later(DAY / 4)
        (dead,) = world.log.of("erp", "dead")
        assert dead.reason == "down"
        assert dead.occurred_at == at(7 * DAY)
        attempts = len(sink.got)
        assert attempts == len(world.log.of("erp", "failed")) + 1
        await world.later(30 * DAY)
        assert len(sink.got) == attempts
        assert sink.done == [delivery_id(lead_id, "erp")]
        assert world.state("erp")["dead"] == 1


async def test_a_lead_refused_for_good_is_dead_at_once_and_holds_up_nobody():
    sink = Sink(lambda message: Never("malformed") if message.lead_id == lead(0)["lead_id"] else Delivered())
    async with World({"erp": sink}) as world:
        await world.owe("erp")
        await world.owe("erp")
        assert [fact.reason for fact in world.log.of("erp", "dead")] == ["malformed"]
        assert len(world.log.of("erp", "delivered")) == 1


async def test_the_wait_a_remote_asks_for_holds_the_lead_and_the_sink():
    sink = Sink(Later("429", after_secs=500))
    async with World({"erp": sink}) as world:
        await world.owe("erp")
        assert world.log.of("erp", "failed")[0].next_attempt_at == at(500)
        await world.owe("erp")
        await world.later(499)
        assert len(sink.got) == 1
        sink.answer = Delivered()
        await world.later(1)
        assert len(world.log.of("erp", "delivered")) == 2


async def test_one_lead_that_always_fails_holds_up_no_other():
    poison = lead(0)["lead_id"]
    sink = Sink(lambda message: Later("500") if message.lead_id == poison else Delivered())
    async with World({"erp": sink}) as world:
        await world.owe("erp")
        for _ in range(8):
            await world.later(DAY / 2)
        assert world.state("erp")["circuit"] == "closed"
        await world.owe("erp")
        assert len(world.log.of("erp", "delivered")) == 1


async def test_one_lead_that_hangs_holds_up_no_other():
    free = asyncio.Event()

    async def answer(message):
        if message.lead_id == lead(0)["lead_id"]:
            await free.wait()
        return Delivered()

    async with World({"erp": Sink(answer, concurrency=2)}) as world:
        for _ in range(10):
            await world.owe("erp")
        assert len(world.log.of("erp", "delivered")) == 9
        free.set()
        await world.quiet()
        assert len(world.log.of("erp", "delivered")) == 10


@pytest.mark.parametrize("concurrency", [1, 2, 5])
async def test_a_connector_gets_no_more_at_once_than_it_takes(concurrency):
    sink = Sink(concurrency=concurrency)
    async with World({"erp": sink}) as world:
        for _ in range(20):
            world.log.owe("erp")
        await world.look()
        assert sink.most_running == concurrency
        assert len(world.log.of("erp", "delivered")) == 20


async def test_a_sink_that_is_down_is_left_alone_and_found_again_by_one_lead():
    sink = Sink(Later("no connection"), concurrency=1)
    async with World({"erp": sink}) as world:
        for _ in range(50):
            world.log.owe("erp")
        await world.look()
        assert len(sink.got) == 5
        assert world.state("erp")["circuit"] == "open"
        assert world.state("erp")["next_probe_at"] == at(30)
        await world.later(29)
        assert len(sink.got) == 5
        await world.later(1)
        assert len(sink.got) == 6
        # Nothing counts for those that were not tried.
        assert sum(pending.attempts for pending in world.log.owed()) == 6
        sink.answer = Delivered()
        await world.later(30)
        await world.quiet()
        assert world.state("erp")["circuit"] == "closed"
        await world.later(300)
        assert len(world.log.of("erp", "delivered")) == 50


async def test_a_sink_that_refuses_us_is_parked_without_counting_attempts():
    sink = Sink(Parked("answered 401"))
    async with World({"erp": sink}) as world:
        for _ in range(3):
            world.log.owe("erp")
        await world.look()
        # Two went out at the same time, before either was answered.
        assert len(sink.got) == 2
        for _ in range(20):
            await world.later(300)
        assert len(sink.got) == 22
        assert world.log.of("erp", "failed", "dead") == []
        assert world.state("erp")["circuit"] == "parked"
        assert world.state("erp")["last_error"] == "answered 401"
        sink.answer = Delivered()
        await world.later(300)
        await world.quiet()
        assert [fact.attempt for fact in world.log.of("erp", "delivered")] == [1, 1, 1]


async def test_a_parked_sink_keeps_its_leads_for_longer_than_a_week():
    sink = Sink(Parked("answered 410"))
    async with World({"erp": sink}) as world:
        await world.owe("erp")
        for _ in range(30):
            await world.later(DAY)
        assert world.state("erp")["owed"] == 1
        sink.answer = Delivered()
        await world.later(300)
        assert len(world.log.of("erp", "delivered")) == 1


async def test_a_lead_that_a_firewall_refuses_does_not_park_the_others_for_long():
    """A web application firewall answers 403 to odd text: that means the lead and not us."""
    poison = lead(1)["lead_id"]
    sink = Sink(lambda message: Parked("answered 403") if message.lead_id == poison else Delivered(), concurrency=1)
    async with World({"erp": sink}) as world:
        await world.owe("erp")
        await world.owe("erp")
        assert world.state("erp")["circuit"] == "parked"
        await world.owe("erp")
        await world.later(10)
        assert len(world.log.of("erp", "delivered")) == 2
        (failed,) = world.log.of("erp", "failed")
        assert (failed.lead_id, failed.reason) == (poison, "answered 403")
        for _ in range(5):
            await world.owe("erp")
        assert len(world.log.of("erp", "delivered")) == 7
        for _ in range(40):
            await world.later(DAY / 4)
            await world.owe("erp")
        assert [fact.lead_id for fact in world.log.of("erp", "dead")] == [poison]
        assert len(world.log.of("erp", "delivered")) == 47


class Bug(KeyError):
    pass


async def test_a_bug_in_a_connector_is_counted_told_without_contact_and_tried_again(caplog):
    sink = Sink(Bug(CONTACT_MARK))
    with caplog.at_level(logging.DEBUG):
        async with World({"erp": sink}) as world:
            await world.owe("erp")
            assert world.log.of("erp", "failed")[0].reason == "a bug in the connector (Bug)"
            assert world.state("erp")["bugs"] == 1
            sink.answer = Delivered()
            await world.later(10)
            assert len(world.log.of("erp", "delivered")) == 1
    assert "in=deliver raised=Bug at=world.py:" in caplog.text
    assert CONTACT_MARK not in caplog.text


async def test_a_connector_that_answers_nothing_has_a_bug():
    async with World({"erp": Sink(lambda message: None)}) as world:
        await world.owe("erp")
        assert world.log.of("erp", "failed")[0].reason == "a bug in the connector (no outcome)"
        assert world.state("erp")["bugs"] == 1


async def test_a_connector_that_hangs_gives_its_place_back(monkeypatch):
    monkeypatch.setattr(lane, "ATTEMPT_LIMIT_SECS", 0.01)
    sink = Sink(lambda message: asyncio.Event().wait(), concurrency=1)
    async with World({"erp": sink}) as world:
        await world.owe("erp")
        await asyncio.sleep(0.05)
        await world.quiet()
        assert world.log.of("erp", "failed")[0].reason == "no outcome within 0.01 s"
        assert world.state("erp")["running"] == 0


async def test_a_connector_that_cannot_be_opened_keeps_its_leads_and_is_opened_again():
    sink = Sink()
    sink.open_error = OSError("no")
    async with World({"erp": sink}) as world:
        lead_id = await world.owe("erp")
        assert sink.got == []
        assert world.state("erp")["last_error"] == "open raised OSError"
        sink.open_error = None
        await world.later(300)
        assert sink.leads() == [lead_id]
        assert sink.opened[-1] == [delivery_id(lead_id, "erp")]


async def test_a_connector_that_cannot_settle_loses_nothing():
    sink = Sink()

    async def fail(delivery_id):
        raise OSError("no")

    sink.settled = fail
    async with World({"erp": sink}) as world:
        await world.owe("erp")
        assert len(world.log.of("erp", "delivered")) == 1
        assert world.state("erp")["bugs"] == 1


async def test_a_message_that_cannot_be_made_waits_and_blames_no_sink(caplog):
    sink = Sink()
    async with World({"erp": sink}) as world:
        world.log.fail["message"] = ValueError(CONTACT_MARK)
        for _ in range(10):
            await world.owe("erp")
        assert sink.got == []
        assert {fact.reason for fact in world.log.of("erp", "failed")} == {"its message could not be made (ValueError)"}
        assert world.state("erp")["circuit"] == "closed"
        world.log.fail.clear()
        await world.later(10)
        assert len(world.log.of("erp", "delivered")) == 10
    assert CONTACT_MARK not in caplog.text


async def test_a_lead_that_is_no_more_is_not_sent():
    sink = Sink()
    async with World({"erp": sink}) as world:
        world.log.leads[world.log.owe("erp")] = None
        await world.look()
        assert sink.got == []
        assert [fact.reason for fact in world.log.of("erp", "dead")] == ["the lead is no more"]


async def test_a_reason_is_one_line_of_bounded_length():
    async with World({"erp": Sink(Never("a\nb" + "x" * 10_000))}) as world:
        await world.owe("erp")
        reason = world.log.of("erp", "dead")[0].reason
        assert reason.startswith("a bx")
        assert len(reason) == 200


async def test_while_the_log_cannot_be_written_no_more_is_sent_than_a_crash_could_repeat(monkeypatch):
    monkeypatch.setattr(lane, "MAX_UNRECORDED", 4)
    monkeypatch.setattr("export.fact_writer.FIRST_PAUSE_SECS", 0.001)
    sink = Sink(concurrency=2)
    async with World({"erp": sink}) as world:
        world.log.fail["record"] = OSError("disk full")
        for _ in range(50):
            world.log.owe("erp")
        await world.look()
        assert 0 < len(sink.got) <= 4
        assert sink.done == []
        assert world.state("erp")["waits_for_log"] is True
        world.log.fail.clear()
        await asyncio.sleep(0.02)
        await world.quiet()
        assert world.state("erp")["waits_for_log"] is False
        assert len(sink.got) == len(set(sink.leads())) == 50
        assert len(world.log.of("erp", "delivered")) == 50


async def test_a_backlog_behind_a_slow_log_is_written_in_batches():
    sink = Sink(concurrency=5)
    async with World({"erp": sink}) as world:
        for _ in range(60):
            world.log.owe("erp")
        await world.look()
        await world.quiet()
        assert sum(world.log.batches) == 60
        assert len(world.log.batches) < 40


async def test_settings_of_retry_and_circuit_are_followed():
    settings = ExportSettings(
        retry=RetrySettings(schedule_secs=[5], then_every_secs=50, give_up_days=0.001),
        circuit=CircuitSettings(failures=2, open_secs=7),
    )
    sink = Sink(Later("down"), concurrency=1)
    async with World({"erp": sink}, settings) as world:
        for _ in range(3):
            world.log.owe("erp")
        await world.look()
        assert len(sink.got) == 2
        assert world.state("erp")["next_probe_at"] == at(7)
        await world.later(7)
        assert len(sink.got) == 3
        for _ in range(100):
            await world.later(7)
        assert len(world.log.of("erp", "dead")) == 3
