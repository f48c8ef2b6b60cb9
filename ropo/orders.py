"""What an operator orders by hand: confirm or discard a lead, try a delivery again, erase a person.

Knows how an order becomes a fact in the spool, the same door that everything else comes through. It is on the disk when
`give` returns, whether or not a ropo runs; the collector takes it in when there is one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ropo import __version__
from storage.layout import Layout
from storage.sealed import drop_file
from tracker import clock
from tracker.model import FactRecord, encode_line

# Who wrote the file; workers have names of their own.
WRITER = "operator"


class OrderError(RuntimeError):
    """The order could not be written down; the text says why and what to do."""


def requeue(lead_id: str, sink: str) -> FactRecord:
    return _fact("delivery.requeued", lead_id=lead_id, sink=sink)


def confirm(lead_id: str, reason: str) -> FactRecord:
    return _fact("lead.confirmed", lead_id=lead_id, reason=reason)


def discard(lead_id: str, reason: str) -> FactRecord:
    return _fact("lead.discarded", lead_id=lead_id, reason=reason)


def erase(
    *, subject: str, visitors: Sequence[str], leads: Sequence[str], email_hash: str | None, now: bool
) -> list[FactRecord]:
    """The order to erase a person, as facts: one for each browser and lead, and for the e-mail address a keyed hash.

    `subject` is a keyed hash of whom it is about: it stays when the rest is gone. `now`: the collector is not to wait
    for the night.
    """
    common = {"order": clock.new_id(), "subject": subject} | ({"now": "yes"} if now else {})
    facts = [_fact("erasure.ordered", **common, visitor=visitor) for visitor in visitors]
    facts += [_fact("erasure.ordered", **common, lead_id=lead_id) for lead_id in leads]
    if email_hash:
        facts.append(_fact("erasure.ordered", **common, email_hash=email_hash))
    return facts


def give(layout: Layout, node: str, facts: Sequence[FactRecord]) -> Path:
    """Writes the facts as one spool file, all or none. Raises OrderError."""
    lines = [encode_line(fact) for fact in facts]
    try:
        with _as_owner_of(layout.spool):
            return drop_file(
                layout.spool, node=node, worker=WRITER, epoch=time.time_ns(), version=__version__, lines=lines
            )
    except FileNotFoundError:
        raise OrderError(f"there is no folder {layout.spool}; start `ropo serve` once, it makes one") from None
    except PermissionError:
        raise OrderError(
            f"this user may not write to {layout.spool}; run the command as the user ropo runs as"
        ) from None
    except OSError as error:
        raise OrderError(f"{layout.spool} cannot be written ({error.strerror}); nothing was changed") from None


def _fact(name: str, **properties: str) -> FactRecord:
    return FactRecord(
        fact_id=clock.new_id(),
        occurred_at=clock.now_text(),
        name=name,
        source="operator",
        properties={key: value for key, value in properties.items() if value},
    )


@contextmanager
def _as_owner_of(folder: Path) -> Iterator[None]:
    """Root writes as the service's own user: spool files are for their owner alone, and the collector must read it."""
    if os.geteuid() != 0:
        yield
        return
    about = folder.stat()
    group = os.getegid()
    os.setegid(about.st_gid)
    os.seteuid(about.st_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
