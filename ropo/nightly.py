"""The nightly run: what is too old goes, and who is to be erased.

Knows when it is due and the order of its steps, each of them short on the log's own thread, so that rows go on coming in
and being shown; what takes long, reading and writing parts and the archive, runs beside it.

    settle     with an erasure: what lies in the spool is taken in, and all rows leave the hot tables for parts
    files      the archive, the quarantine and the drop folders lose what is about the person
    rewrite    the parts lose it, and what is too old, in one exchange (storage.rewrite)
    show       readers get a door to the new parts; a grace later the old ones are nowhere any more
    rotate     work.duckdb gets a new file, and with it the published image
    note       the erasure is done, as a fact without a name; when the run was, and how many rows, in nightly.json

Killed anywhere, the next collector runs it again from the start. What the steps up to `rewrite` need to know stands in the
order until the exchange takes it out; the steps after need to know nobody.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from export.drop_folder import NOTES
from export.outbox import delivery_id
from export.settings import CsvSettings, ExportSettings, JsonlSettings
from storage import erasure, retention, rewrite, sql
from storage.erasure import Subject
from storage.layout import Layout
from storage.rewrite import Rewrite
from storage.settings import StorageSettings
from storage.store import Store
from tracker import clock
from tracker.model import Batch, Event
from tracker.sealing import Sealer, UnsealError

log = logging.getLogger(__name__)

OnLog = Callable[[Callable[[], Any]], Awaitable[Any]]

POLL_SECS = 0.2
# How long the spool may take to settle beyond the graces. Then the run gives up until the next one.
SETTLE_SECS = 300.0


class NotNowError(RuntimeError):
    """The run cannot go on; what is left to do is done by the next one. The message says why."""


class Note(msgspec.Struct):
    """nightly.json: when the last run was, and what it did. Holds no name of anybody."""

    begun_at: str
    ended_at: str | None = None
    rows: dict[str, int] = {}
    erasures: int = 0


@dataclass
class Night:
    """What a run did, for the log line and the dashboard."""

    rows: dict[str, int] = field(default_factory=dict)
    erasures: int = 0
    files: int = 0
    out_of_reach: int = 0
    took_secs: float = 0.0


def is_due(last: datetime | None, now: datetime, at: str) -> bool:
    """Whether a run at `at` (`03:30`, in the zone of `now`) lies between the last one and now; or there was none yet."""
    hour, minute = map(int, at.split(":"))
    scheduled = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    if scheduled > now:
        scheduled -= timedelta(days=1)
    return last is None or last < scheduled


def read_note(layout: Layout) -> Note | None:
    try:
        return msgspec.json.decode(note_of(layout).read_bytes(), type=Note)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def note_of(layout: Layout) -> Path:
    return layout.root / "nightly.json"


def last_run(layout: Layout) -> datetime | None:
    """When the last run began that came to its end; None if there was none, or it was killed."""
    note = read_note(layout)
    if note is None or note.ended_at is None:
        return None
    return datetime.fromisoformat(note.begun_at).replace(tzinfo=UTC)


class Nightly:
    """`on_log` runs a function on the thread of the log; `store` says which log is open at the moment."""

    def __init__(
        self,
        layout: Layout,
        settings: StorageSettings,
        export: ExportSettings,
        contact_keys: Sequence[str],
        *,
        on_log: OnLog,
        store: Callable[[], Store],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._layout = layout
        self._settings = settings
        self._export = export
        self._keys = tuple(contact_keys)
        self._on_log = on_log
        self._store = store
        self._now = now
        # The archive must not be packed while it is rewritten.
        self.holds_archive = False

    async def run(self) -> Night:
        """One run. Raises NotNowError, rewrite.CannotRewriteError, duckdb.Error or OSError; the next one goes on from there."""
        began, night = time.monotonic(), Night()
        note = Note(begun_at=f"{self._now():%Y-%m-%d %H:%M:%S.%f}")
        subject, orders = Subject(), await self._on_log(self._orders)
        if orders:
            await asyncio.to_thread(self._write_note, note)
            await self._settle()
            orders = await self._on_log(self._orders)
            subject = await self._resolve(orders)
            night.files = await self._clean_files(subject)
        await self._rewrite(subject, night)
        changed = bool(night.rows)
        if changed or orders:
            await self._on_log(self._show)
            await self._replace()
            await self._on_log(self._rotate)
        night.erasures = len(orders)
        if orders:
            left = erasure.out_of_reach(self._layout)
            night.out_of_reach = len(left)
            for path in left:
                log.warning("event=erasure_out_of_reach path=%s next='it is none of ropo's files: look after it'", path)
            await self._on_log(lambda: self._note_done(orders, night))
        night.took_secs = time.monotonic() - began
        note = Note(note.begun_at, f"{self._now():%Y-%m-%d %H:%M:%S.%f}", night.rows, night.erasures)
        await asyncio.to_thread(self._write_note, note)
        told = " ".join(f"{name}={count}" for name, count in night.rows.items() if count)
        log.info(
            "event=nightly_run erasures=%d files=%d took_secs=%.1f %s",
            night.erasures,
            night.files,
            night.took_secs,
            told,
        )
        return night

    # -- settle

    def _orders(self) -> list[dict[str, Any]]:
        return self._ask("orders")

    async def _settle(self) -> None:
        """Nothing of what was there when this begins is in the spool or in hot tables any more when it returns."""
        waiting = await asyncio.to_thread(lambda: set(os.listdir(self._layout.spool)))
        # A file that is open is sealed, under its other ending, within `seal_interval_secs`.
        stems = {name.partition(".")[0] for name in waiting}
        await self._until(
            lambda: asyncio.to_thread(
                lambda: stems.isdisjoint(n.partition(".")[0] for n in os.listdir(self._layout.spool))
            ),
            "the spool still holds files of before the run",
        )
        batch = await self._on_log(lambda: self._store().urge())
        await self._until(
            lambda: self._on_log(lambda: self._store().mark.forgotten >= batch),
            "rows could not be moved to parts; is there room on the disk?",
        )

    async def _until(self, is_so: Callable[[], Awaitable[bool]], else_why: str) -> None:
        until = time.monotonic() + SETTLE_SECS + 3 * self._settings.grace_secs
        while not await is_so():
            if time.monotonic() > until:
                raise NotNowError(f"{else_why}; it is tried again in the next run")
            await asyncio.sleep(POLL_SECS)

    # -- who

    async def _resolve(self, orders: Sequence[dict[str, Any]]) -> Subject:
        visitors = {one for order in orders for one in order["visitors"] or ()}
        leads = {one for order in orders for one in order["leads"] or ()}
        hashes = {one for order in orders for one in order["email_hashes"] or ()}
        contacts = await self._on_log(lambda: self._ask("contacts_of_all"))
        wanted = await asyncio.to_thread(self._leads_with, contacts, hashes)
        leads |= wanted
        found = await self._on_log(lambda: self._ask("leads_of", visitors=sorted(visitors), leads=sorted(leads)))
        leads |= {row["lead_id"] for row in found if row["visitor_id"] in visitors}
        visitors |= {row["visitor_id"] for row in found if row["lead_id"] in leads and row["visitor_id"]}
        values = await asyncio.to_thread(self._values_of, contacts, leads)
        return Subject(
            frozenset(visitors), frozenset(leads), frozenset(order["order_id"] for order in orders), frozenset(values)
        )

    def _leads_with(self, contacts: Sequence[dict[str, Any]], hashes: set[str]) -> set[str]:
        """The leads whose e-mail address has one of these hashes. What no key opens is left out, and told."""
        if not hashes:
            return set()
        keys = [base64.b64decode(key) for key in self._keys]
        closed, found = 0, set()
        for row in contacts:
            contact = self._opened(row)
            closed += contact is None
            email = (contact or {}).get("email")
            if email and any(erasure.hash_of(key, email) in hashes for key in keys):
                found.add(row["lead_id"])
        if closed:
            log.warning(
                "event=contacts_closed count=%d next='their key is missing: nobody can tell whose they are'", closed
            )
        return found

    def _values_of(self, contacts: Sequence[dict[str, Any]], leads: set[str]) -> set[str]:
        opened = (self._opened(row) for row in contacts if row["lead_id"] in leads)
        return {value for contact in opened if contact for value in contact.values()}

    def _opened(self, row: dict[str, Any]) -> dict[str, str] | None:
        try:
            return Sealer(self._keys).open(row["contact"], row["lead_id"]) if self._keys else None
        except UnsealError:
            return None

    # -- files

    async def _clean_files(self, subject: Subject) -> int:
        if not subject:
            return 0
        self.holds_archive = True
        try:
            # Who is packing it at this moment comes to an end first.
            await self._on_log(lambda: None)
            changed = await asyncio.to_thread(erasure.redact_archive, self._layout, subject)
        finally:
            self.holds_archive = False
        changed += await self._on_log(lambda: erasure.redact_quarantine(self._layout, subject))
        return changed + await asyncio.to_thread(self._clean_drop_folders, subject)

    def _clean_drop_folders(self, subject: Subject) -> int:
        """Files that nobody has collected yet. Those that were are out of reach. Raises OSError."""
        removed = 0
        for sink in self._export.sinks:
            if not isinstance(sink, CsvSettings | JsonlSettings):
                continue
            owed = {delivery_id(lead_id, sink.name) for lead_id in subject.leads}
            for folder in (Path(sink.folder), Path(sink.folder, NOTES)):
                names = os.listdir(folder) if folder.is_dir() else []
                for name in names:
                    ours = name.startswith("lead-") and any(lead_id in name for lead_id in subject.leads)
                    if ours or (folder.name == NOTES and name.partition(".")[0] in owed):
                        with suppress(FileNotFoundError):
                            (folder / name).unlink()
                        removed += 1
        return removed

    # -- rows

    async def _rewrite(self, subject: Subject, night: Night) -> None:
        now = self._now()
        changes = retention.changes(self._settings.retention, now)
        if subject:
            changes += erasure.changes(salt=secrets.token_hex(16))
        if not changes:
            return
        old = {
            name: [
                row[0] for row in await self._on_log(lambda name=name, before=before: self._rows(name, before=before))
            ]
            for name, before in retention.limits(self._settings.retention, now).items()
        }
        upto = await self._on_log(lambda: self._store().mark.forgotten)
        lists = old | {
            "erased_visitors": sorted(subject.visitors),
            "erased_leads": sorted(subject.leads),
            "erased_orders": sorted(subject.orders),
        }
        with rewrite.alone(self._layout), closing(rewrite.connect(self._layout)) as con:
            await asyncio.to_thread(_fill, con, lists)
            run = Rewrite(con, self._layout, changes, upto=upto)
            for part in await asyncio.to_thread(run.parts):
                await asyncio.to_thread(run.write, part)
            if await asyncio.to_thread(run.exchange):
                night.rows = {name: count for name, count in run.done.rows.items() if count}

    def _show(self) -> None:
        store = self._store()
        store.promote(time.time())
        store.publish()

    async def _replace(self) -> None:
        """The old parts go with the shelves that nobody reads; after a grace those that are still held change, too."""
        until = time.monotonic() + self._settings.grace_secs
        while time.monotonic() < until and await asyncio.to_thread(rewrite.has_old_parts, self._layout):
            await asyncio.sleep(min(1.0, self._settings.grace_secs / 4 or POLL_SECS))
            await self._on_log(lambda: self._store().tidy())
        await self._on_log(lambda: self._store().tidy())
        replaced = await asyncio.to_thread(rewrite.replace, self._layout)
        if replaced:
            log.info("event=shelves_replaced count=%d", replaced)

    def _rotate(self) -> None:
        store = self._store()
        store.rotate()
        store.publish()

    # -- note

    def _note_done(self, orders: Sequence[dict[str, Any]], night: Night) -> None:
        """A fact for each order: that it was done and when, how much was erased by all of this run, and a keyed hash."""
        counts = {name: night.rows.get(name, 0) for name in ("events", "leads", "deliveries")}
        events = [
            Event(
                clock.new_id(), clock.now_text(), erasure.DONE, "ropo",
                properties={
                    "order": order["order_id"],
                    "subject": order["subject"],
                    "ordered_at": clock.text_of(order["ordered_us"]),
                    "orders": len(orders),
                    "files": night.files,
                    **counts,
                },
            )
            for order in orders
        ]  # fmt: skip
        store = self._store()
        store.write(Batch(events=events))
        store.publish()

    def _write_note(self, note: Note) -> None:
        path = note_of(self._layout)
        fresh = path.with_name(f".{path.name}.tmp")
        with open(fresh, "wb") as file:
            file.write(msgspec.json.encode(note))
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)

    def _ask(self, question: str, **values: Any) -> list[dict[str, Any]]:
        result = self._store().connection.execute(sql.read(f"nightly/{question}"), values or None)
        columns = [column[0] for column in result.description]
        return [dict(zip(columns, row, strict=True)) for row in result.fetchall()]

    def _rows(self, question: str, **values: Any) -> list[tuple[Any, ...]]:
        return self._store().connection.execute(sql.read(f"nightly/{question}"), values).fetchall()


def _fill(con: Any, lists: dict[str, list[str]]) -> None:
    for name, ids in lists.items():
        con.execute(f"create or replace table {sql.name(name)} as select unnest($ids::varchar[]) as id", {"ids": ids})
