"""What a newcomer finds: commands that exist, links that lead somewhere, nothing of the machine it was written on."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import click
import pytest

from tests.support import columns_manual
from tests.support.documents import commands, links

REPOSITORY = Path(__file__).resolve().parent.parent
MANUAL = sorted([*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md"), *REPOSITORY.glob("benchmarks/**/*.md")])

# Folders of one machine. Put together here so that this file does not find itself.
MACHINE_PATHS = re.compile(r"(?<![\w.*<>}])/" + "wor" + r"k/|/tmp/" + "bash_jobs|" + r"\.\./sha" + "red/")


def tracked() -> list[Path]:
    """The files git keeps or would keep."""
    if not shutil.which("git"):
        pytest.skip("git is not here to tell which files are its own")
    done = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"], cwd=REPOSITORY, capture_output=True
    )
    if done.returncode:
        pytest.skip("not a git checkout")
    files = [REPOSITORY / name for name in os.fsdecode(done.stdout).split("\0") if name]
    return [file for file in files if file.is_file()]


def targets() -> set[str]:
    """The targets of the Makefile that are meant to be called."""
    phony = re.search(r"^\.PHONY: (.*)$", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    return set(phony[1].split())


def test_the_readme_is_there_with_its_two_commands():
    shown = list(commands(REPOSITORY / "README.md"))
    assert any(line.startswith("make run") for line in shown)
    assert "`make test`" in (REPOSITORY / "README.md").read_text(encoding="utf-8") or "make test" in shown


@pytest.mark.parametrize("document", MANUAL, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_command_of_the_manual_exists(document: Path):
    from ropo.cli import main

    for line in commands(document):
        words = shlex.split(line)
        if words[0] == "make":
            called = [word for word in words[1:] if "=" not in word and not word.startswith("-")]
            assert set(called) <= targets(), line
        elif words[0] == ".ci/run":
            assert os.access(REPOSITORY / ".ci/run", os.X_OK)
        else:
            assert_command_exists(main, words[1:], line)


def assert_command_exists(command: click.Command, words: list[str], line: str) -> None:
    while isinstance(command, click.Group):
        options = {name for parameter in command.params for name in parameter.opts}
        while words and words[0].startswith("-"):
            assert words[0].split("=")[0] in options | {"--help", "--version"}, line
            words = words[1:] if "=" in words[0] or words[0] in ("--help", "--version") else words[2:]
        if not words:
            return
        command, words = command.get_command(click.Context(command), words[0]), words[1:]
        assert command is not None, f"there is no such command: {line}"
    options = {name for parameter in command.params for name in [*parameter.opts, *parameter.secondary_opts]}
    for word in words:
        if word.startswith("--"):
            assert word.split("=")[0] in options | {"--help"}, f"there is no option {word}: {line}"


@pytest.mark.parametrize("document", MANUAL, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_link_of_the_manual_leads_to_a_file(document: Path):
    assert [target for target in links(document) if not (document.parent / target).exists()] == []


def test_no_file_names_a_folder_of_the_machine_it_was_written_on():
    found = []
    for file in tracked():
        text = file.read_bytes().decode("utf-8", "replace")
        for number, line in enumerate(text.splitlines(), 1):
            if MACHINE_PATHS.search(line):
                found.append(f"{file.relative_to(REPOSITORY)}:{number}: {line.strip()[:100]}")
    assert found == []


def test_the_console_script_is_a_command():
    from ropo.cli import main

    scripts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    assert scripts == {"ropo": "ropo.cli:main"}
    assert callable(main)


def test_the_licence_is_whole():
    text = (REPOSITORY / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text and "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_the_changelog_has_a_place_for_what_is_new():
    text = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "## Unreleased" in text or re.search(r"^## \[?\d+\.\d+", text, re.MULTILINE)


def test_ci_calls_what_a_developer_calls():
    script = (REPOSITORY / ".ci/run").read_text()
    assert script.startswith("#!/usr/bin/env bash")
    assert "exec make test" in script
    assert os.access(REPOSITORY / ".ci/run", os.X_OK)
    assert {"run", "test", "bench", "lint", "clean"} <= targets()


def test_the_manual_lists_every_view_with_its_columns_types_and_meanings():
    # `python -m tests.support.columns_manual` writes the tables.
    assert columns_manual.columns_written() == columns_manual.columns_made()
