"""Looking after the log of a running ropo: a copy under load, and a database that is damaged and made anew."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import duckdb

from tests.e2e.conftest import Sinks
from tests.support.load import Load
from tests.support.origins import Site
from tests.support.ropo_process import RopoProcess, run_ropo
from tests.support.waiting import until

EVENTS = (
    "select event_id, occurred_at, visitor_id, visit_id, path, query, status, channel from events order by event_id"
)


def test_a_backup_under_load_is_the_log_of_that_moment(tmp_path: Path, site: Site, sinks: Sinks):
    copy, first, second = (tmp_path / name for name in ("copy", "first", "second"))
    first.mkdir()
    second.mkdir()
    with RopoProcess(first, upstream=site.url, export=sinks.settings()) as ropo:
        with Load(ropo.port, form_every=25) as load:
            for _ in range(2):
                load.more(200)
                before = ropo.sql(EVENTS)
                told = ropo.json("storage", "backup", "--with-keys", str(copy))
                after = ropo.sql(EVENTS)
        assert load.unanswered == []
        assert ropo.json("storage", "check")["ok"]
    assert set(before) <= set(after) and told["rows"]["events"] >= len(before)
    made = run_ropo("storage", "restore", str(copy), "--to", str(second / "data"))
    assert made.returncode == 0, made.stderr
    with RopoProcess(second, upstream=site.url, export=sinks.settings()) as ropo:
        found = ropo.sql(EVENTS)
        assert len(found) == told["rows"]["events"]
        assert set(before) <= set(found) <= set(after)
        assert Counter(ropo.markers().values()).keys() == {1}
        # With the keys of then: contacts can be read, and what was owed is delivered.
        assert ropo.json("leads", "list")[0]["contact"]["email"].endswith("@example.com")
        until(
            lambda: ropo.sql("select count(*) from deliveries where state <> 'delivered'") == [(0,)], "all is delivered"
        )
        assert ropo.json("storage", "check")["ok"]


def test_a_damaged_database_is_told_and_made_anew(tmp_path: Path, site: Site, sinks: Sinks):
    with RopoProcess(tmp_path, upstream=site.url, export=sinks.settings()) as ropo:
        with Load(ropo.port, form_every=25) as load:
            load.more(300)
        answered = set(load.answered)
        until(lambda: answered <= ropo.markers().keys(), "all that was answered is in the log")
        until(
            lambda: ropo.sql("select count(*) from deliveries where state <> 'delivered'") == [(0,)], "all is delivered"
        )
        until(lambda: len(ropo.sql("from deliveries")) == 3 * len(load.leads), "each lead is owed to each sink")
        deliveries = ropo.sql("from deliveries order by delivery_id")
        received = {email: len(ids) for email, ids in sinks.webhook_ids().items()}
        sent = len(sinks.receiver.accepted)
        family = ropo.family()
        ropo.process.kill()
        ropo.process.wait()
        for process in family:
            process.kill()
        until(lambda: not any(process.is_running() for process in family), "all of it is gone")
        work = ropo.data / "work.duckdb"
        with open(work, "r+b") as file:
            for at in range(12_288, work.stat().st_size, 50_000):
                file.seek(at)
                file.write(b"damaged!")

        # It starts, the site goes on, and the collector says what to do, again and again, and destroys nothing.
        was = work.read_bytes()
        ropo.start_site()
        until(lambda: "`ropo storage rebuild`" in ropo.said(), "the collector says what to do")
        with Load(ropo.port) as more:
            more.more(50)
        assert more.unanswered == []
        assert work.read_bytes() == was
        refused = ropo.cli("storage", "rebuild")
        assert refused.returncode == 1 and "stop it first" in refused.stderr
        ropo.stop()

        told = ropo.json("storage", "rebuild")
        assert told["missing_by_the_ledger"] <= 4
        assert [Path(path).name[:21] for path in told["kept"]][-1:] == ["work.duckdb.damaged-2"]
        ropo.start()
        until(lambda: answered <= ropo.markers().keys(), "all that was answered is in the log again")
        twice = {"v0-1"} | set(more.answered)  # the second load counts its markers from one again
        assert {marker for marker, count in ropo.markers().items() if count > 1} <= twice
        assert ropo.sql("from deliveries order by delivery_id") == deliveries
        assert len(sinks.receiver.accepted) == sent
        assert {email: len(ids) for email, ids in sinks.webhook_ids().items()} == received
        assert ropo.json("storage", "check")["ok"], json.dumps(ropo.json("storage", "check"))


def test_a_door_can_be_asked_while_a_backup_is_taken(tmp_path: Path, site: Site):
    with RopoProcess(tmp_path, upstream=site.url) as ropo, Load(ropo.port) as load:
        load.more(50)
        with duckdb.connect(str(ropo.log), read_only=True) as held:
            assert ropo.cli("storage", "backup", str(tmp_path / "copy")).returncode == 0
            assert held.execute("select count(*) - count(distinct event_id) from events").fetchall() == [(0,)]
