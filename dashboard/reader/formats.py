"""An answer as JSON, lines of JSON, CSV or an Arrow stream, piece by piece. Knows the media types that ask for each.

Moments are in UTC with a `Z`, decimals are numbers with all their digits, NaN and infinity are null in JSON, octets are
base64. pyarrow is loaded only where an Arrow stream is asked for; DuckDB alone cannot write one.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from decimal import Decimal
from importlib.util import find_spec
from typing import Any, Protocol

import msgspec

from dashboard.reader.problem import Problem

MEDIA_TYPES = {
    "json": "application/json",
    "ndjson": "application/x-ndjson",
    "csv": "text/csv; charset=utf-8; header=present",
    "arrow": "application/vnd.apache.arrow.stream",
}
# What else asks for them.
_ALSO = {"application/jsonl": "ndjson", "application/ndjson": "ndjson", "text/json": "json"}

Columns = Sequence[tuple[str, str]]

_json = msgspec.json.Encoder(decimal_format="number")


class Form(Protocol):
    """How an answer begins, goes on and ends; `broken` is its end when it is not whole."""

    def begin(self, columns: Columns) -> bytes: ...
    def rows(self, rows: Sequence[tuple]) -> bytes: ...
    def end(self, rows: int) -> bytes: ...
    def broken(self, problem: Problem) -> bytes: ...


def has_arrow() -> bool:
    return find_spec("pyarrow") is not None


def wanted(accept: str, name: str | None) -> str | None:
    """The form that `format=` names, or else the Accept field (RFC 9110 12.5.1) likes best. None: none of ours."""
    if name is not None:
        return name if name in MEDIA_TYPES else None
    known = {media.partition(";")[0]: form for form, media in MEDIA_TYPES.items()} | _ALSO
    best, best_weight = None, 0.0
    for part in (accept or "*/*").lower().split(","):
        media, *parameters = (piece.strip() for piece in part.split(";"))
        weight = next((_weight(p[2:]) for p in parameters if p.startswith("q=")), 1.0)
        form = "json" if media in ("*/*", "application/*") else "csv" if media == "text/*" else known.get(media)
        if form and weight > best_weight:
            best, best_weight = form, weight
    return best


def _weight(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def form_of(name: str) -> Form:
    return {"json": Json, "ndjson": Lines, "csv": Csv}[name]()


class Json:
    """`{"columns": [{"name", "type"}], "rows": [[...], ...], "row_count": n}`"""

    def begin(self, columns: Columns) -> bytes:
        self._first = True
        described = [{"name": name, "type": type_} for name, type_ in columns]
        return b'{"columns":' + _json.encode(described) + b',"rows":['

    def rows(self, rows: Sequence[tuple]) -> bytes:
        inner = _json.encode(rows)[1:-1]
        comma, self._first = b"" if self._first else b",\n", False
        return comma + inner

    def end(self, rows: int) -> bytes:
        return b'],"row_count":%d}\n' % rows

    def broken(self, problem: Problem) -> bytes:
        return b'],"error":' + _json.encode(problem) + b"}\n"


class Lines:
    """An object per line. Of two columns of one name the later is called `name_1`, as DuckDB does in a table."""

    def begin(self, columns: Columns) -> bytes:
        self._names = distinct(name for name, _ in columns)
        return b""

    def rows(self, rows: Sequence[tuple]) -> bytes:
        return _lines.encode_lines([dict(zip(self._names, row, strict=True)) for row in rows])

    def end(self, rows: int) -> bytes:
        return b""

    def broken(self, problem: Problem) -> bytes:
        return _json.encode({"error": problem}) + b"\n"


_lines = _json


class Csv:
    """RFC 4180 with a header. Null is an empty cell, nested values are JSON."""

    def begin(self, columns: Columns) -> bytes:
        return self._written([[name for name, _ in columns]])

    def rows(self, rows: Sequence[tuple]) -> bytes:
        return self._written([[cell(value) for value in row] for row in rows])

    def end(self, rows: int) -> bytes:
        return b""

    def broken(self, problem: Problem) -> bytes:
        return b""  # the connection breaks off: a line of words would be taken for data

    def _written(self, rows: Iterable[Iterable[Any]]) -> bytes:
        text = io.StringIO()
        csv.writer(text).writerows(rows)
        return text.getvalue().encode("utf-8", "replace")


def cell(value: Any) -> Any:
    """What stands in a CSV for a value."""
    if value is None or isinstance(value, str | Decimal):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return value
    text = _json.encode(value).decode()
    # A moment, a day, an identifier: text in JSON too.
    return msgspec.json.decode(text) if text.startswith('"') else text


def distinct(names: Iterable[str]) -> list[str]:
    """The names, each once: the first keeps its own."""
    given = list(names)
    taken, seen, found = set(given), set(), []
    for name in given:
        free, number = name, 0
        while free in (taken if number else seen):
            number += 1
            free = f"{name}_{number}"
        taken.add(free)
        seen.add(free)
        found.append(free)
    return found
