"""What is shown to a person, and how: consoles, tables, safe text, and errors as one paragraph.

Knows terminals. Knows nothing of what is shown.

The log holds what strangers sent. Control characters in it could move the cursor, rename the window or hide text, so
every value passes `plain` before it reaches a terminal.
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterable, Sequence
from typing import IO, Any

import click
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

GAP = "  "


class Failure(click.ClickException):
    """It failed: one paragraph on stderr, exit code 1."""

    exit_code = 1

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"ropo: {self.format_message()}", file=file or sys.stderr)


class Misuse(Failure):
    """It was asked wrongly, or the settings are wrong: exit code 2."""

    exit_code = 2


def console() -> Console:
    """Where results go. Colours only on a terminal, and not with NO_COLOR (rich sees to both)."""
    return Console(highlight=False, emoji=False, markup=False)


def plain(text: str) -> str:
    """The text in one line, every character that is not seen written as an escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escape(c) for c in text)


def plain_lines(text: str) -> str:
    """As `plain`, but lines stay lines: for messages people wrote."""
    return "\n".join(plain(line) for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n"))


def _escape(char: str) -> str:
    if char in "\n\r\t":
        return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}[char]
    if unicodedata.category(char) == "Zs":
        return " "
    code = ord(char)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65_536 else f"\\U{code:08x}"


class Cells:
    """A table of text. None is a missing value. Columns named in `right` end flush.

    Columns are broken over several lines down to the width `least`, those in `whole` not at all. If even that does not
    fit, rows are shown one below the other.
    """

    def __init__(
        self,
        names: Sequence[str],
        rows: Iterable[Sequence[str | None]],
        *,
        right: Iterable[int] = (),
        whole: Iterable[int] = (),
        least: int = 36,
    ) -> None:
        self.names = [plain(name) for name in names]
        self.rows = [[None if cell is None else plain(cell) for cell in row] for row in rows]
        self.right = set(right)
        self.whole = set(whole)
        self.least = least

    def show(self, to: Console, *, null: str = "NULL") -> None:
        natural = self._widths(null)
        least = [width if i in self.whole else min(width, self.least) for i, width in enumerate(natural)]
        if not to.is_terminal:
            self._write_aligned(to, natural, null)
        elif widths := fit(natural, least, to.width - len(GAP) * (len(natural) - 1)):
            self._show_table(to, natural, widths, null)
        else:
            self._show_records(to, null)

    def _widths(self, null: str) -> list[int]:
        cells = [[len(null) if cell is None else cell_len(cell) for cell in row] for row in self.rows]
        return [max([cell_len(name), *(row[i] for row in cells)]) for i, name in enumerate(self.names)]

    def _write_aligned(self, to: Console, widths: list[int], null: str) -> None:
        """For pipes and files: columns in line, nothing cut, nothing coloured."""
        for row in [self.names, *self.rows]:
            cells = [null if cell is None else cell for cell in row]
            padded = [self._pad(cell, width, i) for i, (cell, width) in enumerate(zip(cells, widths, strict=True))]
            to.file.write(GAP.join(padded).rstrip() + "\n")

    def _pad(self, cell: str, width: int, column: int) -> str:
        space = " " * (width - cell_len(cell))
        return space + cell if column in self.right else cell + space

    def _show_table(self, to: Console, natural: list[int], widths: list[int], null: str) -> None:
        table = Table(box=None, pad_edge=False, padding=(0, len(GAP), 0, 0), header_style="bold")
        for i, name in enumerate(self.names):
            table.add_column(
                Text(name),
                width=widths[i],
                justify="right" if i in self.right else "left",
                no_wrap=widths[i] == natural[i],
                overflow="fold",
            )
        for row in self.rows:
            table.add_row(*(Text(null, "dim") if cell is None else Text(cell) for cell in row))
        to.print(table)

    def _show_records(self, to: Console, null: str) -> None:
        widest = max(cell_len(name) for name in self.names)
        for number, row in enumerate(self.rows, start=1):
            to.print(Text(f"row {number}", "bold"))
            grid = Table.grid(padding=(0, len(GAP), 0, 0))
            grid.add_column(no_wrap=True, min_width=widest)
            grid.add_column(overflow="fold")
            for name, cell in zip(self.names, row, strict=True):
                grid.add_row(Text(name), Text(null, "dim") if cell is None else Text(cell))
            to.print(grid)


def fit(natural: Sequence[int], least: Sequence[int], room: int) -> list[int] | None:
    """Widths that take up `room` at most, the widest columns narrowed first; None if `least` is more than that."""
    if sum(least) > room:
        return None
    widths = list(natural)
    while sum(widths) > room:
        widest = max((i for i, width in enumerate(widths) if width > least[i]), key=lambda i: widths[i])
        widths[widest] -= 1
    return widths
