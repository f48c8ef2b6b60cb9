"""Files dropped into a folder, each exactly once. Knows names, steps and disks; nothing of what is in the files.

Someone else collects the files: moves, imports, deletes them. So that a file is there cannot tell whether it was
delivered. Two notes in `.ropo` inside the folder can:

    .ropo/<key>.part    the file while it is written
    .ropo/<key>.sent    the file was whole on disk: from here on only the move is missing

    1 write .part, fsync     2 make .sent, fsync     3 move .part to its final name, fsync     4 the log has it: remove .sent

A crash before 2: nothing was seen of it, it is written again. A crash before 3: .sent and .part, so it is moved. A crash
after 3: .sent and no .part, so it was delivered, wherever the file is by now. Each step is on disk before the next one
begins, and a move within one file system is all or nothing (rename(2)).
"""

from __future__ import annotations

import errno
import os
import re
import stat
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

from export.connector import Delivered, Later
from export.file_thread import FileThread

NOTES = ".ropo"
# Longer than any delivery is tried (`give_up_days`), so that notes of another ropo that fills the same share are safe.
SWEEP_AFTER_DAYS = 30
# Contact data: readable for us and the group of the folder, the umask may take more away.
FILE_MODE = 0o640

_KEY = re.compile(r"[0-9a-f]{1,64}(\.[0-9]{1,9})?")
_ADVICE = {
    errno.ENOSPC: "no space left; make room",
    errno.EDQUOT: "the quota is used up; make room",
    errno.EROFS: "it is read-only; mount it writable",
    errno.EACCES: "not allowed; make it writable for the user ropo runs as",
    errno.EPERM: "not allowed; make it writable for the user ropo runs as",
    errno.ENOENT: "it does not exist; make it, or mount the share",
    errno.ENOTDIR: "it is not a folder",
    errno.EFBIG: "the file may not be that large; raise the limit",
}


def _no_step(_: str) -> None:
    pass


class DropFolder:
    """One folder. `answer_secs`: how long the file system may take for one file.

    `at_step` is called with the name of each step when it is done, and is for tests: that is where they pull the plug.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        create: bool = False,
        answer_secs: float = 30.0,
        at_step: Callable[[str], None] = _no_step,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._folder = os.path.abspath(folder)
        self._notes = os.path.join(self._folder, NOTES)
        self._create = create
        self.answer_secs = answer_secs
        self._at_step = at_step
        self._now = now
        self._thread = FileThread(f"drop {self._folder}")

    async def put(self, key: str, name: str, content: bytes) -> Delivered | Later:
        """Drops a file of this name and content. `key` names the delivery: the same key is the same file, dropped once
        until it is forgotten."""
        if not _KEY.fullmatch(key) or os.path.basename(name) != name or name[:1] in ("", "."):
            raise ValueError("the key or name of a file to drop is not fit for a file name")
        try:
            await self._thread.run(lambda: self._put(key, name, content), within_secs=self.answer_secs)
        except TimeoutError:
            return Later(f"{self._folder}: no answer within {self.answer_secs:g} s; is the share up?")
        except OSError as error:
            return Later(f"{self._folder}: {self._advice(error)}")
        return Delivered(remote_ref=name)

    async def forget(self, delivery_id: str) -> None:
        """Removes the notes about a delivery. Raises OSError (TimeoutError too) if it cannot; `sweep` gets them then."""
        await self._thread.run(lambda: self._remove(self._notes_of(delivery_id)), within_secs=self.answer_secs)

    async def sweep(self, owed: Collection[str]) -> None:
        """Removes old notes about deliveries that are not owed, left by a crash between the log and `forget`."""
        await self._thread.run(lambda: self._sweep(frozenset(owed)), within_secs=self.answer_secs)

    def close(self) -> None:
        self._thread.close()

    # What follows runs in the folder's own thread.

    def _put(self, key: str, name: str, content: bytes) -> None:
        part, sent = (os.path.join(self._notes, key + ending) for ending in (".part", ".sent"))
        if not _exists(sent):
            self._make_notes()
            try:
                self._write(part, content)
                self._mark(sent)
            except OSError:
                # A full disk needs its room back, and what is left of the file is of no use.
                with suppress(OSError):
                    if not _exists(sent):
                        self._remove([part])
                raise
        # Here, not in `_mark`: the attempt before may have failed just there.
        _sync_folder(self._notes)
        self._at_step("mark synced")
        self._move(part, os.path.join(self._folder, name), sent)
        _sync_folder(self._folder)
        _sync_folder(self._notes)
        self._at_step("move synced")

    def _make_notes(self) -> None:
        if self._create:
            os.makedirs(self._folder, mode=0o750, exist_ok=True)
        try:
            os.mkdir(self._notes, mode=0o700)
        except FileExistsError:
            return
        _sync_folder(self._folder)
        self._at_step("notes made")

    def _write(self, part: str, content: bytes) -> None:
        file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)
        try:
            self._at_step("part opened")
            rest = memoryview(content)
            while rest:
                rest = rest[os.write(file, rest) :]
            self._at_step("part written")
            os.fsync(file)
        finally:
            os.close(file)
        self._at_step("part synced")

    def _mark(self, sent: str) -> None:
        os.close(os.open(sent, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        self._at_step("marked")

    def _move(self, part: str, final: str, sent: str) -> None:
        try:
            os.rename(part, final)
        except FileNotFoundError:
            # Nothing to move, and the mark is there: it was moved before we died, or NFS did it, lost the answer and
            # asked again by itself. Without the mark it is the folder, or the share, that has gone.
            if _exists(part) or not _exists(sent):
                raise
        self._at_step("moved")

    def _notes_of(self, delivery_id: str) -> list[str]:
        return [path for path, owner, _ in self._all_notes() if owner == delivery_id]

    def _sweep(self, owed: frozenset[str]) -> None:
        before = self._now() - SWEEP_AFTER_DAYS * 86_400
        self._remove(
            [path for path, owner, changed_at in self._all_notes() if owner not in owed and changed_at < before]
        )

    def _all_notes(self) -> list[tuple[str, str, float]]:
        try:
            with os.scandir(self._notes) as entries:
                return [
                    (entry.path, entry.name.partition(".")[0], entry.stat(follow_symlinks=False).st_mtime)
                    for entry in entries
                    if entry.name.endswith((".part", ".sent"))
                ]
        except (FileNotFoundError, NotADirectoryError):
            return []

    def _remove(self, paths: list[str]) -> None:
        # The mark goes last: without it a .part would be taken for one that was never whole, and written again.
        for path in sorted(paths):
            try:
                os.unlink(path)
            except (FileNotFoundError, NotADirectoryError):
                continue
            self._at_step("removed")

    def _advice(self, error: OSError) -> str:
        return _ADVICE.get(error.errno, os.strerror(error.errno) if error.errno else type(error).__name__)


def _exists(path: str) -> bool:
    # os.path.exists says no to every error: a share that fails must not look like a note that is not there.
    try:
        return stat.S_ISREG(os.stat(path, follow_symlinks=False).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _sync_folder(path: str) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    except OSError as error:
        # Some network file systems cannot sync a folder, and say so: then there is nothing to wait for.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(folder)
