"""What it costs to put events into the log: CPU per event, events per second, bytes per event in Parquet.

    python -m benchmarks log_ingest [--events 100000] [--batches 1000,10000] [--rounds 3]

`Store.write` is measured against what DuckDB needs at least: the same rows, encoded already, by the same read_json into
the same columns, in one transaction, of a database of its own. Both are measured in turns; the ratio is of CPU time, which
holds on a machine that does other things as well. Publishing and Parquet parts are measured apart.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import duckdb
import msgspec

from storage import migrations
from storage.ingest import Inserter
from storage.layout import Layout
from storage.settings import StorageSettings
from storage.sql import file
from storage.store import Store
from storage.tables import EVENTS
from tracker import clock
from tracker.model import Batch, Event, SpoolFile

START_US = 1_795_348_800_000_000
CHANNELS = [
    ("Direct", "(direct)", "(none)", 50),
    ("Organic Search", "google", "organic", 30),
    ("Paid Search", "google", "cpc", 20),
]
AGENTS = [
    ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/%d.0.0.0 Safari/537.36", "Chrome", "Windows", "desktop"),
    ("Mozilla/5.0 (iPhone; CPU iPhone OS 26_%d like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Mobile/15E148 Safari/604.1", "Mobile Safari", "iOS", "mobile"),
    ("Mozilla/5.0 (X11; Linux x86_64; rv:%d.0) Gecko/20100101 Firefox/145.0", "Firefox", "Linux", "desktop"),
]  # fmt: skip


def make_events(count: int) -> list[Event]:
    """Visits of nine requests each, a third of them pages, as a company's site has them. Always the same."""
    chance = random.Random(7)
    events: list[Event] = []
    at_us, path = START_US, "/"
    while len(events) < count:
        visitor, visit = clock.derived_id(at_us, chance.random()), clock.derived_id(at_us, chance.random())
        channel, source, medium, _ = chance.choices(CHANNELS, [one[3] for one in CHANNELS])[0]
        agent, browser, system, device = chance.choice(AGENTS)
        agent %= chance.randint(1, 40)
        for step in range(chance.randint(1, 17)):
            at_us += chance.randint(100, 30_000)
            referrer, is_page = f"https://www.example.com{path}", step % 3 == 0
            path = f"/products/{chance.randint(1, 3000)}" if is_page else f"/static/{chance.randint(1, 300):08x}.js"
            event = Event(
                event_id=clock.derived_id(at_us, len(events)),
                occurred_at=clock.text_of(at_us),
                name="page_view" if is_page else "request",
                source="proxy",
                node="node-1",
                worker="worker-1",
                epoch=START_US * 1000,
                seq=len(events) + 1,
                visitor_id=visitor,
                identity="known",
                visit_id=visit,
                scheme="https",
                host="www.example.com",
                method="GET",
                path=path,
                status=200,
                duration_us=chance.randint(500, 90_000),
                wait_us=chance.randint(400, 80_000),
                request_bytes=0,
                response_bytes=chance.randint(200, 90_000),
                content_type="text/html; charset=utf-8" if is_page else "text/javascript",
                referrer=referrer if step else None,
                referrer_host="www.example.com" if step else None,
                user_agent=agent,
                browser=browser,
                os=system,
                device=device,
                language="de-DE,de;q=0.9,en;q=0.8",
                client_ip=f"10.{chance.randint(0, 255)}.{chance.randint(0, 255)}.0",
                fetch_dest="document" if is_page else "script",
                fetch_site="same-origin" if step else "none",
            )
            if step == 0:
                event.is_entrance = event.is_touchpoint = True
                event.channel, event.touch_source, event.touch_medium = channel, source, medium
                if channel == "Paid Search":
                    event.query = f"utm_source=google&utm_medium=cpc&gclid={chance.getrandbits(128):032x}"
                    event.click_ids = {"gclid": event.query[-32:]}
                    event.campaign_params = {"utm_source": "google", "utm_medium": "cpc"}
            events.append(event)
    return events[:count]


def cost(work: Callable[[], None]) -> tuple[float, float]:
    """CPU and wall seconds of `work` in this process, all threads."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - cpu, time.perf_counter() - wall


def pieces(events: Sequence[Event], size: int) -> list[Sequence[Event]]:
    return [events[at : at + size] for at in range(0, len(events), size)]


def open_store(folder: Path) -> Store:
    settings = StorageSettings(path=str(folder), part_rows=1000, grace_secs=0, memory_limit_mb=2048)
    return Store.open(Layout(folder, hot_path=folder / "image" / "hot.duckdb"), settings)


def write_all(store: Store, events: Sequence[Event], size: int) -> None:
    for number, piece in enumerate(pieces(events, size)):
        name = f"worker-1-{START_US * 1000:020d}-{number:06d}.ndjson"
        files = [SpoolFile(name=name, ingested_at=piece[-1].occurred_at, node="node-1", worker="worker-1", epoch=1)]
        store.write(Batch(events=list(piece), spool_files=files))


def bare(folder: Path, events: Sequence[Event], size: int) -> tuple[float, float]:
    """The least DuckDB needs: NDJSON that is there already, inserted with the columns of the table."""
    paths = []
    for number, piece in enumerate(pieces(events, size)):
        paths.append(folder / f"{number:06d}.ndjson")
        paths[-1].write_bytes(msgspec.json.Encoder().encode_lines(piece))
    with duckdb.connect(config={"threads": 1, "storage_compatibility_version": "v1.5.0"}) as con:
        con.execute("set timezone = 'UTC'")
        con.execute(f"attach '{folder / 'bare.duckdb'}' as work")
        migrations.migrate(con, "work")
        inserter = Inserter(con, "work", EVENTS, folder)

        def insert() -> None:
            for path in paths:
                con.execute(inserter.statement.replace(file(inserter.path), file(path)), {"b": 1})

        return cost(insert)


def measure(events: Sequence[Event], size: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="ropo-bench-") as name:
        folder = Path(name)
        (folder / "bare").mkdir()
        least_cpu, _ = bare(folder / "bare", events, size)
        store = open_store(folder / "log")
        try:
            cpu, wall = cost(lambda: write_all(store, events, size))
            publish_cpu, _ = cost(store.publish)
            part_cpu, _ = cost(lambda: store.promote(time.time()))
            parts = list((folder / "log" / "cold" / "events").glob("day=*/*.parquet"))
            return {
                "cpu_us": cpu / len(events) * 1e6,
                "least_us": least_cpu / len(events) * 1e6,
                "ratio": cpu / least_cpu,
                "rate": len(events) / wall,
                "publish_ms": publish_cpu * 1e3,
                "part_us": part_cpu / len(events) * 1e6,
                "parquet_bytes": sum(path.stat().st_size for path in parts) / len(events),
                "work_bytes": (folder / "log" / "work.duckdb").stat().st_size / len(events),
            }
        finally:
            store.close()


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks log_ingest",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--events", type=int, default=100_000, help="events in each round (default: %(default)s)")
    parser.add_argument("--batches", default="1000,10000", help="events in a batch (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="the median of so many is told (default: %(default)s)")
    chosen = parser.parse_args()
    events = make_events(chosen.events)
    json_bytes = len(msgspec.json.Encoder().encode_lines(events)) / len(events)
    print(f"duckdb {duckdb.__version__}, {len(events)} events, {json_bytes:.0f} bytes each as JSON")
    print(f"{'batch':>8} {'us CPU/event':>13} {'least':>6} {'ratio':>6} {'events/s':>9} {'publish ms':>11} {'part us':>8}"
          f" {'Parquet B':>10} {'work.duckdb B':>14}")  # fmt: skip
    for size in map(int, chosen.batches.split(",")):
        rounds = [measure(events, size) for _ in range(chosen.rounds)]
        m = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
        print(f"{size:>8} {m['cpu_us']:>13.1f} {m['least_us']:>6.1f} {m['ratio']:>6.2f} {m['rate']:>9,.0f}"
              f" {m['publish_ms']:>11.1f} {m['part_us']:>8.1f} {m['parquet_bytes']:>10.1f} {m['work_bytes']:>14.1f}")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
