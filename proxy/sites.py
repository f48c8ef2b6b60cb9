"""Which site a request belongs to, and all upstream servers of this worker.

Knows host names: exact ones first, then the longest wildcard, else the default site. Two sites that name the same
server share it, with its connections and its state.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from proxy.address import Address, host_name
from proxy.balancer import Balancer
from proxy.health import HealthChecks
from proxy.servers import Figures, Server
from proxy.settings import ProxySettings, SiteSettings

# RFC 1035 2.3.4: 255 octets on the wire, which is 253 characters; with a dot at the end and ":65535".
_MAX_AUTHORITY_BYTES = 260
# As many different Hosts are remembered. Whoever makes up more of them only makes us look again.
_REMEMBERED = 1024


@dataclass(frozen=True, eq=False)
class Site:
    """Some hosts, and who answers for them. `name` is the first of its hosts, `default` for the default site."""

    name: str
    balancer: Balancer
    keep_host: bool


class Sites:
    """All sites of one worker. `start` once, within the loop; `stop` at any time, again too."""

    def __init__(
        self,
        settings: ProxySettings,
        loop: asyncio.AbstractEventLoop,
        *,
        now: Callable[[], float] | None = None,
    ) -> None:
        """`now` as for Server. ValueError names the setting with an address, host or file that cannot be used."""
        self._settings = settings
        self._loop = loop
        self._now = now
        self._servers: dict[Address, Server] = {}
        self._health_hosts: dict[Server, str] = {}
        self._sites: dict[str, Site] = {}
        self.default = Site("default", self._balancer("proxy.upstream", settings.upstream), settings.host == "keep")
        for number, site in enumerate(settings.sites):
            self._add(f"proxy.sites[{number}]", site)
        for server in self._servers.values():
            self._health_hosts.setdefault(server, server.address.host_field.decode("ascii"))
        self.servers = tuple(self._servers.values())
        self._health = HealthChecks(self._health_hosts, settings.health) if settings.health is not None else None
        self._find = lru_cache(_REMEMBERED)(self._look_up)

    def _add(self, key: str, settings: SiteSettings) -> None:
        try:
            patterns = [host_pattern(host) for host in settings.hosts]
        except ValueError as error:
            raise ValueError(f"{key}.hosts: {error}") from None
        balancer = self._balancer(f"{key}.upstream", settings.upstream)
        site = Site(patterns[0], balancer, settings.host == "keep")
        for pattern in patterns:
            if self._sites.setdefault(pattern, site) is not site:
                raise ValueError(f"{key}.hosts: {pattern} is a host of another site already")
        if site.keep_host:
            for server in balancer.servers:
                self._health_hosts.setdefault(server, _asked_for(patterns))

    def _balancer(self, key: str, upstream: str | list[str]) -> Balancer:
        try:
            addresses = dict.fromkeys(map(Address.of, [upstream] if isinstance(upstream, str) else upstream))
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from None
        if not addresses:
            raise ValueError(f"{key}: names no server")
        return Balancer([self._server(address) for address in addresses])

    def _server(self, address: Address) -> Server:
        server = self._servers.get(address)
        if server is None:
            server = self._servers[address] = Server(address, self._settings, self._loop, now=self._now)
        return server

    def site_for(self, authority: bytes | None) -> Site:
        """The site for a Host (or `:authority`) that has been checked, whatever its port, case and dot at the end."""
        if not self._sites or authority is None or len(authority) > _MAX_AUTHORITY_BYTES:
            return self.default
        return self._find(authority)

    def _look_up(self, authority: bytes) -> Site:
        name = _host_of(authority)
        site = self._sites.get(name)
        while site is None:
            label, dot, name = name.partition(".")
            if not label or not dot:
                return self.default
            site = self._sites.get(f"*.{name}")
        return site

    # -- the servers

    @property
    def figures(self) -> list[Figures]:
        """Every server for the worker's status file."""
        return [server.figures for server in self.servers]

    def start(self) -> None:
        """Begins to ask the servers how they are, if the settings say so."""
        if self._health is not None:
            self._health.start()

    async def stop(self) -> None:
        """Asks no more. The servers stay as they are, for what is still running."""
        if self._health is not None:
            await self._health.stop()

    def sweep(self) -> None:
        """Closes connections that have idled too long. Called about once a second."""
        for server in self.servers:
            server.sweep()

    def close(self) -> None:
        """Closes all idle connections."""
        for server in self.servers:
            server.close()


def host_pattern(text: str) -> str:
    """A host of `sites[].hosts` as it is compared: `shop.example.com`, `*.example.com`, an IP address.

    ValueError says what is wrong with any other text.
    """
    wildcard = text.startswith("*.")
    name = text[2:] if wildcard else text
    if "*" in name:
        raise ValueError(f'"{text}": a wildcard stands for whole labels in front, such as *.example.com')
    try:
        name = host_name(name)
    except ValueError:
        raise ValueError(f'"{text}" is no host name; write such as shop.example.com, without scheme and port') from None
    name = name.removesuffix(".")
    if wildcard and ":" in name:
        raise ValueError(f'"{text}": an IPv6 address has no names below it')
    return f"*.{name}" if wildcard else name


def _host_of(authority: bytes) -> str:
    """The host of an authority in the form of `host_pattern`, as far as it can be equal to one."""
    text = authority.lower().decode("latin-1")
    if not text.startswith("["):
        return text.partition(":")[0].removesuffix(".")
    try:
        return host_name(text.partition("]")[0] + "]")
    except ValueError:
        return ""


def _asked_for(patterns: list[str]) -> str:
    """The Host for a health check: one a visitor would come with."""
    exact = next((pattern for pattern in patterns if not pattern.startswith("*.")), None)
    if exact is None:
        return f"www.{patterns[0][2:]}"
    return f"[{exact}]" if ":" in exact else exact
