"""Options that several commands share: where the settings are, and what they say for this command.

Reading commands need to know where the log is and nothing else: they work while another section of config.yaml is
broken, or while the secrets it names are not in this shell's environment.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import click

from ropo import settings as settings_module
from ropo.cli.terminal import Misuse
from ropo.settings import Settings, SettingsError
from storage.layout import Layout
from storage.settings import StorageSettings

Loaded = TypeVar("Loaded")

DEFAULT_CONFIG = Path("config.yaml")


def _config_of(ctx: click.Context, _param: click.Parameter, value: Path | None) -> Path:
    return value or ctx.find_object(Path) or DEFAULT_CONFIG


def _absolute(_ctx: click.Context, _param: click.Parameter, value: Path | None) -> str | None:
    # In the file a relative path starts at the file's folder, on the command line at the caller's.
    return str(value.expanduser().absolute()) if value else None


config = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    callback=_config_of,
    metavar="FILE",
    help="The settings. Default: config.yaml in this folder.",
)
storage = click.option(
    "--storage",
    type=click.Path(path_type=Path, file_okay=False),
    callback=_absolute,
    metavar="FOLDER",
    help="Use this folder instead of storage.path.",
)


def load(config: Path, **overrides: str | None) -> Settings:
    """All settings. `proxy__upstream="..."` overrides `proxy.upstream`. Wrong settings end the command with 2."""
    return _or_misuse(lambda: load_again(config, **overrides))


def load_again(config: Path, **overrides: str | None) -> Settings:
    """The same, for one who goes on when they are wrong. Raises SettingsError."""
    given = {key.replace("__", "."): value for key, value in overrides.items() if value is not None}
    return settings_module.load(config, given)


@dataclass(frozen=True)
class Place:
    """Where the log is."""

    settings: StorageSettings
    layout: Layout


def place(config: Path, storage: str | None) -> Place:
    """Where the log is. With `--storage` no file is needed."""
    if storage and not config.exists():
        settings = StorageSettings(path=storage)
    else:
        overrides = {"storage.path": storage} if storage else {}
        settings = _or_misuse(lambda: settings_module.load_storage(config, overrides))
    return Place(settings, Layout.of(settings))


def _or_misuse(ask: Callable[[], Loaded]) -> Loaded:
    try:
        return ask()
    except SettingsError as error:
        raise Misuse("the settings are wrong.\n" + str(error)) from None
