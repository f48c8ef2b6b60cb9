"""`ropo storage`: looking after the files of the log."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import duckdb
import msgspec
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

import ropo
from ropo import running
from ropo.cli import options
from ropo.cli.options import Place
from ropo.cli.terminal import Failure, console, plain, plain_lines
from storage.lock import BlockedError, hold
from storage.work import UnusableLogError

_STYLES = {"ok": "green", "warning": "yellow", "failed": "bold red", "not looked at": "dim"}

# The names of commands and modules are the same: the modules are imported when they are asked for.
as_json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object for machines.")


@click.group()
def storage() -> None:
    """Look after the files of the log: check, rebuild, compact, back up, restore.

    \b
    ropo storage check
    ropo storage backup /backup/ropo
    """


@storage.command()
@as_json_option
@options.config
@options.storage
def check(as_json: bool, config: Path, storage: str | None) -> None:
    """Look whether the log is whole. Changes nothing, and works while ropo runs.

    Reads every part and compares it with its checksum, asks every view, unpacks the archive. Exit code 1: something is
    wrong, and what to do about it is said.

    \b
    ropo storage check
    ropo storage check --json | jq '.checks[] | select(.state == "failed")'
    """
    from storage import check as checking

    place = _place(config, storage)
    serving = running.holder(place.layout) is not None
    findings = []
    for finding in checking.check(place.layout, place.settings, serving=serving, now=time.time()):
        findings.append(finding)
        if not as_json:
            _show(finding)
    failed = sum(finding.state == "failed" for finding in findings)
    if as_json:
        _write_json({"ok": not failed, "serving": serving, "checks": [asdict(finding) for finding in findings]})
    elif failed:
        click.echo(f"{failed} of {len(findings)} are wrong.")
    else:
        click.echo("The log is whole.")
    sys.exit(1 if failed else 0)


@storage.command()
@click.option("--anyway", is_flag=True, help="Even if work.duckdb is whole.")
@as_json_option
@options.config
@options.storage
def rebuild(anyway: bool, as_json: bool, config: Path, storage: str | None) -> None:
    """Make a damaged or lost work.duckdb anew. Stop ropo before.

    What the Parquet parts hold stays there; the rest is taken in again from the archive and the spool, each record
    once. The damaged file is kept under a dated name. It can be interrupted, and run again.

    \b
    ropo storage rebuild
    """
    from export.outbox import delivery_id
    from ropo.intake import Intake
    from storage import rebuild as rebuilding
    from storage.migrations import NewerLogError
    from tracker.pipeline import Pipeline

    settings = options.load(config, storage__path=storage)
    place = _place(config, storage)

    def new_pipeline() -> Pipeline:
        sinks = tuple(sink.name for sink in settings.export.sinks)
        return Pipeline(settings.tracker, sinks=sinks, version=ropo.__version__, delivery_id=delivery_id)

    with _failing(rebuilding.NothingToRebuildError, NewerLogError), _stopped(place):
        begun = rebuilding.begin(place.layout, place.settings, anyway=anyway)
        try:
            intake = Intake(place.layout, begun.store, new_pipeline)
            quarantined = 0
            with _progress("taking in") as tell:
                taken = intake.take(everything=True)
                of = taken.files + taken.waiting_files
                while taken.files:
                    quarantined += taken.quarantined
                    tell(of - taken.waiting_files, of)
                    taken = intake.take(everything=True)
            rebuilt = rebuilding.finish(place.layout, begun)
        finally:
            begun.store.close()
    told = {
        "kept": [str(path) for path in begun.aside],
        "files_from_archive": begun.restored,
        "files_from_spool": begun.waiting,
        "rows_in_parts": rebuilt.in_parts,
        "rows_taken_in": rebuilt.taken_in,
        "quarantined_again": quarantined,
        "damaged_bundles": [str(path) for path in begun.damaged_bundles],
        "missing_by_the_ledger": rebuilt.missing,
    }
    if as_json:
        _write_json(told)
        return
    for path in begun.aside:
        click.echo(f"Kept the old one as {path}")
    for table, rows in rebuilt.in_parts.items():
        click.echo(f"{table:<16}{rows:>14,} rows in parts{rebuilt.taken_in[table]:>14,} taken in again")
    click.echo(f"They were in {begun.restored:,} files of the archive and {begun.waiting:,} of the spool.")
    for path in begun.damaged_bundles:
        click.echo(f"{path} could not be unpacked to its end: what it held is not known.")
    if rebuilt.missing:
        click.echo(f'By the ledger {rebuilt.missing:,} exchanges are missing: ropo sql "from ledger where missing > 0"')
    click.echo(
        "Times at which files were taken in (ingested_at) are those of now. A lead whose delivery was under way when ropo "
        "ended may be delivered once more, with the same id."
    )


@storage.command()
@click.option("--dry-run", is_flag=True, help="Only say what would be merged.")
@as_json_option
@options.config
@options.storage
def compact(dry_run: bool, as_json: bool, config: Path, storage: str | None) -> None:
    """Merge small Parquet parts of past days into bigger ones, a month at most. Safe while ropo runs and is read.

    Sessions that are open keep the old parts; these go when the last such session has ended, and ropo runs.

    \b
    ropo storage compact --dry-run
    ropo storage compact
    """
    from storage import compact as compacting

    place = _place(config, storage)
    with _failing(compacting.CannotCompactError), _progress("merging") as tell:
        done = compacting.compact(
            place.layout,
            part_rows=place.settings.part_rows,
            memory_limit_mb=place.settings.memory_limit_mb,
            dry_run=dry_run,
            progress=tell,
        )
    if as_json:
        merges = [{"part": str(merge.place), "of": len(merge.parts), "rows": merge.rows} for merge in done.merges]
        before, after = done.parts_before, done.parts_after
        _write_json({"dry_run": dry_run, "parts_before": before, "parts_after": after, "merges": merges})
        return
    for merge in done.merges:
        click.echo(f"{len(merge.parts):>5} parts with {merge.rows:>12,} rows  {merge.place}")
    if not done.merges:
        click.echo(f"Nothing to merge: {done.parts_before} parts, none of them small beside another.")
    elif dry_run:
        click.echo(f"{done.parts_before} parts would be {done.parts_after}.")
    else:
        click.echo(
            f"{done.parts_before} parts are {done.parts_after}. The old ones go when the last session that reads them has "
            "ended, and ropo runs."
        )


@storage.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--with-keys", is_flag=True, help="Also config.yaml and the keys: whoever has them can read every contact."
)
@as_json_option
@options.config
@options.storage
def backup(folder: Path, with_keys: bool, as_json: bool, config: Path, storage: str | None) -> None:
    """Copy the log into FOLDER, while ropo runs. Run again it copies only what is new.

    The copy is the log as its readers saw it a few seconds ago. The same folder is used each time; a backup that is
    interrupted leaves the one before as it was.

    \b
    ropo storage backup /backup/ropo
    ropo storage backup --with-keys /backup/ropo
    """
    from storage import backup as backups

    place = _place(config, storage)
    private = {}
    if with_keys:
        private = backups.keys_in([place.layout.secrets])
        if config.exists():
            private["config.yaml"] = config
    with _failing(backups.BackupError), _progress("copying") as tell:
        taken = backups.take(
            place.layout, place.settings, folder, version=ropo.__version__, private=private, progress=tell
        )
    if as_json:
        rows = taken.manifest.rows
        _write_json({"batch": taken.manifest.batch, "rows": rows, **_counts(taken), "with_keys": with_keys})
        return
    total = sum(entry.size for entry in taken.manifest.entries)
    click.echo(
        f"{len(taken.manifest.entries)} files with {total / 1e6:,.1f} MB in {folder}, of which {taken.copied_files} with "
        f"{taken.copied_bytes / 1e6:,.1f} MB are new; {taken.manifest.rows['events']:,} events."
    )
    if with_keys:
        click.echo("It holds the keys and config.yaml: whoever can read it can read every contact.", err=True)
    else:
        click.echo("Without the keys (--with-keys, or a copy of secrets/ elsewhere) no contact in it can be opened.")


@storage.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option(
    "--to",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    metavar="PATH",
    help="The new storage path.",
)
@as_json_option
def restore(folder: Path, to: Path, as_json: bool) -> None:
    """Make a storage path of the backup in FOLDER. Every file is compared with its checksum.

    PATH must not be there yet, or be empty. With storage.path set to it `ropo serve` starts.

    \b
    ropo storage restore /backup/ropo --to /var/lib/ropo
    """
    from storage import backup as backups

    with _failing(backups.BackupError), _progress("restoring") as tell:
        manifest = backups.restore(folder, to, progress=tell)
    if as_json:
        _write_json({"path": str(to.absolute()), "taken_at": manifest.taken_at, "rows": manifest.rows})
        return
    click.echo(f"{to} holds the log of {manifest.taken_at} UTC: {manifest.rows['events']:,} events.")
    if not (to / "secrets").exists():
        click.echo("It has no keys: put secrets/ there before ropo starts, or it makes new ones, and no contact opens.")
    if (to / "config.yaml").exists():
        click.echo(f"The settings of that time are in {to / 'config.yaml'}.")
    click.echo(
        f"Start it with `ropo serve --storage {to}`. Leads that were owed then are delivered again, with the same id."
    )


def _counts(taken: Any) -> dict[str, int]:
    files, size = len(taken.manifest.entries), sum(entry.size for entry in taken.manifest.entries)
    return {"files": files, "bytes": size, "copied_files": taken.copied_files, "copied_bytes": taken.copied_bytes}


def _place(config: Path, storage: str | None) -> Place:
    place = options.place(config, storage)
    if not place.layout.root.is_dir():
        raise Failure(
            f"There is no log at {place.layout.root} yet. Start `ropo serve` with this storage.path; it makes one."
        )
    return place


@contextmanager
def _stopped(place: Place) -> Iterator[None]:
    """Holds the storage path, so that no ropo starts meanwhile."""
    try:
        with hold(place.layout):
            yield
    except BlockedError as error:
        if error.pid is None:
            raise Failure(str(error)) from None
        raise Failure(
            f"ropo runs (process {error.pid}): stop it first; only then work.duckdb can be made anew"
        ) from None


@contextmanager
def _failing(*kinds: type[Exception]) -> Iterator[None]:
    """What can go wrong with the files of a log, as one paragraph."""
    try:
        yield
    except kinds as error:
        raise Failure(plain_lines(str(error))) from None
    except UnusableLogError as error:
        raise Failure(plain_lines(str(error))) from None
    except OSError as error:
        raise Failure(f"{error.strerror or error}: {error.filename or 'the disk'}") from None
    except (duckdb.Error, RuntimeError) as error:
        raise Failure(f"{plain(str(error).splitlines()[0])}. `ropo storage check` tells more") from None


@contextmanager
def _progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Shows on a terminal how far it is; elsewhere nothing."""
    out = console()
    out.stderr = True
    with Progress(
        TextColumn(what), BarColumn(), MofNCompleteColumn(), console=out, transient=True, disable=not out.is_terminal
    ) as bar:
        task = bar.add_task(what, total=None)

        def tell(done: int, of: int) -> None:
            bar.update(task, completed=done, total=of)

        yield tell


def _show(finding: Any) -> None:
    out = console()
    line = Text(f"{finding.state:<14}", style=_STYLES[finding.state])
    line.append(f"{finding.name:<24}", style="none")
    line.append(plain(finding.detail), style="none")
    click.echo(line.plain) if not out.is_terminal else out.print(line)
    if finding.todo:
        click.echo(f"{'':<14}{'':<24}{plain(finding.todo)}")


def _write_json(told: dict[str, Any]) -> None:
    click.echo(json.dumps(msgspec.to_builtins(told), indent=2))
