"""`ropo sql`: a question to the log, in SQL.

The query runs on a thread of its own, so that Ctrl-C reaches us while DuckDB works and can be passed on.
"""

from __future__ import annotations

import csv
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import click
import duckdb
from rich.text import Text

from ropo import log_access
from ropo.cli import options, values
from ropo.cli.terminal import Cells, Failure, Misuse, console, plain_lines
from storage.layout import Layout
from storage.read import NoLogError

INTERRUPTED = 130  # 128 + SIGINT, as shells have it
FETCH_ROWS = 2048
VIEWS = "views events, visits, touchpoints, conversions, leads, journeys, deliveries and ledger"

Rows = Iterator[Sequence[Any]]


@click.command()
@click.argument("query", required=False)
@click.option("--file", "-f", "file", type=click.File("r", encoding="utf-8"), help="Read the query from this file.")
@click.option("--csv", "form", flag_value="csv", help="Comma-separated values with a header row.")
@click.option("--json", "form", flag_value="json", help="An array of objects, one per line.")
@click.option(
    "--rows",
    type=click.IntRange(min=0),
    default=100,
    metavar="N",
    show_default=True,
    help="How many rows a terminal shows; 0 for all. Pipes, --csv and --json always get all.",
)
@options.config
@options.storage
def sql(query: str | None, file: Any, form: str | None, rows: int, config: Path, storage: str | None) -> None:
    """Ask the log. QUERY is DuckDB's SQL; `-` reads it from stdin.

    The log has the views events, visits, touchpoints, conversions, leads, journeys, deliveries and ledger. It is
    opened read-only, and only its own files can be read. Ctrl-C interrupts.

    \b
    ropo sql "from visits order by started_at desc limit 5"
    ropo sql "describe events"
    ropo sql --csv "select * from leads" > leads.csv
    ropo sql --json -f campaigns.sql | jq .
    """
    text = _query(query, file)
    with closing(_open(options.place(config, storage).layout)) as con:
        statements = _statements(con, text)
        stdout_is_gone = _run(con, lambda: _answer(con, statements, form, rows))
    if stdout_is_gone:
        # The reader, such as `head`, has seen enough. Python must not complain of it while it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _open(layout: Layout) -> duckdb.DuckDBPyConnection:
    try:
        return log_access.open_confined(layout)
    except NoLogError as error:
        raise Failure(str(error)) from None


def _query(query: str | None, file: Any) -> str:
    if (query is None) == (file is None):
        raise click.UsageError("Give one QUERY, `-` for stdin, or --file.")
    text = file.read() if file is not None else sys.stdin.read() if query == "-" else query
    if not text.strip():
        raise click.UsageError("The query is empty.")
    return text


def _statements(con: duckdb.DuckDBPyConnection, text: str) -> list[duckdb.Statement]:
    try:
        statements = con.extract_statements(text)
    except duckdb.Error as error:
        raise _failure(error) from None
    if not statements:
        raise Misuse("the query holds no statement, only comments")
    if any(statement.type in log_access.WRITES_FILES for statement in statements):
        raise Failure(
            "`ropo sql` writes no files: say --csv or --json and send the output where you want it, "
            "or open log.duckdb with DuckDB's own client"
        )
    return statements


def _run(con: duckdb.DuckDBPyConnection, answer: Callable[[], None]) -> bool:
    """Runs `answer` on a thread. True: nobody reads stdout any more. Ctrl-C ends the query, and the command."""
    raised: list[BaseException] = []
    done = threading.Event()

    def work() -> None:
        try:
            answer()
        except BaseException as error:  # handed to the main thread, which decides
            raised.append(error)
        finally:
            done.set()

    threading.Thread(target=work, name="query", daemon=True).start()
    try:
        done.wait()  # and not Thread.join, which Python 3.11 takes for done once it was interrupted
    except KeyboardInterrupt:
        con.interrupt()
        click.echo("ropo: interrupted", err=True)
        # It stops within milliseconds, unless it is stuck in a write to a pipe that nobody reads.
        if not done.wait(timeout=5):
            os._exit(INTERRUPTED)
        sys.exit(INTERRUPTED)
    for error in raised:
        if isinstance(error, BrokenPipeError):
            return True
        if isinstance(error, duckdb.Error):
            raise _failure(error) from None
        raise error
    return False


def _failure(error: duckdb.Error) -> Failure:
    """DuckDB's own words, and what may help."""
    message = plain_lines(str(error).strip())
    if isinstance(error, duckdb.PermissionException):
        hint = "`ropo sql` reads the log and nothing else; DuckDB's own client can open log.duckdb beside other files."
    elif isinstance(error, duckdb.CatalogException):
        hint = f"The log has the {VIEWS}."
    elif isinstance(error, duckdb.BinderException):
        hint = 'The columns of a view: ropo sql "describe events"'
    elif "read-only" in message:
        hint = "The log is written by ropo alone; a query may `create temp table`."
    else:
        hint = ""
    return Failure(f"{message}\n\n{hint}" if hint else message)


def _answer(con: duckdb.DuckDBPyConnection, statements: list[duckdb.Statement], form: str | None, limit: int) -> None:
    """Runs all statements and shows what the last one returns."""
    began = time.perf_counter()
    for statement in statements:
        con.execute(statement)
    described = con.description or []
    if [column[0] for column in described] == ["Success"]:  # SET and its like return nothing
        described = []
    names, types = [column[0] for column in described], [str(column[1]) for column in described]
    if form == "csv":
        _write_csv(names, _rows(con))
    elif form == "json":
        _write_json(names, types, _rows(con))
    else:
        _show(names, _rows(con), limit, began)
    sys.stdout.flush()


def _rows(con: duckdb.DuckDBPyConnection) -> Rows:
    while some := con.fetchmany(FETCH_ROWS):
        yield from some


def _write_csv(names: list[str], rows: Rows) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        writer.writerow([values.as_csv(value) for value in row])


def _write_json(names: list[str], types: list[str], rows: Rows) -> None:
    keys = _unique(names)
    between = "["
    for row in rows:
        found = {key: values.as_json(value, type_) for key, value, type_ in zip(keys, row, types, strict=True)}
        sys.stdout.write(f"{between}\n{values.to_json(found)}")
        between = ","
    sys.stdout.write("[]\n" if between == "[" else "\n]\n")


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


def _show(names: list[str], rows: Rows, limit: int, began: float) -> None:
    out = console()
    shown: list[Sequence[Any]] = []
    count = 0
    for row in rows:
        count += 1
        if not out.is_terminal or not limit or count <= limit:
            shown.append(row)
    took = time.perf_counter() - began
    flush_right = [i for i in range(len(names)) if all(values.is_number(row[i]) for row in shown if row[i] is not None)]
    cells = Cells(names, ([values.as_text(value) for value in row] for row in shown), right=flush_right)
    if not names:
        return
    cells.show(out)
    if out.is_terminal:
        note = f"{count:,} row{'s' * (count != 1)} in {took:.3f} s"
        if count > len(shown):
            note += f", the first {len(shown):,} shown (--rows 0 shows all)"
        out.print(Text(note, style="dim"))
