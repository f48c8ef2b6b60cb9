"""The rows of an answer, as CSV, as JSON, as lines of JSON, or as a table. Knows rows; knows nothing of queries."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import IO, Any

from rich.console import Console
from rich.text import Text

from ropo.cli import values
from ropo.cli.terminal import Cells

Rows = Iterable[Sequence[Any]]


def write_csv(to: IO[str], names: list[str], _types: list[str], rows: Rows) -> None:
    writer = csv.writer(to, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        writer.writerow([values.as_csv(value) for value in row])


def write_json(to: IO[str], names: list[str], types: list[str], rows: Rows) -> None:
    """One array, an object a line."""
    between = "["
    for line in _objects(names, types, rows):
        to.write(f"{between}\n{line}")
        between = ","
    to.write("[]\n" if between == "[" else "\n]\n")


def write_ndjson(to: IO[str], names: list[str], types: list[str], rows: Rows) -> None:
    for line in _objects(names, types, rows):
        to.write(f"{line}\n")


WRITERS: dict[str, Callable[[IO[str], list[str], list[str], Rows], None]] = {
    "csv": write_csv,
    "json": write_json,
    "ndjson": write_ndjson,
}


@dataclass
class Table:
    """Rows to be shown, and how many there are in all."""

    names: list[str]
    rows: list[Sequence[Any]]
    count: int
    took_secs: float

    @classmethod
    def of(cls, names: list[str], rows: Rows, limit: int | None) -> Table:
        """The first `limit` of the rows are kept, all are counted."""
        found = cls(names, [], 0, 0.0)
        for row in rows:
            found.count += 1
            if limit is None or found.count <= limit:
                found.rows.append(row)
        return found

    def show(self, to: Console) -> None:
        if not self.names:
            return
        columns = range(len(self.names))
        right = [i for i in columns if all(values.is_number(row[i]) for row in self.rows if row[i] is not None)]
        Cells(self.names, ([values.as_text(value) for value in row] for row in self.rows), right=right).show(to)
        if to.is_terminal:
            to.print(Text(self.note(), style="dim"))

    def note(self) -> str:
        note = f"{self.count:,} row{'s' * (self.count != 1)} in {self.took_secs:.3f} s"
        if self.count > len(self.rows):
            note += f", the first {len(self.rows):,} shown (--max-rows 0 shows all)"
        return note


def _objects(names: list[str], types: list[str], rows: Rows) -> Iterable[str]:
    keys = _unique(names)
    for row in rows:
        found = {key: values.as_json(value, type_) for key, value, type_ in zip(keys, row, types, strict=True)}
        yield values.to_json(found)


def _unique(names: list[str]) -> list[str]:
    """An object cannot hold a key twice: `a`, `a` become `a`, `a_1`, as DuckDB names them in a table."""
    keys: list[str] = []
    for name in names:
        key, number = name, 0
        while key in keys:
            number += 1
            key = f"{name}_{number}"
        keys.append(key)
    return keys
