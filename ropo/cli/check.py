"""`ropo check`: would it start, and would it do its work?"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click
from rich.text import Text

from ropo import inspection
from ropo import settings as settings_module
from ropo.cli import options
from ropo.cli.terminal import Misuse, console, plain
from ropo.inspection import Finding
from ropo.settings import SettingsError
from storage.layout import Layout

_STYLES = {"ok": "green", "warning": "yellow", "failed": "bold red"}


@click.command()
@options.config
@click.option("--upstream", metavar="URL", help="Check with this site instead of proxy.upstream.")
@click.option("--listen", metavar="HOST:PORT", help="Check with this address instead of proxy.listen.")
@options.storage
@click.option("--json", "as_json", is_flag=True, help="One JSON object for machines.")
def check(config: Path, upstream: str | None, listen: str | None, storage: str | None, as_json: bool) -> None:
    """Look whether the settings are right and what they name can be used. Changes nothing.

    Exit code 0: ropo can start (there may be warnings); 1: something it needs is missing; 2: the settings are wrong.

    \b
    ropo check
    ropo check --config /etc/ropo/config.yaml --json
    """
    given = {"proxy.upstream": upstream, "proxy.listen": listen, "storage.path": storage}
    try:
        settings = settings_module.load(config, {key: value for key, value in given.items() if value is not None})
    except SettingsError as error:
        if as_json:
            click.echo(
                json.dumps({"ok": False, "config": str(config), "problems": error.problems, "checks": []}, indent=2)
            )
            sys.exit(2)
        raise Misuse("the settings are wrong.\n" + str(error)) from None

    findings: list[Finding] = []
    for finding in inspection.inspect(settings, Layout.of(settings.storage)):
        findings.append(finding)
        if not as_json:
            _show(finding)
    failed = sum(finding.state == "failed" for finding in findings)
    if as_json:
        checks = [asdict(finding) for finding in findings]
        click.echo(json.dumps({"ok": not failed, "config": str(config), "problems": [], "checks": checks}, indent=2))
    else:
        warnings = sum(finding.state == "warning" for finding in findings)
        console().print(_summary(config, failed, warnings), soft_wrap=True)
    sys.exit(1 if failed else 0)


def _show(finding: Finding) -> None:
    line = Text(f"{finding.state:8}", style=_STYLES[finding.state])
    line.append(f"{plain(finding.name) + ' ':18}", style="bold").append(plain(finding.detail))
    if finding.todo:
        line.append(f"\n{'':26}{plain(finding.todo)}")
    console().print(line, soft_wrap=True)


def _summary(config: Path, failed: int, warnings: int) -> Text:
    noted = f"{warnings} warning{'s' * (warnings != 1)}"
    if failed:
        return Text(f"{config}: {failed} of these must be mended before ropo can work, {noted}", style="bold red")
    return Text(f"{config}: good, {noted}" if warnings else f"{config}: good", style="bold green")
