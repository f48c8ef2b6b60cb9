import asyncio
import logging

import pytest

from export import fact_writer
from export.fact_writer import FactWriter
from tests.export.leads import CONTACT_MARK
from tests.export.world import Clock, Log, until
from tracker.model import DeliveryFact


def fact(number: int) -> DeliveryFact:
    return DeliveryFact(f"d{number}", f"l{number}", "erp", "2026-11-22 10:00:00.000000", "delivered")


class Writing:
    """A running writer over a log in memory, and what it told."""

    def __init__(self) -> None:
        self.log = Log(Clock())
        self.turn = asyncio.Lock()
        self.told: list[bool] = []
        self.recorded: list[str] = []
        self.writer = FactWriter(
            self.log, self.turn, changed=lambda: self.told.append(self.writer.is_working), gather_secs=0
        )

    def put(self, *numbers: int) -> None:
        for number in numbers:
            self.writer.put(fact(number), lambda done: self.recorded.append(done.delivery_id))

    def written(self) -> list[str]:
        return [written.delivery_id for written in self.log.facts]


@pytest.fixture
async def writing(monkeypatch):
    monkeypatch.setattr(fact_writer, "FIRST_PAUSE_SECS", 0.001)
    monkeypatch.setattr(fact_writer, "LONGEST_PAUSE_SECS", 0.002)
    writing = Writing()
    task = asyncio.create_task(writing.writer.run())
    yield writing
    task.cancel()
    await asyncio.wait([task])


async def test_facts_that_gather_while_one_batch_is_written_make_the_next_batch(writing):
    writing.log.pause = asyncio.Event()
    writing.put(1)
    await asyncio.sleep(0.002)
    writing.put(2, 3, 4)
    writing.log.pause.set()
    await writing.writer.emptied()
    assert writing.log.batches == [1, 3]
    assert writing.written() == writing.recorded == ["d1", "d2", "d3", "d4"]


async def test_facts_that_come_close_together_make_one_batch():
    log = Log(Clock())
    writer = FactWriter(log, asyncio.Lock(), changed=lambda: None, gather_secs=0.2)
    task = asyncio.create_task(writer.run())
    for number in range(5):
        writer.put(fact(number), lambda done: None)
        await asyncio.sleep(0.001)
    await until(lambda: log.batches)
    assert log.batches == [5]
    task.cancel()


async def test_nobody_is_told_before_the_log_has_it(writing):
    writing.log.pause = asyncio.Event()
    writing.put(1)
    await asyncio.sleep(0.002)
    assert writing.recorded == []
    assert len(writing.writer) == 1
    writing.log.pause.set()
    await until(lambda: writing.recorded == ["d1"])


async def test_a_batch_that_could_not_be_written_is_kept_in_order_and_told_once(writing, caplog):
    writing.log.fail["record"] = OSError(f"disk full near {CONTACT_MARK}")
    writing.put(1, 2)
    await until(lambda: writing.told == [False])
    writing.put(3)
    await asyncio.sleep(0.01)
    writing.log.fail.clear()
    await writing.writer.emptied()
    assert writing.written() == writing.recorded == ["d1", "d2", "d3"]
    await until(lambda: writing.told == [False, True])
    said = [record.getMessage() for record in caplog.records if record.name == "export.fact_writer"]
    assert len(said) == 2
    assert "cannot be written error=OSError" in said[0]
    assert "writes again" in said[1]
    assert CONTACT_MARK not in caplog.text


async def test_it_waits_for_its_turn_at_the_log(writing):
    async with writing.turn:
        writing.put(1)
        await asyncio.sleep(0.002)
        assert writing.written() == []
    await writing.writer.emptied()
    assert writing.written() == ["d1"]


async def test_when_ropo_stops_a_long_pause_is_cut_short(writing, monkeypatch):
    monkeypatch.setattr(fact_writer, "FIRST_PAUSE_SECS", 3600)
    monkeypatch.setattr(fact_writer, "LAST_PAUSE_SECS", 0.001)
    task = asyncio.create_task(writing.writer.run())
    writing.log.fail["record"] = OSError()
    writing.put(1)
    await until(lambda: writing.told == [False])
    writing.log.fail.clear()
    await asyncio.wait_for(writing.writer.emptied(), 5)
    assert writing.written() == ["d1"]
    task.cancel()


async def test_an_idle_writer_has_nothing_to_wait_for(writing, caplog):
    with caplog.at_level(logging.DEBUG):
        await asyncio.wait_for(writing.writer.emptied(), 1)
    assert writing.log.batches == []
