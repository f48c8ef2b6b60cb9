"""Addresses as operators write them: where to listen, where a site is and what it is called, which networks are trusted.

Knows their forms and says what is wrong with a text; opens nothing and asks no name server.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

from proxy import address
from proxy.address import Address

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


def written(place: tuple[str, int]) -> str:
    """The other way round: `127.0.0.1:8080`, `[::1]:8080`."""
    host, port = place
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def problem_of_listen(text: str) -> str | None:
    try:
        host_and_port(text)
    except ValueError as error:
        return f'"{text}" is no address to listen on: {error}'
    return None


def problem_of_upstream(text: str, *, demo: bool = True) -> str | None:
    """What is wrong with a site's server; None for `http(s)://host[:port]`, `unix:/path`, and `demo` where it may be."""
    if text == "demo":
        return None if demo else "`demo` is the built-in site, and stands as proxy.upstream alone"
    if text.startswith("unix:"):
        return _problem_of_socket(text)
    if re.match(r"https?://unix:", text):  # nginx's way
        return f'"{text}" is nginx\'s way to name a socket; write {text.partition("://")[2].rstrip(":")}'
    wrong = problem_of_url(text)
    if wrong:
        hint = "; `demo` is the built-in site" if demo and text != "" and "//" not in text else ""
        return wrong + hint
    parts = urlsplit(text)
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        scheme_and_host = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        return f'"{text}" has a path: requests keep their own path; write {scheme_and_host}'
    try:
        Address.of(text)
    except ValueError as error:
        return f'"{text}" is nothing the proxy can connect to: {error}'
    return None


def problems_of_upstreams(value: str | list[str], *, demo: bool = True) -> Iterator[str]:
    """What is wrong with the servers of one site, each in itself and with one another."""
    if isinstance(value, str):
        if wrong := problem_of_upstream(value, demo=demo):
            yield wrong
        return
    if not value:
        yield "the list is empty; name one server at least, such as http://127.0.0.1:9000"
    good = []
    for text in value:
        if text == "demo" and demo:
            yield "`demo` is the built-in site, and stands alone: write `upstream: demo`, or addresses only"
        elif wrong := problem_of_upstream(text, demo=False):
            yield wrong
        else:
            good.append(text)
    seen: dict[Address, str] = {}
    for text in good:
        place = Address.of(text)  # by where it leads: http://a and http://a:80/ are one
        if place in seen:
            same = "stands there twice" if seen[place] == text else f'is the same server as "{seen[place]}"'
            yield f'"{text}" {same}; name each server once, they share the requests evenly'
        seen.setdefault(place, text)
    # As with nginx's proxy_pass, one site has one scheme: its servers have the same content and the same secrets.
    if {"http", "https"} <= (schemes := {urlsplit(text).scheme: text for text in good}).keys():
        yield (
            f'"{schemes["http"]}" and "{schemes["https"]}" are servers of one site, one in the clear and one over TLS: '
            "by turns the same pages would be protected and not; write http or https for all of them"
        )


def problem_of_host(text: str) -> str | None:
    """What is wrong with a site's name; None for `shop.example.com` and `*.example.com`."""
    if text in ("*", "_"):
        return f'"{text}" would be every host: what no site has goes to proxy.upstream; leave it out'
    scheme, _, rest = text.rpartition("://")
    bare = re.split(r"[/?#]", rest, maxsplit=1)[0]
    name, _, port = bare.partition(":")
    parts = [
        *["a scheme"] * bool(scheme),
        *["a port"] * port.isdigit(),
        *["a path"] * (bare != rest),
    ]
    if parts and not problem_of_host(name):
        return f'"{text}" has {" and ".join(parts)}: sites are told apart by name alone; write {name}'
    if text.startswith(".") and not problem_of_host(text[1:]):
        return f'"{text}" begins with a dot; write {text[1:]} and *{text}, each for itself'
    stem = text.removeprefix("*.")
    if "*" in stem:
        return f'"{text}" has its star elsewhere than at the front, for whole labels; write such as *.example.com'
    try:
        name = address.host_name(stem).removesuffix(".")
    except ValueError:
        name = ""
    if not name or len(name) > 253 or (stem != text and (":" in name or _is_ip(name, 4))):
        return f'"{text}" is no host name; write such as shop.example.com or *.example.com'
    return None


def host_name(text: str) -> str:
    """A good site's name as visitors' requests have it: ASCII, lower case, no dot at the end."""
    star = "*." if text.startswith("*.") else ""
    return star + address.host_name(text.removeprefix("*.")).removesuffix(".")


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


def overlap(one: tuple[str, int], other: tuple[str, int]) -> bool:
    """Whether two listeners cannot both be: the same port, on the same address or on one that includes the other."""
    (host, port), (other_host, other_port) = (_plain(one), _plain(other))
    if port != other_port or port == 0:  # 0: any free port, never the same
        return False
    # Linux: `::` takes the port of IPv4 as well, unless it is told otherwise.
    return (
        host == other_host
        or "::" in (host, other_host)
        or ("0.0.0.0" in (host, other_host) and ":" not in host + other_host)
    )


def leads_to(server: tuple[str, int], listener: tuple[str, int]) -> bool:
    """Whether who connects to `server` reaches `listener`, as far as texts can tell."""
    (host, port), (own, own_port) = _plain(server), _plain(listener)
    if port != own_port:
        return False
    if host in ("0.0.0.0", "::"):  # Linux connects to itself
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"
    is_loopback = (_is_ip(host, 4) or _is_ip(host, 6)) and ip_address(host).is_loopback
    return host == own or (is_loopback and own in ("0.0.0.0", "::"))


def _plain(place: tuple[str, int]) -> tuple[str, int]:
    host, port = place
    if _is_ip(host, 6):
        return str(ip_address(host)), port
    return ("127.0.0.1" if host.lower() == "localhost" else host.lower()), port


def _problem_of_socket(text: str) -> str | None:
    path = text.removeprefix("unix:")
    if path.startswith("//"):
        return f'"{text}" is no URL but a socket; write unix:/{path.lstrip("/")}'
    if not path.startswith("/") or path.endswith("/"):
        return f'"{text}" names no socket by its absolute path; write such as unix:/run/site.sock'
    if not path.isprintable():
        return f"{ascii(text)} has signs in it that cannot be seen; write such as unix:/run/site.sock"
    # unix(7): sun_path has 108 bytes, the last of them a NUL.
    if len(os.fsencode(path)) > 107:
        return f'"{text}" is too long for a socket: 107 bytes at most; choose a shorter path'
    return None


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
