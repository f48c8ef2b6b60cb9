"""The tables of docs/columns.md: what they say, and what they should say.

`python -m tests.support.columns_manual` writes the tables as they should be into the manual. What stands around them, and a
section for each view, is written by hand; views with the same columns share one, `## `a`, `b``.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import duckdb

from storage import columns
from storage.layout import Layout
from storage.settings import StorageSettings
from storage.store import Store

MANUAL = Path(__file__).resolve().parents[2] / "docs" / "columns.md"

HEAD = "| Column | Type | What it says |\n|---|---|---|\n"

_SECTION = re.compile(r"^## (?P<title>`[^\n]*`)\n(?P<text>.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_ROW = re.compile(r"^\| `(\w+)` \| ([^|]+) \| ([^|]{3,}) \|$", re.MULTILINE)
_TABLE = re.compile(re.escape(HEAD) + r"(?:\|.*\n)*")

Column = tuple[str, str, str]


def columns_written() -> dict[str, list[Column]]:
    """Name, type and meaning of each column, by view, as the manual has them."""
    found: dict[str, list[Column]] = {}
    for section in _SECTION.finditer(MANUAL.read_text(encoding="utf-8")):
        for view in re.findall(r"`(\w+)`", section["title"]):
            found[view] = _ROW.findall(section["text"])
    return found


def columns_made() -> dict[str, list[Column]]:
    """The same as a new log has them."""
    with tempfile.TemporaryDirectory() as folder:
        layout = Layout(Path(folder) / "data", hot_path=Path(folder) / "data" / "hot.duckdb")
        Store.open(layout, StorageSettings(path=str(layout.root))).close()
        with duckdb.connect(str(layout.log_db), read_only=True) as log:
            views = log.execute("select view_name from duckdb_views() where not internal order by all").fetchall()
            made: dict[str, list[Column]] = {}
            for (view,) in views:
                kinds = [(row[0], row[1]) for row in log.execute(f"describe {view}").fetchall()]
                told = columns.told(view)
                made[view] = [
                    (name, kind.replace("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ"), told.get(name, ""))
                    for name, kind in kinds
                ]
            return made


def main() -> None:
    made = columns_made()

    def fill(section: re.Match[str]) -> str:
        view = re.findall(r"`(\w+)`", section["title"])[0]
        rows = "".join(f"| `{name}` | {kind} | {told} |\n" for name, kind, told in made[view])
        return _TABLE.sub(lambda _: HEAD + rows, section[0])

    MANUAL.write_text(_SECTION.sub(fill, MANUAL.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
