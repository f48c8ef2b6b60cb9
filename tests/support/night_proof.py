"""A log of several days with one person in it who is to be erased, the run that does it, and readers meanwhile.

    python -m tests.support.night_proof run FOLDER                 one nightly run; may be killed anywhere
    python -m tests.support.night_proof read FOLDER KIND SECS      prints what it saw as JSON

The rows are made by the real pipeline from real spool files. `NEEDLES` are what may be nowhere afterwards.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tarfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb

from export.outbox import delivery_id
from export.settings import ExportSettings, JsonlSettings
from ropo import orders, secrets
from ropo.intake import Intake
from ropo.nightly import Night, Nightly
from storage import archive
from storage.erasure import zstd
from storage.layout import Layout
from storage.read import open_log
from storage.sealed import drop_file
from storage.settings import RetentionSettings, StorageSettings
from storage.store import Store
from tests.tracker import records
from tracker.model import Record, encode_line
from tracker.pipeline import Pipeline
from tracker.sealing import Sealer
from tracker.settings import TrackerSettings

DAYS = 5
DAY_SECS = 86_400
ERIKA, OTHER = "019a8a00-0000-7000-8000-0000000ee1ka", "019a8a00-0000-7000-8000-00000000beef"
ERIKA_LEAD, OTHER_LEAD = "019a8f3c-0a00-7abc-8000-000000000001", "019a8f3c-0a00-7abc-8000-000000000002"
CONTACT = {
    "name": "Erika Nadelmann",
    "company": "Heuhaufen GmbH",
    "email": "erika.nadel@example.org",
    "phone": "+49 30 5550199",
    "message": "Bitte dringend zurueckrufen",
}
ADDRESS, AGENT, REFERRER = "203.0.113.77", "NadelBrowser/7.5 (Heu)", "https://heuhaufen.example/brief"
NEEDLES = (ERIKA, ADDRESS, AGENT, REFERRER, "cl1ck-nadel", *CONTACT.values())

# What of the other visitor, and of everybody together, never changes.
CHECK = """
select
  (select count(*) from events where name <> 'erasure.done' and name <> 'erasure.ordered'),
  (select count(distinct event_id) from events where name <> 'erasure.done' and name <> 'erasure.ordered'),
  (select count(*) from visits),
  (select count(*) from leads),
  (select bool_and(balanced) from ledger),
  (select md5(string_agg(e::varchar, ';' order by e.event_id)) from events as e where visitor_id = $other),
  (select md5(string_agg(l::varchar, ';' order by l.lead_id, l.fact)) from lead_facts as l where lead_id = $other_lead)
"""


@dataclass(frozen=True)
class World:
    folder: Path

    @property
    def layout(self) -> Layout:
        return Layout(self.folder / "data", hot_path=self.folder / "image" / "hot.duckdb")

    @property
    def drops(self) -> Path:
        return self.folder / "erp"

    @property
    def export(self) -> ExportSettings:
        return ExportSettings(sinks=[JsonlSettings(name="erp", folder=str(self.drops))])

    @property
    def keys(self) -> tuple[str, ...]:
        return secrets.read_or_make(self.layout.secrets).contact

    def settings(self, **more: object) -> StorageSettings:
        chosen = {"grace_secs": 0.3, "part_rows": 1000, "memory_limit_mb": 256} | more
        return StorageSettings(path=str(self.layout.root), hot_path=str(self.layout.hot_db), **chosen)


def pipeline() -> Pipeline:
    return Pipeline(TrackerSettings(), sinks=("erp",), version="1", delivery_id=delivery_id)


def of_day(day: int, sealer: Sealer) -> list[Record]:
    start, found = day * DAY_SECS, []
    for number in range(20):
        theirs = number % 2
        more = {"client_ip": ADDRESS, "user_agent": AGENT, "referrer": REFERRER, "language": "de"} if theirs else {}
        target = f"/p{number}?utm_source=news&gclid=cl1ck-nadel" if theirs else f"/p{number}?q=1"
        visitor = ERIKA if theirs else OTHER
        found.append(records.exchange(1 + number, start + number, target, visitor_id=visitor, **more))
    if day == 2:
        sealed = sealer.seal(CONTACT, ERIKA_LEAD)
        others = sealer.seal({"email": "otto@example.org"}, OTHER_LEAD)
        sent = records.submission(ERIKA_LEAD, contact=sealed, page="/contact?gclid=cl1ck-nadel")
        found.append(records.submitted(21, start + 50, visitor_id=ERIKA, client_ip=ADDRESS, submission=sent))
        sent = records.submission(OTHER_LEAD, contact=others)
        found.append(records.submitted(22, start + 51, visitor_id=OTHER, submission=sent))
    return found


def build(folder: Path) -> World:
    """Days in parts and in hot tables; the archive loose and packed; a quarantined line; a file nobody collected."""
    world = World(folder)
    layout = world.layout
    layout.create()
    sealer, settings = Sealer(world.keys), world.settings(grace_secs=0.0)
    with closing(Store.open(layout, settings)) as store:
        intake = Intake(layout, store, pipeline)
        for day in range(DAYS):
            lines = [encode_line(record) for record in of_day(day, sealer)]
            if day == 1:
                # Its number was never given: the ledger counts one drop more than there were exchanges.
                lines.append(json.dumps({"t": "exchange", "seq": "no", "visitor_id": ERIKA}).encode())
            drop_file(layout.spool, node="n1", worker="w1", epoch=records.EPOCH + day, version="1", lines=lines)
            intake.take(everything=True)
            if day < DAYS - 1:
                store.urge()
                for _ in range(4):
                    store.publish()
                    store.promote(time.time())
            if day == 1:
                archive.prune(layout, hours=10_000, now=datetime.now(UTC) + timedelta(hours=1))
        store.publish()
    world.drops.mkdir()
    document = {"lead_id": ERIKA_LEAD, "contact": CONTACT, "visitor_id": ERIKA}
    (world.drops / f"lead-20261124T100050Z-{ERIKA_LEAD}.jsonl").write_text(json.dumps(document))
    (world.drops / f"lead-20261124T100051Z-{OTHER_LEAD}.jsonl").write_text("{}")
    return world


def order(world: World, **more: object) -> None:
    facts = orders.erase(
        subject="hash", visitors=[ERIKA], leads=[ERIKA_LEAD], email_hash=None, **({"now": False} | more)
    )
    orders.give(world.layout, "n1", facts)


async def night(world: World, retention: RetentionSettings | None = None, now: datetime | None = None) -> Night:
    """A run beside a log that goes on, as in the collector."""
    settings = world.settings(**({"retention": retention} if retention else {}))
    with ThreadPoolExecutor(1) as thread:
        loop = asyncio.get_running_loop()

        def on_log(work):
            return loop.run_in_executor(thread, work)

        store = await on_log(lambda: Store.open(world.layout, settings))
        intake = Intake(world.layout, store, pipeline)

        def step() -> None:
            intake.take(everything=True)
            store.publish()
            store.promote(time.time())

        async def pump() -> None:
            while True:
                await on_log(step)
                await asyncio.sleep(0.05)

        await on_log(step)
        going_on = asyncio.create_task(pump())
        try:
            moment = {"now": lambda: now} if now else {}
            run = Nightly(
                world.layout, settings, world.export, world.keys, on_log=on_log, store=lambda: store, **moment
            )
            return await run.run()
        finally:
            going_on.cancel()
            with suppress(asyncio.CancelledError):
                await going_on
            await on_log(store.close)


def secrets_of(world: World) -> tuple[str, ...]:
    """What else tells of the person and is made anew each time: the sealed contact, and the ids of the visits."""
    with open_log(world.layout) as con:
        asked = "select contact from lead_facts where lead_id = $lead union select visit_id from events where visitor_id = $one"
        return tuple(text for (text,) in con.execute(asked, {"lead": ERIKA_LEAD, "one": ERIKA}).fetchall() if text)


def state(con: duckdb.DuckDBPyConnection) -> tuple:
    return con.execute(CHECK, {"other": OTHER, "other_lead": OTHER_LEAD}).fetchall()[0]


def texts(world: World) -> Iterator[tuple[Path, bytes]]:
    """All that is in any file: as it lies there, and unpacked. The log must be closed."""
    for path in sorted(path for path in world.folder.rglob("*") if path.is_file()):
        yield path, path.read_bytes()
        if ".tar.zst" in path.name:
            with zstd.open(path, "rb") as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
                for member in tar:
                    yield path, tar.extractfile(member).read()
        elif ".parquet" in path.name and not path.name.endswith(".sha256"):
            with duckdb.connect() as con:
                yield path, str(con.execute("from read_parquet($path)", {"path": str(path)}).fetchall()).encode()
        elif path.name in ("work.duckdb", "hot.duckdb"):
            with duckdb.connect(str(path), read_only=True) as con:
                tables = con.execute("select table_name from duckdb_tables()").fetchall()
                yield path, str([con.execute(f"from {table}").fetchall() for (table,) in tables]).encode()


def found(world: World, needles: tuple[str, ...] = NEEDLES) -> dict[str, set[str]]:
    """In which kinds of files each needle is."""
    seen: dict[str, set[str]] = {}
    for path, text in texts(world):
        for needle in needles:
            if needle.encode() in text:
                seen.setdefault(needle, set()).add(path.relative_to(world.folder).parts[min(1, len(path.parts))])
    return seen


def read(world: World, kind: str, secs: float) -> dict[str, object]:
    """Asks the same again and again, in one session or in a new one each time; counts answers, wrong ones and errors."""
    seen: dict[str, object] = {"kind": kind, "queries": 0, "wrong": 0, "errors": 0, "notes": []}
    con = duckdb.connect(str(world.layout.log_db), read_only=True)
    con.execute("set timezone = 'UTC'")
    first = state(con)
    end = time.monotonic() + secs
    (world.folder / f"reading-{kind}").touch()
    while time.monotonic() < end and not (world.folder / "enough").exists():
        try:
            if kind == "fresh":
                con.close()
                con = duckdb.connect(str(world.layout.log_db), read_only=True)
                con.execute("set timezone = 'UTC'")
            now = state(con)
        except duckdb.Error as error:
            seen["errors"] += 1
            seen["notes"].append(str(error)[:400])
            continue
        seen["queries"] += 1
        if now != first:
            seen["wrong"] += 1
            seen["notes"].append(f"{first} then {now}"[:400])
    return seen


if __name__ == "__main__":
    what, where, *rest = sys.argv[1:]
    here = World(Path(where))
    if what == "run":
        asyncio.run(night(here))
    else:
        print(json.dumps(read(here, rest[0], float(rest[1]))))
