"""The keys ropo keeps for itself, below `storage.path/secrets`: made once, read ever after.

    cookie.keys         sign the visitor's cookie
    contact.keys        seal contact data in the log (32 bytes in base64)
    webhook-SINK.keys   sign what a webhook sink sends (`whsec_` and 32 bytes in base64, as Standard Webhooks has it)

One key per line, the newest last: the newest signs and seals, all of them verify and open. Lines that start with `#`
and empty lines do not count. Whoever can read these files can open every contact in the log, so they belong to their
owner alone, and ropo refuses them when they do not.
"""

from __future__ import annotations

import base64
import binascii
import logging
import os
import secrets as random
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from export.settings import WebhookSettings
from ropo.settings import Settings

log = logging.getLogger(__name__)

# A key file has a few lines; more than this is not one.
MAX_BYTES = 65_536


class SecretsError(RuntimeError):
    """A key file cannot be used; the text says which, why, and what to do. It never holds a key."""


@dataclass(frozen=True)
class Keys:
    """The keys of each purpose, newest last. Its repr shows none."""

    cookie: tuple[str, ...] = field(repr=False)
    contact: tuple[str, ...] = field(repr=False)
    webhooks: dict[str, tuple[str, ...]] = field(repr=False)


@dataclass(frozen=True)
class _Kind:
    name: str
    make: Callable[[], str]
    is_one: Callable[[str], bool]
    looks: str


def new_cookie_key() -> str:
    # 256 bits, as long as the SHA-256 that signs with it.
    return random.token_urlsafe(32)


def new_contact_key() -> str:
    return base64.b64encode(random.token_bytes(32)).decode()


def new_webhook_key() -> str:
    # Standard Webhooks 1.0.0, "Signature scheme": 24 to 64 random bytes.
    return "whsec_" + base64.b64encode(random.token_bytes(32)).decode()


def _is_webhook_key(text: str) -> bool:
    return text.startswith("whsec_") and 24 <= _bytes(text.removeprefix("whsec_")) <= 64


def _bytes(text: str) -> int:
    try:
        return len(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        return 0


COOKIE = _Kind("cookie", new_cookie_key, lambda text: len(text) >= 16, "at least 16 characters")
CONTACT = _Kind("contact", new_contact_key, lambda text: _bytes(text) == 32, "32 bytes in base64")
WEBHOOK = _Kind("webhook", new_webhook_key, _is_webhook_key, "`whsec_` and 24 to 64 bytes in base64")


def cookie_file(folder: Path) -> Path:
    return folder / "cookie.keys"


def contact_file(folder: Path) -> Path:
    return folder / "contact.keys"


def webhook_file(folder: Path, sink: str) -> Path:
    return folder / f"webhook-{sink}.keys"


class Needed(TypedDict):
    """Which keys the settings do not bring along."""

    cookie: bool
    webhooks: tuple[str, ...]


def needed(settings: Settings) -> Needed:
    sinks = [sink for sink in settings.export.sinks if isinstance(sink, WebhookSettings)]
    return {
        "cookie": not settings.tracker.cookie.secrets,
        "webhooks": tuple(sink.name for sink in sinks if not sink.secret),
    }


def read_or_make(folder: Path, *, webhooks: tuple[str, ...] = (), cookie: bool = True) -> Keys:
    """All keys, made where there are none yet. `webhooks` names the sinks, `cookie=False` leaves those keys out.

    Raises SecretsError.
    """
    _make_folder(folder)
    return Keys(
        cookie=_read_or_make(cookie_file(folder), COOKIE) if cookie else (),
        contact=_read_or_make(contact_file(folder), CONTACT),
        webhooks={sink: _read_or_make(webhook_file(folder, sink), WEBHOOK) for sink in webhooks},
    )


def read_contact_keys(folder: Path) -> tuple[str, ...]:
    """The keys that open contact data; none if there are none. Makes nothing. Raises SecretsError."""
    return _read(contact_file(folder), CONTACT) or ()


def check(folder: Path, *, webhooks: tuple[str, ...] = (), cookie: bool = True) -> list[Path]:
    """The key files that are there and good. Makes nothing. Raises SecretsError for the first that is not good."""
    files = [(contact_file(folder), CONTACT)] + [(webhook_file(folder, sink), WEBHOOK) for sink in webhooks]
    if cookie:
        files.append((cookie_file(folder), COOKIE))
    return [path for path, kind in files if _read(path, kind) is not None]


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = stat.S_IMODE(folder.stat().st_mode)
    except OSError as error:
        raise SecretsError(f"the folder {folder} cannot be made ({error.strerror}); correct its rights") from None
    if mode & 0o022:
        raise SecretsError(f"others may write to the folder {folder} (mode {mode:04o}); run: chmod 700 {folder}")


def _read_or_make(path: Path, kind: _Kind) -> tuple[str, ...]:
    keys = _read(path, kind)
    if keys is None:
        _make(path, kind)
        # Of two processes that make it at once, one wins; both then read what the winner wrote.
        keys = _read(path, kind)
    if keys is None:
        raise SecretsError(f"{path} was made and is gone again; is something else clearing this folder?")
    return keys


def _read(path: Path, kind: _Kind) -> tuple[str, ...] | None:
    try:
        with path.open("rb") as file:
            about = os.fstat(file.fileno())
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SecretsError(f"{path} cannot be read ({error.strerror}); run ropo as the owner of this file") from None
    mode = stat.S_IMODE(about.st_mode)
    if mode & 0o077:
        raise SecretsError(
            f"others may read the keys in {path} (mode {mode:04o}); run: chmod 600 {path} "
            "- and if somebody may have read them, add a new key as its last line"
        )
    if about.st_uid not in (0, os.geteuid()) and os.geteuid() != 0:
        raise SecretsError(f"{path} belongs to another user (uid {about.st_uid}); run: chown {os.geteuid()} {path}")
    if len(data) > MAX_BYTES:
        raise SecretsError(f"{path} is larger than {MAX_BYTES} bytes; it holds one key per line and nothing else")
    try:
        lines = [line.strip() for line in data.decode().splitlines()]
    except UnicodeDecodeError:
        raise SecretsError(f"{path} is not text; put it back from a backup, one key per line") from None
    keys = []
    for number, line in enumerate(lines, start=1):
        if line and not line.startswith("#"):
            if not kind.is_one(line):
                raise SecretsError(
                    f"{path}, line {number}: not a {kind.name} key, which is {kind.looks}; mend the line"
                )
            keys.append(line)
    if not keys:
        raise SecretsError(f"{path} holds no key; put it back from a backup, or remove it and ropo makes a new one")
    return tuple(keys)


def _make(path: Path, kind: _Kind) -> None:
    """Writes a new key under another name and links it to its own, so that nobody ever reads half a file."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{random.token_hex(4)}")
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with open(handle, "wb") as file:
                file.write(f"{kind.make()}\n".encode())
                file.flush()
                os.fsync(file.fileno())
                if os.geteuid() == 0:
                    # Made by root on the command line, it must still be the service's own.
                    about = path.parent.stat()
                    os.fchown(file.fileno(), about.st_uid, about.st_gid)
            # link(2), unlike rename(2), never replaces a file: a key once given out is not lost to a race.
            with suppress(FileExistsError):
                os.link(draft, path)
                log.info("event=key_made kind=%s file=%s", kind.name, path)
        finally:
            draft.unlink()
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise SecretsError(
            f"{path} cannot be made ({error.strerror}); ropo keeps its keys there: correct the rights of {path.parent}, "
            "or free some space"
        ) from None
