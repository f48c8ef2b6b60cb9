"""A whole ropo, started as an operator would: `ropo serve --config …` in a process of its own.

Knows the command line, the status files and log.duckdb, as the manual promises them; imports nothing of ropo.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import duckdb
import psutil
import yaml

from tests.support.ports import free_port, is_open
from tests.support.waiting import until

REPOSITORY = Path(__file__).resolve().parents[2]

# The console script of pyproject.toml, without asking where pip has put it.
ROPO = [sys.executable, "-c", "import sys; sys.argv[0] = 'ropo'; from ropo.cli import main; sys.exit(main())"]

START_SECS = 60
STOP_SECS = 60


ANOTHER_DAY = Path(__file__).parent / "another_day"


def environment(*, days: int = 0) -> dict[str, str]:
    """What a child needs to find the rooms, whether or not they are installed. `days` shifts its calendar."""
    changed = {"PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1", "COLUMNS": "160", "NO_COLOR": "1"}
    if days:
        changed["PYTHONPATH"] += os.pathsep + str(ANOTHER_DAY)
        changed["CLOCK_SHIFT_SECS"] = str(days * 86_400)
    return {**os.environ, **changed}


def run_ropo(
    *arguments: str, launcher: Sequence[str] = (), timeout_secs: float = 60
) -> subprocess.CompletedProcess[str]:
    """Runs one command to its end and returns what it said. One that does not end in time raises TimeoutExpired."""
    return subprocess.run(
        [*launcher, *ROPO, *arguments],
        cwd=REPOSITORY,
        env=environment(),
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=timeout_secs,
    )


class RopoProcess:
    """`with RopoProcess(tmp_path, upstream=site.url) as ropo:` runs it, ready to answer, and ends all of it.

    Keyword arguments are sections of config.yaml; they are laid over a configuration with free ports, two workers
    and short intervals. `launcher` stands before the command: a way to start it with fewer rights.
    """

    def __init__(
        self, folder: Path, *, upstream: str, launcher: Sequence[str] = (), **sections: Mapping[str, Any]
    ) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.port, self.dashboard_port = free_port(), free_port()
        self.config = folder / "config.yaml"
        self.output = folder / "ropo.log"
        self.launcher = launcher
        settings: dict[str, dict[str, Any]] = {
            "proxy": {"listen": f"127.0.0.1:{self.port}", "upstream": upstream, "workers": 2},
            "storage": {
                "path": str(self.data),
                # Beside the log instead of on tmpfs: nothing is left behind when pytest removes the folder.
                "hot_path": str(self.data / "hot.duckdb"),
                "seal_interval_secs": 0.2,
                "publish_interval_secs": 0.5,
            },
            "dashboard": {"listen": f"127.0.0.1:{self.dashboard_port}"},
        }
        for name, section in sections.items():
            settings.setdefault(name, {}).update(section)
        settings["storage"] = {name: value for name, value in settings["storage"].items() if value is not None}
        self.config.write_text(yaml.safe_dump(settings, sort_keys=False))
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where visitors come to."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def dashboard_url(self) -> str:
        return f"http://127.0.0.1:{self.dashboard_port}"

    @property
    def log(self) -> Path:
        """What analysts open."""
        return self.data / "log.duckdb"

    # Life

    def start(self, *, days: int = 0) -> RopoProcess:
        """Returns when it answers visitors and its log can be asked. `days`: how far its calendar is off."""
        self._begin(days)
        try:
            # The dashboard reads the true calendar (datetime.now is not shifted) and finds the others long silent.
            healthy = {200} if days == 0 else {200, 503}
            until(lambda: self._is_ready(healthy), "ropo is ready", deadline_secs=START_SECS)
        except AssertionError as error:
            self.end()
            raise AssertionError(f"{error}\n{self.said()}") from None
        return self

    def start_site(self) -> None:
        """Returns when it answers visitors, whatever its log does."""
        self._begin(0)
        until(lambda: is_open(self.port), "ropo answers visitors", deadline_secs=START_SECS)

    def _begin(self, days: int) -> None:
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [*self.launcher, *ROPO, "serve", "--config", str(self.config)],
                cwd=self.folder,
                env=environment(days=days),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def _is_ready(self, healthy: set[int]) -> bool:
        assert self.process.poll() is None, f"ropo ended with {self.process.returncode}"
        return self._health() in healthy and is_open(self.port) and self._log_answers()

    def _health(self) -> int | None:
        connection = HTTPConnection("127.0.0.1", self.dashboard_port, timeout=5)
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status
        except (OSError, HTTPException):
            return None
        finally:
            connection.close()

    def _log_answers(self) -> bool:
        try:
            self.sql("select count(*) from events")
        except duckdb.IOException:
            return False
        return True

    def stop(self) -> int:
        """Stops it in order, as an operator does (SIGTERM), and returns its exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_SECS)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"ropo does not stop on SIGTERM\n{self.said()}") from None

    def end(self) -> None:
        """Ends whatever of it still runs."""
        if self.process is None:
            return
        family = self.family()
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        _, alive = psutil.wait_procs(family, timeout=10)
        for process in alive:
            process.kill()
        psutil.wait_procs(alive, timeout=10)

    def __enter__(self) -> RopoProcess:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.end()
        if kind is not None:
            print(f"--- what ropo said ---\n{self.said()}")

    # Its processes

    def family(self) -> list[psutil.Process]:
        """Every process below the supervisor, and those the status files name."""
        found: dict[int, psutil.Process] = {}
        with contextlib.suppress(psutil.NoSuchProcess):
            found = {child.pid: child for child in psutil.Process(self.process.pid).children(recursive=True)}
        for state in self.states().values():
            try:
                process = psutil.Process(state["pid"])
                # A number may have been given to a stranger since; ours are of the session we began.
                if os.getsid(process.pid) == self.process.pid:
                    found[process.pid] = process
            except (psutil.NoSuchProcess, ProcessLookupError, KeyError):
                continue
        found.pop(self.process.pid, None)
        return list(found.values())

    def states(self) -> dict[str, dict[str, Any]]:
        """The status files, by process name."""
        return {path.stem: json.loads(path.read_bytes()) for path in sorted((self.data / "status").glob("*.json"))}

    def pid(self, name: str) -> int:
        """The process with that name, or the first of that kind: `worker-2`, `worker`, `collector`."""
        states = self.states()
        pids = [state["pid"] for key, state in states.items() if name in (key, state["kind"])]
        assert pids, f"no process called {name} among {sorted(states)}"
        return pids[0]

    def kill(self, name: str) -> int:
        """SIGKILL for one process; returns when it is gone, with the pid it had."""
        process = psutil.Process(self.pid(name))
        assert process.pid in {child.pid for child in self.family()}, f"{name} is not of this ropo"
        process.kill()
        until(lambda: not _runs(process), f"{name} is gone")
        return process.pid

    def kill_and_wait(self, name: str) -> None:
        """SIGKILL for one process; returns when the supervisor has put another in its place."""
        old = self.kill(name)
        until(lambda: self.pid(name) != old and _runs(psutil.Process(self.pid(name))), f"there is another {name}")

    # What it says

    def said(self) -> str:
        """All it has written to the terminal so far."""
        return self.output.read_text(errors="replace") if self.output.exists() else ""

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs `ropo ARGUMENTS --config …` beside it."""
        return run_ropo(*arguments, "--config", str(self.config))

    def json(self, *arguments: str) -> Any:
        """What `ropo ARGUMENTS --json` answers."""
        done = self.cli(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def sql(self, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Asks log.duckdb as an analyst would, read-only."""
        with duckdb.connect(str(self.log), read_only=True) as connection:
            connection.execute("set timezone = 'UTC'")
            return connection.execute(query, parameters).fetchall()

    def records(self, query: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """The same, each row by its column names."""
        with duckdb.connect(str(self.log), read_only=True) as connection:
            connection.execute("set timezone = 'UTC'")
            answer = connection.execute(query, parameters)
            names = [column[0] for column in answer.description]
            return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]

    def markers(self) -> dict[str, int]:
        """How often each marker `m=…` stands in the log."""
        rows = self.sql("select regexp_extract(query, '(?:^|&)m=([^&]+)', 1), count(*) from events group by 1")
        return {marker: count for marker, count in rows if marker}


def _runs(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
