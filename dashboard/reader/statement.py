"""Whether a text is one question, and one that may be asked. Looks at what DuckDB's own parser makes of it; runs nothing.

Knows why looking at the beginning of a text is not enough: DuckDB 2.0 takes `with x as (delete ...) select` and
`with x as (copy ...) select` for selects. Knows nothing of files or processes: other layers do not rely on this one.

The views of the log are all there is to read, so a statement of its own has no use for a function that names a file, a
setting or a secret. Functions that make tables are few and listed; of the others the few that look outside are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import duckdb
import msgspec

from dashboard.reader.problem import Problem, Refused, at, of_duckdb

# The nodes of a question. 2.0 has others for insert, update, delete, merge and copy within a common table expression.
_NODES = {"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"}

_TABLE_FUNCTIONS = {
    "generate_series", "generate_subscripts", "histogram", "histogram_values", "json_each", "json_tree", "range",
    "repeat", "repeat_row", "unnest",
}  # fmt: skip

_CLOSED_FUNCTIONS = {
    "current_setting", "currval", "getenv", "json_execute_serialized_sql", "nextval", "pg_conf_load_time",
    "pg_get_viewdef", "setval", "write_log",
}  # fmt: skip

# What DuckDB says of itself: among it paths, settings and secrets. `information_schema` has the harmless part.
_CLOSED_TABLES = re.compile(r"(?:duckdb|pragma|sqlite|pg)_")
_CLOSED_SCHEMAS = {"pg_catalog"}
_OPEN_INFORMATION = {"tables", "columns", "schemata"}

# Comments, then `explain` with its options. If this reads it otherwise than DuckDB, the rest is no select and is refused.
_EXPLAIN = re.compile(
    r"(?:\s|--[^\n]*(?:\n|\Z)|/\*.*?\*/)*explain\b(?:\s*\([^()]*\)|\s+analyze\b)?", re.IGNORECASE | re.DOTALL
)


def checked(con: duckdb.DuckDBPyConnection, sql: str) -> duckdb.Statement:
    """The one statement to run. Raises `Refused`: 400 if it cannot be read, 403 if it may not be asked.

    `con` gives its errors as JSON.
    """
    try:
        statements = con.extract_statements(sql)
    except duckdb.Error as error:
        raise Refused(of_duckdb(error, sql)) from None
    if len(statements) != 1:
        many = f"There are {len(statements)} statements" if statements else "There is no statement"
        raise Refused(Problem(400, "sql", f"{many} in the text; send one."))
    (statement,) = statements
    type_ = statement.type.name
    if type_ == "MULTI":
        message = (
            "This is several statements in one, as a pivot without a list of values is: write `pivot ... in (...)`."
        )
        raise Refused(Problem(403, "not_allowed", message))
    if type_ == "SELECT":
        tree = _tree(con, sql)
    elif type_ == "EXPLAIN" and (explain := _EXPLAIN.match(sql)):
        tree = _tree(con, sql[explain.end() :])
    else:
        raise Refused(Problem(403, "not_allowed", f"Only questions are answered here, no {type_.lower()} statement."))
    if tree is None:
        raise Refused(Problem(403, "not_allowed", "Only questions are answered here: select, from, describe, explain."))
    for octet, message in closed(tree):
        raise Refused(at(sql, octet if type_ == "SELECT" else None, 403, "not_allowed", message))
    return statement


def _tree(con: duckdb.DuckDBPyConnection, sql: str) -> Any:
    """The statement as DuckDB's parser has it, None if it is no single select."""
    try:
        (text,) = con.execute("select json_serialize_sql(?)", [sql]).fetchall()[0]
    except duckdb.Error:
        return None
    tree = msgspec.json.decode(text)
    return None if tree.get("error") or len(tree.get("statements", [])) != 1 else tree


def closed(tree: Any) -> Iterator[tuple[int | None, str]]:
    """What in a serialized statement may not be asked: the octet where it stands, if known, and why."""
    waiting = [tree]
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            waiting += part
        if not isinstance(part, dict):
            continue
        waiting += part.values()
        octet = part.get("query_location")
        octet = octet if isinstance(octet, int) else None
        type_ = str(part.get("type", ""))
        name = str(part.get("function_name", "")).lower()
        if type_.endswith("_NODE") and type_ not in _NODES:
            yield (
                octet,
                f"Only questions are answered here, no {type_.removesuffix('_NODE').partition('_')[0].lower()}.",
            )
        elif type_ == "TABLE_FUNCTION":
            function = part.get("function") or {}
            name = str(function.get("function_name", "")).lower()
            if name not in _TABLE_FUNCTIONS:
                yield octet, f"The table function {name}() is not open here; the views of the log are. See /schema."
        elif name in _CLOSED_FUNCTIONS:
            yield octet, f"The function {name}() is not open here."
        elif type_ == "BASE_TABLE":
            table, schema = str(part.get("table_name", "")).lower(), str(part.get("schema_name", "")).lower()
            inner = schema == "information_schema" and table not in _OPEN_INFORMATION
            if inner or schema in _CLOSED_SCHEMAS or _CLOSED_TABLES.match(table):
                yield octet, f"The table {table} is not open here; the views of the log are. See /schema."
