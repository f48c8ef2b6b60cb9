"""Sealed spool files: which there are, what stands in them, and dropping one in whole.

Knows the records' JSON through `tracker.model`, and nothing of what the pipeline makes of them.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from storage.spool_file import OPEN, PART, SEALED, SpoolName, check_worker, create, parse, sync_folder
from tracker.model import Record, SpoolHeader, decode_line, encode_line

# How long after the common moment the slower of two workers may seal and still count to it.
SETTLE_SECS = 0.1
# How long a writer that should have sealed is waited for: it may be dead, and nobody there yet to clear up after it.
PATIENCE_SECS = 3.0
# A file from the future was written before the clock was set back; waiting for its time would be waiting for long.
CLOCK_SLACK_SECS = 1.0


def sealed(folder: Path) -> list[Path]:
    """The sealed files of all writers, the one that was written to longest ago first.

    By time and not by name, so that after a standstill the workers' files are read side by side and visits come in
    order.
    """
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(SEALED) and parse(entry.name.removesuffix(SEALED)):
                with suppress(FileNotFoundError):
                    found.append((entry.stat().st_mtime_ns, entry.name))
    return [folder / name for _, name in sorted(found)]


def ready(folder: Path, *, seal_secs: float, now: float) -> list[Path]:
    """Those of `sealed` that can be taken in without getting ahead of another writer. `now` in Unix seconds.

    Workers seal at the same moments, every `seal_secs` of the clock. A visitor's requests may go through several of
    them, so a file waits until that moment has come for all: what is taken in later is then later. It waits for nobody
    if no other writer has a file open, and not for ever for one that should have sealed and has not.
    """
    waiting: list[tuple[float, str, str]] = []
    opened: list[tuple[float, str]] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            stem, ending = os.path.splitext(entry.name)
            if ending not in (SEALED, OPEN) or (name := parse(stem)) is None:
                continue
            with suppress(FileNotFoundError):
                written = entry.stat().st_mtime
                if ending == SEALED:
                    waiting.append((written, entry.name, name.worker))
                else:
                    opened.append((written, name.worker))
    moment = (now - SETTLE_SECS) // seal_secs * seal_secs
    overdue = {worker for written, worker in opened if moment - PATIENCE_SECS - seal_secs < written < moment}
    return [
        folder / name
        for written, name, worker in sorted(waiting)
        if not any(other != worker for _, other in opened)
        or written > now + CLOCK_SLACK_SECS
        or (written < moment + SETTLE_SECS and not overdue - {worker})
    ]


def read(path: Path) -> tuple[SpoolHeader | None, list[Record], list[tuple[bytes, str]]]:
    """The header, the records in order, and the lines that cannot be read, each with its reason.

    The header is None if the first line is none; the records then stand without their writer. Reasons name the fault
    and its place in the line, never a value.
    """
    header: SpoolHeader | None = None
    records: list[Record] = []
    broken: list[tuple[bytes, str]] = []
    lines = path.read_bytes().split(b"\n")
    if not lines[-1]:
        lines.pop()
    for number, line in enumerate(lines):
        try:
            read_line = decode_line(line)
        except (ValueError, RecursionError) as error:
            broken.append((line, reason_of(line, error)))
            continue
        if not isinstance(read_line, SpoolHeader):
            records.append(read_line)
        elif number == 0:
            header = read_line
        else:
            broken.append((line, "a header that is not the first line"))
    return header, records, broken


def reason_of(line: bytes, error: Exception) -> str:
    """Why a line cannot be read, in words that hold nothing of it."""
    if not line.strip(b"\0 \t\r"):
        return "empty, or nothing but zeros"
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8 (byte {error.start})"
    if isinstance(error, RecursionError):
        return "nested too deeply"
    # msgspec quotes a wrong tag or enumeration value; all else it says is about types and places.
    text = str(error)
    return "an unknown kind of line" if text.startswith("Invalid value") else text[:200]


def drop_file(
    folder: Path, *, node: str, worker: str, epoch: int, version: str, lines: Iterable[bytes], number: int = 0
) -> Path:
    """Writes one complete sealed file, synced: it is there whole when this returns, or not at all.

    For who has a few records and no writer (the command line): `worker` names them, `epoch` is the moment in Unix
    nanoseconds, and `number` tells apart the files of one that drops several. `lines` are encoded records without
    newline. Raises FileExistsError if this writer already dropped that file, else OSError as the disk gives it.
    """
    name = SpoolName(check_worker(worker), epoch, number).stem
    part, whole = folder / (name + PART), folder / (name + SEALED)
    header = encode_line(SpoolHeader(node=node, worker=worker, epoch=epoch, version=version))
    text = b"".join(line + b"\n" for line in (header, *lines))
    fd = create(part)
    try:
        if whole.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(whole))
        with open(fd, "wb", closefd=False) as file:
            file.write(text)
        os.fsync(fd)
        os.rename(part, whole)
    except OSError:
        with suppress(OSError):
            part.unlink()
        raise
    finally:
        os.close(fd)
    sync_folder(folder)
    return whole
