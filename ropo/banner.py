"""What `ropo serve` says on the terminal once it serves: where things are, and what to try next."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import ropo
from ropo.settings import Settings
from storage.layout import Layout

if TYPE_CHECKING:
    from ropo.demo_process import Demo

CAMPAIGN = "?utm_source=google&utm_medium=cpc&utm_campaign=autumn&gclid=Test123"


def show(
    settings: Settings, *, listen: str, dashboard: str | None, layout: Layout, config_path: Path, demo: Demo | None
) -> None:
    print("\n".join(lines(settings, listen, dashboard, layout, config_path, demo)), flush=True)


def lines(
    settings: Settings, listen: str, dashboard: str | None, layout: Layout, config_path: Path, demo: Demo | None
) -> list[str]:
    built_in = demo is not None and demo.site.rstrip("/") == settings.proxy.upstream
    behind = "the built-in demo site" if built_in else _servers(settings.proxy.upstream)
    command = _command(config_path)
    said = [
        f"ropo {ropo.__version__} is serving. Ctrl-C stops it.",
        f"  site       http://{listen}  in front of {behind}",
        f"  dashboard  http://{dashboard or settings.dashboard.listen}",
        f"  log        {_short(layout.log_db)}",
    ]
    for sink in settings.export.sinks:
        said.append(
            f"  leads to   {sink.name}: {_short(Path(sink.folder)) if hasattr(sink, 'folder') else sink.origin}"
        )
    if demo is not None and demo.erp:
        said.append(f"  demo ERP   {demo.erp}  shows the leads it was sent")
    said += [
        "Try next:",
        f"  open http://{listen}/{CAMPAIGN} and send a form",
        f'  {command} sql "select occurred_at, visitor_id, name, path, channel from events order by 1 desc limit 10"',
        f"  {command} leads list",
    ]
    return said


def _servers(upstream: str | list[str]) -> str:
    return upstream if isinstance(upstream, str) else ", ".join(upstream)


def _command(config_path: Path) -> str:
    """How to call ropo from where the reader stands."""
    found = Path(sys.argv[0])
    name = _short(found) if found.name == "ropo" and found.exists() else "ropo"
    if os.path.abspath(config_path) != os.path.abspath("config.yaml"):
        name += f" --config {_short(Path(config_path))}"
    return name


def _short(path: Path) -> str:
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative
