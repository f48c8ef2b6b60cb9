"""The command `ropo`: serve, check, sql, leads, ledger, visitor, storage.

Exit code 0: done; 1: it failed, and stderr says why in one paragraph; 2: it was asked wrongly, or config.yaml is wrong.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import click

from ropo import __version__, rooms
from ropo.cli.terminal import Failure

# Each lies in the file of its name. They are imported when asked for, after a look at where the rooms come from.
COMMANDS = ("serve", "check", "sql", "export-log", "leads", "ledger", "visitor", "storage")


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        try:
            rooms.check()
        except rooms.RoomError as error:
            raise Failure(str(error)) from None
        module = name.replace("-", "_")
        return getattr(import_module(f"ropo.cli.{module}"), module)


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Settings are described in docs/configuration.md, the views for `ropo sql` in docs/columns.md.",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The settings. Default: config.yaml in this folder.",
)
@click.version_option(__version__, prog_name="ropo", message="%(prog)s %(version)s")
@click.pass_context
def main(ctx: click.Context, config: Path | None) -> None:
    """ropo: a reverse proxy that logs every request and turns forms into leads.

    \b
    Start it:               ropo serve
    Try the settings:       ropo check
    Ask the log:            ropo sql "from visits limit 5"
    See who wrote:          ropo leads list
    See what is missing:    ropo ledger
    Look after its files:   ropo storage check
    """
    ctx.obj = config
