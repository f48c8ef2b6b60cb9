"""Copies the log while ropo writes it, and makes a storage path of the copy again.

Knows what belongs together: an image of the fresh rows, and the parts up to the batch that this image calls filed. Parts
never change, so those that are in the backup already are not copied again.

    manifest.json     what the backup is: each file with its size and SHA-256; written last, in one step
    files/<sha256>    the contents, named for what is in them: an interrupted backup harms none that was whole

Knows nothing of settings but as bytes to keep.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import msgspec

from storage import checksums, shelves
from storage.crash import crash_point
from storage.layout import Layout
from storage.lock import BlockedError, hold
from storage.parts import make_folder, range_of, sync
from storage.promote import Mark, shown_mark
from storage.settings import StorageSettings
from storage.sql import file, files, name
from storage.tables import TABLES
from storage.work import WORK, connect

logger = logging.getLogger(__name__)

MANIFEST, FILES = "manifest.json", "files"
FORMAT = 1

Progress = Callable[[int, int], None]


class BackupError(Exception):
    """It cannot be copied, or the copy is not whole. The message says which file, and what to do."""


class Entry(msgspec.Struct, frozen=True):
    """One file below the storage path. `private`: for its owner alone."""

    path: str
    sha256: str
    size: int
    private: bool = False


class Manifest(msgspec.Struct, frozen=True):
    """`rows` are those of each table, as a reader of log.duckdb counted them at `taken_at` (UTC)."""

    format: int
    taken_at: str
    ropo: str
    batch: int
    migration: int
    rows: dict[str, int]
    entries: list[Entry]


class Taken(msgspec.Struct, frozen=True):
    """What a backup did: its manifest, how many files it had to copy, and how many bytes."""

    manifest: Manifest
    copied_files: int
    copied_bytes: int


def take(
    layout: Layout,
    settings: StorageSettings,
    folder: Path,
    *,
    version: str,
    private: Mapping[str, Path] | None = None,
    now: datetime | None = None,
    progress: Progress = lambda done, of: None,
) -> Taken:
    """Makes or renews the backup in `folder`. `private` are further files by the path they shall have, such as keys.

    Raises `BackupError`, OSError or duckdb.Error; a backup that was there before is still whole then.
    """
    make_folder(folder.absolute())
    _check_is_ours(folder)
    with _alone(layout), tempfile.TemporaryDirectory(prefix=".backup-", dir=layout.root) as place:
        image = Path(place, "work.duckdb")
        with _image(layout, settings) as source:
            _copy(source, image)
        with closing(_connect(settings)) as con:
            mark = _mark(con, image)
            parts = Path(place, "cold")
            # Links, so that nothing moves while it is copied. Parts that this image does not know are left out.
            with shelves.moving(layout.cold):
                shelves.link_tree(layout.cold, parts, leave=_beyond(layout.cold, mark.promoted))
            rows = _counts(con, image, parts, mark)
            migration = con.execute(f"select max(number) from read_duckdb({file(image)}, table_name = 'migrations')")
            number = migration.fetchall()[0][0]
        sources = {"work.duckdb": image}
        # Their checksums are in the manifest.
        sources |= {str(path.relative_to(place)): path for path in sorted(parts.rglob("*.parquet"))}
        entries, copied, size = [], 0, 0
        everything = [(path, where, False) for path, where in sources.items()]
        everything += [(path, where, True) for path, where in (private or {}).items()]
        for done, (path, where, is_private) in enumerate(everything):
            progress(done, len(everything))
            entry, is_new = _keep(folder, path, where, is_private)
            entries.append(entry)
            copied, size = copied + is_new, size + entry.size * is_new
        progress(len(everything), len(everything))
    crash_point("backup-copied")
    moment = (now or datetime.now(UTC)).astimezone(UTC)
    manifest = Manifest(FORMAT, f"{moment:%Y-%m-%d %H:%M:%S}", version, mark.b, number, rows, entries)
    _write(folder / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)))
    _forget_others(folder, manifest)
    return Taken(manifest, copied, size)


def read(folder: Path) -> Manifest:
    """The manifest of a backup. Raises `BackupError`."""
    try:
        manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    except FileNotFoundError:
        raise BackupError(f"{folder} holds no backup: there is no {MANIFEST}") from None
    except msgspec.DecodeError as error:
        raise BackupError(f"{folder / MANIFEST} cannot be read ({error}); take another backup") from None
    if manifest.format > FORMAT:
        raise BackupError(
            f"{folder} was made by ropo {manifest.ropo}, which is newer than this one; restore it with that"
        )
    for entry in manifest.entries:
        path = Path(entry.path)
        if path.is_absolute() or ".." in path.parts or not path.parts:
            raise BackupError(f"{folder / MANIFEST} names {entry.path!r}, which is no path below a storage path")
    return manifest


def restore(folder: Path, to: Path, *, progress: Progress = lambda done, of: None) -> Manifest:
    """Makes a storage path of a backup, on which `ropo serve` starts. Every file is compared with its checksum.

    `to` must be empty or not there, and is there whole or not at all. Raises `BackupError` or OSError.
    """
    to = to.absolute()
    manifest = read(folder)
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise BackupError(f"{to} is there already; a backup is restored into a new folder")
    make_folder(to.parent)
    fresh = Path(tempfile.mkdtemp(prefix=f".{to.name}-", dir=to.parent))
    try:
        for done, entry in enumerate(manifest.entries):
            progress(done, len(manifest.entries))
            _bring_back(folder, fresh, entry)
        progress(len(manifest.entries), len(manifest.entries))
        for path in fresh.rglob("*"):
            if path.is_dir():
                path.chmod(0o700 if path.name == "secrets" else 0o750)
                sync(path)
        fresh.chmod(0o750)
        sync(fresh)
        crash_point("restore-copied")
        os.rename(fresh, to)
        sync(to.parent)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    return manifest


def _bring_back(folder: Path, to: Path, entry: Entry) -> None:
    source, target = folder / FILES / entry.sha256, to / entry.path
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        _copy(source, target, mode=0o600 if entry.private else 0o640)
    except FileNotFoundError:
        raise BackupError(f"{source} is missing: it holds {entry.path}; nothing was restored") from None
    if checksums.of(target) != entry.sha256:
        raise BackupError(f"{source} is damaged: it holds {entry.path}; nothing was restored")
    if target.name.endswith(".parquet"):
        checksums.keep(target, entry.sha256)


@contextmanager
def _alone(layout: Layout) -> Iterator[None]:
    fd = os.open(layout.root / "backup.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # What one that was killed left: links that would keep old parts.
        for left in layout.root.glob(".backup-*"):
            shutil.rmtree(left, ignore_errors=True)
        yield
    except BlockingIOError:
        raise BackupError(f"{layout.root} is being backed up already, by another process") from None
    finally:
        os.close(fd)


@contextmanager
def _image(layout: Layout, settings: StorageSettings) -> Iterator[Path]:
    """The file to copy: work.duckdb itself while nobody runs ropo, else what is published."""
    try:
        with hold(layout):
            if not layout.work_db.exists():
                raise BackupError(f"there is no log at {layout.root} yet; start `ropo serve` with this storage.path")
            with closing(connect(layout, settings)) as con:
                con.execute(f"checkpoint {WORK}")
            yield layout.work_db
    except BlockedError:
        if not layout.hot_db.exists():
            raise BackupError(f"{layout.hot_db} is not there; look at stderr of `ropo serve` for why") from None
        yield layout.hot_db


def _beyond(cold: Path, batch: int) -> frozenset[Path]:
    late = [path for path in cold.rglob("*.parquet") if (span := range_of(path)) and span.to > batch]
    return frozenset([*late, *map(checksums.beside, late), *cold.rglob("*.orphan")])


def _mark(con: duckdb.DuckDBPyConnection, image: Path) -> Mark:
    try:
        return shown_mark(con, image)
    except duckdb.Error as error:
        raise BackupError(
            f"the image of the log cannot be read ({error}); try again, or `ropo storage check`"
        ) from error


def _counts(con: duckdb.DuckDBPyConnection, image: Path, parts: Path, mark: Mark) -> dict[str, int]:
    """The rows of each table in what is backed up, counted as the views count them."""
    counts = {}
    for table in TABLES:
        fresh = f"select count(*) from read_duckdb({file(image)}, table_name = '{table.name}') where b > {mark.w}"
        source = f"read_parquet({files(parts / table.name, '**/*.parquet')}, union_by_name = true)"
        filed = f"select count(*) from {source} where {name('b')} <= {mark.w}"
        counts[table.name] = con.execute(f"select ({fresh}) + ({filed})").fetchall()[0][0]
    return counts


def _keep(folder: Path, path: str, source: Path, private: bool) -> tuple[Entry, bool]:
    """Puts one file into the backup, unless it is there. Raises `BackupError` for a part that is not what it was."""
    digest = _known(source)
    target = folder / FILES / digest if digest else None
    size = source.stat().st_size
    if target and target.exists() and target.stat().st_size == size:
        return Entry(path, digest, size, private), False
    make_folder(folder / FILES)
    fresh = folder / FILES / f".{os.getpid()}.tmp"
    fresh.unlink(missing_ok=True)
    _copy(source, fresh, mode=0o600 if private else 0o640)
    found = checksums.of(fresh)
    if digest and found != digest:
        fresh.unlink()
        raise BackupError(f"{path} is damaged: it is not what its checksum says. `ropo storage check` tells more")
    target = folder / FILES / found
    is_new = not target.exists()
    os.replace(fresh, target)
    sync(target.parent)
    return Entry(path, found, size, private), is_new


def _known(source: Path) -> str | None:
    try:
        return checksums.kept(source) if source.suffix == ".parquet" else None
    except ValueError:
        return None


def _copy(source: Path, target: Path, *, mode: int = 0o600) -> None:
    """A copy of its own, synced: a link would share the fate of the disk's blocks, and of whoever writes into it."""
    with open(source, "rb") as wanted, open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as copy:
        shutil.copyfileobj(wanted, copy, 1 << 20)
        copy.flush()
        os.fsync(copy.fileno())


def _write(path: Path, text: bytes) -> None:
    fresh = path.with_name(path.name + ".tmp")
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640), "wb") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    os.replace(fresh, path)
    sync(path.parent)


def _check_is_ours(folder: Path) -> None:
    if (folder / MANIFEST).exists():
        read(folder)
    elif strangers := sorted(path.name for path in folder.iterdir() if path.name not in (FILES, f"{MANIFEST}.tmp")):
        raise BackupError(
            f"{folder} holds other things ({', '.join(strangers[:3])}); choose a folder for the backup alone"
        )


def _forget_others(folder: Path, manifest: Manifest) -> None:
    """What only an older backup had. After the manifest: until then that one was whole."""
    wanted = {entry.sha256 for entry in manifest.entries}
    for path in (folder / FILES).iterdir():
        if path.name not in wanted:
            with suppress(OSError):
                path.unlink()


def _connect(settings: StorageSettings) -> duckdb.DuckDBPyConnection:
    con = duckdb.connect(config={"memory_limit": f"{settings.memory_limit_mb}MB", "threads": 1})
    con.execute("set enable_progress_bar = false")
    return con


def keys_in(folders: Sequence[Path]) -> dict[str, Path]:
    """The key files of these folders, by their path below a storage path."""
    found = {}
    for folder in folders:
        for path in sorted(folder.iterdir()) if folder.is_dir() else []:
            if stat.S_ISREG(path.lstat().st_mode):
                found[f"{folder.name}/{path.name}"] = path
    return found
