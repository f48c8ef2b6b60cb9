"""The rooms of the house, and whether Python found ours. Knows their names and where they stand.

PyPI's `proxy.py` owns the import name `proxy` too, and `storage`, `export` or `tracker` may lie in any folder from which
somebody starts `python -m ropo`. Whoever comes first in the import path wins, so ropo looks before it imports.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

ROOMS = ("proxy", "tracker", "storage", "export", "dashboard")
HOUSE = Path(__file__).resolve().parent.parent


class RoomError(RuntimeError):
    """A room was found in another place than ropo's own folder, or not at all."""


def check(house: Path = HOUSE) -> None:
    """Raises RoomError for the first room that would be, or was, imported from outside `house`. Imports none."""
    for room in ROOMS:
        found = _found(room)
        if found is None:
            raise RoomError(f"the room `{room}` is missing: there is no {house / room}; install ropo again")
        if found.resolve() != house / room:
            raise RoomError(
                f"Python finds the room `{room}` in {found}, not in {house / room}: another package of that name comes "
                "first in the import path; remove it, or run ropo in an environment and from a folder of its own"
            )


def _found(room: str) -> Path | None:
    try:
        spec = find_spec(room)
    except ValueError:  # imported by somebody who left no spec behind
        spec = None
        if file := getattr(sys.modules.get(room), "__file__", None):
            return _folder(file)
    if spec is None:
        return None
    if spec.origin is not None:
        return _folder(spec.origin)
    # A folder without __init__.py is a namespace package: it has places, and no file.
    return next((Path(place) for place in spec.submodule_search_locations or ()), None)


def _folder(file: str) -> Path:
    # A room is a package; a single file `proxy.py` is an intruder and is named itself.
    path = Path(file)
    return path.parent if path.stem == "__init__" else path
