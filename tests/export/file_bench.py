"""The bench for sinks that drop files: a folder that can be missing, full, hanging, or cut off."""

from __future__ import annotations

import errno
import threading
from abc import abstractmethod
from pathlib import Path
from typing import Any

from export.connector import Later
from export.file_sink import FileSink
from tests.export.exam import Bench


class FileBench(Bench):
    secrets: list[str] = []
    # A folder refuses nobody for good.
    answers = Bench.answers | {"refused": (Later,)}

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.aside = folder.with_name("aside")
        folder.mkdir()
        self.situation = "accepted"
        self.free = threading.Event()
        # One connector for the whole exam: a thread that still hangs in it must be the one that comes next, too.
        self.connector = self.make(at_step=self.at_step)

    @abstractmethod
    def make(self, **drop: Any) -> FileSink:
        """The connector over `folder`, with these arguments for its `DropFolder`."""

    @abstractmethod
    def read(self, path: Path) -> tuple[str, dict[str, Any]]:
        """Lead id and contact of one file."""

    def now_is(self, situation: str) -> None:
        self.free.set()
        if self.aside.exists():
            if self.folder.is_file():
                self.folder.unlink()
            self.aside.rename(self.folder)
        if situation == "refused":
            self.folder.rename(self.aside)
            self.folder.write_text("")
        if situation == "server error":
            self.folder.rename(self.aside)
        if situation == "timeout":
            self.free = threading.Event()
        self.situation = situation
        self.connector._drop.answer_secs = 0.05 if situation == "timeout" else 30.0

    def at_step(self, step: str) -> None:
        if self.situation == "timeout" and step == "part opened":
            self.free.wait(20)
            raise OSError(errno.ETIMEDOUT, "planted")
        if self.situation == "rate limited" and step == "part written":
            raise OSError(errno.EDQUOT, "planted")
        if self.situation == "cut after sending" and step == "moved":
            raise OSError(errno.EIO, "planted")

    def received(self) -> dict[str, dict[str, Any]]:
        if not self.folder.is_dir():
            return {}
        read = [self.read(path) for path in self.folder.iterdir() if path.is_file()]
        assert len(dict(read)) == len(read)
        return dict(read)
