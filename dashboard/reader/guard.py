"""Who may ask, decided from the head of a request. Pure.

A page on the web can make its visitor's browser send requests to 127.0.0.1. What keeps it from asking the log:

    Host            only our own names: a name pointed here by somebody else (DNS rebinding) is none of them
    Origin, Sec-Fetch-Site, Referer
                    browsers say which page a request comes from; any page but one of ours is refused
    Content-Type    a query comes as application/sql or application/json. Neither can be sent without asking first
                    (Fetch standard, CORS-safelisted request-header), and who asks first is told nothing
    no CORS         so no page could read the answer either
    GET             only where the listener is on loopback, for tools that cannot do otherwise
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from dashboard.guard import Hosts
from dashboard.reader.problem import Problem

CONTENT_TYPES = ("application/sql", "application/json")


class Guard:
    """`get_allowed`: whether a query may stand in the address. `token`: empty, or what everybody has to show."""

    def __init__(self, listen_host: str, allowed_hosts: Iterable[str], *, token: str, get_allowed: bool) -> None:
        self._hosts = Hosts(listen_host, allowed_hosts)
        self._token = token.encode()
        self._get_allowed = get_allowed

    def refusal(self, method: str, path: str, fields: Mapping[str, str], hosts: list[str]) -> Problem | None:
        """Why this request is not answered. `hosts` are all its Host fields, `fields` the others."""
        if not self._hosts.include(hosts):
            message = "This name is not served here. If it should be, add it to dashboard.sql.allowed_hosts."
            return Problem(421, "wrong_host", message)
        if method not in ("GET", "HEAD", "POST") or (method == "POST" and path != "/sql"):
            return Problem(405, "method", "Send a query with POST /sql.")
        if not self._is_ours(fields):
            return Problem(403, "cross_origin", "Pages of other sites may not ask here.")
        if self._token and not self._shows_token(fields.get("Authorization", "")):
            return Problem(401, "token", "Send the token of dashboard.sql.token: `Authorization: Bearer ...`.")
        if path == "/sql" and method != "POST" and not self._get_allowed:
            message = "A query in the address is answered on loopback only: addresses end up in logs. Send POST /sql."
            return Problem(405, "method", message)
        if method == "POST":
            type_ = fields.get("Content-Type", "").partition(";")[0].strip().lower()
            if type_ not in CONTENT_TYPES:
                message = (
                    f"Send the query as {' or '.join(CONTENT_TYPES)} in Content-Type, not as {type_[:60] or 'nothing'}."
                )
                return Problem(415, "content_type", message)
        return None

    def _is_ours(self, fields: Mapping[str, str]) -> bool:
        # Absent: no browser, or one of before 2023, for which Origin and Referer have to do.
        if fields.get("Sec-Fetch-Site", "none").lower() not in ("none", "same-origin"):
            return False
        for name in ("Origin", "Referer"):
            if (page := fields.get(name)) is not None and not self._hosts.include([_host_of(page)]):
                return False
        return True

    def _shows_token(self, field: str) -> bool:
        scheme, _, shown = field.partition(" ")
        # In constant time: how long a refusal takes tells nothing of the token.
        return hmac.compare_digest(shown.strip().encode(), self._token) and scheme.lower() == "bearer"


def _host_of(page: str) -> str:
    """The host of an address; of `null`, which sandboxed pages send as Origin, none."""
    try:
        return urlsplit(page).netloc.rpartition("@")[2]
    except ValueError:
        return ""
