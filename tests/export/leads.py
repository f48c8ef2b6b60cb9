"""Leads for tests: the full example of docs/lead.md, and messages made of it."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

from export.connector import Message
from export.outbox import delivery_id

MANUAL = Path(__file__).parents[2] / "docs" / "lead.md"
_EXAMPLE = json.loads(re.search(r"```json\n(.*?)```", MANUAL.read_text(encoding="utf-8"), re.DOTALL)[1])

# Stands in the contact of every test lead, and must stand in no log line and no reason.
CONTACT_MARK = "erika@muster.example"


def lead(number: int = 0, **changes: Any) -> dict[str, Any]:
    """The example with an id of its own. `contact` is merged into the example's, all else replaced."""
    document = copy.deepcopy(_EXAMPLE)
    document["lead_id"] = f"019aaa0f-3c5e-7d21-9b1a-{number:012d}"
    document["contact"] |= changes.pop("contact", {})
    return document | changes


def message(document: dict[str, Any], *, sink: str = "erp", attempt: int = 1, requeues: int = 0) -> Message:
    return Message(
        delivery_id=delivery_id(document["lead_id"], sink),
        lead_id=document["lead_id"],
        type="lead.created",
        occurred_at=document["occurred_at"],
        attempt=attempt,
        data=document,
        requeues=requeues,
    )
