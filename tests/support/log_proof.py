"""A writer of the log that may be killed anywhere, and readers that count what they see while it is.

    python -m tests.support.log_proof write FOLDER [MUTATION]     until it is killed, or nobody started it any more
    python -m tests.support.log_proof read FOLDER KIND SECS       prints what it saw as JSON

The world is made of spool files that never were on a disk: file `k` is written by worker `k % 2`, holds `ROWS` events with
numbers that count up within a worker's epoch, and belongs to the log whole or not at all. So every reader can tell
at any moment how many rows there must be from the highest numbers it sees.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import duckdb

from storage import promote, shelves, sql, store
from storage.layout import Layout
from storage.settings import StorageSettings
from storage.store import Store
from tracker import clock
from tracker.model import Batch, DeliveryFact, Drop, Event, LeadFact, SpoolFile

ROWS = 50
FILES_OF_AN_EPOCH = 20
FIRST_US = 1_795_341_600_000_000
# 200 files make a day: every few parts there is a midnight inside.
FILE_US = 86_400_000_000 // 200

GRACE_SECS = 0.5
PUBLISH_SECS = 0.15

# Rows, different rows, and as many as the highest numbers ask for; of every table.
CHECK = """
with
events as materialized (select worker, epoch, seq from events),
files as materialized (select worker, epoch, name, last_seq from spool_files),
leads as materialized (select lead_id from lead_facts),
sent as materialized (select delivery_id, fact from delivery_facts),
lost as materialized (select worker, epoch, first_seq, last_seq from drops)
select
  (select count(*) from events),
  (select count(*) from (select distinct worker, epoch, seq from events)),
  (select coalesce(sum(n), 0)::bigint from (select max(seq) as n from events group by worker, epoch)),
  (select count(*) from files),
  (select count(distinct name) from files),
  (select coalesce(sum(n), 0)::bigint // $rows from (select max(last_seq) as n from files group by worker, epoch)),
  (select count(*) from leads),
  (select count(distinct lead_id) from leads),
  (select count(distinct lead_id) from leads),
  (select count(*) from sent),
  (select count(*) from (select distinct delivery_id, fact from sent)),
  (select 2 * count(distinct delivery_id) from sent),
  (select count(*) from lost),
  (select count(*) from (select distinct worker, epoch, first_seq from lost)),
  (select coalesce(sum(n), 0)::bigint // $rows from (select max(last_seq) as n from lost group by worker, epoch));
""".replace("$rows", str(ROWS))


def layout_of(folder: Path) -> Layout:
    return Layout(folder, hot_path=folder / "image" / "hot.duckdb")


def name_of(k: int) -> str:
    worker, n = k % 2, k // 2
    return f"w{worker}-{1 + n // FILES_OF_AN_EPOCH:020d}-{n % FILES_OF_AN_EPOCH:06d}.ndjson"


def batch_of(ks: list[int]) -> Batch:
    """What these files hold."""
    batch = Batch()
    for k in ks:
        name = name_of(k)
        worker, epoch, first = f"w{k % 2}", 1 + k // 2 // FILES_OF_AN_EPOCH, k // 2 % FILES_OF_AN_EPOCH * ROWS
        moments = [clock.text_of(FIRST_US + k * FILE_US + row * FILE_US // ROWS) for row in range(ROWS)]
        batch.events += [
            Event(
                event_id=f"{name}:{row}",
                occurred_at=moments[row],
                name="page_view",
                source="proxy",
                worker=worker,
                epoch=epoch,
                seq=first + row + 1,
                path="/" + "x" * (row * 7 % 200),
            )
            for row in range(ROWS)
        ]
        batch.lead_facts.append(LeadFact(lead_id=name, occurred_at=moments[0], fact="accepted"))
        batch.delivery_facts += [
            DeliveryFact(delivery_id=name, lead_id=name, sink="csv", occurred_at=moments[0], fact=fact)
            for fact in ("owed", "delivered")
        ]
        batch.drops.append(Drop(moments[0], "n", worker, epoch, "excluded", first_seq=first, last_seq=first + ROWS))
        batch.spool_files.append(SpoolFile(name, moments[0], "n", worker, epoch, records=ROWS, last_seq=first + ROWS))
    return batch


class Forgetful(Store):
    """Does not keep which files it took in."""

    def write(self, batch: Batch) -> None:
        batch.spool_files = []
        super().write(batch)


class Hasty(promote.Promotion):
    """Lets go of the fresh rows as soon as the parts are there, before readers are told to look into them."""

    def _write(self, mark: promote.Mark) -> None:
        super()._write(mark)
        for table in promote.TABLES:
            self.con.execute(f"delete from {self._table(table.name)} where b <= {mark.intent}")


def unmarked(name: str, read: Callable[[str], str] = sql.read) -> str:
    """Views that show the rows of parts and the fresh ones, whichever they are."""
    return read(name).replace("mark.w between rows.valid_from and rows.valid_until", "true")


def open_store(folder: Path, mutation: str = "") -> Store:
    if mutation == "hasty":
        store.Promotion = Hasty
    if mutation == "unmarked":
        sql.read = unmarked
    if mutation == "unshared":
        shelves.share = lambda cold, *paths: None
    if mutation == "careless":
        shelves.is_open = lambda door: False
    kind = Forgetful if mutation == "forgetful" else Store
    settings = StorageSettings(path=str(folder), part_rows=2500, grace_secs=GRACE_SECS, memory_limit_mb=256)
    return kind.open(layout_of(folder), settings)


def write(folder: Path, mutation: str) -> None:
    """Takes in file after file as the collector does: those the log has not, then the note that they are put away."""
    log = open_store(folder, mutation)
    put_away, acknowledged = folder / "put-away", os.open(folder / "acknowledged", os.O_WRONLY | os.O_CREAT)
    at = int(put_away.read_text()) if put_away.exists() else 0
    published = 0.0
    parent = os.getppid()
    while os.getppid() == parent:
        ks = list(range(at, at + random.randint(1, 6)))
        known = log.ingested([name_of(k) for k in ks])
        if fresh := [k for k in ks if name_of(k) not in known]:
            log.write(batch_of(fresh))
        at = ks[-1] + 1
        os.pwrite(acknowledged, b"%012d" % at, 0)
        if random.random() < 0.7:
            # Now and then the files could not be put away, and are found again.
            fresh_note = put_away.with_suffix(".tmp")
            fresh_note.write_text(str(at))
            os.replace(fresh_note, put_away)
        elif random.random() < 0.5:
            at = int(put_away.read_text()) if put_away.exists() else 0
        if time.monotonic() - published > PUBLISH_SECS:
            log.publish()
            log.tidy()
            published = time.monotonic()
        log.promote(time.time())
    log.close()


Ask = Callable[[], list[int]]


def asking(kind: str, door: Path) -> Ask:
    """How a reader of this kind asks: with one session, one prepared statement, a new session each time, or the CLI."""
    if kind == "cli":
        return asking_cli(door)
    con = duckdb.connect(str(door), read_only=True, config={"threads": 1})
    statement = CHECK
    if kind == "prepared":
        con.execute("prepare checked as " + CHECK)
        statement = "execute checked"

    def ask() -> list[int]:
        nonlocal con
        if kind == "fresh":
            con.close()
            con = duckdb.connect(str(door), read_only=True, config={"threads": 1})
        return list(con.execute(statement).fetchall()[0])

    return ask


def asking_cli(door: Path) -> Ask:
    cli = Path(sys.executable).parent / "duckdb"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    session = subprocess.Popen([cli, "-readonly", "-csv", "-noheader", str(door)], **pipes)

    def ask() -> list[int]:
        assert session.stdin and session.stdout
        session.stdin.write(CHECK)
        session.stdin.flush()
        line = session.stdout.readline()
        try:
            return [int(number) for number in line.split(",")]
        except ValueError:
            raise RuntimeError(line) from None

    return ask


def read(folder: Path, kind: str, secs: float) -> dict[str, object]:
    """Asks until the time is over, or FOLDER/enough exists. What was wrong is counted, and the last of it told."""
    ask = asking(kind, layout_of(folder).log_db)
    seen = {"kind": kind, "queries": 0, "wrong": 0, "backwards": 0, "errors": 0, "note": ""}
    last = [0] * 15
    end = time.monotonic() + secs
    while time.monotonic() < end and not (folder / "enough").exists():
        try:
            found = ask()
        except (duckdb.Error, RuntimeError) as error:
            seen["errors"] += 1
            seen["note"] = str(error)[:300]
            time.sleep(0.05)
            continue
        seen["queries"] += 1
        if any(not rows == different == asked for rows, different, asked in zip(*[iter(found)] * 3, strict=True)):
            seen["wrong"] += 1
            seen["note"] = str(found)
        if any(now < before for now, before in zip(found, last, strict=True)):
            seen["backwards"] += 1
            seen["note"] = f"{last} then {found}"
        last = found
        # The writer is to get on as well.
        time.sleep(0.05)
    return seen


if __name__ == "__main__":
    what, where, *rest = sys.argv[1:]
    if what == "write":
        write(Path(where), *(rest or [""]))
    else:
        print(json.dumps(read(Path(where), rest[0], float(rest[1]))))
