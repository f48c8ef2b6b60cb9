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


def chances(text: str) -> dict[str, float]:
    """`name=probability` by comma. Raises ValueError for a name that is no crash point."""
    found = {}
    for item in filter(None, text.split(",")):
        point, _, chance = item.partition("=")
        if point not in POINTS:
            raise ValueError(f"ROPO_CRASH_POINTS: {point!r} is no crash point; there are {', '.join(POINTS)}")
        found[point] = float(chance or 1)
    return found


_chances = chances(os.environ.get("ROPO_CRASH_POINTS", ""))


def crash_point(point: str) -> None:
    if _chances and random.random() < _chances.get(point, 0):
        os.kill(os.getpid(), signal.SIGKILL)
