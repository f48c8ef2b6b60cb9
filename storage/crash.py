"""Places at which a test may kill this process, to prove that the next one carries on.

Does nothing unless the environment names the place: `ROPO_CRASH_POINTS=part-written=0.2,published=0.05` dies there with
these probabilities, by SIGKILL, so that nothing is cleaned up.
"""

from __future__ import annotations

import os
import random
import signal

POINTS = (
    "rows-inserted",  # the batch is in its transaction, not committed
    "batch-committed",
    "image-copied",  # the new image lies beside the one that readers open
    "intent-committed",
    "part-written",  # a part under its temporary name
    "part-named",
    "parts-committed",
    "watermark-moved",
    "rows-forgotten",
)

# Those between a worker's open file and the archive.
SPOOL_POINTS = (
    "file-cut",  # what a dead writer left is whole, and still has its old name
    "file-recovered",
    "lines-quarantined",  # ahead of the batch that counts them
    "file-put-away",  # in the archive, after the batch that has its rows
    "bundle-written",
    "bundle-named",  # and its files lie there beside it
)

# Those of `ropo storage`, whose commands run beside the collector or while it is stopped.
CARE_POINTS = (
    "merge-written",  # a bigger part in the tree that is being made
    "tree-linked",
    "shelf-apart",
    "tree-exchanged",
    "shelf-made",
    "spool-restored",  # a rebuild has put the archive back into the spool
    "work-aside",
    "work-begun",
    "backup-copied",
    "restore-copied",
)

# Those of the nightly run: what is too old, and what is to be erased.
NIGHT_POINTS = (
    "file-redacted",  # of the archive or the quarantine
    "erased-written",  # a part without the rows in the tree that is being made
    "erased-linked",
    "erased-apart",
    "erased-exchanged",
    "shelf-replaced",  # the last names of the old parts are gone
    "work-copied",  # the new work.duckdb lies beside the old one
    "work-rotated",
)

ALL_POINTS = POINTS + SPOOL_POINTS + CARE_POINTS + NIGHT_POINTS


def chances(text: str) -> dict[str, float]:
    """`name=probability` by comma. Raises ValueError for a name that is no crash point."""
    found = {}
    for item in filter(None, text.split(",")):
        point, _, chance = item.partition("=")
        if point not in ALL_POINTS:
            raise ValueError(f"ROPO_CRASH_POINTS: {point!r} is no crash point; there are {', '.join(ALL_POINTS)}")
        found[point] = float(chance or 1)
    return found


_chances = chances(os.environ.get("ROPO_CRASH_POINTS", ""))
_planted: tuple[str, int] | None = None


def plant(point: str, passing: int) -> None:
    """From here on this process dies when it comes to `point` for the so-manieth time, counted from 1."""
    global _planted
    _planted = (point, passing)


def crash_point(point: str) -> None:
    if (_chances and random.random() < _chances.get(point, 0)) or (_planted is not None and _comes_to(point)):
        os.kill(os.getpid(), signal.SIGKILL)


def _comes_to(point: str) -> bool:
    place, left = _planted
    if point == place:
        plant(place, left - 1)
    return point == place and left == 1
