"""The tables of docs/configuration.md: what they say, and what they should say.

`python -m tests.support.manual` prints the tables as they should be, to paste.
"""

from __future__ import annotations

import re
from pathlib import Path

from ropo.schema import Setting, settings_of
from ropo.settings import Settings

MANUAL = Path(__file__).resolve().parents[2] / "docs" / "configuration.md"

_ROW = re.compile(r"^\| `(?P<key>[a-z][a-z0-9_.\[\]]+)` (?:\|(?:[^|\\\n]|\\.)*){3}\|$", re.MULTILINE)


def row(setting: Setting) -> str:
    cells = (f"`{setting.key}`", setting.default, setting.allowed, setting.meaning)
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def rows_wanted() -> dict[str, str]:
    """Key to row, for every setting of every room."""
    return {setting.key: row(setting) for setting in settings_of(Settings)}


def rows_written() -> dict[str, str]:
    return {match["key"]: match[0] for match in _ROW.finditer(MANUAL.read_text(encoding="utf-8"))}


def main() -> None:
    section = None
    for key, line in rows_wanted().items():
        here = re.sub(r"(\[\w+\]|\.[a-z0-9_]+)$", "", key) if "." in key else key
        if here != section:
            print(f"\n### `{here}`\n\n| Setting | Default | Allowed | Meaning |\n|---|---|---|---|")
            section = here
        print(line)


if __name__ == "__main__":
    main()
