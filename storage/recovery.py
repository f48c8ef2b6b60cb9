"""Sealing what dead writers left. Knows how a file looks after a kill or a power cut; touches no living writer's file."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import msgspec

from storage.crash import crash_point
from storage.sealed import drop_file
from storage.spool_file import OPEN, PART, SEALED, parse, sync_folder, take
from tracker.model import SpoolHeader, decode_line

logger = logging.getLogger(__name__)

# The writer of the notes of starts; the view `writers` knows it by this name.
SUPERVISOR = "supervisor"


def recover(folder: Path, worker: str | None = None) -> list[Path]:
    """Seals the open files of dead writers, all or those of one `worker`, and returns the sealed ones in order.

    What was never whole is cut off; a file without a record is removed. A file whose writer lives (it holds the lock)
    is left alone, and one that the disk refuses is logged and stays for the next time. Calling it again is harmless.
    """
    recovered, touched = [], False
    for path in sorted(folder.iterdir()):
        if path.suffix not in (OPEN, PART):
            continue
        name = parse(path.stem)
        if name is None:
            logger.warning("spool file=%s left='not named like a spool file'", path)
            continue
        if worker is not None and name.worker != worker:
            continue
        try:
            sealed = _recover_file(path)
        except OSError as error:
            logger.error("spool file=%s error=%r left='for the next start'", path, str(error))
            continue
        touched = True
        if sealed is not None:
            recovered.append(sealed)
    if touched:
        sync_folder(folder)
    return recovered


def note_start(folder: Path, *, node: str, worker: str, epoch: int, version: str) -> None:
    """Leaves word in the spool that this life begins: a file with nothing but its header.

    So the log knows that the life before it, of the same name, is over, although this one may have nothing to write for
    long; and of `SUPERVISOR`, that everybody's is. A disk that refuses is logged.
    """
    try:
        drop_file(folder, node=node, worker=worker, epoch=epoch, version=version, lines=())
    except OSError as error:
        logger.warning("spool start not noted error=%r next='free space, or look after the disk'", str(error))


def _recover_file(path: Path) -> Path | None:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None  # its writer sealed it while we looked
    try:
        there = os.fstat(fd)
        if not take(fd) or not _is_at(path, there):
            return None
        if path.suffix == PART:
            # Dropped files are whole or nothing; who dropped this one has failed, and knows it.
            path.unlink()
            return None
        data = path.read_bytes()
        size = whole_size(data)
        if not _has_record(data[:size]):
            logger.warning("spool file=%s removed='no whole record' bytes=%d", path, len(data))
            path.unlink()
            return None
        if size < len(data):
            logger.warning("spool file=%s cut='was never whole' bytes=%d", path, len(data) - size)
        # In any case, because it gives back the room that the writer had set aside.
        os.ftruncate(fd, size)
        # The dead writer's last lines may not have been on the disk yet.
        os.fsync(fd)
        # Its age is the age of its records, and the order of files goes by it.
        os.utime(fd, ns=(there.st_atime_ns, there.st_mtime_ns))
        sealed = path.with_suffix(SEALED)
        if sealed.exists():
            raise FileExistsError(f"there is a sealed file of this name already: {sealed}")
        crash_point("file-cut")
        os.rename(path, sealed)
        crash_point("file-recovered")
        return sealed
    finally:
        os.close(fd)


def _is_at(path: Path, there: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.stat(path), there)
    except FileNotFoundError:
        return False


def whole_size(data: bytes) -> int:
    """The length up to the end of the last line that is whole: it ends in a newline and is one JSON object.

    A torn block can leave bad lines before a good one. Those stay: they are somebody's records, and whoever reads the
    file will say so.
    """
    end = data.rfind(b"\n") + 1
    while end:
        start = data.rfind(b"\n", 0, end - 1) + 1
        if _is_object(data[start:end]):
            return end
        end = start
    return 0


def _is_object(line: bytes) -> bool:
    # Not `decode_line`: a newer writer's kind of record is whole too.
    try:
        return isinstance(msgspec.json.decode(line), dict)
    except (ValueError, RecursionError):
        return False


def _has_record(whole: bytes) -> bool:
    first = whole.find(b"\n") + 1
    if first < len(whole):
        return True
    try:
        return bool(whole) and not isinstance(decode_line(whole[:first]), SpoolHeader)
    except (ValueError, RecursionError):
        return bool(whole)
