"""A receiver of leads by webhook. Keeps each request as it came, and checks it with the reference library of
Standard Webhooks, which shares no code with ours."""

from __future__ import annotations

import base64
import json
import os
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError

from tests.support.ports import free_port


@dataclass(frozen=True)
class Received:
    """One POST. `error` says why the signature did not hold; None when it did. `status` is what we answered."""

    headers: dict[str, str]
    body: bytes = field(repr=False)
    error: str | None
    status: int

    @property
    def id(self) -> str:
        return self.headers.get("webhook-id", "")

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.body)


class WebhookReceiver:
    """Listens on a port of its own; can be stopped and started again on it. `status` is what it answers."""

    def __init__(self) -> None:
        self.port = free_port()
        self.secret = "whsec_" + base64.b64encode(os.urandom(32)).decode()
        self.status = 204
        self.received: list[Received] = []
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/leads"

    @property
    def accepted(self) -> list[Received]:
        """What was answered with 2xx, oldest first."""
        return [received for received in list(self.received) if received.status < 300]

    @property
    def forged(self) -> list[Received]:
        """What the reference library does not hold for genuine. Empty in a healthy house."""
        return [received for received in list(self.received) if received.error]

    def start(self) -> WebhookReceiver:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 10

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.send_response(receiver.take(dict(self.headers.items()), body))
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name=f"webhook-{self.port}", daemon=True
        )
        self._thread.start()
        return self

    def take(self, headers: dict[str, str], body: bytes) -> int:
        headers = {name.lower(): value for name, value in headers.items()}
        error = None
        try:
            Webhook(self.secret).verify(body, headers)
        except WebhookVerificationError as reason:
            error = str(reason)
        status = 400 if error else self.status
        self.received.append(Received(headers=headers, body=body, error=error, status=status))
        return status

    def stop(self) -> None:
        """From now on connections are refused. Stopping twice is harmless."""
        if self._server is None:
            return
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=10)
        self._server = self._thread = None

    def __enter__(self) -> WebhookReceiver:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
