"""From the spool into the log, exactly once."""

from __future__ import annotations

from pathlib import Path

import pytest

from export.outbox import delivery_id
from ropo import orders
from ropo.intake import Intake
from storage.layout import Layout
from storage.sealed import drop_file
from storage.settings import StorageSettings
from storage.store import Store
from tests.tracker.records import EPOCH, exchange
from tracker.model import encode_line
from tracker.pipeline import Pipeline
from tracker.settings import TrackerSettings


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path / "data", hot_path=tmp_path / "data" / "hot.duckdb")
    layout.create()
    return layout


@pytest.fixture
def store(layout: Layout):
    store = Store.open(layout, StorageSettings(path=str(layout.root)))
    yield store
    store.close()


def new_pipeline() -> Pipeline:
    return Pipeline(TrackerSettings(), sinks=(), version="1", delivery_id=delivery_id)


def drop(layout: Layout, epoch: int, *lines: bytes) -> Path:
    return drop_file(layout.spool, node="n1", worker="worker-1", epoch=epoch, version="1", lines=lines)


def events(store: Store) -> int:
    return store.connection.execute("select count(*) from events").fetchone()[0]


def test_records_become_events_and_their_file_goes_to_the_archive(layout: Layout, store: Store) -> None:
    path = drop(layout, EPOCH, encode_line(exchange(1)), encode_line(exchange(2, 5, "/p")))
    taken = Intake(layout, store, new_pipeline).take()
    assert (taken.files, taken.events, taken.quarantined) == (1, 2, 0)
    assert events(store) == 2
    assert not path.exists()
    assert [file.name for file in layout.archive.iterdir()] == [path.name]


def test_a_file_that_is_found_again_after_a_crash_is_put_away_and_not_counted_twice(
    layout: Layout, store: Store
) -> None:
    path = drop(layout, EPOCH, encode_line(exchange(1)))
    text = path.read_bytes()
    intake = Intake(layout, store, new_pipeline)
    intake.take()
    path.write_bytes(text)  # the collector was killed between the commit and the archive
    taken = intake.take()
    assert (taken.files, taken.events) == (1, 0)
    assert events(store) == 1
    assert not path.exists()


def test_a_broken_line_is_quarantined_with_its_reason_and_the_rest_goes_in(layout: Layout, store: Store) -> None:
    drop(layout, EPOCH, encode_line(exchange(1)), b'{"t":"exchange","seq":"two"}', encode_line(exchange(3)))
    taken = Intake(layout, store, new_pipeline).take()
    assert (taken.events, taken.quarantined) == (2, 1)
    [file] = layout.quarantine.iterdir()
    assert "seq" in file.read_text()
    assert store.connection.execute("select reason, sum(count) from drops group by all").fetchall() == [
        ("quarantined", 1)
    ]


def test_a_batch_the_log_refuses_is_tried_again_with_fresh_visits(layout: Layout, store: Store, monkeypatch) -> None:
    drop(layout, EPOCH, encode_line(exchange(1)))
    intake = Intake(layout, store, new_pipeline)
    with monkeypatch.context() as broken:
        broken.setattr(store, "write", lambda batch: (_ for _ in ()).throw(OSError("disk full")))
        with pytest.raises(OSError, match="disk full"):
            intake.take()
    assert events(store) == 0
    assert intake.take().events == 1
    assert store.connection.execute("select count(*) from visits").fetchone()[0] == 1


def test_a_visit_goes_on_over_a_restart_of_the_collector(layout: Layout, store: Store) -> None:
    from tracker import clock

    now = clock.now_text()
    first, second = exchange(1), exchange(2, target="/p")
    first.occurred_at = second.occurred_at = now
    drop(layout, EPOCH, encode_line(first))
    Intake(layout, store, new_pipeline).take()
    drop(layout, EPOCH + 1, encode_line(second))
    Intake(layout, store, new_pipeline).take()
    assert store.connection.execute("select count(*), count(distinct visit_id) from events").fetchone() == (2, 1)


def test_what_a_visitor_did_through_two_workers_goes_in_together_and_in_order(layout: Layout, store: Store) -> None:
    """The landing page through one worker, the next page through another that seals first: one arrival, not two."""
    landing = exchange(1, 0, "/?utm_source=news&utm_medium=email")
    later = exchange(1, 1, "/p", referrer="https://www.example.com/")
    early_file = drop(layout, EPOCH, encode_line(later))
    open_file = layout.spool / early_file.name.replace("worker-1", "worker-2").replace(".ndjson", ".open")
    open_file.write_bytes(early_file.read_bytes())
    intake = Intake(layout, store, new_pipeline, seal_secs=1e9)
    assert intake.take().files == 0
    open_file.unlink()
    drop_file(layout.spool, node="n1", worker="worker-2", epoch=EPOCH, version="1", lines=[encode_line(landing)])
    assert intake.take().files == 2
    touches = "select path, channel from events where is_touchpoint"
    assert store.connection.execute(touches).fetchall() == [("/", "Email")]


def test_at_the_end_nobody_is_waited_for(layout: Layout, store: Store) -> None:
    path = drop(layout, EPOCH, encode_line(exchange(1)))
    (layout.spool / path.name.replace("worker-1", "worker-2").replace(".ndjson", ".open")).write_bytes(b"")
    intake = Intake(layout, store, new_pipeline, seal_secs=1e9)
    assert (intake.take().files, intake.take(everything=True).files) == (0, 1)


def test_nothing_waiting_is_nothing_taken(layout: Layout, store: Store) -> None:
    taken = Intake(layout, store, new_pipeline).take()
    assert (taken.files, taken.waiting_files) == (0, 0)


def test_an_erasure_that_is_not_to_wait_is_told(layout: Layout, store: Store) -> None:
    for now in (False, True):
        orders.give(layout, "n1", orders.erase(subject="s", visitors=["v"], leads=[], email_hash=None, now=now))
        assert Intake(layout, store, new_pipeline).take(everything=True).is_urgent is now
