"""Builds log.duckdb, the file of views that analysts open, and the same views for the collector itself.

Knows the list of views and what lies under them. A door is never written again: a new one is renamed over it, and who
holds the old one open goes on with it. It is read-only for everybody (0444), and no reader of it can hold up the writer:
the views read Parquet parts, and the published image through read_duckdb(), which DuckDB has since 1.5.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from string import Template

import duckdb

from storage import sql
from storage.columns import told
from storage.parts import sync
from storage.tables import TABLES

# In the order in which they need one another. `lead_states` is what the others know of leads.
ATTRIBUTIONS = ("first_touch", "last_touch", "last_non_direct", "linear", "position_based", "time_decay")
DERIVED = (
    *("lead_states", "touchpoints", "visits", "conversions", "deliveries", "leads", "journeys", "writers", "ledger"),
    "ledger_hours",
    "conversion_touchpoints",
    *(f"attribution_{model}" for model in ATTRIBUTIONS),
)

STORAGE_VERSION = "v1.5.0"

# Which views these are is kept in a comment in the door itself: so it cannot be apart from them.
_SIGNED = "events"

Views = dict[str, str]


def views(*, columns: Mapping[str, Sequence[str]], cold: Path, fresh: Mapping[str, str]) -> Views:
    """The statements of all views by name, base views first.

    `columns` are those of each table, `fresh` says how to read the hot rows of each table and of `mark`.
    """
    base = Template(sql.read("views/base"))
    found = {}
    for table in TABLES:
        found[table.name] = base.substitute(
            columns=", ".join(map(sql.name, columns[table.name])),
            cold=sql.files(cold / table.name, "**/*.parquet"),
            fresh=fresh[table.name],
            mark=fresh["mark"],
        )
    return found | {view: sql.read(f"views/{view}") for view in DERIVED}


def in_image(image: Path) -> dict[str, str]:
    """How readers get at the published rows."""
    names = [table.name for table in TABLES] + ["mark"]
    return {name: f"read_duckdb({sql.file(image)}, table_name = {sql.literal(name)})" for name in names}


def in_database(database: str) -> dict[str, str]:
    """How the collector gets at its own rows."""
    names = [table.name for table in TABLES] + ["mark"]
    return {name: f"{sql.name(database)}.main.{sql.name(name)}" for name in names}


def create(con: duckdb.DuckDBPyConnection, statements: Views) -> None:
    for view, statement in statements.items():
        con.execute(f"create or replace view {sql.name(view)} as {statement}")


def is_current(door: Path, statements: Views) -> bool:
    """Whether the door has just these views."""
    if not door.exists():
        return False
    with suppress(duckdb.Error), closing(duckdb.connect(str(door), read_only=True)) as con:
        found = con.execute(
            "select comment from duckdb_views() where not internal and view_name = ?", [_SIGNED]
        ).fetchall()
        return bool(found) and found[0][0] == _comment(_SIGNED, statements)
    return False


def build(door: Path, statements: Views, *, note: Callable[[Path], None] = lambda fresh: None) -> None:
    """Puts a door with these views in place. The files that they read must be there. Raises OSError or duckdb.Error.

    `note` is shown the file before anybody else can open it.
    """
    # Under its final name in a folder of its own: DuckDB calls a database what its file is called.
    workshop = Path(tempfile.mkdtemp(prefix=".door-", dir=door.parent))
    try:
        fresh = workshop / door.name
        with closing(duckdb.connect(str(fresh), config={"storage_compatibility_version": STORAGE_VERSION})) as con:
            # In one transaction: each of these hundreds would wait for the disk.
            with sql.transaction(con):
                create(con, statements)
                for view in statements:
                    con.execute(f"comment on view {sql.name(view)} is {sql.literal(_comment(view, statements))}")
                    for column, text in told(view).items():
                        con.execute(f"comment on column {sql.name(view)}.{sql.name(column)} is {sql.literal(text)}")
            con.execute("checkpoint")
        fresh.chmod(0o444)
        sync(fresh)
        note(fresh)
        os.replace(fresh, door)
        sync(door.parent)
    finally:
        shutil.rmtree(workshop, ignore_errors=True)


def _comment(view: str, statements: Views) -> str:
    asked = sql.question(statements[view])
    if view != _SIGNED:
        return asked
    text = "\0".join(f"{name}\0{statement}\0{told(name)}" for name, statement in statements.items())
    return f"{asked} (views {hashlib.sha256(text.encode()).hexdigest()[:16]})"
