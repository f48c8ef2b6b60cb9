"""The checksum of a part, in a file beside it: `.<part>.sha256`, as sha256sum(1) writes and checks them.

Knows the text of such a file and that it stands before its part does. Whoever rewrites a part writes its checksum anew.
The name begins with a dot: tools that read whole folders of Parquet files (Spark, Hive) pass over it.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

_LINE = re.compile(r"([0-9a-f]{64})  (.+)\n?")


def beside(part: Path) -> Path:
    """Where the checksum of a part stands."""
    return part.with_name(f".{part.name}.sha256")


def of(path: Path) -> str:
    """The SHA-256 of what is in a file, in hexadecimal. Raises OSError."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def kept(part: Path) -> str | None:
    """What was kept when the part was written; None for a part from before there were checksums.

    Raises ValueError for a file that is no checksum of this part.
    """
    try:
        text = beside(part).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    match = _LINE.fullmatch(text)
    if match is None or match[2] != part.name:
        raise ValueError(f"{beside(part)} is not the checksum of {part.name}")
    return match[1]


def keep(part: Path, digest: str) -> None:
    """Writes it, synced. The part itself may not have its name yet. Raises OSError."""
    path = beside(part)
    fresh = path.with_name(path.name + ".tmp")
    with open(fresh, "w", encoding="utf-8") as file:
        file.write(f"{digest}  {part.name}\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)
