"""What an HTTP answer means for a delivery. Pure; knows status codes and Retry-After, nothing of any system.

Standard Webhooks 1.0.0: only 2xx is success, a redirect is not followed, 410 means the endpoint is gone for good.
"""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from export.connector import Delivered, Later, Never, Outcome, Parked

# RFC 9110 15.5.9, RFC 8470 5.2, RFC 6585 4: may succeed when sent again, unchanged.
AGAIN = {408, 425, 429}
# The remote refuses us, not this message.
US = {401, 403, 407, 410}


def outcome_of(status: int, *, retry_after: str | None = None, now: float) -> Outcome:
    """The outcome of a POST that was answered with this status. `now` in Unix seconds, for a Retry-After with a date."""
    if 200 <= status < 300:
        return Delivered()
    reason = f"answered {_named(status)}"
    if 300 <= status < 400:
        return Parked(f"{reason}: redirects are not followed; set url to where it leads")
    if status in US:
        return Parked(f"{reason}: it refuses us, whatever we send")
    if status in AGAIN or status >= 500:
        return Later(reason, after_secs=retry_after_secs(retry_after, now=now))
    return Never(f"{reason}: it refuses this message for good")


def retry_after_secs(value: str | None, *, now: float) -> float | None:
    """Seconds from now. RFC 9110 10.2.3: a number of seconds or a date. None: not said, or not readable."""
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value[:12])
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    return max((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - now, 0.0)


def _named(status: int) -> str:
    # The phrase is ours, not the remote's: that one may hold anything.
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
