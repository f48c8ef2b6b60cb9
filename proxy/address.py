"""Where an upstream server is, as operators write it: over TCP, over TLS, or behind a Unix socket.

Knows the forms and says what is wrong with a text; opens nothing and asks no name server. There is never a user or a
password in an address, so that logs and metrics may show it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

from yarl import URL

FORMS = "http://host:port, https://host:port or unix:/path/to/socket"

# RFC 1123 2.1: letters, digits and hyphens; underscores are met in container networks.
_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*\.?")
_UNSEEN = re.compile(r"[\x00-\x20\x7f]")

# unix(7): sun_path has 108 bytes, the last of which is NUL.
_MAX_SOCKET_PATH_BYTES = 107


@dataclass(frozen=True)
class Address:
    """`host_field` is its Host value, without a default port; `path` a Unix socket's, else None.

    Two addresses are equal if they lead to the same place, however they were written.
    """

    host: str
    port: int
    tls: bool
    host_field: bytes
    path: str | None = None

    @classmethod
    def of(cls, text: str) -> Address:
        """From one of `FORMS`; ValueError says what is wrong with any other, without repeating it."""
        if text.startswith("unix:"):
            return _unix(text.removeprefix("unix:"))
        if _UNSEEN.search(text):
            raise ValueError("expected no space and no control character in it")  # urlsplit takes some of them out
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError:
            raise ValueError(f"expected {FORMS}: host or port cannot be read") from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"expected {FORMS}")
        if parts.path not in ("", "/") or parts.query or parts.fragment or parts.username is not None:
            raise ValueError("expected no path, query or user in it: requests keep their own path")
        if port == 0:
            raise ValueError("expected the port the server listens on: it is never 0")
        tls = parts.scheme == "https"
        default = 443 if tls else 80
        host = host_name(parts.hostname)
        # RFC 6874 1: a zone means something on this machine only, and is not sent.
        shown = f"[{host.partition('%')[0]}]" if ":" in host else host
        field = shown if port in (None, default) else f"{shown}:{port}"
        return cls(host, port or default, tls, field.encode("ascii"))

    @cached_property
    def label(self) -> str:
        """How logs and metrics call it: in the form it is configured in, without a default port."""
        if self.path is not None:
            return f"unix:{self.path}"
        return f"{'https' if self.tls else 'http'}://{self.host_field.decode('ascii')}"

    @cached_property
    def ip(self) -> IPv4Address | IPv6Address | None:
        """The address it names, if it names one; None for a name and for a Unix socket."""
        return _ip(self.host)


def host_name(text: str) -> str:
    """A name or an IP address in the one form they are compared and sent in. ValueError if it is neither.

    Lower case, ASCII as IDNA 2008 has it (so that `straße.de` is what browsers take it for), IPv6 short and without
    brackets. A dot at the end stays: it tells a resolver that the name is whole.
    """
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
        if ":" not in text:
            raise ValueError("what stands in the brackets is no IPv6 address")
    if found := _ip(text):
        return str(found)
    try:
        # yarl reads names as aiohttp's client does. Its encoder is asked for what is not ASCII only.
        name = text.lower() if text.isascii() else URL.build(scheme="http", host=text).raw_host or ""
    except ValueError:  # UnicodeError is one
        name = ""
    if len(name) > 254 or not _NAME.fullmatch(name):
        raise ValueError("the host is neither a name nor an IP address")
    return name


def _unix(path: str) -> Address:
    if not path.startswith("/") or (path.startswith("//") and not path.startswith("///")):
        raise ValueError("expected an absolute path after `unix:`, such as unix:/run/site/http.sock")
    path = "/" + path.lstrip("/")  # unix:///run/... as some write it
    if path.endswith("/"):
        raise ValueError("expected the path of a socket after `unix:`, not of a folder")
    if any(not sign.isprintable() for sign in path):
        raise ValueError("expected no control character in it")
    if len(path.encode()) > _MAX_SOCKET_PATH_BYTES:
        raise ValueError(f"the path of a Unix socket has at most {_MAX_SOCKET_PATH_BYTES} bytes")
    return Address("localhost", 0, False, b"localhost", path)


def _ip(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None
