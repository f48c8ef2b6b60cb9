"""Merges the parts of `tests.support.log_proof` again and again, in a process that may be killed anywhere.

python -m tests.support.compact_proof FOLDER [MUTATION]     until FOLDER/enough exists, or nobody started it any more
"""

from __future__ import annotations

import os
import random
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from storage import shelves
from storage.compact import CannotCompactError, compact
from tests.support import log_proof

# All days of that world are over by then.
LATER = datetime(2100, 1, 1, tzinfo=UTC)


def main(folder: Path, mutation: str) -> None:
    if mutation == "in place":
        # The old parts go under their readers: no shelf keeps them.
        shelves.set_apart = lambda cold: None
        shelves.make = lambda cold: None
    layout = log_proof.layout_of(folder)
    parent = os.getppid()
    while os.getppid() == parent and not (folder / "enough").exists():
        try:
            done = compact(layout, part_rows=random.choice([8_000, 30_000, 100_000]), now=LATER)
        except CannotCompactError as error:
            print(error, flush=True)
        else:
            if done.merges:
                with open(folder / "merges", "a") as merges:
                    merges.write("x")
        time.sleep(0.2)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *(sys.argv[2:] or [""]))
