"""Visitors without end. Each request carries a marker of its own; what was answered, and what was not, is kept.

Uses http.client because it never sends a request twice on its own, and so a marker in the log twice is ropo's doing.
"""

from __future__ import annotations

import http.client
import threading
import time
from urllib.parse import urlencode

from tests.support.waiting import until

# A browser of our days, so that nothing takes these visitors for machines.
BROWSER = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"


class Load:
    """`threads` visitors on kept-alive connections. Every `form_every`th request of each sends the contact form.

    answered    marker -> status, for every request whose whole answer arrived
    unanswered  markers of requests that broke off: they may or may not be in the log
    leads       e-mail addresses of the forms the site accepted, all answered
    """

    def __init__(self, port: int, *, threads: int = 4, form_every: int = 0, pause_secs: float = 0.004) -> None:
        self.port = port
        self.form_every = form_every
        self.pause_secs = pause_secs
        self.answered: dict[str, int] = {}
        self.unanswered: list[str] = []
        self.leads: list[str] = []
        self.unanswered_leads: list[str] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._visit, args=(n,), daemon=True) for n in range(threads)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Returns when every request is answered or has broken off."""
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=90)
            assert not thread.is_alive(), "a visitor still waits for an answer"

    def more(self, count: int, *, status: int | None = None) -> None:
        """Waits until `count` more requests were answered (with `status`, if given)."""

        def number() -> int:
            return sum(1 for seen in list(self.answered.values()) if status in (None, seen))

        goal = number() + count
        until(lambda: number() >= goal, f"{count} more requests are answered")

    def _visit(self, number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        headers = {"User-Agent": BROWSER, "Accept": "text/html", "Sec-Fetch-Dest": "document"}
        turn = 0
        while not self._stop.is_set():
            turn += 1
            marker = f"v{number}-{turn}"
            is_form = bool(self.form_every) and turn % self.form_every == 0
            email = f"{marker}@example.com"
            try:
                if is_form:
                    body = urlencode({"name": "Erika Muster", "email": email, "nachricht": "Angebot bitte"})
                    site = f"http://127.0.0.1:{self.port}"
                    kind = {"Content-Type": "application/x-www-form-urlencoded"}
                    origin = {"Origin": site, "Referer": f"{site}/kontakt"}
                    connection.request("POST", f"/kontakt?m={marker}", body, headers | kind | origin)
                else:
                    connection.request("GET", f"/produkte/pumpe?m={marker}", headers=headers)
                response = connection.getresponse()
                response.read()
            except (OSError, http.client.HTTPException):
                connection.close()
                self.unanswered.append(marker)
                if is_form:
                    self.unanswered_leads.append(email)
                time.sleep(0.05)
                continue
            if cookie := response.getheader("Set-Cookie"):
                headers["Cookie"] = cookie.split(";")[0]
            if response.getheader("Connection", "").lower() == "close":
                connection.close()
            self.answered[marker] = response.status
            if is_form and response.status == 303:
                self.leads.append(email)
            time.sleep(self.pause_secs)
        connection.close()
