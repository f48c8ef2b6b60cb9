import asyncio
from collections import Counter

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from export import dispatcher, fact_writer
from export.connector import Delivered, Later, Never, Parked
from export.outbox import delivery_id
from tests.export.world import Clock, Log, Sink, World, until


async def test_each_lead_goes_to_each_of_its_sinks_once():
    erp, crm = Sink(), Sink()
    async with World({"erp": erp, "crm": crm}) as world:
        both = await world.owe("erp", "crm")
        one = await world.owe("crm")
        for _ in range(5):
            await world.later(1000)
    assert erp.leads() == [both]
    assert crm.leads() == [both, one]


async def test_what_was_owed_before_the_start_is_delivered():
    sink = Sink()
    world = World({"erp": sink})
    lead_id = world.log.owe("erp")
    async with world:
        assert sink.leads() == [lead_id]
        assert sink.opened == [[delivery_id(lead_id, "erp")]]


async def test_a_sink_that_hangs_holds_up_no_other():
    hung = Sink(lambda message: asyncio.Event().wait())
    never_opens, well = Sink(), Sink()
    never_opens.open = lambda owed: asyncio.Event().wait()
    async with World({"hung": hung, "never": never_opens, "well": well}) as world:
        for _ in range(10):
            await world.owe("hung", "never", "well")
        assert len(world.log.of("well", "delivered")) == 10
        assert world.state("hung")["owed"] == world.state("never")["owed"] == 10


async def test_a_sink_that_is_down_holds_up_no_other():
    down, well = Sink(Later("down")), Sink()
    async with World({"down": down, "well": well}) as world:
        for _ in range(10):
            await world.owe("down", "well")
        assert len(world.log.of("well", "delivered")) == 10


async def test_after_a_restart_it_goes_on_where_the_log_says():
    sink = Sink(Later("down"))
    async with World({"erp": sink}) as world:
        await world.owe("erp")
        await world.later(10)
        assert [fact.attempt for fact in world.log.of("erp", "failed")] == [1, 2]
        await world.restart()
        await world.later(59)
        assert len(sink.got) == 2
        sink.answer = Delivered()
        await world.later(1)
        assert sink.got[2].attempt == 3
        await world.restart()
        await world.later(10**6)
        assert len(sink.got) == 3


async def test_a_restart_in_the_middle_of_an_attempt_makes_it_again_under_the_same_name():
    sink = Sink(lambda message: asyncio.Event().wait())
    async with World({"erp": sink}) as world:
        lead_id = await world.owe("erp")
        await world.dispatcher.stop(within_secs=0.02)
        assert [fact.fact for fact in world.log.facts] == ["owed"]
        sink.answer = Delivered()
        await world.restart()
        first, second = sink.got
        assert first == second
        assert first.delivery_id == delivery_id(lead_id, "erp")


async def test_stopping_lets_a_running_attempt_finish_and_records_it():
    free = asyncio.Event()

    async def answer(message):
        await free.wait()
        return Delivered()

    sink = Sink(answer, concurrency=1)
    async with World({"erp": sink}) as world:
        for _ in range(3):
            world.log.owe("erp")
        await world.look()
        stopping = asyncio.create_task(world.dispatcher.stop(within_secs=20))
        await world.quiet()
        free.set()
        await stopping
        assert len(sink.got) == 1
        assert len(world.log.of("erp", "delivered")) == 1
        assert len(sink.done) == 1
        assert sink.closed == 1


async def test_stopping_ends_though_everything_hangs():
    async def deaf(message):
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                if released.is_set():
                    raise

    released = asyncio.Event()
    sink = Sink(deaf)
    sink.close = lambda: asyncio.Event().wait()
    world = World({"erp": sink})
    await world.dispatcher.start()
    await world.quiet()
    await world.owe("erp")
    (attempt,) = [task for task in asyncio.all_tasks() if task.get_name().startswith("attempt")]
    await asyncio.wait_for(world.dispatcher.stop(within_secs=0.05), timeout=10)
    assert [fact.fact for fact in world.log.facts] == ["owed"]
    released.set()
    attempt.cancel()
    await asyncio.wait([attempt])


async def test_stopping_with_a_log_that_cannot_be_written_ends_and_the_lead_stays_owed(caplog):
    sink = Sink()
    world = World({"erp": sink})
    await world.dispatcher.start()
    world.log.fail["record"] = OSError("disk full")
    await world.owe("erp")
    await world.dispatcher.stop(within_secs=0.05)
    assert world.log.of("erp", "delivered") == []
    assert sink.done == []
    assert len(world.log.owed()) == 1
    assert "facts=1 could not be written; these deliveries are made again" in caplog.text


async def test_stopping_before_the_start_or_twice_is_harmless():
    sink = Sink()
    world = World({"erp": sink})
    await world.dispatcher.stop(within_secs=0.1)
    await world.dispatcher.stop(within_secs=0.1)
    assert sink.closed == 1


async def test_nothing_is_left_running_after_a_stop():
    before = asyncio.all_tasks()
    async with World({"erp": Sink(), "crm": Sink(Later("down"))}) as world:
        await world.owe("erp", "crm")
    assert asyncio.all_tasks() == before


async def test_a_dead_letter_that_is_requeued_starts_from_the_beginning():
    sink = Sink(Never("unknown field"))
    async with World({"erp": sink}) as world:
        lead_id = await world.owe("erp")
        sink.answer = Later("busy")
        world.clock.time += 30 * 86_400
        world.log.add(lead_id, "erp", "requeued")
        await world.look()
        assert sink.got[-1].requeues == 1
        assert sink.got[-1].attempt == 1
        assert world.log.of("erp", "failed")[0].attempt == 1
        sink.answer = Delivered()
        await world.later(10)
        assert len(world.log.of("erp", "delivered")) == 1


async def test_a_delivered_lead_goes_again_only_when_requeued():
    sink = Sink()
    async with World({"erp": sink}) as world:
        lead_id = await world.owe("erp")
        for _ in range(5):
            await world.later(86_400)
        await world.restart()
        assert len(sink.got) == 1
        world.log.add(lead_id, "erp", "requeued")
        await world.look()
        assert [message.requeues for message in sink.got] == [0, 1]


async def test_a_lead_that_waits_goes_at_once_when_requeued():
    sink = Sink(Later("down"))
    async with World({"erp": sink}) as world:
        lead_id = await world.owe("erp")
        for _ in range(4):
            await world.later(1800)
        assert len(sink.got) == 5
        await world.later(60)
        assert len(sink.got) == 5
        world.log.add(lead_id, "erp", "requeued")
        await world.look()
        assert len(sink.got) == 6
        # And the short waits come first again.
        await world.later(10)
        assert len(sink.got) == 7


async def test_leads_of_a_sink_that_is_gone_stay_owed_are_shown_and_go_when_it_is_back():
    world = World({"erp": Sink()})
    lead_id = world.log.owe("old-crm", "erp")
    async with world:
        state = world.state("old-crm")
        assert (state["owed"], state["circuit"]) == (1, "unknown")
        assert "no sink of this name" in state["last_error"]
        assert world.log.of("old-crm", "dead", "delivered") == []
    back = Sink()
    async with World({"old-crm": back}, log=world.log):
        assert back.leads() == [lead_id]


async def test_a_gone_sink_is_told_once(caplog):
    world = World({})
    world.log.owe("gone")
    async with world:
        for _ in range(5):
            await world.look()
    assert caplog.text.count("sink=gone") == 1


async def test_an_outbox_that_cannot_be_read_is_asked_again(monkeypatch, caplog):
    monkeypatch.setattr(dispatcher, "FIRST_PAUSE_SECS", 0.001)
    monkeypatch.setattr(dispatcher, "LONGEST_PAUSE_SECS", 0.001)
    sink = Sink()
    world = World({"erp": sink})
    world.log.owe("erp")
    world.log.fail["pending"] = OSError("no log yet")
    async with world:
        await asyncio.sleep(0.01)
        assert sink.got == []
        world.log.fail.clear()
        await until(lambda: world.log.of("erp", "delivered"))
    assert caplog.text.count("outbox cannot be read error=OSError") == 1
    assert "outbox can be read again" in caplog.text


async def test_a_list_read_before_a_delivery_was_recorded_does_not_send_it_again():
    """The list is asked for, the fact is written, and only then does the list arrive."""

    class SlowList(Log):
        async def pending(self):
            owed = self.owed()
            for _ in range(50):
                await asyncio.sleep(0)
            return owed

    sink = Sink()
    async with World({"erp": sink}, log=SlowList(Clock())) as world:
        for _ in range(20):
            world.log.owe("erp")
            world.dispatcher.wake()
            for _ in range(7):
                await asyncio.sleep(0)
        for _ in range(20):
            await world.look()
        assert len(world.log.of("erp", "delivered")) == 20
        assert set(Counter(sink.leads()).values()) == {1}


async def test_the_state_says_how_each_sink_is():
    async with World({"erp": Sink(), "crm": Sink(Never("malformed"))}) as world:
        await world.owe("erp", "crm")
        assert world.dispatcher.state() == {
            "erp": {
                "delivered": 1,
                "failed": 0,
                "dead": 0,
                "bugs": 0,
                "owed": 0,
                "running": 0,
                "circuit": "closed",
                "next_probe_at": None,
                "waits_for_log": False,
                "last_delivered_at": "2026-11-22 10:00:00.000000",
                "last_error": None,
                "last_error_at": None,
            },
            "crm": {
                "delivered": 0,
                "failed": 0,
                "dead": 1,
                "bugs": 0,
                "owed": 0,
                "running": 0,
                "circuit": "closed",
                "next_probe_at": None,
                "waits_for_log": False,
                "last_delivered_at": None,
                "last_error": "malformed",
                "last_error_at": "2026-11-22 10:00:00.000000",
            },
        }


MOODS = {
    "well": Delivered(),
    "down": Later("down"),
    "busy": Later("429", after_secs=40),
    "broken": ValueError("bug"),
    "locked": Parked("401"),
}
STEPS = st.lists(st.sampled_from([*MOODS, "lead", "lead", "wait", "long wait", "restart", "log down", "log up"]))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_whatever_happens_each_lead_arrives_once_in_the_end(monkeypatch, steps):
    for name in ("FIRST_PAUSE_SECS", "LONGEST_PAUSE_SECS"):
        monkeypatch.setattr(fact_writer, name, 0.001)

    async def play():
        sink = Sink()
        arrived = Counter()

        def answer(message):
            outcome = MOODS[mood]
            if isinstance(outcome, Delivered):
                arrived[message.delivery_id] += 1
            return outcome

        sink.answer, mood = answer, "well"
        async with World({"erp": sink}) as world:
            for step in steps:
                if step in MOODS:
                    mood = step
                elif step == "lead":
                    await world.owe("erp")
                elif step == "restart" and not world.log.fail:
                    await world.restart()
                elif step == "log down":
                    world.log.fail["record"] = OSError("disk full")
                elif step == "log up":
                    world.log.fail.clear()
                    await asyncio.sleep(0.005)
                await world.later({"wait": 15, "long wait": 400}.get(step, 0))
            mood = "well"
            world.log.fail.clear()
            await asyncio.sleep(0.005)
            for _ in range(10):
                await world.later(7200)
            assert world.log.owed() == []
            assert len(world.log.of("erp", "delivered")) == len(world.log.leads)
            assert set(arrived.values()) <= {1}
            assert len(arrived) == len(world.log.leads)

    asyncio.run(play())
