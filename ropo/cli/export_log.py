"""`ropo export-log`: a view of the log as files, for tools that read no DuckDB.

DuckDB writes them itself (COPY), so that no row passes through Python and the memory stays within its limit.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click
import duckdb
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from ropo import log_access
from ropo.cli import options, values, workshop
from ropo.cli.interruptible import Work
from ropo.cli.terminal import Cells, Failure, Misuse, console
from storage import door
from storage import sql as text_of
from storage.layout import Layout
from storage.read import NoLogError
from storage.tables import TABLES

# The moment by which the rows of a view are chosen and filed.
TIMES = (
    {view: "occurred_at" for view in door.DERIVED}
    | {table.name: table.time for table in TABLES}
    | {"visits": "started_at", "deliveries": "owed_at", "ledger": "started_at", "writers": "started_at"}
    | {"ledger_hours": "hour", "conversion_touchpoints": "converted_at"}
    | {f"attribution_{model}": "converted_at" for model in door.ATTRIBUTIONS}
)
MEMORY_LIMIT = "1GB"
SUFFIXES = {"parquet": ".parquet", "csv": ".csv", "json": ".json"}
_FILE = re.compile(r"\.(parquet|csv|json|ndjson|jsonl)(\.gz|\.zst)?$")
_COMPRESSIONS = {".gz": "gzip", ".zst": "zstd", None: "none"}
_NESTED = ("MAP", "STRUCT", "UNION")

Counts = list[tuple[str, int]]


class Moment(click.ParamType):
    """A day (its beginning where the zone is) or a moment."""

    name = "moment"

    def convert(self, value: str | date, param: click.Parameter | None, ctx: click.Context | None) -> date | datetime:
        if not isinstance(value, str):
            return value
        for read in (date.fromisoformat, datetime.fromisoformat):
            try:
                return read(value.strip())
            except ValueError:
                continue
        self.fail(f"{value!r} is neither a day, as 2026-11-22, nor a moment, as 2026-11-22T10:00:00Z", param, ctx)


class Zone(click.ParamType):
    name = "zone"

    def convert(self, value: str | ZoneInfo, param: click.Parameter | None, ctx: click.Context | None) -> ZoneInfo:
        if isinstance(value, ZoneInfo):
            return value
        try:
            return ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError):
            self.fail(f"{value!r} is no time zone, as Europe/Berlin or UTC", param, ctx)


@dataclass(frozen=True)
class Order:
    """What is to be written: rows of `view` from `since` up to, and not with, `until`."""

    view: str
    since: datetime | None
    until: datetime | None
    zone: ZoneInfo
    format: str
    compression: str | None
    by_day: bool


@click.command("export-log")
@click.option("--since", type=Moment(), metavar="DAY|MOMENT", help="From here on. Default: from the beginning.")
@click.option(
    "--until", type=Moment(), metavar="DAY|MOMENT", help="Up to here, and not with it. Default: all there is."
)
@click.option("--zone", type=Zone(), metavar="NAME", help="Whose days these are. Default: this machine's.")
@click.option("--view", type=click.Choice(sorted(TIMES)), default="events", show_default=True, metavar="VIEW")
@click.option("--format", "form", type=click.Choice(list(SUFFIXES)), default="parquet", show_default=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FOLDER|FILE",
    help="A name ending in .parquet, .csv or .json (.gz and .zst too) is one file; else a folder with one for each day.",
)
@click.option("--force", is_flag=True, help="Replace a file, or a folder that an export made.")
@options.config
@options.storage
def export_log(
    since: date | datetime | None,
    until: date | datetime | None,
    zone: ZoneInfo | None,
    view: str,
    form: str,
    out: Path,
    force: bool,
    config: Path,
    storage: str | None,
) -> None:
    """Write a view of the log to files, for BI tools.

    A day begins at midnight of --zone, which is this machine's own if none is given; a moment without a zone is meant
    so too. --until is not part of it: the days of November are --since 2026-11-01 --until 2026-12-01. A folder has one
    folder for each day, day=2026-11-22, by the same zone. Times inside the files are UTC.

    ropo may run meanwhile. The files have their names when all is written, and not before.

    \b
    ropo export-log --since 2026-11-01 --out events
    ropo export-log --view visits --since 2026-11-01 --until 2026-12-01 --format csv --out visits.csv
    ropo export-log --view attribution_linear --zone Europe/Berlin --out attribution.parquet
    """
    zone = zone or _zone_of_this_machine()
    out = out.expanduser().absolute()
    order = _order(view, since, until, zone, form, out)
    _may_be_written(out, order, force)
    layout = options.place(config, storage).layout
    try:
        with workshop.beside(out) as shop:
            made = shop / "export" / out.name
            made.parent.mkdir()
            counts = _export(layout, order, made, shop)
            if order.by_day:
                made.mkdir(exist_ok=True)
            workshop.put(made, out, aside=shop / "before")
    except NoLogError as error:
        raise Failure(str(error)) from None
    except duckdb.Error as error:
        raise Failure(f"nothing was exported: {error}") from None
    except OSError as error:
        raise Failure(f"nothing was exported: {error.filename or out}: {error.strerror}") from None
    _tell(order, out, counts)


def _order(
    view: str, since: date | datetime | None, until: date | datetime | None, zone: ZoneInfo, form: str, out: Path
) -> Order:
    """Raises Misuse if the wishes do not go together."""
    begin, end = _moment(since, zone), _moment(until, zone)
    if begin and end and begin >= end:
        raise Misuse(f"--since {begin.isoformat(' ')} is not before --until {end.isoformat(' ')}")
    named = _FILE.search(out.name)
    if named and not (named[1] == form or (form == "json" and named[1] in ("ndjson", "jsonl"))):
        raise Misuse(f"{out.name} is no name for {form}; say --format, or name a folder")
    if named and form == "parquet" and named[2]:
        raise Misuse(f"{out.name}: Parquet is compressed inside; leave {named[2]} out")
    return Order(view, begin, end, zone, form, named[2] if named else None, by_day=not named)


def _moment(given: date | datetime | None, zone: ZoneInfo) -> datetime | None:
    if given is None:
        return None
    if not isinstance(given, datetime):
        given = datetime(given.year, given.month, given.day)
    return given if given.tzinfo else given.replace(tzinfo=zone)


def _zone_of_this_machine() -> ZoneInfo:
    # DuckDB has asked the machine already, TZ and /etc/localtime.
    with duckdb.connect() as con:
        name = con.execute("select current_setting('timezone')").fetchall()[0][0]
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise Misuse(f"this machine's time zone, {name!r}, has no such name; give --zone, as Europe/Berlin") from None


def _may_be_written(out: Path, order: Order, force: bool) -> None:
    """Raises Misuse if something stands there that is not to be replaced."""
    if not out.parent.is_dir():
        raise Misuse(f"there is no folder {out.parent}")
    if not out.exists():
        return
    if out.is_dir() != order.by_day:
        raise Misuse(f"{out} is a {'folder' if out.is_dir() else 'file'}; give another --out")
    if out.is_dir() and not any(out.iterdir()):
        return
    if not force:
        raise Misuse(f"{out} is there already; --force replaces it")
    # --force is meant for last week's export, and not for a home.
    strange = (
        [path for path in out.iterdir() if not re.fullmatch(r"day=\d{4}-\d\d-\d\d", path.name)] if out.is_dir() else []
    )
    if strange:
        raise Misuse(
            f"{out} was not made by an export: {strange[0].name} is in it; remove it yourself, or give another --out"
        )


def _export(layout: Layout, order: Order, made: Path, shop: Path) -> Counts:
    """Writes the files. Rows by day or, for one file, in all. Raises NoLogError, duckdb.Error, OSError."""
    scratch = Path(tempfile.mkdtemp(prefix="scratch-", dir=shop))

    def copy(work: Work[Counts]) -> Counts:
        with work.connected(log_access.open_confined(layout, scratch=scratch, writable=[made.parent])) as con:
            # ropo serves beside it.
            con.execute(f"set memory_limit = {text_of.literal(MEMORY_LIMIT)}")
            columns = [(row[0], row[1]) for row in con.execute(f"describe {order.view}").fetchall()]
            con.execute(statement(order, columns, made))
            return _counts(con.fetchall(), order)

    work: Work[Counts] = Work()
    with _Bar(work) as every:
        return work.run(copy, every=every)


def statement(order: Order, columns: list[tuple[str, str]], made: Path) -> str:
    """The COPY that does it. `columns` are those of the view with their types."""
    time = text_of.name(TIMES[order.view])
    # CSV knows no maps; as JSON other tools can read them.
    flat = order.format == "csv"
    wanted = [
        f"to_json({text_of.name(name)}) as {text_of.name(name)}"
        if flat and (kind.startswith(_NESTED) or kind.endswith("[]"))
        else text_of.name(name)
        for name, kind in columns
    ]
    said = [f"format {order.format}"]
    if order.by_day:
        day = f"strftime(timezone({text_of.literal(order.zone.key)}, {time}), '%Y-%m-%d')"
        wanted.append(f"coalesce({day}, 'unknown') as day")
        said += ["partition_by (day)", f"filename_pattern {text_of.literal(order.view + '_{i}')}"]
    if order.format == "parquet":
        said += ["compression zstd", "return_stats true"]
    else:
        said.append(f"compression {_COMPRESSIONS[order.compression]}")
    # Literals: by them DuckDB skips the parts of other days.
    bounds = [f"{time} {sign} {_literal(at)}" for sign, at in ((">=", order.since), ("<", order.until)) if at]
    where = f" where {' and '.join(bounds)}" if bounds else ""
    rows = f"select {', '.join(wanted)} from {order.view}{where}"
    return f"copy ({rows}) to {text_of.literal(made)} ({', '.join(said)})"


def _literal(at: datetime) -> str:
    return f"timestamptz {text_of.literal(at.astimezone(UTC).strftime('%Y-%m-%d %H:%M:%S.%f+00'))}"


def _counts(told: list[tuple], order: Order) -> Counts:
    """Rows by day, or in all with the day empty. `told` is what COPY returned."""
    if order.format != "parquet":  # of which alone DuckDB tells name and count for each file
        return [("", told[0][0])]
    found: dict[str, int] = {}
    for name, count, *_ in told:
        day = re.search(r"day=([^/]+)/", name) if order.by_day else None
        found[day[1] if day else ""] = found.get(day[1] if day else "", 0) + count
    return sorted(found.items())


class _Bar:
    """A bar on stderr, if that is a terminal."""

    def __init__(self, work: Work[Counts]) -> None:
        self._work = work
        self._bar = Progress(
            TextColumn("exporting"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(),
            console=Console(stderr=True), transient=True,
        )  # fmt: skip

    def __enter__(self) -> Callable[[], None]:
        if not self._bar.console.is_terminal:
            return lambda: None
        task = self._bar.add_task("exporting", total=100)
        self._bar.start()

        def every() -> None:
            if (done := self._work.progress()) >= 0:
                self._bar.update(task, completed=done)

        return every

    def __exit__(self, *_: object) -> None:
        if self._bar.live.is_started:  # else it would end a line that was never begun
            self._bar.stop()


def _tell(order: Order, out: Path, counts: Counts) -> None:
    to = console()
    if order.by_day and any(day for day, _ in counts):
        shown = [[day, values.as_text(count)] for day, count in counts]
        Cells([f"day ({order.zone.key})", "rows"], shown, right=[1]).show(to)
    total = sum(count for _, count in counts)
    begin = f"from {order.since.isoformat(' ')}" if order.since else "from the beginning"
    end = f" up to {order.until.isoformat(' ')}" if order.until else ""
    to.file.write(f"{total:,} row{'s' * (total != 1)} of {order.view} {begin}{end}: {out}\n")
