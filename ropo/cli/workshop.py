"""A place beside a file or folder that is to be, where it is made until it is whole.

Knows how something gets its name at once and not before. Knows nothing of what it is.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def beside(target: Path) -> Iterator[Path]:
    """A folder on the same file system, gone afterwards with all that was not moved out of it. Raises OSError."""
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def put(made: Path, target: Path, *, aside: Path) -> None:
    """Gives what was made its final name, on the disk first. What stood there goes to `aside`. Raises OSError."""
    for path in [*made.rglob("*"), made] if made.is_dir() else [made]:
        _sync(path)
    if target.is_dir():
        # A folder with something in it cannot be renamed over.
        os.rename(target, aside)
    os.replace(made, target)
    _sync(target.parent)


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
