"""The lead document by its parts. Knows the names of docs/lead.md; nothing of where a lead goes.

Every function takes the document as plain JSON data and copes with parts that are missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

# What a form field can be mapped to: the keys of `contact`, in the order people read them.
LEAD_FIELDS = (
    "salutation", "first_name", "last_name", "name", "company", "position", "email", "phone", "mobile", "street",
    "postcode", "city", "country", "subject", "message", "product", "callback_at", "consent",
)  # fmt: skip

MAX_JOURNEY_STEPS = 40
_SAFE_ID = re.compile(r"[0-9A-Za-z-]{1,64}")


def file_name(document: Mapping[str, Any], ending: str) -> str:
    """`lead-<moment>-<lead id>.<ending>`: the same for the same lead, different for any other, sorted by time.

    Raises ValueError for a lead id that is not fit for a file name.
    """
    lead_id = document.get("lead_id") or ""
    if not _SAFE_ID.fullmatch(lead_id):
        raise ValueError("the lead's id is not fit for a file name")
    return f"lead-{_compact(document.get('occurred_at') or '')}-{lead_id}.{ending}"


def journey_text(document: Mapping[str, Any]) -> str:
    """The journey on one line: `Paid Search: google / cpc / autumn > /pumps > /contact (form_submit)`.

    A long one keeps its beginning and its end.
    """
    steps = list(_steps(document.get("journey") or []))
    if len(steps) > MAX_JOURNEY_STEPS:
        half = MAX_JOURNEY_STEPS // 2
        steps = [*steps[:half], f"({len(steps) - 2 * half} more)", *steps[-half:]]
    return " > ".join(steps)


def _steps(journey: list[dict[str, Any]]) -> Iterator[str]:
    before = None
    for step in journey:
        kind, page = step.get("kind"), step.get("page") or "?"
        if kind == "touchpoint":
            names = " / ".join(step[name] for name in ("source", "medium", "campaign") if step.get(name))
            text = ": ".join(part for part in (step.get("channel"), names) if part) or "?"
        else:
            text = page if kind == "page_view" else f"{page} ({kind})"
        if text != before:
            yield text
        before = text


def _compact(moment: str) -> str:
    try:
        at = datetime.fromisoformat(moment)
    except ValueError:
        return "undated"
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
