"""The section `dashboard:` of config.yaml."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta


class DashboardSettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    listen: Annotated[
        str,
        Meta(description="Address and port of the dashboard, `host:port`; port 0: any free one. Not the public one."),
    ] = "127.0.0.1:8081"
    allowed_hosts: Annotated[
        list[str],
        Meta(description="Further names under which the dashboard may be opened, such as `ropo.intern.example.com`."),
    ] = []
    refresh_secs: Annotated[int, Meta(ge=1, le=3600, description="How often the open page loads itself again.")] = 5
    query_timeout_secs: Annotated[
        float,
        Meta(gt=0, le=60, description="Longest time one question to the log may take; then the page goes without."),
    ] = 3.0
    latest_rows: Annotated[
        int, Meta(ge=1, le=200, description="How many of the latest visits and leads are shown.")
    ] = 15

    def __post_init__(self) -> None:
        address(self.listen)


def address(listen: str) -> tuple[str, int]:
    """Host and port of `host:port`; an IPv6 address stands in brackets, `[::1]:8081`. ValueError if it is neither."""
    host, colon, port = listen.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"`{listen}`: an IPv6 address stands in brackets, such as [::1]:8081")
    if not (colon and host and port.isascii() and port.isdigit() and int(port) <= 65_535):
        raise ValueError(f"`{listen}` is not host:port, such as 127.0.0.1:8081")
    return host, int(port)
