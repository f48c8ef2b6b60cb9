"""The sink `webhook`: a signed POST for each lead, after Standard Webhooks 1.0. Knows the request and its answers.

A plain client: no redirects followed, no cookies kept, certificates checked, no proxy from the environment. Of the
answer only the status and Retry-After are read; its text may repeat the contact, so no reason quotes it.
"""

from __future__ import annotations

import asyncio
import errno
import os
import ssl
import time
from collections.abc import Callable, Collection

import aiohttp
import msgspec

from export.connector import Later, Message, Outcome, Parked
from export.http_answer import outcome_of
from export.settings import WebhookSettings
from export.webhook_signature import key_of, sign

# So much of an answer is read to keep the connection; a longer one costs the connection.
MAX_ANSWER_BYTES = 65_536
ANSWER_REST_SECS = 2.0


class WebhookSink:
    concurrency = 2

    def __init__(self, settings: WebhookSettings, *, now: Callable[[], float] = time.time) -> None:
        if not settings.secret:
            raise ValueError(f"sink {settings.name!r} has no secret to sign with")
        self._settings = settings
        self._keys = [key_of(secret) for secret in (settings.secret, *settings.former_secrets)]
        self._now = now
        self._session: aiohttp.ClientSession | None = None

    def __repr__(self) -> str:
        return f"WebhookSink({self._settings!r})"

    async def open(self, owed: Collection[str]) -> None:
        """Nothing is kept about earlier deliveries: the receiver knows a repeat by its webhook-id."""

    async def deliver(self, message: Message) -> Outcome:
        if self._session is None:
            try:
                self._session = self._new_session()
            except (OSError, ssl.SSLError) as error:
                why = os.strerror(error.errno) if type(error) is not ssl.SSLError and error.errno else "not a PEM file"
                return Parked(f"ca_file cannot be used: {why}")
        body = body_of(message)
        timestamp = int(self._now())
        signature = sign(self._keys, message_id=message.delivery_id, timestamp=timestamp, body=body)
        fields = {
            "Content-Type": "application/json",
            "webhook-id": message.delivery_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature,
        }
        try:
            async with self._session.post(
                self._settings.url, data=body, headers=fields, allow_redirects=False
            ) as response:
                await _read_rest(response)
                return outcome_of(response.status, retry_after=response.headers.get("Retry-After"), now=self._now())
        except (aiohttp.ClientError, OSError) as error:
            return Later(self._reason(error))

    async def settled(self, delivery_id: str) -> None:
        pass

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _new_session(self) -> aiohttp.ClientSession:
        ca_file = self._settings.ca_file
        trust = ssl.create_default_context(cafile=ca_file) if ca_file else True
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=trust, limit=self.concurrency),
            timeout=aiohttp.ClientTimeout(total=self._settings.timeout_secs),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            headers={"User-Agent": "ropo", "Accept": "*/*"},
        )

    def _reason(self, error: Exception) -> str:
        """What went wrong, in our words: those of the library may hold the URL."""
        origin = self._settings.origin
        if isinstance(error, TimeoutError):
            return f"{origin} did not answer within {self._settings.timeout_secs:g} s"
        if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError):
            return f"{origin}: its certificate is not trusted, or TLS failed; an authority of your own goes to ca_file"
        if isinstance(error, aiohttp.ClientConnectorDNSError):
            return f"{origin}: its name could not be resolved"
        if isinstance(error, aiohttp.ClientConnectorError):
            why = os.strerror(error.errno) if error.errno in errno.errorcode else "refused"
            return f"{origin}: no connection ({why})"
        if isinstance(error, aiohttp.ClientResponseError):
            return f"{origin}: what it answered is not HTTP"
        return f"{origin}: the connection broke before the answer came"


def body_of(message: Message) -> bytes:
    """The body to post: compact JSON. `timestamp` is when the lead occurred, not when this attempt is made."""
    return msgspec.json.encode({"type": message.type, "timestamp": message.occurred_at, "data": message.data})


async def _read_rest(response: aiohttp.ClientResponse) -> None:
    # The status has said it all. Whatever happens to the rest of the answer cannot change what became of the lead.
    try:
        async with asyncio.timeout(ANSWER_REST_SECS):
            while response.content.total_bytes < MAX_ANSWER_BYTES and await response.content.read(4096):
                pass
    except (aiohttp.ClientError, OSError, TimeoutError):
        pass
    if not response.content.at_eof():
        response.close()
