"""Who may ask, and what every answer says to the browser. For listeners that are not public but reachable by one.

A page on the web can point its own name at 127.0.0.1 and have the visitor's browser ask us (DNS rebinding). The browser
then sends that name as Host: so only names that are ours are answered.
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Awaitable, Callable, Iterable

from aiohttp import web

logger = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

# No script at all, and nothing from elsewhere: a referrer that slipped through escaping could still do nothing.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


async def secure(request: web.Request, response: web.StreamResponse) -> None:
    """For `app.on_response_prepare`: headers that an answer did not set itself, and no word of our versions."""
    response.headers["Server"] = "ropo"
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("Cache-Control", "no-store")


def only_for(hosts: Hosts, *, methods: frozenset[str] = frozenset({"GET", "HEAD"})) -> Callable[..., Awaitable]:
    """The middleware that answers 421 for a foreign Host, 405 for other methods, and 500 for a bug of ours."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        # RFC 9110 7.4: 421 when the request was not meant for this server.
        if not hosts.include(request.headers.getall("Host", [])):
            return web.Response(
                status=421,
                text="This name is not served here. If it should be, add it to the allowed hosts in the settings.\n",
            )
        if request.method not in methods:
            raise web.HTTPMethodNotAllowed(request.method, sorted(methods))
        try:
            return await handler(request)
        except web.HTTPException:
            raise
        except Exception:
            logger.exception("the page failed: path=%r", request.path[:100])
            return web.Response(status=500, text="This page failed. The log of ropo says why.\n")

    return guard


class Hosts:
    """The names a listener answers to: loopback, its own address, and those allowed by the operator."""

    def __init__(self, listen_host: str, allowed: Iterable[str] = ()) -> None:
        self.names = {"localhost", bare(listen_host)} | {bare(name) for name in allowed}
        self.addresses = {ip for ip in map(ip_of, self.names) if ip}
        # Bound to every address of the machine: any of them is ours. An address cannot be rebound, only a name can.
        self.any_address = any(ip.is_unspecified for ip in self.addresses)

    def include(self, fields: list[str]) -> bool:
        """Whether the Host fields of a request (RFC 9112 3.2: exactly one) name us, at whatever port."""
        if len(fields) != 1:
            return False
        name = bare(fields[0])
        if ip := ip_of(name):
            return ip.is_loopback or ip in self.addresses or self.any_address
        # RFC 6761 6.3: .localhost is always this machine.
        return bool(name) and (name in self.names or name.endswith(".localhost"))


def bare(host: str) -> str:
    """A host name or address without port, brackets, final dot and capitals."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    if host.count(":") == 1:
        host, _, port = host.partition(":")
        if not port.isdigit():
            return ""
    return host.rstrip(".")


def ip_of(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None
