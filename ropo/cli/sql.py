"""`ropo sql`: a question to the log, in SQL.

The query runs on a thread of its own: Ctrl-C reaches us while DuckDB works, and the thread gives up the right to write
files, which does not come back.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import duckdb

from ropo import log_access
from ropo.cli import options, pager, workshop
from ropo.cli.answers import WRITERS, Table
from ropo.cli.interruptible import Work
from ropo.cli.terminal import Failure, Misuse, console, plain_lines
from storage import sql as text_of
from storage.layout import Layout
from storage.read import NoLogError

FETCH_ROWS = 2048
# Texts, names and comments of SQL whole, all else in pieces.
_TOKENS = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|(\$\w*\$).*?\1|--[^\n]*|/\*.*?\*/|\s+|\w+|.""", re.DOTALL)
VIEWS = "views events, visits, touchpoints, conversions, attribution_*, leads, journeys, deliveries and ledger"


@click.command()
@click.argument("query", required=False)
@click.option("--file", "-f", "file", type=click.File("r", encoding="utf-8"), help="Read the query from this file.")
@click.option("--csv", "form", flag_value="csv", help="Comma-separated values with a header row.")
@click.option("--json", "form", flag_value="json", help="An array of objects, one per line.")
@click.option("--ndjson", "form", flag_value="ndjson", help="An object per line, and nothing else.")
@click.option(
    "--parquet",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Into this file, there when it is whole. An old one stays, but for --force.",
)
@click.option("--force", is_flag=True, help="Let --parquet replace a file.")
@click.option(
    "--max-rows",
    "--rows",
    "limit",
    type=click.IntRange(min=0),
    default=100,
    metavar="N",
    show_default=True,
    help="How many rows a terminal shows; 0 for all. Pipes and files always get all.",
)
@click.option("--no-pager", is_flag=True, help="Do not page what is longer than the screen. PAGER says with what.")
@options.config
@options.storage
def sql(
    query: str | None,
    file: Any,
    form: str | None,
    parquet: Path | None,
    force: bool,
    limit: int,
    no_pager: bool,
    config: Path,
    storage: str | None,
) -> None:
    """Ask the log. QUERY is DuckDB's SQL; `-` reads it from stdin.

    The log has the views events, visits, touchpoints, conversions, attribution_first_touch (and _last_touch,
    _last_non_direct, _linear, _position_based, _time_decay), leads, journeys, deliveries and ledger. It is opened
    read-only, and only its own files can be read. Ctrl-C interrupts.

    \b
    ropo sql "from visits order by started_at desc limit 5"
    ropo sql "describe events"
    ropo sql --csv "select * from leads" > leads.csv
    ropo sql --json -f campaigns.sql | jq .
    ropo sql --parquet visits.parquet "from visits"
    """
    if parquet and form:
        raise click.UsageError(f"Give --{form} or --parquet, not both.")
    if parquet and parquet.exists() and not force:
        raise Misuse(f"{parquet} is there already; --force replaces it")
    text = _query(query, file)
    layout = options.place(config, storage).layout
    try:
        with tempfile.TemporaryDirectory(prefix="ropo-sql-") as scratch:
            if parquet:
                _to_parquet(layout, text, parquet.absolute(), Path(scratch))
            else:
                _to_stdout(layout, text, form, limit, Path(scratch), paged=not no_pager)
    except NoLogError as error:
        raise Failure(str(error)) from None
    except duckdb.Error as error:
        raise _failure(error) from None
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough. Python must not complain of it while it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        raise Failure(f"{error.filename or 'the answer'} cannot be written: {error.strerror}") from None


def _query(query: str | None, file: Any) -> str:
    if (query is None) == (file is None):
        raise click.UsageError("Give one QUERY, `-` for stdin, or --file.")
    text = file.read() if file is not None else sys.stdin.read() if query == "-" else query
    if not text.strip():
        raise click.UsageError("The query is empty.")
    return text


def _to_stdout(layout: Layout, text: str, form: str | None, limit: int, scratch: Path, *, paged: bool) -> None:
    out = console()
    # Whoever reads a pipe wants it all.
    kept = limit if out.is_terminal and limit else None

    def answer(work: Work[Table | None]) -> Table | None:
        began = time.perf_counter()
        with work.connected(log_access.open_confined(layout, scratch=scratch)) as con:
            _last_of(con, text).run(con.execute)
            described = con.description or []
            if [column[0] for column in described] == ["Success"]:  # SET and its like return nothing
                described = []
            names, types = [column[0] for column in described], [str(column[1]) for column in described]
            rows = _rows(work, con)
            if form is None:
                table = Table.of(names, rows, kept)
                table.took_secs = time.perf_counter() - began
                return table
            WRITERS[form](sys.stdout, names, types, rows)
            sys.stdout.flush()
            return None

    table = Work[Table | None]().run(answer)
    if table is not None:
        pager.show(out, table.show, paged=paged)
        sys.stdout.flush()


def _to_parquet(layout: Layout, text: str, target: Path, scratch: Path) -> None:
    with workshop.beside(target) as shop:
        made = shop / target.name

        def answer(work: Work[int]) -> int:
            with work.connected(log_access.open_confined(layout, scratch=scratch, writable=[shop])) as con:
                last = _last_of(con, text)
                if last.kind != duckdb.StatementType.SELECT:
                    raise Misuse("--parquet takes rows, and the last statement returns none")
                last.run(lambda asked: con.query(asked).write_parquet(str(made), compression="zstd"))
                told = con.execute(f"select num_rows from parquet_file_metadata({text_of.file(made)})").fetchall()
                return told[0][0]

        count = Work[int]().run(answer)
        size = made.stat().st_size
        workshop.put(made, target, aside=shop / "before")
    click.echo(f"{target}: {count:,} row{'s' * (count != 1)}, {size:,} bytes", err=True)


@dataclass(frozen=True)
class _Last:
    """The statement that answers, and how many lines of the text stand before it."""

    kind: duckdb.StatementType
    text: str
    line: int

    def run(self, with_: Callable[[str], Any]) -> Any:
        with _counted_from(self.line):
            return with_(self.text)


def _last_of(con: duckdb.DuckDBPyConnection, text: str) -> _Last:
    """The last statement of the text; those before it are run. Raises Misuse, Failure, duckdb.Error."""
    statements = con.extract_statements(text)
    if not statements:
        raise Misuse("the query holds no statement, only comments")
    end = 0
    for statement in statements:
        begin = text.index(statement.query, end)
        end = begin + len(statement.query)
        line = text.count("\n", 0, begin)
        # One by one: the plan of one may need the table that another made.
        with _counted_from(line):
            reason = log_access.refused(con, statement)
            if reason is None and statement is not statements[-1]:
                con.execute(statement.query)
        if reason is not None:
            raise Failure(
                f"`ropo sql` only asks: {reason}. Say --csv, --json or --parquet for a file, or open log.duckdb with "
                "DuckDB's own client"
            )
    return _Last(statement.type, bare(statement.query), line)


def bare(statement: str) -> str:
    """Without the semicolon at its end, and the comments about it: so it can stand inside another."""
    end = 0
    for token in _TOKENS.finditer(statement):
        if not token[0].isspace() and token[0] != ";" and not token[0].startswith(("--", "/*")):
            end = token.end()
    return statement[:end]


@contextmanager
def _counted_from(line: int) -> Iterator[None]:
    """DuckDB counts lines from the beginning of a statement, people from that of the text they wrote."""
    try:
        yield
    except duckdb.Error as error:
        raise type(error)(
            re.sub(r"^LINE (\d+): .*\n *\^", lambda found: _moved(found, line), str(error), flags=re.M)
        ) from None


def _moved(found: re.Match[str], line: int) -> str:
    number = str(int(found[1]) + line)
    told, _, caret = found[0].partition("\n")
    return f"LINE {number}{told[5 + len(found[1]) :]}\n{' ' * (len(number) - len(found[1]))}{caret}"


def _rows(work: Work[Any], con: duckdb.DuckDBPyConnection) -> Iterator[Sequence[Any]]:
    while not work.is_interrupted and (some := con.fetchmany(FETCH_ROWS)):
        yield from some


def _failure(error: duckdb.Error) -> Failure:
    """DuckDB's own words, with the line and the place in it if it tells, and what may help."""
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
