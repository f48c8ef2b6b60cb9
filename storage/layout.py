"""Where everything of one ropo lies on disk. Knows names and permissions, nothing of what is in the files."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import stat
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from storage.settings import StorageSettings

logger = logging.getLogger(__name__)

# The published image is rewritten every few seconds and can grow to some 50 MB; its successor lies beside it meanwhile.
MIN_FREE_BYTES = 512 * 1024 * 1024


@dataclass(frozen=True)
class Layout:
    """The folders and files below `root` (storage.path).

    `hot_path` is the operator's choice of a file for the published rows, `shared_memory` where a tmpfs is looked for.
    """

    root: Path
    hot_path: Path | None = None
    shared_memory: Path = Path("/dev/shm")

    def __post_init__(self) -> None:
        # The views in log.duckdb name files by their absolute path.
        object.__setattr__(self, "root", Path(self.root).absolute())
        if self.hot_path is not None:
            object.__setattr__(self, "hot_path", Path(self.hot_path).absolute())

    @classmethod
    def of(cls, settings: StorageSettings) -> Layout:
        """The layout that the section `storage:` describes."""
        return cls(Path(settings.path), hot_path=Path(settings.hot_path) if settings.hot_path else None)

    @property
    def spool(self) -> Path:
        return self.root / "spool"

    @property
    def archive(self) -> Path:
        return self.root / "archive"

    @property
    def quarantine(self) -> Path:
        return self.root / "quarantine"

    @property
    def cold(self) -> Path:
        return self.root / "cold"

    @property
    def status(self) -> Path:
        return self.root / "status"

    @property
    def export(self) -> Path:
        return self.root / "export"

    @property
    def secrets(self) -> Path:
        return self.root / "secrets"

    @property
    def work_db(self) -> Path:
        """Opened by the collector alone."""
        return self.root / "work.duckdb"

    @property
    def log_db(self) -> Path:
        """What analysts open."""
        return self.root / "log.duckdb"

    @property
    def lock(self) -> Path:
        return self.root / "lock"

    @cached_property
    def hot_db(self) -> Path:
        """The published image of the hot rows: where `hot_path` says, else on tmpfs, else beside the log.

        Decided once per `Layout`, so that a filling tmpfs does not move it under the views.
        """
        if self.hot_path is not None:
            return self.hot_path
        return (self._memory_folder() or self.root) / "hot.duckdb"

    def _memory_folder(self) -> Path | None:
        try:
            if not is_tmpfs(self.shared_memory.resolve(), Path("/proc/self/mounts").read_text()):
                return None
        except OSError:
            return None
        name = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:12]
        folder = self.shared_memory / f"ropo-{os.getuid()}-{name}"
        # Anyone may write in /dev/shm. A folder of this name that is not ours alone is somebody's trap.
        try:
            there = os.lstat(folder)
        except FileNotFoundError:
            there = None
        except OSError:
            return None
        if there is not None and not is_ours(there, os.getuid()):
            logger.warning("hot path=%s refused='not owned by this user alone' instead=%s", folder, self.root)
            return None
        if (folder / "hot.duckdb").exists():
            return folder
        if not os.access(self.shared_memory, os.W_OK | os.X_OK):
            return None
        space = os.statvfs(self.shared_memory)
        return folder if space.f_bavail * space.f_frsize >= MIN_FREE_BYTES else None

    def create(self) -> None:
        """Makes the folders that are not there yet.

        Secrets are for their owner alone, the rest is closed to others than owner and group. Raises OSError with the
        folder in it.
        """
        hot = self.hot_db.parent
        shared = [self.root, self.spool, self.archive, self.quarantine, self.cold, self.status, self.export, hot]
        for folder in [*shared, self.secrets]:
            folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        self.secrets.chmod(0o700)
        # Between the choice and this line somebody else could have made it.
        if self.hot_path is None and hot != self.root and not is_ours(os.lstat(hot), os.getuid()):
            raise PermissionError(
                errno.EPERM, "somebody else made this folder; remove it, or set storage.hot_path", str(hot)
            )


def is_ours(there: os.stat_result, uid: int) -> bool:
    """A real folder (no link) of this user in which nobody else may write."""
    return stat.S_ISDIR(there.st_mode) and there.st_uid == uid and not there.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def is_tmpfs(path: Path, mounts: str) -> bool:
    """Whether `path` lies on a tmpfs. `mounts` is the text of /proc/self/mounts (proc(5), fstab(5))."""
    kind, longest = "", -1
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        # fstab(5): blanks in a mount point are written as octal escapes.
        point = Path(fields[1].replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\"))
        # The later of two mounts on one point covers the earlier.
        if (path == point or point in path.parents) and len(point.parts) >= longest:
            kind, longest = fields[2], len(point.parts)
    return kind == "tmpfs"
