from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from ropo.cli import pager
from tests.ropo.cli.conftest import on_terminal
from tests.support.sample_log import SampleLog


@pytest.mark.parametrize(
    "value, found",
    [("less -S", ["less", "-S"]), ("cat", []), ("", []), ("'my pager' -x", ["my pager", "-x"]), ("most", ["most"])],
)
def test_pager_says_which_one(value: str, found: list[str]):
    assert pager.command({"PAGER": value}) == found


def test_without_it_less_is_taken_or_more(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pager.shutil, "which", lambda name: f"/usr/bin/{name}")
    assert pager.command({}) == ["less"]
    monkeypatch.setattr(pager.shutil, "which", lambda name: "/usr/bin/more" if name == "more" else None)
    assert pager.command({}) == ["more"]
    monkeypatch.setattr(pager.shutil, "which", lambda name: None)
    assert pager.command({}) == []


def test_what_goes_elsewhere_is_never_paged(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PAGER", "false")
    to = Console(file=io.StringIO())
    pager.show(to, lambda console: console.print("line\n" * 1000))
    assert to.file.getvalue().count("line") == 1000


@pytest.fixture
def paging(tmp_path: Path) -> tuple[str, Path]:
    """A pager that keeps what it gets, and where."""
    script = tmp_path / "pager"
    script.write_text(f"#!/bin/sh\ncat > '{tmp_path}/paged'\n")
    script.chmod(0o755)
    return str(script), tmp_path / "paged"


def test_what_is_longer_than_the_screen_goes_through_it(shared_log: SampleLog, paging: tuple[str, Path]):
    query = ["sql", "select range as n from range(80)", "--config", shared_log.config]
    code, said = on_terminal(*query, PAGER=paging[0])
    assert (code, said) == (0, "")
    text = paging[1].read_text()
    assert "79\n" in text and "80 rows in " in text
    assert "\x1b" not in text  # not every pager knows colours


@pytest.mark.parametrize(
    "arguments", [["select range as n from range(10)"], ["select range as n from range(80)", "--no-pager"]]
)
def test_what_is_short_and_what_is_not_to_be_paged_does_not(
    shared_log: SampleLog, paging: tuple[str, Path], arguments: list[str]
):
    _, said = on_terminal("sql", *arguments, "--config", shared_log.config, PAGER=paging[0])
    assert " rows in " in said and not paging[1].exists()


def test_a_pager_that_cannot_be_started_is_done_without(shared_log: SampleLog):
    query = ["sql", "select range as n from range(80)", "--config", shared_log.config]
    code, said = on_terminal(*query, PAGER="/nowhere/pager")
    assert code == 0 and "80 rows in " in said


def test_a_pager_that_is_left_early_is_no_error(shared_log: SampleLog):
    query = ["sql", "select repeat('x', 100) from range(5000)", "--rows", "0", "--config", shared_log.config]
    assert on_terminal(*query, PAGER="true") == (0, "")


def test_less_gets_colours(shared_log: SampleLog, paging: tuple[str, Path]):
    less = Path(paging[0]).rename(Path(paging[0]).with_name("less"))
    query = ["sql", "select range as n from range(80)", "--config", shared_log.config]
    for options, coloured in (("R", True), ("S", False)):
        on_terminal(*query, PAGER=str(less), LESS=options)
        assert ("\x1b[" in paging[1].read_text()) is coloured
