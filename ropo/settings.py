"""The settings: config.yaml as one typed value. One section per room, each described by the room itself.

Knows how a file becomes settings, and what no single room can see: paths, addresses that collide, the command line.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from dashboard.settings import DashboardSettings
from export.settings import ExportSettings
from proxy.settings import ProxySettings
from ropo import addresses, references, validation, yaml12
from ropo.validation import Problem
from storage.settings import StorageSettings
from tracker.settings import TrackerSettings

SMALLEST = """\
proxy:
  listen: 127.0.0.1:8080
  upstream: http://127.0.0.1:9000
storage:
  path: ./data
"""

# Settings of sinks that name a file or folder.
_SINK_PATHS = ("folder", "ca_file")


class Settings(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    proxy: ProxySettings
    tracker: TrackerSettings = TrackerSettings()
    storage: StorageSettings
    export: ExportSettings = ExportSettings()
    dashboard: DashboardSettings = DashboardSettings()


class SettingsError(ValueError):
    """Why there are no settings: `problems`, one line each, with the file, the key, what is wrong and what to do."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def load(
    path: str | Path, overrides: Mapping[str, Any] | None = None, *, environ: Mapping[str, str] = os.environ
) -> Settings:
    """The settings in the file `path`. Relative paths in it start at its folder.

    `overrides` are dotted keys from the command line, such as `proxy.upstream`; they win over the file.
    Raises SettingsError with all problems at once.
    """
    path = Path(path)
    folder = path.absolute().parent
    overrides = dict(overrides or {})
    tree = _with_overrides(_read(path), overrides)
    good, problems = validation.check(
        tree, Settings, resolve=lambda text: references.resolve(text, folder=folder, environ=environ)
    )
    problems += _problems_between(good)
    if problems:
        raise SettingsError([f"{_place(path, p.key, overrides)}: {p}" for p in problems])
    try:
        settings = msgspec.convert(good, Settings)
    except msgspec.ValidationError as error:  # the walk above overlooked something; msgspec never does
        raise SettingsError([f"{path}: {error}"]) from None
    return _with_absolute_paths(settings, folder)


def load_storage(
    path: str | Path, overrides: Mapping[str, Any] | None = None, *, environ: Mapping[str, str] = os.environ
) -> StorageSettings:
    """Only where the log is, for those who read it: whatever else is wrong in the file does not matter to them."""
    path = Path(path)
    folder = path.absolute().parent
    overrides = dict(overrides or {})
    tree = _with_overrides(_read(path), overrides)
    good, problems = validation.check(
        tree.get("storage") if isinstance(tree, dict) else tree,
        StorageSettings,
        resolve=lambda text: references.resolve(text, folder=folder, environ=environ),
        at="storage",
    )
    if problems:
        raise SettingsError([f"{_place(path, p.key, overrides)}: {p}" for p in problems])
    return _storage_with_absolute_paths(msgspec.convert(good, StorageSettings), folder)


def _read(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            data = file.read(yaml12.MAX_BYTES + 1)
        text = data.decode("utf-8-sig")
    except FileNotFoundError:
        smallest = "".join(f"    {line}\n" for line in SMALLEST.splitlines())
        raise SettingsError(
            [
                f"{path}: there is no such file; name another with --config, or write one, of which the smallest is\n\n"
                f"{smallest}"
            ]
        ) from None
    except UnicodeDecodeError as error:
        raise SettingsError([f"{path}: not UTF-8 text at byte {error.start}; save the file as UTF-8"]) from None
    except OSError as error:
        raise SettingsError([f"{path}: cannot be read ({error.strerror}); correct the path or its rights"]) from None
    if len(data) > yaml12.MAX_BYTES:
        raise SettingsError([f"{path}: larger than {yaml12.MAX_BYTES} bytes; is this the right file?"])
    try:
        return yaml12.read(text)
    except yaml12.YamlError as error:
        raise SettingsError([f"{path}: {problem}" for problem in error.problems]) from None


def _with_overrides(tree: Any, overrides: Mapping[str, Any]) -> Any:
    tree = {} if tree is None else tree
    for key, value in overrides.items():
        section, _, name = key.partition(".")
        if isinstance(tree, dict) and isinstance(tree.get(section) or {}, dict):
            tree = {**tree, section: {**(tree.get(section) or {}), name: value}}
    return tree


def _place(path: Path, key: str, overrides: Mapping[str, Any]) -> str:
    return "command line" if key in overrides else str(path)


def _problems_between(tree: dict[str, Any]) -> Iterator[Problem]:
    """What is wrong with values that are of the right type: addresses, and settings that do not go together."""
    proxy, dashboard = tree.get("proxy", {}), tree.get("dashboard", {})
    for key, section in (("proxy.listen", proxy), ("dashboard.listen", dashboard)):
        if "listen" in section and (wrong := addresses.problem_of_listen(section["listen"])):
            yield Problem(key, wrong)
    if "upstream" in proxy and (wrong := addresses.problem_of_upstream(proxy["upstream"])):
        yield Problem("proxy.upstream", wrong)
    for network in proxy.get("trusted", []):
        if wrong := addresses.problem_of_network(network):
            yield Problem("proxy.trusted", wrong)
    yield from _collisions(proxy, dashboard)


def _collisions(proxy: dict[str, Any], dashboard: dict[str, Any]) -> Iterator[Problem]:
    try:
        front = addresses.host_and_port(proxy.get("listen", _default(ProxySettings, "listen")))
        back = addresses.host_and_port(dashboard.get("listen", _default(DashboardSettings, "listen")))
    except ValueError:
        return  # said already
    if front == back and front[1] != 0:
        yield Problem(
            "dashboard.listen",
            f"{back[0]}:{back[1]} is proxy.listen too; give the dashboard another port, and keep it off the public one",
        )
    upstream = proxy.get("upstream", "demo")
    if upstream != "demo" and not addresses.problem_of_upstream(upstream) and addresses.endpoint(upstream) == front:
        yield Problem(
            "proxy.upstream",
            f'"{upstream}" is proxy.listen itself: ropo would ask itself for ever; name the address of the site behind',
        )


def _default(struct: type[msgspec.Struct], name: str) -> Any:
    return next(f.default for f in msgspec.structs.fields(struct) if f.name == name)


def _with_absolute_paths(settings: Settings, folder: Path) -> Settings:
    """The settings of which every path starts at the root, wherever a process is started."""
    sinks = [
        msgspec.structs.replace(
            sink, **{name: _absolute(text, folder) for name in _SINK_PATHS if (text := getattr(sink, name, None))}
        )
        for sink in settings.export.sinks
    ]
    return msgspec.structs.replace(
        settings,
        storage=_storage_with_absolute_paths(settings.storage, folder),
        export=msgspec.structs.replace(settings.export, sinks=sinks),
    )


def _storage_with_absolute_paths(storage: StorageSettings, folder: Path) -> StorageSettings:
    hot_path = _absolute(storage.hot_path, folder) if storage.hot_path else None
    return msgspec.structs.replace(storage, path=_absolute(storage.path, folder), hot_path=hot_path)


def _absolute(text: str, folder: Path) -> str:
    return os.path.normpath(folder / Path(text).expanduser())
