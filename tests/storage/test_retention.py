"""Whole days go when they have been over for long enough, and the ledger keeps their numbers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from storage import retention, rewrite, sql
from storage.rewrite import Rewrite
from storage.settings import RetentionSettings
from tests.support.rows import Time, a_store, batch, drop, event, exchanges, layout_of, promote_all, spool_file


@pytest.mark.parametrize(
    "days, now, limit",
    [
        (1, "2026-11-22T00:00+00:00", "2026-11-21"),
        (30, "2026-11-22T23:59+00:00", "2026-10-23"),
        # Days are days in UTC, whatever the clock on the wall says.
        (1, "2026-11-22T00:30+01:00", "2026-11-20"),
    ],
)
def test_a_row_goes_when_its_day_has_been_over_for_so_many_days(days: int, now: str, limit: str) -> None:
    assert retention.limit(days, datetime.fromisoformat(now)) == datetime.fromisoformat(limit).replace(tzinfo=UTC)


def test_nothing_goes_unless_it_is_asked_for() -> None:
    assert retention.changes(RetentionSettings(), datetime.now(UTC)) == []
    assert retention.limits(RetentionSettings(), datetime.now(UTC)) == {}


def test_each_table_has_its_own_days() -> None:
    now = datetime(2026, 11, 22, tzinfo=timezone(timedelta(hours=1)))
    assert [change.table for change in retention.changes(RetentionSettings(events_days=7), now)] == ["events"]
    assert retention.limits(RetentionSettings(leads_days=30), now).keys() == {"old_leads"}


def retire(store, layout, days: RetentionSettings, now: datetime) -> rewrite.Rewritten:
    con = rewrite.connect(layout)
    with rewrite.alone(layout):
        run = Rewrite(con, layout, retention.changes(days, now), upto=store.mark.forgotten)
        for part in run.parts():
            run.write(part)
        run.exchange()
    con.close()
    return run.done


def balance(store) -> list[tuple]:
    return store.connection.execute(
        "select worker, received, missing, balanced from ledger union all "
        "select worker || hour::varchar, received, missing, balanced from ledger_hours order by all"
    ).fetchall()


def test_what_was_received_is_what_it_was_whatever_is_retired(tmp_path: Path) -> None:
    now, layout = Time(), layout_of(tmp_path)
    with a_store(tmp_path, now) as store:
        day = 24 * 60
        for number in range(4):
            first = number * 10
            store.write(
                batch(
                    *exchanges(*range(first + 1, first + 8), minutes=number * day),
                    event(number * day, name="call.received", source="phone"),
                    drop("excluded", number * day, count=2, first_seq=first + 8, last_seq=first + 9),
                    # One of every ten is missing, and must not be hidden by that.
                    spool_file(f"w1-1-{number}", number * day, last_seq=first + 10, stopped=number == 3),
                )
            )
            promote_all(store, now)
            store.urge()
            promote_all(store, now)
        before = balance(store)
        assert (40, 4) in {(received, missing) for _, received, missing, _ in before}
        done = retire(
            store, layout, RetentionSettings(events_days=1, drops_days=30), datetime(2026, 11, 25, 9, tzinfo=UTC)
        )
        assert (done.rows, done.gone) == ({"events_retired": 16}, 2)
        store.promote(now.unix)
        assert balance(store) == before
        assert store.connection.execute("select sum(count) from drops where reason = 'retired'").fetchall() == [(14,)]
        # Drops are summed up, without their reason; sums are not summed up again.
        later = datetime(2027, 1, 25, tzinfo=UTC)
        assert retire(store, layout, RetentionSettings(drops_days=30), later).rows == {"drops_retired": 4}
        store.promote(now.unix)
        assert balance(store) == before
        assert not retire(store, layout, RetentionSettings(drops_days=30), later)
        store.promote(now.unix)
        assert balance(store) == before


@pytest.mark.parametrize("path", sorted((sql.ROOM / "nightly").glob("*.sql")), ids=lambda path: path.stem)
def test_every_question_of_the_night_can_be_asked(tmp_path: Path, path: Path) -> None:
    table = "drops" if "drops" in path.stem else "events"
    statement = sql.read(f"nightly/{path.stem}")
    assert sql.question(statement)
    with a_store(tmp_path) as store:
        store.connection.execute("prepare asked as " + statement.replace("$rows", f"(from {table})"))
