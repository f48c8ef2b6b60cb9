"""What lies in the drop folders of the csv and jsonl sinks. Reads them as an ERP would: finished files only."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any


def csv_leads(folder: Path, *, delimiter: str = ";") -> list[dict[str, str]]:
    """One dict per lead file, by the columns of its header. Raises AssertionError for a file with another number."""
    leads = []
    for path in sorted(folder.glob("*.csv")):
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, delimiter=delimiter))
        assert len(rows) == 1, f"{path.name} holds {len(rows)} leads"
        leads += rows
    return leads


def jsonl_leads(folder: Path) -> list[dict[str, Any]]:
    """One document per lead file, as docs/lead.md lays it out."""
    leads = []
    for path in sorted(folder.glob("*.jsonl")):
        lines = path.read_text(encoding="utf-8").splitlines()
        assert len(lines) == 1, f"{path.name} holds {len(lines)} leads"
        leads += map(json.loads, lines)
    return leads
