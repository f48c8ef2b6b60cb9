"""When a delivery is tried again, and when no more. Pure: the clock and the dice are handed in."""

from __future__ import annotations

from collections.abc import Callable

from export.settings import RetrySettings

# Full jitter may draw nothing at all; a remote that just failed deserves a breath.
MIN_WAIT_SECS = 1.0
# A remote may say "in a year". It is asked again tomorrow.
MAX_RETRY_AFTER_SECS = 86_400.0


def wait_secs(
    retry: RetrySettings, *, attempts: int, random: Callable[[], float], after_secs: float | None = None
) -> float:
    """How long to wait after the `attempts`th attempt failed (from 1), in seconds.

    Full jitter, a random part of the schedule's figure: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/.
    `after_secs` is what the remote asked for, and wins. `random` draws from [0, 1).
    """
    if after_secs is not None:
        return min(max(after_secs, MIN_WAIT_SECS), MAX_RETRY_AFTER_SECS)
    schedule = retry.schedule_secs
    longest = schedule[attempts - 1] if attempts <= len(schedule) else retry.then_every_secs
    return max(random() * longest, MIN_WAIT_SECS)


def next_attempt_at(
    retry: RetrySettings,
    *,
    owed_at: float,
    now: float,
    attempts: int,
    random: Callable[[], float],
    after_secs: float | None = None,
) -> float | None:
    """When to try again after the `attempts`th attempt failed; None: give it up. Times in Unix seconds.

    The last attempt is made at the very end of `give_up_days`, whatever the schedule says.
    """
    end = owed_at + retry.give_up_days * 86_400
    if now >= end:
        return None
    return min(now + wait_secs(retry, attempts=attempts, random=random, after_secs=after_secs), end)
