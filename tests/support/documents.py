"""What stands in the manual: its code blocks, commands and links. Reads Markdown, and runs none of it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^(?P=indent)``` *$", re.MULTILINE | re.DOTALL
)
SHELLS = {"sh", "bash", "shell", "console", ""}
LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s]+)\)")


def blocks(document: Path) -> Iterator[tuple[str, str]]:
    """Each fenced block of the document: its language and its text."""
    for match in FENCE.finditer(document.read_text(encoding="utf-8")):
        yield match["language"], match["text"]


def commands(document: Path) -> Iterator[str]:
    """Each command of a shell block that calls ropo or make, prompt and comment taken off, `.venv/bin/` too.

    A quoted text may go over several lines.
    """
    for language, text in blocks(document):
        if language not in SHELLS:
            continue
        command = ""
        for line in text.replace("\\\n", " ").splitlines():
            command = f"{command}\n{line}" if command else line.strip().removeprefix("$ ").removeprefix(".venv/bin/")
            try:
                shlex.split(command)
            except ValueError:  # no closing quotation yet
                continue
            if command.startswith(("ropo ", "make", ".ci/run")):
                yield re.sub(r"\s+# .*$", "", command)
            command = ""


def links(document: Path) -> Iterator[str]:
    """The targets of links that lead to files of the repository, without their anchors."""
    for match in LINK.finditer(document.read_text(encoding="utf-8")):
        target = match["target"].split("#")[0]
        if target and "://" not in target and not target.startswith("mailto:"):
            yield target
