"""What each column of the log says, read from the comment behind it in the SQL that makes it.

Knows how such a comment is found: behind a column of a table in `storage/migrations`, or of a view's last select. A view that
takes all columns of another, `select *, ...`, takes what they say with them.
"""

from __future__ import annotations

import re
from functools import cache

from storage import sql
from storage.tables import TABLES

_TABLE = re.compile(r"^(?:create|alter) table (?:if not exists )?(\w+)")
_TABLE_COLUMN = re.compile(r"^\s+(?:add column (?:if not exists )?)?(\w+) .*?,?  -- (.+)$")
# Two blanks of indentation: the last select. What comes before it is deeper.
_VIEW_COLUMN = re.compile(r"^  (?:\S.*[ .])?(\w+),?  -- (.+)$")
_TAKES_ALL = re.compile(r"^select\n  \*,$.*?^from (\w+)$", re.MULTILINE | re.DOTALL)


@cache
def told(view: str) -> dict[str, str]:
    """What each column of this view or table of the log says, in its order. Those without a comment are left out."""
    if any(table.name == view for table in TABLES):
        return _of_tables()[view]
    statement = sql.read(f"views/{view}")
    own = {found[1]: found[2] for line in statement.splitlines() if (found := _VIEW_COLUMN.match(line))}
    above = _TAKES_ALL.search(statement)
    return told(above[1]) | own if above else own


@cache
def _of_tables() -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {table.name: {} for table in TABLES}
    for path in sorted((sql.ROOM / "migrations").glob("*.sql")):
        table = ""
        for line in path.read_text(encoding="utf-8").splitlines():
            if begun := _TABLE.match(line):
                table = begun[1]
            if table in found and (column := _TABLE_COLUMN.match(line)):
                found[table][column[1]] = column[2]
    return found
