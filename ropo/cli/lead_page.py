"""One lead on a page for people: who, from where, what became of it, and the way there.

Knows the lead document (docs/lead.md) and how to lay it out. Asks nothing, opens nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ropo.cli.moments import Moments, for_terminal
from ropo.cli.terminal import plain, plain_lines
from tracker.settings import LEAD_FIELDS

Document = Mapping[str, Any]

LABELS = {"email": "e-mail", "callback_at": "call back at", "first_name": "first name", "last_name": "last name"}
KINDS = {"touchpoint": "arrived", "page_view": "page", "download": "download", "form_submit": "form sent"}
STATES = {"accepted": "green", "delivered": "green", "unconfirmed": "yellow", "owed": "yellow", "failed": "yellow",
          "discarded": "dim", "dead": "bold red"}  # fmt: skip


class LeadPage:
    def __init__(self, to: Console) -> None:
        self._to = to
        self._moments: Moments = for_terminal(to.is_terminal)

    def show(
        self,
        document: Document,
        *,
        reason: str | None,
        rule: str | None,
        deliveries: Sequence[Mapping[str, Any]],
        contact_problem: str | None,
    ) -> None:
        """`document` has its contact in clear, or None with `contact_problem` as the reason."""
        self._head(document, reason)
        self._section("Contact", self._contact(document, contact_problem))
        self._section("Came from", self._origin(document, rule))
        self._section("Deliveries", [self._delivery(d) for d in deliveries] or [("", _dim("owed to no sink"))])
        self._journey(document)

    def _head(self, document: Document, reason: str | None) -> None:
        state = str(document.get("state"))
        line = Text("Lead ").append(str(document["lead_id"]), "bold").append("  ").append(state, STATES.get(state, ""))
        if reason:
            line.append(f" ({plain(reason)})")
        self._print(line)
        self._print(_dim(self._moments.full(document.get("occurred_at"))))

    def _section(self, title: str, rows: Sequence[tuple[str, Text]]) -> None:
        self._print(Text(""))
        self._print(Text(title, "bold"))
        width = max((cell_len(label) for label, _ in rows), default=0)
        for label, text in rows:
            if not label:
                self._print(text, indent=2)
            elif self._to.is_terminal:
                grid = Table.grid(padding=(0, 2, 0, 0))
                grid.add_column(min_width=width, no_wrap=True)
                grid.add_column(overflow="fold")
                grid.add_row(Text(label), text)
                self._to.print(Padding(grid, (0, 0, 0, 2)))
            else:
                first, *more = text.plain.split("\n")
                self._print(Text(f"{label:{width}}  {first}"), indent=2)
                for line in more:
                    self._print(Text(f"{'':{width}}  {line}"), indent=2)

    def _contact(self, document: Document, problem: str | None) -> list[tuple[str, Text]]:
        contact = document.get("contact")
        if problem is not None:
            return [("", Text(f"cannot be shown: {plain(problem)}", "yellow"))]
        if not contact:
            return [("", _dim("nothing was kept of it"))]
        known = [name for name in LEAD_FIELDS if name in contact]
        others = sorted(name for name in contact if name not in LEAD_FIELDS)
        return [(LABELS.get(name, plain(name)), Text(plain_lines(str(contact[name])))) for name in [*known, *others]]

    def _origin(self, document: Document, rule: str | None) -> list[tuple[str, Text]]:
        form, page = document.get("form") or "a form", document.get("page") or document.get("action") or ""
        place = f"{document.get('host') or ''}{page}"
        # A form that is called nothing has the name of its path.
        said = place if form == page else f"{form} on {place}" if place else form
        rows = [("form", Text(plain(said) + (f", by the rule {plain(rule)}" if rule and rule != "generic" else "")))]
        first, last = document.get("first_touch"), document.get("last_touch")
        other = document.get("last_non_direct_touch")
        rows.append(("first touch", self._touch(first)))
        rows.append(("last touch", self._touch(last)))
        if other and other not in (first, last):
            rows.append(("last not direct", self._touch(other)))
        return rows

    def _touch(self, touch: Document | None) -> Text:
        if not touch:
            return _dim("not known: the visitor had no cookie of ours")
        line = Text(_origin_of(touch))
        clicks = " ".join(f"{name}={value}" for name, value in (touch.get("click_ids") or {}).items())
        details = [
            plain(clicks),
            f"to {plain(touch['landing_page'])}" if touch.get("landing_page") else "",
            f"referrer {plain(touch['referrer'])}" if touch.get("referrer") else "",
        ]
        said = ", ".join(detail for detail in details if detail)
        return line.append(f", {self._moments.short(touch['occurred_at'])}").append(f"\n{said}" if said else "", "dim")

    def _delivery(self, delivery: Mapping[str, Any]) -> tuple[str, Text]:
        state, attempts = str(delivery["state"]), delivery["attempts"]
        line = Text().append(f"{state:9}", STATES.get(state, ""))
        said = []
        if state == "delivered":
            said.append(self._moments.short(delivery["last_at"]))
            if delivery.get("remote_ref"):
                said.append(f"as {plain(delivery['remote_ref'])}")
        if attempts and state != "delivered" or attempts > 1:
            said.append(f"{attempts} attempt{'s' * (attempts != 1)}")
        if state in ("owed", "failed"):
            due = delivery.get("next_attempt_at")
            said.append(f"next after {self._moments.short(due)}" if due else "next at once")
        if delivery.get("reason") and state != "delivered":
            said.append(plain(delivery["reason"]))
        return plain(delivery["sink"]), line.append(" " + ", ".join(said))

    def _journey(self, document: Document) -> None:
        steps = document.get("journey") or []
        visits, pages = document.get("visits") or 0, document.get("page_views") or 0
        self._print(Text(""))
        head = Text().append("Journey", "bold")
        days = float(document.get("days_to_lead") or 0)
        head.append(f"  {_count(visits, 'visit')}, {_count(pages, 'page')}, {_days(days)} to the lead")
        self._print(head)
        number = max(0, visits - len({step["visit_id"] for step in steps if step["visit_id"]}))
        if number:
            self._print(_dim(f"earlier steps are left out, {_count(number, 'visit')} of them"), indent=2)
        seen: dict[str | None, int] = {}
        for visit_id, group in groupby(steps, key=lambda step: step["visit_id"]):
            if visit_id and visit_id not in seen:
                number += 1
                seen[visit_id] = number
            self._visit(seen.get(visit_id), list(group))

    def _visit(self, number: int | None, steps: list[Document]) -> None:
        title = f"visit {number}" if number else "outside any visit"
        self._print(Text().append(title, "bold").append(f"  {self._moments.full(steps[0]['occurred_at'])}"), indent=2)
        for line in self._steps(steps):
            self._print(line, indent=4)

    def _steps(self, steps: list[Document]) -> Iterator[Text]:
        for step in steps:
            line = Text().append(self._moments.clock(step["occurred_at"]), "dim")
            line.append(
                f"  {KINDS.get(step['kind'], plain(step['kind'])):9}  {plain(step.get('page') or '')}", "not dim"
            )
            if step["kind"] == "touchpoint":
                line.append(f"  {_origin_of(step)}", "cyan")
            yield line

    def _print(self, text: Text, *, indent: int = 0) -> None:
        self._to.print(Padding(text, (0, 0, 0, indent)) if self._to.is_terminal else Text(" " * indent) + text,
                       soft_wrap=not self._to.is_terminal)  # fmt: skip


def _origin_of(touch: Document) -> str:
    """`Paid Search: google / cpc / autumn`."""
    names = " / ".join(plain(touch[name]) for name in ("source", "medium", "campaign") if touch.get(name))
    return ": ".join(part for part in (plain(touch.get("channel") or ""), names) if part) or "unknown"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _days(days: float) -> str:
    if days >= 1:
        return f"{days:.1f} days"
    minutes = round(days * 24 * 60)
    if minutes < 1:
        return "less than a minute"
    return f"{minutes / 60:.1f} hours" if minutes >= 90 else _count(minutes, "minute")


def _dim(text: str) -> Text:
    return Text(text, "dim")
