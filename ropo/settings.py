"""The settings: config.yaml as one typed value. One section per room, each described by the room itself.

Knows how a file becomes settings, and what no single room can see: paths, addresses that collide, the command line.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from dashboard.settings import DashboardSettings, SqlSettings
from export.settings import ExportSettings
from proxy.settings import CertificateSettings, ProxySettings, TlsSettings
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

# RFC 9112 section 3.2.1 as far as a request needs it: visible ASCII, and no fragment.
_PATH = re.compile(r"/[!-\"$-~]*")

_ANOTHER_PORT = {
    "proxy.tls.listen": "https needs a port of its own, such as 0.0.0.0:443",
    "dashboard.listen": "give the dashboard another port, and keep it off the public one",
    "dashboard.sql.listen": "SQL over HTTP needs a port of its own, such as 127.0.0.1:8083, and not the public one",
}


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
    for key, text in _listeners(proxy, dashboard).items():
        if wrong := addresses.problem_of_listen(text):
            yield Problem(key, wrong)
    for key, value in _upstreams(proxy).items():
        for wrong in addresses.problems_of_upstreams(value, demo=key == "proxy.upstream"):
            yield Problem(key, wrong)
    yield from _problems_of_hosts(proxy)
    for network in proxy.get("trusted", []):
        if wrong := addresses.problem_of_network(network):
            yield Problem("proxy.trusted", wrong)
    if proxy.get("proxy_protocol") and not proxy.get("trusted"):
        yield Problem(
            "proxy.proxy_protocol",
            "true without proxy.trusted: only trusted peers may send PROXY headers, so nobody could connect; write the "
            "networks of the proxies in front there, such as 10.0.0.0/8",
        )
    yield from _problems_of_files(proxy)
    yield from _problems_of_limits(proxy)
    path = (proxy.get("health") or {}).get("path", "/")
    if not _PATH.fullmatch(path):
        yield Problem("proxy.health.path", f'"{path}" is no path of a request; write such as /health, a space as %20')
    yield from _collisions(proxy, dashboard)


def _listeners(proxy: dict[str, Any], dashboard: dict[str, Any]) -> dict[str, str]:
    """Key to address of all that ropo listens on, defaults included."""
    listeners = {"proxy.listen": proxy.get("listen", _default(ProxySettings, "listen"))}
    if proxy.get("tls") is not None:
        listeners["proxy.tls.listen"] = proxy["tls"].get("listen", _default(TlsSettings, "listen"))
    listeners["dashboard.listen"] = dashboard.get("listen", _default(DashboardSettings, "listen"))
    if dashboard.get("sql") is not None:
        listeners["dashboard.sql.listen"] = dashboard["sql"].get("listen", _default(SqlSettings, "listen"))
    return listeners


def _upstreams(proxy: dict[str, Any]) -> dict[str, str | list[str]]:
    """Key to server or servers of each site."""
    sites = {f"proxy.sites[{i}].upstream": site.get("upstream") for i, site in enumerate(proxy.get("sites", []))}
    return {k: value for k, value in {"proxy.upstream": proxy.get("upstream"), **sites}.items() if value is not None}


def _problems_of_hosts(proxy: dict[str, Any]) -> Iterator[Problem]:
    first: dict[str, str] = {}
    for i, site in enumerate(proxy.get("sites", [])):
        key = f"proxy.sites[{i}].hosts"
        for host in site.get("hosts", []):
            if wrong := addresses.problem_of_host(host):
                yield Problem(key, wrong)
            elif (name := addresses.host_name(host)) in first:
                where = "stands there twice" if first[name] == key else f"stands in {first[name]} too"
                yield Problem(key, f'"{host}" {where}; a host belongs to one site, name it once')
            else:
                first[name] = key


def _problems_of_files(proxy: dict[str, Any]) -> Iterator[Problem]:
    pairs = enumerate((proxy.get("tls") or {}).get("certificates", []))
    files = {f"proxy.tls.certificates[{i}].{name}": text for i, pair in pairs for name, text in pair.items()}
    for key, text in {**files, "proxy.upstream_ca_file": proxy.get("upstream_ca_file") or ""}.items():
        if text and not text.isprintable():
            # It is not shown: with `file:PATH` or a block of text it is the key itself.
            yield Problem(key, "holds more than the path of a file; write the path alone, without `file:` before it")


def _problems_of_limits(proxy: dict[str, Any]) -> Iterator[Problem]:
    def limit(name: str) -> int:
        return proxy.get(name, _default(ProxySettings, name))

    for part in ("max_target_bytes", "max_field_bytes"):
        if limit("max_head_bytes") < limit(part):
            yield Problem(
                "proxy.max_head_bytes",
                f"{limit('max_head_bytes')} is less than proxy.{part}, which is {limit(part)} and limits a part of the "
                f"head; write {limit(part)} at least, or lower proxy.{part}",
            )


def _collisions(proxy: dict[str, Any], dashboard: dict[str, Any]) -> Iterator[Problem]:
    """Listeners in each other's way, and upstreams that are ropo itself."""
    listeners: dict[str, tuple[str, int]] = {}
    for key, text in _listeners(proxy, dashboard).items():
        if addresses.problem_of_listen(text):
            continue  # said already
        place = addresses.host_and_port(text)
        for other, its_place in listeners.items():
            if addresses.overlap(place, its_place):
                is_it = (
                    f"is {other} too" if place == its_place else f"is within {other}, {addresses.written(its_place)}"
                )
                yield Problem(key, f"{text} {is_it}; {_ANOTHER_PORT[key]}")
        listeners[key] = place
    listeners.pop("dashboard.listen", None)
    listeners.pop("dashboard.sql.listen", None)
    for key, value in _upstreams(proxy).items():
        for text in [value] if isinstance(value, str) else value:
            if text == "demo" or text.startswith("unix:") or addresses.problem_of_upstream(text):
                continue
            server = addresses.endpoint(text)
            for own, place in listeners.items():
                if addresses.leads_to(server, place):
                    what = "itself" if server == place else "as it is reached from here"
                    behind = "ropo would ask itself for ever; name the address of the site behind"
                    yield Problem(key, f'"{text}" is {own} {what}: {behind}')


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
        proxy=_proxy_with_absolute_paths(settings.proxy, folder),
        storage=_storage_with_absolute_paths(settings.storage, folder),
        export=msgspec.structs.replace(settings.export, sinks=sinks),
    )


def _proxy_with_absolute_paths(proxy: ProxySettings, folder: Path) -> ProxySettings:
    """And with the hosts of its sites as requests have them. Sockets are absolute already."""
    tls = proxy.tls and msgspec.structs.replace(
        proxy.tls,
        certificates=[
            CertificateSettings(certificate=_absolute(pair.certificate, folder), key=_absolute(pair.key, folder))
            for pair in proxy.tls.certificates
        ],
    )
    sites = [msgspec.structs.replace(s, hosts=[addresses.host_name(host) for host in s.hosts]) for s in proxy.sites]
    ca_file = _absolute(proxy.upstream_ca_file, folder) if proxy.upstream_ca_file else None
    return msgspec.structs.replace(proxy, tls=tls, sites=sites, upstream_ca_file=ca_file)


def _storage_with_absolute_paths(storage: StorageSettings, folder: Path) -> StorageSettings:
    hot_path = _absolute(storage.hot_path, folder) if storage.hot_path else None
    return msgspec.structs.replace(storage, path=_absolute(storage.path, folder), hot_path=hot_path)


def _absolute(text: str, folder: Path) -> str:
    return os.path.normpath(folder / Path(text).expanduser())
