import asyncio
import os
import threading
from datetime import timedelta

import pytest

from dashboard.settings import DashboardSettings
from dashboard.state import Log
from dashboard.watch import Watch, spool_of
from storage import status
from tests.support import statuses
from tests.support.logs import EPOCH, a_visit, layout_of, write_log
from tests.support.statuses import NOW


@pytest.fixture
def layout(tmp_path):
    return layout_of(tmp_path)


@pytest.fixture
async def watch(layout):
    watch = Watch(layout, DashboardSettings(query_timeout_secs=20), sinks=["erp", "csv"], now=lambda: NOW)
    yield watch
    await watch.close()


class SlowReader:
    """Answers when it is let, and counts how often it is asked at once."""

    def __init__(self):
        self.go = threading.Event()
        self.asked = 0

    def answer(self, questions):
        self.asked += 1
        self.go.wait(30)
        return Log(counts={"events": self.asked})

    def interrupt(self):
        self.go.set()

    close = interrupt


async def test_files_and_log_come_together(watch, layout):
    write_log(layout, a_visit(received=5))
    for name, state in statuses.house(worker_1=statuses.worker(in_flight=2)).items():
        status.write(layout, name, state)
    (layout.spool / "worker-1-1.ndjson").write_bytes(b"x" * 10)
    (layout.spool / "worker-1-2.open").write_bytes(b"x" * 10)
    seen = await watch.snapshot()
    assert [one.name for one in seen.workers] == ["worker-1", "worker-2"]
    assert (seen.spool.files, seen.spool.octets) == (1, 10)
    assert seen.log.counts["events"] == 3
    assert [(one.received, one.running, one.missing) for one in seen.ledger] == [(5, 2, 0)]
    assert {sink.name: (sink.owed, sink.delivered) for sink in seen.sinks} == {"erp": (1, 0), "csv": (0, 1)}


async def test_the_counters_need_no_log(watch, layout):
    status.write(layout, "worker-1", statuses.worker())
    layout.log_db.write_bytes(b"broken")
    assert (await watch.counters()).total("exchanges") == 1203


async def test_the_counters_have_the_ledger_of_the_latest_answer_and_see_to_the_next(watch, layout):
    write_log(layout, a_visit(received=5))
    assert (await watch.counters()).log.ledger is None
    await watch.asking
    seen = await watch.counters()
    assert [(one.received, one.missing) for one in seen.ledger] == [(5, 2)]
    assert (seen.log.visits, list(seen.missing_since)) == (None, [("node", "worker-1", EPOCH)])


async def test_a_gap_is_remembered_from_one_look_to_the_next(watch, layout):
    write_log(layout, a_visit(received=5))
    first = await watch.snapshot()
    assert list(first.missing_since) == [("node", "worker-1", EPOCH)]
    watch.now = lambda: NOW + timedelta(minutes=1)
    second = await watch.snapshot()
    assert second.is_gap(second.ledger[0])


async def test_many_who_ask_at_once_share_one_answer(watch):
    watch.reader.close()
    watch.reader = reader = SlowReader()
    asking = [asyncio.create_task(watch.snapshot()) for _ in range(20)]
    await asyncio.sleep(0.05)
    reader.go.set()
    seen = await asyncio.gather(*asking)
    assert {one.log.counts["events"] for one in seen} == {1}
    assert reader.asked == 1


async def test_who_asks_does_not_wait_for_a_log_that_hangs(watch):
    watch.reader.close()
    watch.reader = reader = SlowReader()
    watch.patience_secs = 0.05
    assert (await watch.snapshot()).log == Log()
    assert (await watch.snapshot()).log == Log()
    assert reader.asked == 1
    reader.go.set()


async def test_a_bug_of_ours_is_shown_and_not_old_figures(watch, layout, caplog):
    def fail(con):
        raise KeyError("wrong")

    write_log(layout, a_visit())
    watch.questions = {"counts": fail}
    log = (await watch.snapshot()).log
    assert log.error == "The dashboard failed: KeyError"
    assert log.counts is None
    assert "failed while it read the log" in caplog.text


def test_the_oldest_file_tells_how_far_the_log_is_behind(layout):
    for name, age in (("a.ndjson", 5), ("b.ndjson", 40), ("c.open", 900)):
        path = layout.spool / name
        path.write_bytes(b"x")
        os.utime(path, (NOW.timestamp() - age,) * 2)
    spool = spool_of(layout, NOW)
    assert (spool.files, spool.writers) == (2, frozenset())
    (layout.spool / f"worker-2-{7:020d}-000001.open").write_bytes(b"x")
    assert spool_of(layout, NOW).writers == {("worker-2", 7)}
    assert spool.oldest_secs == pytest.approx(40)
    assert spool.free_octets > 0


def test_an_empty_spool_has_no_oldest_file(layout):
    assert spool_of(layout, NOW).oldest_secs is None


def test_a_spool_that_is_not_there_is_an_error_that_names_it(layout):
    layout.spool.rmdir()
    assert str(layout.spool) in spool_of(layout, NOW).error
