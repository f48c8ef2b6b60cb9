"""A reader as the supervisor starts it, and clients of it: real processes and real sockets, over a log that may be written."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from storage import status
from storage.layout import Layout
from tests.support.ropo_process import environment
from tests.support.waiting import until


@dataclass(frozen=True)
class Answer:
    """`is_whole`: it ended as an answer ends, and did not break off."""

    status: int
    headers: dict[str, str]
    body: bytes
    is_whole: bool

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def rows(self) -> list[list[Any]]:
        assert self.status == 200, self.body
        return self.json["rows"]

    @property
    def kind(self) -> str:
        """Which problem it tells of."""
        return self.json["error"]["kind"]


class ReaderProcess:
    """`with ReaderProcess(layout, timeout_secs=5) as reader:` keyword arguments are settings of `dashboard.sql`."""

    def __init__(self, layout: Layout, *, env: dict[str, str] | None = None, **sql: Any) -> None:
        self.layout = layout
        self.listen = ""
        self._orders = {
            "layout": {"root": str(layout.root), "hot_path": str(layout.hot_db)},
            "sql": {"listen": "127.0.0.1:0", "timeout_secs": 20, "memory_limit_mb": 128} | sql,
        }
        self._env = environment() | (env or {})
        self._log = layout.root.parent / "reader.log"
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> ReaderProcess:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "dashboard.reader"],
                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=log, env=self._env,
            )  # fmt: skip
        try:
            self.process.stdin.write(json.dumps(self._orders).encode() + b"\n")
            self.process.stdin.flush()
            self.listen = until(self._says, "the reader says where it listens")["listen"]
        except BaseException:
            self.__exit__()
            raise
        return self

    def _says(self) -> dict[str, Any] | None:
        assert self.process.poll() is None, self.said()
        state = status.read_all(self.layout).get("reader")
        return state if state and state["pid"] == self.process.pid else None

    def __exit__(self, *_: object) -> None:
        nursery = self.children()
        if self.process.poll() is None:
            self.process.stdin.close()
            self.process.wait(20)
        else:
            self.process.stdin.close()
        _, alive = psutil.wait_procs(nursery, timeout=20)
        assert alive == []

    def said(self) -> str:
        return self._log.read_text(errors="replace")

    @property
    def state(self) -> dict[str, Any]:
        """What it says of itself now, a second old at most."""
        return status.read_all(self.layout)["reader"]

    def children(self) -> list[psutil.Process]:
        """The nursery and the queries."""
        try:
            return psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def queries(self) -> list[psutil.Process]:
        """The processes of queries that run."""
        nurseries = psutil.Process(self.process.pid).children()
        return [one for nursery in nurseries for one in nursery.children()]

    def connect(self, timeout_secs: float = 60) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.listen, timeout=timeout_secs)

    def ask(self, sql: str, *, form: str = "json", headers: dict[str, str] | None = None) -> Answer:
        head = {"Content-Type": "application/sql"} | (headers or {})
        return self.request("POST", f"/sql?format={form}", sql.encode(), head)

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        connection = self.connect()
        try:
            connection.request(method, path, body, headers or {})
            return read(connection)
        finally:
            connection.close()


def read(connection: http.client.HTTPConnection) -> Answer:
    with connection.getresponse() as response:
        try:
            body, is_whole = response.read(), True
        except http.client.IncompleteRead as broken:
            body, is_whole = broken.partial, False
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, body, is_whole)


def listing(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with all its octets, and every folder; but the status files, written each second."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if "status" not in path.relative_to(folder).parts:
            found[os.fspath(path.relative_to(folder))] = path.read_bytes() if path.is_file() else b""
    return found
