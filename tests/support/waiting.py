"""Waiting for something to become true. Knows a deadline, and says what was seen last when it passes.

Tests never assert how long something took; the deadline only ends a test that would wait for ever.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Seen = TypeVar("Seen")


def until(question: Callable[[], Seen], what: str, *, deadline_secs: float = 60, pause_secs: float = 0.05) -> Seen:
    """Asks until the answer is true, and returns it.

    Raises AssertionError with `what` and the last answer after `deadline_secs`. What the question raises passes through.
    """
    deadline = time.monotonic() + deadline_secs
    while True:
        answer = question()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {deadline_secs} s in vain until {what}; last answer: {answer!r}")
        time.sleep(pause_secs)


def unchanged_for(question: Callable[[], Seen], secs: float, *, deadline_secs: float = 60) -> Seen:
    """Asks until the answer has been the same for `secs`, and returns it: for showing that nothing more comes."""
    deadline = time.monotonic() + deadline_secs
    answer, since = question(), time.monotonic()
    while time.monotonic() - since < secs:
        if time.monotonic() > deadline:
            raise AssertionError(f"still changing after {deadline_secs} s; last answer: {answer!r}")
        time.sleep(0.05)
        newer = question()
        if newer != answer:
            answer, since = newer, time.monotonic()
    return answer
