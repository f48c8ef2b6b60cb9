"""Which protocol a visitor's TLS connection speaks: whatever ALPN (RFC 7301) agreed on in the handshake.

Stands in front of a connection until that is known. With http2 switched off nobody needs it, nor the library behind.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from proxy.http1 import Http1
from proxy.http2 import Http2

if TYPE_CHECKING:
    from proxy.proxy_protocol import ProxyHeader
    from proxy.server import Proxy


class ByAlpn(asyncio.Protocol):
    """Becomes Http2 or Http1, with the same arguments as those, when the handshake is done."""

    def __init__(self, proxy: Proxy, *, scheme: str, announced: ProxyHeader | None = None) -> None:
        self._proxy = proxy
        self._scheme = scheme
        self._announced = announced

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        kind = Http2 if transport.get_extra_info("ssl_object").selected_alpn_protocol() == "h2" else Http1
        protocol = kind(self._proxy, scheme=self._scheme, announced=self._announced)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
