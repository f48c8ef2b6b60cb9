"""What is longer than the screen goes through a pager: PAGER, else less, else more.

Knows how pagers are called. Knows nothing of what is shown, and never pages what does not go to a terminal.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress

from rich.console import Console

# As git has it: colours as they are, ends by itself if all fits, leaves the text on the screen.
_LESS = "FRX"
_STYLE = re.compile(r"\x1b\[[0-9;]*m")


def command(environ: Mapping[str, str]) -> list[str]:
    """The pager with its arguments; empty: none."""
    if "PAGER" in environ:
        words = shlex.split(environ["PAGER"])
        return [] if words == ["cat"] else words
    return next(([name] for name in ("less", "more") if shutil.which(name)), [])


def show(to: Console, draw: Callable[[Console], None], *, paged: bool = True) -> None:
    """Has `draw` write to the console; what is longer than its screen goes through the pager if `paged`."""
    pager = command(os.environ) if paged and to.is_terminal and sys.stdin.isatty() else []
    if not pager:
        draw(to)
        return
    with to.capture() as captured:
        draw(to)
    text = captured.get()
    if text.count("\n") < to.height or not _through(pager, text):
        sys.stdout.write(text)
        sys.stdout.flush()


def _through(pager: list[str], text: str) -> bool:
    environ = {"LESS": _LESS, "LV": "-c", **os.environ}
    is_less = os.path.basename(pager[0]) == "less"
    if not (is_less and "r" in environ["LESS"].lower()) and "-R" not in pager:
        text = _STYLE.sub("", text)
    try:
        process = subprocess.Popen(pager, stdin=subprocess.PIPE, env=environ)
    except OSError:
        return False
    # Ctrl-C is the pager's; who leaves it early has seen enough.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with suppress(BrokenPipeError), process.stdin as pipe:
            pipe.write(text.encode("utf-8", "replace"))
        process.wait()
    finally:
        signal.signal(signal.SIGINT, before)
    return True
