import asyncio
import time

import pytest

from dashboard.reader.asking import Asking, Pieces
from dashboard.reader.problem import Refused
from dashboard.settings import SqlSettings
from tests.support.logs import a_visit, layout_of, write_log


@pytest.fixture
async def asking(tmp_path):
    layout = layout_of(tmp_path)
    write_log(layout, a_visit())
    asking = Asking(layout, SqlSettings(memory_limit_mb=64, timeout_secs=20))
    yield asking
    await asking.close()


async def answer(asking, sql, secs=20.0, **more):
    async with asking.answer(sql, until=time.monotonic() + secs, **more) as pieces:
        return b"".join([piece async for piece in pieces])


async def test_an_answer_comes_in_pieces(asking):
    assert await answer(asking, "select 1 as a", form="csv") == b"a\r\n1\r\n"
    assert len(await answer(asking, "select repeat('x', 1000) as a from range(2000)", form="csv")) == 1002 * 2000 + 3


async def test_a_refusal_is_raised_before_the_first_piece(asking):
    for sql, status in (("selec", 400), ("drop view events", 403)):
        with pytest.raises(Refused) as caught:
            await answer(asking, sql)
        assert caught.value.problem.status == status


async def test_time_that_is_over_before_it_began_is_told(asking):
    assert await answer(asking, "select 1")
    with pytest.raises(Refused) as caught:
        await answer(asking, "select sum(hash(range)) from range(1000000000000)", secs=0.2)
    assert caught.value.problem.status == 504
    with pytest.raises(Refused) as caught:
        await answer(asking, "select 1", secs=-9)
    assert caught.value.problem.status == 504


async def test_files_are_asked_for_once_for_each_door(asking, monkeypatch):
    orders = []
    conversation = asking._conversation
    monkeypatch.setattr(
        asking, "_conversation", lambda order, until: orders.append(order) or conversation(order, until)
    )
    for _ in range(3):
        await answer(asking, "select 1")
    assert [order.sql for order in orders] == [None, "select 1", "select 1", "select 1"]
    assert orders[1].files and orders[1].folders and orders[1].place


async def test_an_order_on_a_door_that_is_another_by_now_is_repeated(asking):
    await answer(asking, "select 1")
    place, *rest = asking._known
    asking._known = (place, *rest)
    seen, files = [], asking._files

    async def once_outdated(until):
        seen.append(1)
        known = await files(until)
        return ((0, 0), *known[1:]) if len(seen) == 1 else known

    asking._files = once_outdated
    assert await answer(asking, "select 1 as a", form="csv") == b"a\r\n1\r\n"
    assert len(seen) == 2


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"\x01",
        b"\x63\x00\x00\x00\x00",
        b"\x02\xff\xff\xff\xff" + b"x" * 1000,
        b"\x02\x00\x00\x00\x09short",
        b"\x04\x00\x00\x00\x04junk",
        b'\x04\x00\x00\x00\x0f{"status": "x"}',
    ],
)
async def test_a_process_that_speaks_nonsense_is_lost(said):
    reader = asyncio.StreamReader()
    reader.feed_data(said)
    reader.feed_eof()
    pieces = Pieces(reader, 20.0, time.monotonic() + 20)
    with pytest.raises(Refused) as caught:
        await pieces.begins()
    assert (caught.value.problem.kind, pieces.is_lost) == ("lost", True)


async def test_after_it_was_closed_it_can_be_closed_again(asking):
    await answer(asking, "select 1")
    await asking.close()
    await asking.close()
