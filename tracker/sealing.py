"""Contact data at rest: sealed in the worker, before anything reaches the disk, and opened only for who may see it.

Knows AES-GCM and keys. Knows nothing of leads but that each has an id, and nothing of where keys are kept.

A sealed contact is `v1.<key id>.<base64url of nonce, ciphertext and tag>`. The lead's id is the associated data: a
sealed contact that is moved to another lead does not open. Dropping a key erases all that was sealed with it.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Iterable, Mapping
from hashlib import sha256

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32

# NIST SP 800-38D section 5.2.1.1 and 8.2.2: 96 random bits, good for 2^32 contacts under one key.
NONCE_BYTES = 12
TAG_BYTES = 16

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, str]).decode


class UnsealError(ValueError):
    """A sealed contact cannot be opened. The text says why, and holds nothing of it."""


def new_key() -> str:
    """A fresh key: 32 random bytes in base64."""
    return base64.b64encode(os.urandom(KEY_BYTES)).decode("ascii")


class Sealer:
    """Seals and opens contacts. `keys`: newest last; the last seals, all open, so that a key can be replaced.

    Raises ValueError for a key that is not 32 bytes in base64. The error and the repr hold no key.
    """

    def __init__(self, keys: Iterable[str]) -> None:
        self._ciphers: dict[str, AESGCM] = {}
        for number, key in enumerate(keys, start=1):
            raw = _key_bytes(key)
            if len(raw) != KEY_BYTES:
                raise ValueError(f"contact key {number}: not {KEY_BYTES} bytes in base64; make one with new_key()")
            self._newest = _key_id(raw)
            self._ciphers[self._newest] = AESGCM(raw)
        if not self._ciphers:
            raise ValueError("sealing contacts needs at least one key")

    def __repr__(self) -> str:
        return f"Sealer({len(self._ciphers)} keys, sealing with {self._newest})"

    def seal(self, contact: Mapping[str, str], lead_id: str) -> str:
        """The contact (lead field to value), sealed for this lead."""
        nonce = os.urandom(NONCE_BYTES)
        box = self._ciphers[self._newest].encrypt(nonce, _encode(dict(contact)), lead_id.encode())
        return f"v1.{self._newest}.{base64.urlsafe_b64encode(nonce + box).decode('ascii').rstrip('=')}"

    def open(self, sealed: str, lead_id: str) -> dict[str, str]:
        """The contact that was sealed for this lead. Raises UnsealError."""
        version, _, rest = sealed.partition(".")
        key_id, _, text = rest.partition(".")
        if version != "v1" or not text:
            raise UnsealError("not a sealed contact of a version this ropo knows")
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            # Never quote what stands in the place of the key id: it need not be one.
            raise UnsealError("sealed with a key that is not among the contact keys; was it removed?")
        box = _key_bytes(text)
        # Base64 can say the same bytes in several ways; ours is one of them.
        is_ours = base64.urlsafe_b64encode(box).decode("ascii").rstrip("=") == text
        if not is_ours or len(box) < NONCE_BYTES + TAG_BYTES:
            raise UnsealError("the sealed contact is cut short or was changed")
        try:
            return _decode(cipher.decrypt(box[:NONCE_BYTES], box[NONCE_BYTES:], lead_id.encode()))
        except InvalidTag:
            raise UnsealError("the sealed contact was changed, or belongs to another lead") from None
        except msgspec.DecodeError:
            raise UnsealError("what was sealed is not a contact") from None


def _key_id(raw: bytes) -> str:
    # 32 bits of a hash of 256 random ones: names the key, and says nothing about it.
    return sha256(b"ropo contact key\0" + raw).hexdigest()[:8]


def _key_bytes(text: str) -> bytes:
    """The bytes of base64 in either alphabet, with or without padding; none if it is not base64."""
    text = text.strip().rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""
