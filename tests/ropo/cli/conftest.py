"""A log to ask, and ropo's command line as a function."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ropo.cli import main
from tests.support import sample_log
from tests.support.ropo_process import REPOSITORY, ROPO, environment
from tests.support.sample_log import SampleLog

Ropo = Callable[..., Result]


@pytest.fixture(scope="session")
def shared_log(tmp_path_factory: pytest.TempPathFactory) -> SampleLog:
    """For who only reads."""
    return sample_log.write(tmp_path_factory.mktemp("shared"))


@pytest.fixture
def own_log(tmp_path: Path) -> SampleLog:
    """For who writes into its spool or takes its keys away."""
    return sample_log.write(tmp_path)


@pytest.fixture
def ropo() -> Ropo:
    """`ropo("leads", "list", "--config", ...)`: exit code, stdout and stderr."""

    def run(*arguments: object, input: str | None = None) -> Result:
        result = CliRunner().invoke(main, list(map(str, arguments)), input=input, prog_name="ropo")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


def on_terminal(*arguments: object, columns: int = 120, **environ: str) -> tuple[int, str]:
    """Runs the command on a terminal of that width: its exit code and all it wrote there."""
    child, terminal = pty.fork()
    if child == 0:
        fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
        ours = {**environment(), "TERM": "xterm-256color", "TZ": "Europe/Berlin", "PAGER": "cat"}
        ours = {key: value for key, value in ours.items() if key not in ("COLUMNS", "NO_COLOR")} | environ
        os.chdir(REPOSITORY)
        os.execve(sys.executable, [*ROPO, *map(str, arguments)], ours)
    wrote = b""
    while True:
        try:
            some = os.read(terminal, 65_536)
        except OSError:  # EIO: the other end is closed
            break
        if not some:
            break
        wrote += some
    os.close(terminal)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), wrote.decode().replace("\r\n", "\n")
