"""`ropo visitor`: what the log has of one person, and erasing it.

A person is a browser, named by its visitor id, or an e-mail address, found in the sealed contacts by whoever may read the
contact key. Nothing is erased here: an order goes into the spool, and the collector carries it out.
"""

from __future__ import annotations

import base64
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import duckdb

from ropo import orders, running, secrets
from ropo.cli import options, values
from ropo.cli.moments import for_terminal
from ropo.cli.terminal import Cells, Failure, console, plain
from storage import erasure, questions
from storage.layout import Layout
from storage.read import NoLogError, open_log
from tracker.sealing import Sealer, UnsealError

Row = dict[str, Any]


@dataclass
class Person:
    """What the log has: `visitors` and `leads` are ids, `closed` counts contacts that no key opened."""

    asked: str
    visitors: list[str] = field(default_factory=list)
    leads: list[str] = field(default_factory=list)
    contacts: dict[str, dict[str, str]] = field(default_factory=dict, repr=False)
    closed: int = 0

    @property
    def is_email(self) -> bool:
        return "@" in self.asked

    def __bool__(self) -> bool:
        return bool(self.visitors or self.leads)


@click.group()
def visitor() -> None:
    """What the log has of a person, and erasing it.

    \b
    ropo visitor show erika@example.org
    ropo visitor erase 019a8a00-0000-7000-8000-00000000000e --dry-run
    """


@visitor.command()
@click.argument("who", metavar="VISITOR_ID|EMAIL")
@click.option("--json", "as_json", is_flag=True, help="One object with everything, to be handed out (Art. 15 GDPR).")
@options.config
@options.storage
def show(who: str, as_json: bool, config: Path, storage: str | None) -> None:
    """All that ropo has of a person: leads with contact data, deliveries, and every request of the browser.

    \b
    ropo visitor show 019a8a00-0000-7000-8000-00000000000e
    ropo visitor show erika@example.org --json
    """
    place = options.place(config, storage)
    keys = _keys(place.layout)
    with _log(place.layout) as con:
        person = _find(con, who, keys)
        known = questions.person(con, visitors=person.visitors, leads=person.leads)
        erased = questions.erasures(con, subjects=_hashes(keys, who)) if keys else []
    if not person and not erased:
        raise Failure(_nothing(person))
    for row in known["leads"]:
        row["contact"] = person.contacts.get(row["lead_id"])
    if as_json:
        answer = {"asked": who, "visitors": person.visitors, **known, "erasures": erased}
        click.echo(values.to_json(values.as_json(answer)))
        return
    _show(person, known, erased)


@visitor.command()
@click.argument("who", metavar="VISITOR_ID|EMAIL")
@click.option("--dry-run", is_flag=True, help="Only say what would be erased.")
@click.option("--now", is_flag=True, help="Do not wait for the night (storage.nightly_at).")
@click.option("--yes", is_flag=True, help="Do not ask.")
@options.config
@options.storage
def erase(who: str, dry_run: bool, now: bool, yes: bool, config: Path, storage: str | None) -> None:
    """Erase a person. Requests stay as numbers that belong to nobody; contact data, address and browser go.

    The contact data is out of sight within seconds, and gone from every file of ropo after the nightly run. Backups, and
    what sinks have been sent, are out of ropo's reach: erase there, too.

    \b
    ropo visitor erase erika@example.org --dry-run
    ropo visitor erase erika@example.org --now
    """
    place = options.place(config, storage)
    keys = _keys(place.layout)
    with _log(place.layout) as con:
        person = _find(con, who, keys)
        known = questions.person(con, visitors=person.visitors, leads=person.leads)
    if person.closed and person.is_email:
        click.echo(f"ropo: {person.closed} contacts cannot be opened: their key is missing.", err=True)
    if not person:
        raise Failure(_nothing(person))
    if not keys:
        raise Failure(f"without {secrets.contact_file(place.layout.secrets)} the erasure cannot be noted; put it back")
    sent = [row for row in known["deliveries"] if row["state"] == "delivered"]
    click.echo(
        f"{len(person.visitors)} browsers, {len(known['events'])} events, {len(person.leads)} leads, "
        f"{len(known['deliveries'])} deliveries."
    )
    for row in sent:
        click.echo(f"Already with {plain(row['sink'])}: lead {row['lead_id']}. Erase it there, too.")
    if dry_run:
        click.echo("Nothing was changed.")
        return
    if not yes and sys.stdin.isatty():
        click.confirm("Erase it? This cannot be undone.", abort=True)
    newest = base64.b64decode(keys[-1])
    subject = erasure.hash_of(newest, who)
    # Only whoever asked for a browser wants all that browser did; an address has its leads, and their browsers' events.
    facts = orders.erase(
        subject=subject,
        visitors=[] if person.is_email else person.visitors,
        leads=person.leads,
        email_hash=subject if person.is_email else None,
        now=now,
    )
    try:
        orders.give(place.layout, place.settings.node_name, facts)
    except orders.OrderError as error:
        raise Failure(str(error)) from None
    when = "now, within minutes" if now else f"in the night, at {place.settings.nightly_at}"
    if running.holder(place.layout) is None:
        click.echo("No ropo is running here. It is erased once `ropo serve` is started; the order is kept until then.")
    else:
        click.echo(f"The contact data is out of sight within seconds. It is erased {when}.")


@contextmanager
def _log(layout: Layout) -> Iterator[duckdb.DuckDBPyConnection]:
    try:
        con = open_log(layout)
    except NoLogError as error:
        raise Failure(str(error)) from None
    try:
        yield con
    except duckdb.Error as error:
        raise Failure(f"the log could not be read: {error}") from None
    finally:
        con.close()


def _keys(layout: Layout) -> tuple[str, ...]:
    try:
        return secrets.read_contact_keys(layout.secrets)
    except secrets.SecretsError as error:
        raise Failure(str(error)) from None


def _hashes(keys: tuple[str, ...], who: str) -> list[str]:
    return [erasure.hash_of(base64.b64decode(key), who) for key in keys]


def _find(con: duckdb.DuckDBPyConnection, who: str, keys: tuple[str, ...]) -> Person:
    """The browsers and leads of a visitor id or an e-mail address."""
    person = Person(who.strip())
    sealer = Sealer(keys) if keys else None
    wanted = person.asked.casefold()
    for row in questions.contacts(con):
        try:
            contact = sealer.open(row["contact"], row["lead_id"]) if sealer else None
        except UnsealError:
            contact = None
        person.closed += contact is None
        of_mail = person.is_email and contact is not None and contact.get("email", "").strip().casefold() == wanted
        if of_mail or (not person.is_email and row["visitor_id"] == person.asked):
            person.leads.append(row["lead_id"])
            person.contacts[row["lead_id"]] = contact or {}
            if row["visitor_id"] and row["visitor_id"] not in person.visitors:
                person.visitors.append(row["visitor_id"])
    person.leads = list(dict.fromkeys(person.leads))
    if not person.is_email and not person.visitors and questions.has_visitor(con, person.asked):
        person.visitors.append(person.asked)
    return person


def _nothing(person: Person) -> str:
    what = "lead with this e-mail address" if person.is_email else "visitor with this id"
    return f"the log has no {what}; the id is what `ropo leads show` calls visitor, and the cookie's first part"


def _show(person: Person, known: dict[str, list[Row]], erased: list[Row]) -> None:
    out = console()
    moments = for_terminal(out.is_terminal)
    for row in erased:
        click.echo(f"Erased {moments.minute(row['erased_at'])}.")
    for visitor_id in person.visitors:
        click.echo(f"visitor {visitor_id}")
    for row in known["leads"]:
        click.echo(
            f"lead {row['lead_id']} {moments.minute(row['occurred_at'])} {row['state']} {plain(row['form'] or '')}"
        )
        for name, value in (row["contact"] or {}).items():
            click.echo(f"  {plain(name)}: {plain(value)}")
    for row in known["deliveries"]:
        click.echo(f"delivery {plain(row['sink'])} {row['state']} of lead {row['lead_id']}")
    names = ["at", "name", "page", "channel", "address", "browser"]
    cells = [
        [
            moments.minute(row["occurred_at"]),
            row["name"],
            row["path"],
            row["channel"],
            row["client_ip"],
            row["user_agent"],
        ]
        for row in known["events"]
    ]
    if cells:
        Cells(names, cells, whole=(0,)).show(out, null="")
