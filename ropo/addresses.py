"""Addresses as operators write them: where to listen, where the site is, which networks are trusted.

Knows their forms and says what is wrong with a text; opens nothing and asks no name server.
"""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

# RFC 1123 section 2.1: letters, digits and hyphens; underscores are met in container networks.
_HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?")


def host_and_port(listen: str) -> tuple[str, int]:
    """The two parts of `127.0.0.1:8080` or `[::1]:8080`. ValueError says what is wrong with any other text."""
    host, colon, port = listen.rpartition(":")
    if not colon and listen.isdigit():
        raise ValueError(f"the host is missing; write 127.0.0.1:{listen}, or 0.0.0.0:{listen} for all addresses")
    if "//" in listen:
        raise ValueError("a listener has no scheme and no path; write host:port, such as 127.0.0.1:8080")
    if not colon:
        raise ValueError("the port is missing; write host:port, such as 127.0.0.1:8080")
    if not host:
        raise ValueError(f"the host is missing; write 127.0.0.1:{port}, or 0.0.0.0:{port} for all addresses")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if not _is_ip(host, 6):
            raise ValueError("what stands in the brackets is no IPv6 address; write such as [::1]:8080")
    elif ":" in host:
        raise ValueError("an IPv6 address stands in brackets; write such as [::1]:8080")
    elif not (_is_ip(host, 4) or (_HOST_NAME.fullmatch(host) and not host.replace(".", "").isdigit())):
        raise ValueError("the host is neither a name nor an IP address; write host:port, such as 127.0.0.1:8080")
    if not (port.isascii() and port.isdigit() and int(port) <= 65_535):
        raise ValueError("the port is a number from 0 to 65535; write host:port, such as 127.0.0.1:8080")
    return host, int(port)


def problem_of_listen(text: str) -> str | None:
    try:
        host_and_port(text)
    except ValueError as error:
        return f'"{text}" is no address to listen on: {error}'
    return None


def problem_of_upstream(text: str) -> str | None:
    """What is wrong with a site's address; None for `demo` and for `http(s)://host[:port]`."""
    if text == "demo":
        return None
    wrong = problem_of_url(text)
    if wrong:
        return wrong if text == "" or "//" in text else f"{wrong}; `demo` is the built-in site"
    parts = urlsplit(text)
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        scheme_and_host = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        return f'"{text}" has a path: requests keep their own path; write {scheme_and_host}'
    return None


def problem_of_url(text: str) -> str | None:
    """What is wrong with the URL of a server. A URL with a password is not shown in the text."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return f'"{text}" is no URL: host or port cannot be read; write such as http://127.0.0.1:9000'
    if parts.username is not None or parts.password is not None:
        return "the URL has a user or password in it, which would end up in logs; write it without"
    if parts.scheme not in ("http", "https"):
        if re.fullmatch(r"[A-Za-z0-9.-]+(:\d+)?(/.*)?", text):
            return f'"{text}" has no scheme; write http://{text} or https://{text}'
        return f'"{text}" is no URL of http or https; write such as http://127.0.0.1:9000'
    host = parts.hostname or ""
    if not (_is_ip(host, 4) or _is_ip(host, 6) or _HOST_NAME.fullmatch(_ascii(host))):
        return f'"{text}" names no host; write such as {parts.scheme}://127.0.0.1:9000'
    if port == 0:
        return f'"{text}" has port 0; name the port the server listens on'
    return None


def problem_of_network(text: str) -> str | None:
    try:
        ip_network(text)
    except ValueError as error:
        if "has host bits set" in str(error):
            return f'"{text}" is an address, not a network; write {ip_network(text, strict=False)}'
        return f'"{text}" is no network; write such as 10.0.0.0/8 or 192.0.2.7'
    return None


def endpoint(url: str) -> tuple[str, int]:
    """Host and port of a good URL, with the port its scheme stands for."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def _is_ip(text: str, version: int) -> bool:
    try:
        return ip_address(text).version == version
    except ValueError:
        return False


def _ascii(host: str) -> str:
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError:
        return ""
