import asyncio

import pytest

from dashboard.reader.slots import Slots, TooManyError


async def started(*tasks):
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks


async def test_as_many_as_there_are_slots_run_and_the_others_follow_in_their_order():
    slots, let, ran = Slots(2, waiting=10), asyncio.Event(), []

    async def one(name):
        async with slots.turn(patience_secs=60):
            ran.append(name)
            await let.wait()

    tasks = [asyncio.create_task(one(name)) for name in range(5)]
    await started()
    assert (ran, slots.running, slots.waiting) == ([0, 1], 2, 3)
    let.set()
    await asyncio.gather(*tasks)
    assert (ran, slots.running, slots.waiting) == ([0, 1, 2, 3, 4], 0, 0)


async def test_who_finds_all_places_taken_is_sent_away():
    slots = Slots(1, waiting=1)
    async with slots.turn(patience_secs=60):
        waiting = asyncio.create_task(turned(slots))
        await started()
        with pytest.raises(TooManyError):
            await turned(slots)
    await waiting
    assert (slots.running, slots.waiting) == (0, 0)


async def test_who_waits_in_vain_is_sent_away_and_leaves_no_place_taken():
    slots = Slots(1, waiting=5)
    async with slots.turn(patience_secs=60):
        with pytest.raises(TooManyError):
            await turned(slots, patience_secs=0.01)
        assert (slots.running, slots.waiting) == (1, 0)
    await turned(slots)
    assert slots.running == 0


async def test_who_goes_away_while_waiting_is_skipped():
    slots = Slots(1, waiting=5)
    async with slots.turn(patience_secs=60):
        gone, stays = asyncio.create_task(turned(slots)), asyncio.create_task(turned(slots))
        await started()
        gone.cancel()
        await started()
        assert slots.waiting == 1
    await stays
    assert gone.cancelled()
    assert (slots.running, slots.waiting) == (0, 0)


async def test_who_is_called_in_the_moment_of_going_passes_the_turn_on():
    slots = Slots(1, waiting=5)
    first = slots.turn(patience_secs=60)
    await first.__aenter__()
    gone, stays = asyncio.create_task(turned(slots)), asyncio.create_task(turned(slots))
    await started()
    await first.__aexit__(None, None, None)  # calls `gone`, which has not heard of it yet
    gone.cancel()
    await stays
    assert (slots.running, slots.waiting) == (0, 0)


async def turned(slots, patience_secs=60):
    async with slots.turn(patience_secs=patience_secs):
        pass
