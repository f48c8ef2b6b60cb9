"""Why a question gets no answer, as a value: an HTTP status, a word for programs, a sentence for people, and where.

Knows how DuckDB says what is wrong (`errors_as_json`), and nothing of connections.
"""

from __future__ import annotations

from typing import Any

import msgspec

# By DuckDB's `exception_type`. What is not here is what one can get wrong in SQL: 400.
_KINDS = {
    "Permission": (403, "not_allowed"),
    "Invalid Configuration": (403, "not_allowed"),
    "Out of Memory": (413, "out_of_memory"),
    "INTERRUPT": (504, "time_limit"),
    "IO": (503, "log"),
    "INTERNAL": (500, "internal"),
    "FATAL": (500, "internal"),
}
_TOO_LONG = 2000


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """`position` counts characters of the statement from 0, `line` and `column` from 1."""

    status: int
    kind: str
    message: str
    position: int | None = None
    line: int | None = None
    column: int | None = None

    def body(self) -> bytes:
        """As JSON: `{"error": {...}}`."""
        return msgspec.json.encode({"error": self})


class Refused(Exception):
    """Carries a problem to where it is answered."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def at(sql: str, octet: int | None, status: int, kind: str, message: str) -> Problem:
    """A problem at an octet of the statement, as DuckDB counts."""
    text = sql.encode()
    if octet is None or not 0 <= octet <= len(text):
        return Problem(status, kind, message)
    before = text[:octet].decode("utf-8", "ignore")
    line = before.count("\n") + 1
    return Problem(status, kind, message, len(before), line, len(before) - before.rfind("\n"))


def of_duckdb(error: BaseException, sql: str) -> Problem:
    """What DuckDB's error says of this statement. What it says of files stays with us."""
    said = _said(str(error))
    type_ = str(said.get("exception_type", ""))
    status, kind = _KINDS.get(type_, (400, "sql"))
    message = str(said.get("exception_message") or error).partition("\n\nStack Trace")[0].strip()
    if kind == "log":
        message = "The rows behind the log cannot be read now. `ropo serve` puts them in place; ask again."
    elif kind == "internal":
        message = "DuckDB met an error of its own in this query. The statement may have to be said in another way."
    elif kind == "out_of_memory":
        message = (
            f"The query needs more memory than one may take. Ask for fewer rows or days, or raise "
            f"dashboard.sql.memory_limit_mb. ({message.partition(chr(10))[0]})"
        )
    if len(message) > _TOO_LONG:
        message = message[: _TOO_LONG - 1] + "…"
    octet = said.get("position")
    return at(sql, int(octet) if str(octet).isdigit() else None, status, kind, message)


def no_log() -> Problem:
    return Problem(503, "log", "There is no log yet, or it cannot be opened. `ropo serve` makes one; ask again.")


def too_late(secs: float) -> Problem:
    message = f"The query took longer than {secs:g} s (dashboard.sql.timeout_secs). Ask for fewer rows or days."
    return Problem(504, "time_limit", message)


def too_long(rows: int) -> Problem:
    message = f"The answer has more than {rows:,} rows (dashboard.sql.max_rows). Add a limit, or ask in parts."
    return Problem(413, "too_many_rows", message)


def _said(text: str) -> dict[str, Any]:
    """`Binder Error: {"exception_type": ...}`, as DuckDB's Python client has it."""
    try:
        said = msgspec.json.decode(text[text.index("{") :])
    except (ValueError, msgspec.DecodeError):
        return {"exception_type": text.partition(" Error: ")[0]}
    return said if isinstance(said, dict) else {}
