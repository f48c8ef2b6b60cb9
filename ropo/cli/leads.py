"""`ropo leads`: who wrote, what brought them, and what became of it.

Contact data is sealed in the log. It is opened here, for whoever may read the contact key.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import duckdb
import msgspec

from ropo import orders, running, secrets
from ropo.cli import options, values
from ropo.cli.lead_page import LeadPage
from ropo.cli.moments import for_terminal
from ropo.cli.terminal import Cells, Failure, console, plain
from storage import questions
from storage.layout import Layout
from storage.read import NoLogError, open_log
from tracker.model import FactRecord
from tracker.sealing import Sealer, UnsealError

Lead = dict[str, Any]

# The beginning of a UUIDv7 that holds its milliseconds and 12 random bits: as good as unique, and short enough to type.
SHORT_ID = 18


@click.group()
def leads() -> None:
    """See the leads, and decide by hand.

    \b
    ropo leads list
    ropo leads show 0199d3a2-5c1e
    ropo leads retry 0199d3a2-5c1e --sink erp
    """


@leads.command("list")
@click.option("--state", type=click.Choice(["accepted", "unconfirmed", "discarded"]), help="Only leads of this state.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many, newest first."
)
@click.option("--json", "as_json", is_flag=True, help="An array of objects, one per line.")
@options.config
@options.storage
def list_leads(state: str | None, limit: int, as_json: bool, config: Path, storage: str | None) -> None:
    """The latest leads, one per line.

    \b
    ropo leads list --state unconfirmed
    ropo leads list --json --limit 1000
    """
    place = options.place(config, storage)
    with _log(place.layout) as con:
        found = questions.list_leads(con, state=state, limit=limit)
    envelope = Envelopes.at(place.layout)
    if as_json:
        _write_json([_opened(lead, envelope) for lead in found])
        return
    out = console()
    if not found:
        click.echo(f"No {state} leads yet." if state else "No leads yet.", err=True)
        return
    moments = for_terminal(out.is_terminal)
    rows = [
        [
            lead["lead_id"][:SHORT_ID] if out.is_terminal else lead["lead_id"],
            moments.minute(lead["occurred_at"]),
            lead["state"],
            _who(envelope.open(lead)[0]),
            lead["form"] or "",
            _touch(lead, "first_touch"),
            _touch(lead, "last_touch"),
            _deliveries(lead),
        ]
        for lead in found
    ]
    names = ["lead", "at", "state", "who", "form", "first touch", "last touch", "deliveries"]
    Cells(names, rows, whole=(0, 1, 2), least=12).show(out, null="")


@leads.command()
@click.argument("lead_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="The lead document as sinks get it (docs/lead.md).")
@options.config
@options.storage
def show(lead_id: str, as_json: bool, config: Path, storage: str | None) -> None:
    """One lead: contact, what brought it, deliveries and the journey. ID may be its beginning.

    \b
    ropo leads show 0199d3a2-5c1e
    ropo leads show 0199d3a2-5c1e --json | jq .contact
    """
    place = options.place(config, storage)
    with _log(place.layout) as con:
        lead = _find(con, lead_id)
        document = questions.lead_document(con, lead["lead_id"]) or {}
        deliveries = questions.lead_deliveries(con, lead["lead_id"])
    contact, problem = Envelopes.at(place.layout).open(lead)
    document = {("contact" if key == "contact_sealed" else key): value for key, value in document.items()}
    document["contact"] = contact
    if as_json:
        text = values.to_json(values.as_json(document))
        # On a terminal somebody reads it; machines get one line.
        click.echo(msgspec.json.format(text, indent=2) if console().is_terminal else text)
        if problem:
            click.echo(f"ropo: the contact cannot be shown: {problem}", err=True)
        return
    LeadPage(console()).show(
        document, reason=lead["reason"], rule=lead["rule"], deliveries=deliveries, contact_problem=problem
    )


@leads.command()
@click.argument("lead_id", metavar="ID", required=False)
@click.option("--sink", metavar="NAME", help="Only the delivery to this sink.")
@click.option("--all-dead", is_flag=True, help="Every delivery that was given up, of all leads.")
@click.option("--again", is_flag=True, help="Also what was delivered already: the sink gets it once more.")
@options.config
@options.storage
def retry(
    lead_id: str | None, sink: str | None, all_dead: bool, again: bool, config: Path, storage: str | None
) -> None:
    """Try deliveries again that failed or were given up.

    \b
    ropo leads retry 0199d3a2-5c1e
    ropo leads retry 0199d3a2-5c1e --sink erp --again
    ropo leads retry --all-dead --sink crm
    """
    if (lead_id is None) != all_dead or (all_dead and again):
        raise click.UsageError("Give the ID of one lead, perhaps with --again, or --all-dead.")
    place = options.place(config, storage)
    with _log(place.layout) as con:
        if lead_id is None:
            chosen = [d for d in questions.dead_letters(con) if sink in (None, d["sink"])]
        else:
            chosen = _retriable(questions.lead_deliveries(con, _find(con, lead_id)["lead_id"]), sink, again)
    if not chosen:
        click.echo("Nothing was given up: there is nothing to try again.")
        return
    facts = [orders.requeue(delivery["lead_id"], delivery["sink"]) for delivery in chosen]
    said = [f"Requeued: lead {delivery['lead_id']} to {plain(delivery['sink'])}" for delivery in chosen]
    _order(place, facts, said, then="is tried again at once", later="is tried again")


@leads.command()
@click.argument("lead_id", metavar="ID")
@click.option("--reason", default="", metavar="TEXT", help="Kept with the lead.")
@options.config
@options.storage
def confirm(lead_id: str, reason: str, config: Path, storage: str | None) -> None:
    """Say that a lead is one, where the site's answer did not tell. It then goes to the sinks.

    \b
    ropo leads confirm 0199d3a2-5c1e
    """
    place = options.place(config, storage)
    with _log(place.layout) as con:
        lead = _find(con, lead_id)
    if lead["state"] == "accepted":
        click.echo(f"Lead {lead['lead_id']} is accepted already.")
        return
    said = [f"Confirmed: lead {lead['lead_id']}"]
    then = "goes to every sink that has not got it yet"
    _order(place, [orders.confirm(lead["lead_id"], reason)], said, then=then, later=then)


@leads.command()
@click.argument("lead_id", metavar="ID")
@click.option("--reason", default="", metavar="TEXT", help="Kept with the lead.")
@options.config
@options.storage
def discard(lead_id: str, reason: str, config: Path, storage: str | None) -> None:
    """Say that a lead is none: spam, a test. What sinks have got already stays there.

    \b
    ropo leads discard 0199d3a2-5c1e --reason spam
    """
    place = options.place(config, storage)
    with _log(place.layout) as con:
        lead = _find(con, lead_id)
        delivered = [d["sink"] for d in questions.lead_deliveries(con, lead["lead_id"]) if d["state"] == "delivered"]
    if lead["state"] == "discarded":
        click.echo(f"Lead {lead['lead_id']} is discarded already.")
        return
    said = [f"Discarded: lead {lead['lead_id']}"]
    if delivered:
        said.append(f"It was delivered to {', '.join(map(plain, delivered))} before; take it out there yourself.")
    fact = orders.discard(lead["lead_id"], reason)
    _order(place, [fact], said, then="no longer counts as a lead", later="no longer counts as a lead")


@dataclass(frozen=True)
class Envelopes:
    """Opens contacts, or says why they stay closed."""

    sealer: Sealer | None
    problem: str

    @classmethod
    def at(cls, layout: Layout) -> Envelopes:
        try:
            keys = secrets.read_contact_keys(layout.secrets)
        except secrets.SecretsError as error:
            return cls(None, str(error))
        if not keys:
            return cls(None, f"the key is missing: there is no {secrets.contact_file(layout.secrets)}")
        return cls(Sealer(keys), "")

    def open(self, lead: Lead) -> tuple[dict[str, str] | None, str | None]:
        """The contact of a row of the view `leads`, or None and why."""
        sealed = lead.get("contact")
        if not sealed:
            return {}, None
        if self.sealer is None:
            return None, self.problem
        try:
            return self.sealer.open(sealed, lead["lead_id"]), None
        except UnsealError as error:
            return None, str(error)


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


def _find(con: duckdb.DuckDBPyConnection, lead_id: str) -> Lead:
    try:
        lead = questions.lead(con, lead_id.strip().lower())
    except LookupError as error:
        raise Failure(str(error.args[0])) from None
    if lead is None:
        raise Failure(f"no lead has an id that begins with {plain(lead_id)!r}; `ropo leads list` shows the latest")
    return lead


def _retriable(deliveries: Sequence[Lead], sink: str | None, again: bool) -> list[Lead]:
    """Which deliveries of one lead can be tried again; Failure says why none of them."""
    if not deliveries:
        raise Failure("this lead is owed to no sink; configure one, or confirm the lead if it is unconfirmed")
    if sink is not None and sink not in {d["sink"] for d in deliveries}:
        known = ", ".join(plain(d["sink"]) for d in deliveries)
        raise Failure(f"this lead is not owed to a sink named {plain(sink)!r}; it is owed to {known}")
    asked = [d for d in deliveries if sink in (None, d["sink"])]
    chosen = [d for d in asked if d["state"] in ("dead", "failed") or (again and d["state"] == "delivered")]
    if not chosen:
        states = ", ".join(f"{plain(d['sink'])}: {d['state']}" for d in asked)
        hint = "; --again sends once more what was delivered" if "delivered" in {d["state"] for d in asked} else ""
        raise Failure(f"there is nothing to try again ({states}){hint}")
    return chosen


def _order(place: options.Place, facts: list[FactRecord], said: list[str], *, then: str, later: str) -> None:
    try:
        orders.give(place.layout, place.settings.node_name, facts)
    except orders.OrderError as error:
        raise Failure(str(error)) from None
    for line in said:
        click.echo(line)
    what = "It" if len(facts) == 1 else "Each of them"
    if running.holder(place.layout) is None:
        click.echo(
            f"No ropo is running here. {what} {later} once `ropo serve` is started; the order is kept until then."
        )
    else:
        click.echo(f"{what} {then}; the log shows it within a few seconds.")


def _opened(lead: Lead, envelopes: Envelopes) -> Lead:
    return {**lead, "contact": envelopes.open(lead)[0]}


def _write_json(rows: list[Lead]) -> None:
    lines = [values.to_json(values.as_json(row)) for row in rows]
    sys.stdout.write("[\n" + ",\n".join(lines) + "\n]\n" if lines else "[]\n")


def _who(contact: dict[str, str] | None) -> str:
    if contact is None:
        return "(sealed)"
    name = contact.get("name") or " ".join(contact[part] for part in ("first_name", "last_name") if contact.get(part))
    said = [name or contact.get("email") or contact.get("phone") or contact.get("mobile"), contact.get("company")]
    return ", ".join(part for part in said if part)


def _touch(lead: Lead, which: str) -> str:
    parts = [lead[f"{which}_{name}"] for name in ("source", "medium", "campaign")]
    said = " / ".join(part for part in parts if part)
    return ": ".join(part for part in (lead[f"{which}_channel"], said) if part)


def _deliveries(lead: Lead) -> str:
    return ", ".join(f"{lead[state]} {state}" for state in ("delivered", "owed", "dead") if lead[state])
