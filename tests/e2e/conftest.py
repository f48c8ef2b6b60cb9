"""The peers of a whole house: a site, a receiver of leads, drop folders."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.exports import csv_leads, jsonl_leads
from tests.support.origins import Site
from tests.support.webhook_receiver import WebhookReceiver


@dataclass(frozen=True)
class Sinks:
    """Three sinks, and what has arrived at each."""

    csv: Path
    jsonl: Path
    secret: Path
    receiver: WebhookReceiver

    def settings(self) -> dict[str, Any]:
        """The section `export:`."""
        return {
            "sinks": [
                {"type": "csv", "name": "erp-csv", "folder": str(self.csv)},
                {"type": "jsonl", "name": "erp-jsonl", "folder": str(self.jsonl)},
                {"type": "webhook", "name": "crm", "url": self.receiver.url, "secret": f"file:{self.secret}"},
            ],
            # Soon again: what is tried here is that it is tried again, not how patiently.
            "retry": {"schedule_secs": [0.5], "then_every_secs": 1},
            "circuit": {"open_secs": 1, "parked_secs": 1},
        }

    def csv_emails(self) -> list[str]:
        return [lead["email"] for lead in csv_leads(self.csv)]

    def jsonl_emails(self) -> list[str]:
        return [lead["contact"]["email"] for lead in jsonl_leads(self.jsonl)]

    def webhook_ids(self) -> dict[str, set[str]]:
        """The webhook-ids that were accepted, by e-mail address of the lead."""
        ids: dict[str, set[str]] = {}
        for received in self.receiver.accepted:
            ids.setdefault(received.json["data"]["contact"]["email"], set()).add(received.id)
        return ids


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as running:
        yield running


@pytest.fixture
def sinks(tmp_path: Path) -> Iterator[Sinks]:
    yield from make_sinks(tmp_path)


def make_sinks(folder: Path) -> Iterator[Sinks]:
    """Empty drop folders below `folder`, and a receiver that listens until the generator goes on."""
    with WebhookReceiver() as receiver:
        made = Sinks(folder / "erp-csv", folder / "erp-jsonl", folder / "webhook.secret", receiver)
        made.csv.mkdir()
        made.jsonl.mkdir()
        made.secret.write_text(receiver.secret)
        made.secret.chmod(0o600)
        yield made
