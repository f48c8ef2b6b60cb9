"""One visitor without a browser: keeps the cookie, follows nothing, sends what it is told."""

from __future__ import annotations

import http.client
from dataclasses import dataclass
from urllib.parse import urlencode

from tests.support.load import BROWSER


@dataclass(frozen=True)
class Answer:
    """What came back; field names in lower case."""

    status: int
    fields: dict[str, str]
    body: bytes


class Visitor:
    """Someone at the site that answers on `port`. `cookie` is what was set last."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.site = f"http://127.0.0.1:{port}"
        self.cookie: str | None = None

    def open(self, target: str, *, referrer: str | None = None, **fields: str) -> Answer:
        """Follows a link. `fields` are further request fields, names with `_` for `-`."""
        return self._ask("GET", target, None, referrer, fields)

    def send(self, target: str, body: bytes, content_type: str | None, *, referrer: str = "/kontakt") -> Answer:
        """Sends a body as a form of the site's own page `referrer` does."""
        fields = {"Origin": self.site} | ({"Content-Type": content_type} if content_type is not None else {})
        return self._ask("POST", target, body, self.site + referrer, fields)

    def fill_in(self, target: str, values: dict[str, str], *, referrer: str | None = None) -> Answer:
        """Sends a form that stands on the page it is sent to, unless `referrer` says otherwise."""
        body = urlencode(values).encode()
        return self.send(target, body, "application/x-www-form-urlencoded", referrer=referrer or target)

    def _ask(
        self, method: str, target: str, body: bytes | None, referrer: str | None, fields: dict[str, str]
    ) -> Answer:
        asked = {"User-Agent": BROWSER, "Accept": "text/html", "Sec-Fetch-Dest": "document"}
        if self.cookie:
            asked["Cookie"] = self.cookie
        if referrer:
            asked["Referer"] = referrer
        asked |= {name.replace("_", "-"): value for name, value in fields.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, target, body, asked)
            response = connection.getresponse()
            answer = Answer(
                response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
            )
        finally:
            connection.close()
        if cookie := answer.fields.get("set-cookie"):
            self.cookie = cookie.split(";")[0]
        return answer
