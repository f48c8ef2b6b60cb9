"""Signing a webhook and checking a signature. Pure; knows nothing of HTTP.

Standard Webhooks 1.0.0, https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md:
  webhook-id         the same on every attempt: the receiver recognises a repeat by it
  webhook-timestamp  Unix seconds of this attempt
  webhook-signature  `v1,` and base64 of HMAC-SHA256(key, id "." timestamp "." body); several stand side by side,
                     separated by a space, while keys are being changed
  a secret           `whsec_` and base64 of 24 to 64 random bytes
Versions other than v1 are other people's keys, and passed over.
"""

from __future__ import annotations

import binascii
import hmac
import os
from base64 import b64decode, b64encode
from collections.abc import Iterable

PREFIX = "whsec_"
# What the spec's own libraries allow between the sender's clock and the receiver's.
TOLERANCE_SECS = 300


def new_secret() -> str:
    """A fresh secret of 32 random bytes."""
    return PREFIX + b64encode(os.urandom(32)).decode()


def key_of(secret: str) -> bytes:
    """The key in a secret. Raises ValueError, whose text does not repeat the secret."""
    if not secret.startswith(PREFIX):
        raise ValueError("a webhook secret starts with whsec_, then base64 (make one: openssl rand -base64 32)")
    try:
        key = b64decode(secret[len(PREFIX) :], validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("what follows whsec_ is not base64 (make one: openssl rand -base64 32)") from None
    if not 24 <= len(key) <= 64:
        raise ValueError(f"the webhook secret has {len(key)} bytes; 24 to 64 are asked for (openssl rand -base64 32)")
    return key


def sign(keys: Iterable[bytes], *, message_id: str, timestamp: int, body: bytes) -> str:
    """The value of `webhook-signature`, one signature for each key. `timestamp` in Unix seconds."""
    if "." in message_id:
        # The spec: a dot in the id would let two different messages have the same signed text.
        raise ValueError("the id of a webhook must not hold a dot")
    return " ".join("v1," + b64encode(_mac(key, message_id, str(timestamp), body)).decode() for key in keys)


def verify(
    keys: Iterable[bytes], *, message_id: str, timestamp: str, signature: str, body: bytes, now: float
) -> str | None:
    """Why these three header values and body are not genuine; None if they are. `now` in Unix seconds."""
    if not message_id or not timestamp or not signature:
        return "webhook-id, webhook-timestamp or webhook-signature is missing"
    if not timestamp.isascii() or not timestamp.isdigit() or len(timestamp) > 12:
        return "webhook-timestamp is not a number of seconds"
    if abs(now - int(timestamp)) > TOLERANCE_SECS:
        return f"webhook-timestamp is more than {TOLERANCE_SECS} s off; check both clocks"
    expected = [_mac(key, message_id, timestamp, body) for key in keys]
    for part in signature.split(" "):
        version, _, value = part.partition(",")
        if version != "v1":
            continue
        try:
            given = b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            continue
        # All keys are compared, and each in constant time: how long it takes tells nothing.
        if sum([hmac.compare_digest(mac, given) for mac in expected]):
            return None
    return "no signature matches; is it the same secret on both sides?"


def _mac(key: bytes, message_id: str, timestamp: str, body: bytes) -> bytes:
    return hmac.digest(key, f"{message_id}.{timestamp}.".encode() + body, "sha256")
