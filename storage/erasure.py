"""Takes a person out of the log: whose rows those are, what becomes of each, and of the files beside the log.

What stays and what goes (Art. 17 GDPR; recital 26: what tells of nobody any more is no personal data):

    events           stay, without visitor, address, user agent, language, query, referrer URL, redirect target, raw campaign
                     parameters, click IDs and properties. Pages, channels, campaigns and counts stay what they were
    visit ids        are replaced by random ones, the same in all rows of a visit: the old could be worked out by who knows
                     the visitor's id. So visits can be counted, and not be brought together
    leads            stay as a count, with form, page and state; contact, visitor and what somebody wrote by hand go. The
                     lead's id stays: it is what the ERP calls the record that has to be erased there
    deliveries       stay, without what the sink said and called it
    the order        keeps its id and a keyed hash of whom it was about: who asks again can be told that it was done

At once, when the order is in the log, the views leave the contact out (`lead_states.contact`) and nothing of it is sent
any more. Its seal cannot be destroyed alone: all contacts of a key share it. The bytes go with the nightly run.

Knows rows, lines of the spool and of the quarantine. Knows nothing of keys, of when it is done, and of other systems.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import sys
import tarfile
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import msgspec

from storage import archive
from storage.crash import crash_point
from storage.layout import Layout
from storage.rewrite import Change
from storage.spool_file import SEALED, sync_folder
from storage.sql import literal
from storage.tables import DELIVERY_FACTS, EVENTS, LEAD_FACTS
from tracker.model import DeliveryRecord, ExchangeRecord, FactRecord, SubmitRecord, decode_line, encode_line

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ORDERED, DONE = "erasure.ordered", "erasure.done"

# Columns of `events` that tell of a person. `path` stays: it is the page. The name of a bot may be part of what it sent.
_PERSONAL = (
    "visitor_id", "query", "location", "referrer", "campaign_params", "click_ids", "user_agent", "bot_name", "language",
    "client_ip",
)  # fmt: skip


@dataclass(frozen=True)
class Subject:
    """Whom to erase: browsers, leads, and the orders that say so. `values` are what their contacts hold, to look for."""

    visitors: frozenset[str] = frozenset()
    leads: frozenset[str] = frozenset()
    orders: frozenset[str] = frozenset()
    values: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.visitors or self.leads or self.orders)

    def __repr__(self) -> str:
        return f"Subject({len(self.visitors)} visitors, {len(self.leads)} leads, {len(self.orders)} orders)"

    @property
    def ids(self) -> list[bytes]:
        return [text.encode() for text in sorted(self.visitors | self.leads | self.orders)]


def hash_of(key: bytes, who: str) -> str:
    """A keyed hash of a visitor's id or an e-mail address: the same for the same person, and told to nobody without the
    key. Letters count without their case, as mail is delivered."""
    return hmac.new(key, b"ropo erasure\0" + who.strip().casefold().encode(), hashlib.sha256).hexdigest()


def changes(*, salt: str) -> list[Change]:
    """What becomes of the rows of a subject, whose names stand in the tables `erased_visitors`, `erased_leads` and
    `erased_orders`, column `id`, of the connection that does it. `salt` is random, and is to be forgotten afterwards."""
    of_visitor = "coalesce(visitor_id in (select id from erased_visitors), false)"
    of_lead = "coalesce(lead_id in (select id from erased_leads), false)"
    order = f"(name = '{ORDERED}' and coalesce(properties->>'order' in (select id from erased_orders), false))"
    visit = {"visit_id": _random_id("visit_id", salt)}
    by_hand = "case when fact in ('confirmed', 'discarded') then '' else reason end"
    return [
        Change(EVENTS.name, "orders", order, {"properties": _ONLY_ORDER, "lead_id": "null"}),
        Change(
            EVENTS.name,
            "events",
            f"(({of_visitor} or {of_lead}) and name not in ('{ORDERED}', '{DONE}'))",
            visit | dict.fromkeys((*_PERSONAL, "properties"), "null"),
        ),
        Change(
            LEAD_FACTS.name,
            "leads",
            of_lead,
            visit
            | {
                "contact": "null",
                "visitor_id": "null",
                "reason": by_hand,
                "page": "regexp_replace(page, '[?#].*', '')",
            },
        ),
        Change(LEAD_FACTS.name, "links", f"({of_visitor} and not {of_lead})", visit | {"visitor_id": "null"}),
        Change(DELIVERY_FACTS.name, "deliveries", of_lead, {"reason": "''", "remote_ref": "null"}),
    ]


_ONLY_ORDER = "json_object('order', properties->>'order', 'subject', properties->>'subject')"


def _random_id(column: str, salt: str) -> str:
    """A UUID (version 8, RFC 9562) that only who knows the salt could work out; NULL stays NULL."""
    text = f"md5({literal(salt)} || {column})"
    return (
        f"case when {column} is not null then {text}[1:8] || '-' || {text}[9:12] || '-8' || {text}[14:16] || '-8' || "
        f"{text}[18:20] || '-' || {text}[21:32] end"
    )


def redact(lines: bytes, subject: Subject) -> bytes:
    """The lines of a spool file, with the records of the subject made nobody's. The same bytes if there are none."""
    ids = subject.ids
    if not any(one in lines for one in ids):
        return lines
    return b"\n".join(
        _without(line, subject) if any(one in line for one in ids) else line for line in lines.split(b"\n")
    )


def _without(line: bytes, subject: Subject) -> bytes:
    try:
        record = decode_line(line)
    except (ValueError, RecursionError):
        # It could not be read before, and cannot now.
        return b"{}"
    replace = msgspec.structs.replace
    if isinstance(record, ExchangeRecord | SubmitRecord):
        sent = record.submission
        theirs = sent is not None and (sent.lead_id in subject.leads or record.visitor_id in subject.visitors)
        if sent is not None and sent.lead_id in subject.leads:
            sent = replace(sent, contact="", page=(sent.page or "").partition("?")[0] or None)
        if theirs or record.visitor_id in subject.visitors:
            record = replace(
                record,
                submission=sent,
                visitor_id=None,
                client_ip=None,
                user_agent=None,
                referrer=None,
                target=record.target.partition("?")[0],
            )
        if isinstance(record, ExchangeRecord):
            record = replace(record, location=None, language=None)
    elif isinstance(record, DeliveryRecord):
        record = replace(record, reason="", remote_ref=None)
    elif isinstance(record, FactRecord):
        kept = ("order", "subject") if record.name in (ORDERED, DONE) else ()
        record = replace(record, properties={key: record.properties[key] for key in kept if key in record.properties})
    text = encode_line(record)
    # Somewhere else in it, such as a path that holds the id.
    return b"{}" if any(visitor.encode() in text for visitor in subject.visitors) else text


def redact_archive(layout: Layout, subject: Subject) -> int:
    """Rewrites the archived spool files in which the subject is. How many files and bundles. Raises OSError.

    Nobody else may pack or prune the archive meanwhile.
    """
    folder = layout.archive
    changed = 0
    for path in sorted(folder.glob(f"*{SEALED}")):
        before = path.read_bytes()
        if (after := redact(before, subject)) != before:
            _replace(path, after)
            changed += 1
    for bundle in sorted(folder.glob(f"*{archive.BUNDLE}")):
        changed += _redact_bundle(bundle, subject)
    sync_folder(folder)
    return changed


def _redact_bundle(bundle: Path, subject: Subject) -> bool:
    part = bundle.with_name(bundle.name + archive.PART)
    changed = False
    try:
        with (
            zstd.open(bundle, "rb") as stream,
            tarfile.open(fileobj=stream, mode="r|") as old,
            open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file,
        ):
            with (
                zstd.open(file, "wb") as fresh,
                tarfile.open(fileobj=fresh, mode="w|", format=tarfile.PAX_FORMAT) as new,
            ):
                for member in old:
                    content = old.extractfile(member)
                    before = content.read() if content is not None else b""
                    after = redact(before, subject)
                    changed |= after != before
                    member.size = len(after)
                    new.addfile(member, BytesIO(after))
            file.flush()
            os.fsync(file.fileno())
        if changed:
            _name(part, bundle)
    except (zstd.ZstdError, tarfile.TarError, EOFError):
        # What cannot be read cannot be searched either, nor be of any use.
        bundle.unlink(missing_ok=True)
        changed = True
    finally:
        with suppress(FileNotFoundError):
            part.unlink()
    return changed


def redact_quarantine(layout: Layout, subject: Subject) -> int:
    """Takes out the quarantined lines that hold an id or a contact of the subject. How many files. Raises OSError.

    Nobody may append meanwhile.
    """
    needles = [*subject.ids, *_written(subject.values)]
    changed = 0
    for path in sorted(layout.quarantine.glob("*.ndjson")):
        before = path.read_bytes()
        kept = [line for line in before.split(b"\n") if not any(needle in line for needle in needles)]
        if (after := b"\n".join(kept)) != before:
            _replace(path, after)
            changed += 1
    if changed:
        sync_folder(layout.quarantine)
    return changed


def _written(values: Iterable[str]) -> Iterator[bytes]:
    """As they may stand in a line of JSON that quotes another. Short ones would be found everywhere."""
    for value in values:
        if len(value) >= 6:
            yield value.encode()
            yield msgspec.json.encode(value)[1:-1]


def _replace(path: Path, content: bytes) -> None:
    """The file with another content: under its name only when it is whole. Its time stays."""
    stat = path.stat()
    fresh = path.with_name(path.name + ".redacted")
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
        os.utime(file.fileno(), ns=(stat.st_atime_ns, stat.st_mtime_ns))
    _name(fresh, path)


def _name(fresh: Path, path: Path) -> None:
    os.rename(fresh, path)
    crash_point("file-redacted")


def out_of_reach(layout: Layout, known: Collection[str] = ()) -> list[Path]:
    """What lies in the folder and is none of ropo's: copies somebody made, such as a work.duckdb that was put aside."""
    own = {
        "work.duckdb", "work.duckdb.wal", "work.duckdb.new", "work.duckdb.new.wal", "work.duckdb.tmp", "log.duckdb",
        "hot.duckdb", "hot.duckdb.tmp", "lock", "cold", "cold.lock", "compact.lock", "rebuild.json", "shelves", "spool", "archive",
        "quarantine", "status", "export", "secrets", "nightly.json", *known,
    }  # fmt: skip
    return sorted(path for path in layout.root.iterdir() if path.name not in own and not path.name.startswith("."))
