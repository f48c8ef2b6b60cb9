"""Spool files that are in the log, kept for a while so that work.duckdb can be built anew.

Knows files and zstd; nothing of what stands in them. A file comes in by rename, which costs nothing and needs no room.
From time to time the loose ones are packed into a bundle: a tar of spool files under their own names in one zstd
stream (`tar --zstd -xf` opens it), so that two days are some hundred files and not a million.

    <name>.ndjson                          loose: in the log, not packed yet
    <YYYYMMDDTHHMMSSffffff>.tar.zst        a bundle, named for the moment it was packed (UTC)
    <YYYYMMDDTHHMMSSffffff>.tar.zst.part   one that was never finished
"""

from __future__ import annotations

import errno
import logging
import os
import sys
import tarfile
from collections.abc import Container, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO

from storage.crash import crash_point
from storage.layout import Layout
from storage.spool_file import SEALED, sync_folder

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

logger = logging.getLogger(__name__)

BUNDLE = ".tar.zst"
PART = ".part"

PACK_AFTER = timedelta(minutes=10)
# What one bundle holds at most, and how many one call makes: some seconds' work, however much lies there.
PACK_BYTES = 64 * 1024 * 1024
PACK_BUNDLES = 16


def put(layout: Layout, path: Path) -> None:
    """Takes a spool file that is in the log out of the spool. Call it after the commit; repeating it is harmless.

    Whoever is killed before this finds the file in the spool again, sees its name in the log, and calls this again.
    """
    try:
        os.rename(path, layout.archive / path.name)
    except FileNotFoundError:
        # A call before this one did it; or there is no archive, and then the file is still there.
        if path.exists():
            raise
    crash_point("file-put-away")


def prune(layout: Layout, *, hours: int, now: datetime | None = None) -> list[Path]:
    """Packs what is due and removes what is older than `hours`. Call it every minute or so. The new bundles.

    Loose files are due when the oldest came `PACK_AFTER` ago or there are `PACK_BYTES` of them. A disk that refuses is
    logged, and the files stay loose. When it is full the oldest bundle goes early: it is a copy of what is in the log,
    and the room is needed for what is not.
    """
    now = now or datetime.now(UTC)
    folder = layout.archive
    bundles: list[Path] = []
    try:
        while len(bundles) < PACK_BUNDLES and _is_due(loose := _loose(folder), now):
            bundles.append(_pack(folder, loose, now))
    except OSError as error:
        logger.error("archive error=%r folder=%s next='free space, or look after the disk'", str(error), folder)
        if error.errno in (errno.ENOSPC, errno.EDQUOT) and (old := _bundles(folder)):
            logger.warning("archive removed=%s early='disk full'", old[0])
            old[0].unlink(missing_ok=True)
    oldest = _name(now - timedelta(hours=hours))
    for path in [path for path in _bundles(folder) if path.name < oldest] + list(folder.glob(f"*{BUNDLE}{PART}")):
        path.unlink(missing_ok=True)
    return bundles


@dataclass(frozen=True)
class Contents:
    """Names of spool files, and the bundles that could be read in part only, each with the reason."""

    names: frozenset[str]
    damaged: dict[Path, str]


def contents(layout: Layout) -> Contents:
    """What is in the archive. Reads every bundle to its end."""
    names = {path.name for path, _ in _loose(layout.archive)}
    damaged: dict[Path, str] = {}
    for bundle in _bundles(layout.archive):
        try:
            names |= {os.path.basename(member.name) for member, _ in _members(bundle)}
        except _DAMAGED as error:
            damaged[bundle] = f"{type(error).__name__}: {error}"
    return Contents(frozenset(name for name in names if name.endswith(SEALED)), damaged)


def restore(layout: Layout, *, wanted: Container[str] | None = None) -> list[Path]:
    """Puts archived spool files back into the spool under their own names, to be read into a new log; their paths.

    All of them, or those whose names are `wanted`. What is there already stays as it is. The archive keeps its copies.
    """
    folder, spool = layout.archive, layout.spool
    restored = []

    def is_due(name: str) -> bool:
        return name.endswith(SEALED) and (wanted is None or name in wanted) and not (spool / name).exists()

    for path, _ in _loose(folder):
        if is_due(path.name):
            restored.append(_place(spool, path.name, path.read_bytes(), path.stat().st_mtime_ns))
    for bundle in _bundles(folder):
        try:
            for member, content in _members(bundle):
                name = os.path.basename(member.name)
                if is_due(name):
                    restored.append(_place(spool, name, content.read(), int(member.mtime * 1_000_000_000)))
        except _DAMAGED as error:
            logger.error("archive bundle=%s error=%r skipped='the rest of it'", bundle, str(error))
    sync_folder(spool)
    return sorted(restored)


_DAMAGED = (zstd.ZstdError, tarfile.TarError, EOFError)


def _members(bundle: Path) -> Iterator[tuple[tarfile.TarInfo, IO[bytes]]]:
    """The spool files in a bundle, each to be read before the next. Raises one of `_DAMAGED`."""
    with zstd.open(bundle, "rb") as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
        for member in tar:
            content = tar.extractfile(member)
            if content is not None:
                yield member, content


def _place(spool: Path, name: str, text: bytes, mtime_ns: int) -> Path:
    part, path = spool / (name.removesuffix(SEALED) + PART), spool / name
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
        os.utime(file.fileno(), ns=(mtime_ns, mtime_ns))
    os.rename(part, path)
    return path


def _loose(folder: Path) -> list[tuple[Path, os.stat_result]]:
    """The loose files with their stat, oldest first. A rename sets the change time: that is when they came in."""
    found = [(path, path.stat()) for path in folder.glob(f"*{SEALED}")]
    return sorted(found, key=lambda item: (item[1].st_ctime_ns, item[0]))


def _is_due(loose: list[tuple[Path, os.stat_result]], now: datetime) -> bool:
    if not loose:
        return False
    came_in = datetime.fromtimestamp(loose[0][1].st_ctime, UTC)
    return now - came_in >= PACK_AFTER or sum(stat.st_size for _, stat in loose) >= PACK_BYTES


def _pack(folder: Path, loose: list[tuple[Path, os.stat_result]], now: datetime) -> Path:
    while (bundle := folder / _name(now)).exists():
        now += timedelta(microseconds=1)
    part = folder / (bundle.name + PART)
    packed: list[Path] = []
    size = 0
    try:
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            with (
                zstd.open(file, "wb") as stream,
                tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as tar,
            ):
                for path, stat in loose:
                    if size and size + stat.st_size > PACK_BYTES:
                        break
                    tar.add(path, arcname=path.name, recursive=False)
                    packed.append(path)
                    size += stat.st_size
            file.flush()
            os.fsync(file.fileno())
        crash_point("bundle-written")
        os.rename(part, bundle)
    except OSError:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    # The bundle must be there before its files go. Who is killed in between has them twice, which harms nobody.
    sync_folder(folder)
    crash_point("bundle-named")
    for path in packed:
        path.unlink(missing_ok=True)
    return bundle


def _bundles(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*{BUNDLE}"))


def _name(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y%m%dT%H%M%S%f}{BUNDLE}"
