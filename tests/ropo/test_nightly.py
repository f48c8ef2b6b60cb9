"""A night takes out of every file what it is told to, leaves all else as it is, and may be killed anywhere."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from ropo import orders
from ropo.nightly import is_due, last_run, read_note
from storage.crash import NIGHT_POINTS
from storage.erasure import hash_of
from storage.read import open_log
from storage.settings import RetentionSettings
from tests.support import night_proof
from tests.support.night_proof import ERIKA, ERIKA_LEAD, NEEDLES, OTHER_LEAD, World, build, found, order, state
from tests.support.waiting import until

REPOSITORY = Path(__file__).resolve().parents[2]
BERLIN = timezone(timedelta(hours=1))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN)


@pytest.mark.parametrize(
    "last, now, due",
    [
        (None, "2026-11-22T10:00", True),
        ("2026-11-22T03:30", "2026-11-22T10:00", False),
        ("2026-11-21T03:30", "2026-11-22T03:29", False),
        ("2026-11-21T03:30", "2026-11-22T03:30", True),
        # It stood still for days, or an erasure was made at noon.
        ("2026-11-01T03:30", "2026-11-22T02:00", True),
        ("2026-11-21T12:00", "2026-11-22T03:30", True),
    ],
)
def test_a_run_is_due_once_a_night_and_when_it_was_missed(last: str | None, now: str, due: bool) -> None:
    assert is_due(at(last) if last else None, at(now), "03:30") is due


def asked(world: World, statement: str) -> list[tuple]:
    with open_log(world.layout) as log:
        return log.execute(statement).fetchall()


def now_of(world: World) -> tuple:
    with open_log(world.layout) as log:
        return state(log)


def test_an_erased_person_is_in_no_byte_of_any_file_and_nobody_else_is_changed(tmp_path: Path) -> None:
    world = build(tmp_path)
    needles = (*NEEDLES, *night_proof.secrets_of(world))
    before = now_of(world)
    # The search finds: whatever it looks for is in some file, and what the log has is in each kind of them.
    assert found(world, needles).keys() == set(needles)
    assert found(world)[ERIKA] >= {"archive", "cold", "hot.duckdb", "work.duckdb", "quarantine"}
    order(world)
    night = asyncio.run(night_proof.night(world))
    assert found(world, needles) == {}
    assert now_of(world) == before
    assert (night.erasures, night.rows["events"]) == (1, 51)
    assert [path.name for path in world.drops.iterdir()] == [f"lead-20261124T100051Z-{OTHER_LEAD}.jsonl"]
    # Counts stay: the lead is there, and belongs to nobody.
    assert asked(world, f"select state, contact, visitor_id from leads where lead_id = '{ERIKA_LEAD}'") == [
        ("accepted", None, None)
    ]
    [(fact,)] = asked(world, "select properties from events where name = 'erasure.done'")
    assert json.loads(fact).keys() == {
        "order", "subject", "ordered_at", "orders", "files", "events", "leads", "deliveries",
    }  # fmt: skip
    # Once more is harmless, and finds nothing to do.
    assert asyncio.run(night_proof.night(world)).erasures == 0
    assert last_run(world.layout) is not None and read_note(world.layout).rows == {}


def test_an_address_is_found_by_its_hash_alone_and_other_leads_of_the_browser_keep_their_contact(
    tmp_path: Path,
) -> None:
    world = build(tmp_path)
    key = base64.b64decode(world.keys[-1])
    facts = orders.erase(
        subject="s", visitors=[], leads=[], email_hash=hash_of(key, " Erika.Nadel@Example.ORG"), now=False
    )
    orders.give(world.layout, "n1", facts)
    asyncio.run(night_proof.night(world))
    assert found(world) == {}
    assert asked(world, "select lead_id, contact is null from lead_facts where fact <> 'erased' order by all") == [
        (ERIKA_LEAD, True),
        (OTHER_LEAD, False),
    ]


def test_a_visitor_who_comes_back_is_another_as_far_as_the_old_rows_go(tmp_path: Path) -> None:
    world = build(tmp_path)
    order(world)
    asyncio.run(night_proof.night(world))
    again = night_proof.records.exchange(1, 9 * night_proof.DAY_SECS, visitor_id=ERIKA)
    night_proof.drop_file(
        world.layout.spool, node="n1", worker="w1", epoch=night_proof.records.EPOCH + 9, version="1",
        lines=[night_proof.encode_line(again)],
    )  # fmt: skip
    asyncio.run(night_proof.night(world))
    assert asked(world, f"select count(*) from events where visitor_id = '{ERIKA}'") == [(1,)]
    assert asked(world, "select count(*) from events where visitor_id is null and visit_id is not null") == [(51,)]


def run(world: World, point: str = "") -> int:
    environment = os.environ | ({"ROPO_CRASH_POINTS": point} if point else {})
    command = [sys.executable, "-m", "tests.support.night_proof", "run", str(world.folder)]
    return subprocess.run(command, cwd=REPOSITORY, env=environment, stderr=subprocess.DEVNULL).returncode


@pytest.mark.timeout(180)
def test_who_is_killed_at_any_step_has_erased_all_in_the_end(tmp_path: Path) -> None:
    world = build(tmp_path)
    needles = (*NEEDLES, *night_proof.secrets_of(world))
    before = now_of(world)
    order(world)
    # One after the other: each run comes as far as its point.
    points = [point for point in NIGHT_POINTS if point != "shelf-replaced"]
    assert [run(world, point) for point in points] == [-9] * len(points)
    assert run(world) == 0
    assert found(world, needles) == {}
    assert now_of(world) == before
    assert asked(world, "select count(*) from events where name = 'erasure.done'") == [(1,)]


@pytest.mark.timeout(120)
def test_readers_never_see_a_wrong_row_while_rows_are_taken_out(tmp_path: Path) -> None:
    world = build(tmp_path)
    command = [sys.executable, "-m", "tests.support.night_proof", "read", str(tmp_path)]
    pipes = {"cwd": REPOSITORY, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    readers = [subprocess.Popen([*command, kind, "90"], **pipes) for kind in ("held", "fresh")]
    until(lambda: len(list(tmp_path.glob("reading-*"))) == 2, "both readers read")
    try:
        order(world)
        asyncio.run(night_proof.night(world))
    finally:
        (tmp_path / "enough").touch()
        told = [json.loads(reader.communicate()[0]) for reader in readers]
    held, fresh = told
    assert all(one["queries"] > 0 and one["wrong"] == 0 for one in told), told
    # A query that is under way on a held session when its parts go may say so; a new session never meets that.
    assert held["errors"] <= 1 and all("No such file" in note for note in held["notes"]), held
    assert fresh["errors"] == 0, fresh
    assert found(world) == {}


def test_what_is_too_old_goes_and_the_ledger_still_balances(tmp_path: Path) -> None:
    world = build(tmp_path)
    received = asked(world, "select epoch, received, balanced from ledger order by all")
    by_hour = asked(world, "select epoch, hour, received, balanced from ledger_hours order by all")
    later = datetime(2026, 12, 26, 12, tzinfo=UTC)
    days = RetentionSettings(events_days=31, leads_days=30, deliveries_days=30, drops_days=31)
    night = asyncio.run(night_proof.night(world, days, later))
    # The first three days are over for more than 31 days; the leads of the third go as well.
    assert night.rows["events_retired"] == 62
    assert asked(world, "select min(occurred_at)::date::varchar from events") == [("2026-11-25",)]
    assert asked(world, "select epoch, received, balanced from ledger order by all") == received
    assert asked(world, "select epoch, hour, received, balanced from ledger_hours order by all") == by_hour
    assert asked(world, "select count(*) from leads") == asked(world, "select count(*) from deliveries") == [(0,)]
    assert {reason for (reason,) in asked(world, "select reason from drops")} == {"retired"}
    assert asyncio.run(night_proof.night(world, days, later)).rows == {}
