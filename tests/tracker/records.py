"""Records as workers write them, with the fields a test does not care about filled in."""

from __future__ import annotations

from typing import Any

from tracker import clock
from tracker.model import ExchangeRecord, FormAnswer, Record, SpoolHeader, Submission

START_US = 1_795_341_600_000_000  # 2026-11-22 10:00:00 UTC
CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"
)
EPOCH = START_US * 1000
HEADER = SpoolHeader("n1", "w1", EPOCH, "1")


def at(secs: float) -> str:
    """The moment this many seconds after 10 o'clock."""
    return clock.text_of(START_US + round(secs * 1_000_000))


def exchange(seq: int = 1, secs: float = 0, target: str = "/", **changes: Any) -> ExchangeRecord:
    """A page that a known visitor looked at, `secs` after 10 o'clock, unless `changes` say otherwise."""
    fields: dict[str, Any] = {
        "method": "GET",
        "status": 200,
        "scheme": "https",
        "host": "www.example.com",
        "content_type": "text/html; charset=utf-8",
        "user_agent": CHROME,
        "fetch_dest": "document",
        "visitor_id": "v1",
        "identity": "known",
    }
    return ExchangeRecord(seq=seq, occurred_at=at(secs), target=target, **(fields | changes))


def part(seq: int, secs: float, target: str = "/site.css", **changes: Any) -> ExchangeRecord:
    """Something a page loads for itself."""
    return exchange(seq, secs, target, **({"content_type": "text/css", "fetch_dest": "style"} | changes))


def submission(lead_id: str = "lead-1", **changes: Any) -> Submission:
    fields: dict[str, Any] = {
        "form": "contact",
        "rule": "generic",
        "page": "https://www.example.com/contact",
        "contact": "sealed-contact",
        "lead_fields": ["email"],
        "field_names": ["mail", "csrf"],
        "answer": FormAnswer(303, location="/thanks"),
    }
    return Submission(lead_id=lead_id, **(fields | changes))


def submitted(seq: int, secs: float, lead_id: str = "lead-1", **changes: Any) -> ExchangeRecord:
    fields: dict[str, Any] = {"method": "POST", "status": 303, "content_type": None, "location": "/thanks"}
    sent = changes.pop("submission", None) or submission(lead_id)
    return exchange(seq, secs, "/contact/send", submission=sent, **(fields | changes))


def file(
    *records: Record, n: int = 0, header: SpoolHeader | None = HEADER, broken: int = 0
) -> tuple[SpoolHeader | None, str, list[Record], int]:
    """A sealed file's content, as `Pipeline.run` takes it."""
    known = header or HEADER
    return header, f"{known.worker}-{known.epoch:020d}-{n:06d}.ndjson", list(records), broken
