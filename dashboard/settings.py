"""The section `dashboard:` of config.yaml."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Annotated

import msgspec
from msgspec import Meta

# Short enough to type, and not to be found by trying.
LEAST_TOKEN_CHARS = 16


class SqlSettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    listen: Annotated[
        str,
        Meta(
            description="Address and port, `host:port`; port 0: any free one. Other than loopback only with `token`, and "
            "then behind TLS or in a network you trust: it is plain http."
        ),
    ] = "127.0.0.1:8083"
    token: Annotated[
        str,
        Meta(
            description="What everybody has to show: `Authorization: Bearer ...`, 16 characters at least. Empty: no one."
        ),
    ] = ""
    allowed_hosts: Annotated[
        list[str], Meta(description="Further names under which it may be asked, such as `sql.intern.example.com`.")
    ] = []
    timeout_secs: Annotated[
        float, Meta(gt=0, le=3600, description="Longest time from a question to the last row of its answer.")
    ] = 30.0
    memory_limit_mb: Annotated[
        int,
        Meta(
            ge=64,
            le=1_048_576,
            description="What DuckDB may keep in memory for one query. Its process gets half as much again and 256 MB.",
        ),
    ] = 512
    max_rows: Annotated[
        int, Meta(ge=1, le=1_000_000_000, description="Most rows of one answer; a longer one breaks off with an error.")
    ] = 1_000_000
    max_concurrent: Annotated[
        int, Meta(ge=1, le=64, description="How many queries run at once; eight times as many wait for their turn.")
    ] = 2
    threads: Annotated[int, Meta(ge=1, le=256, description="Threads of one query.")] = 2

    def __post_init__(self) -> None:
        try:
            host, _ = address(self.listen)
        except ValueError as error:
            raise ValueError(f"listen: {error}") from None
        if self.token and not (
            len(self.token) >= LEAST_TOKEN_CHARS and self.token.isascii() and self.token.isprintable()
        ):
            raise ValueError(
                f"token: is shorter than {LEAST_TOKEN_CHARS} characters, or has some that no HTTP header can carry; "
                "make one with `openssl rand -hex 24`"
            )
        if not self.token and not is_loopback(host):
            raise ValueError(
                f"listen: {self.listen} is open to other machines, and everybody there could ask the log; set "
                "dashboard.sql.token, or listen on 127.0.0.1"
            )

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        return is_loopback(address(self.listen)[0])


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
    sql: Annotated[
        SqlSettings | None,
        Meta(
            description="Answers SQL over HTTP, read-only, in a process of its own; `{}` for all defaults. Empty: off."
        ),
    ] = None

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


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect there. A name counts only if it is always this machine (RFC 6761 6.3)."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        name = host.lower().rstrip(".")
        return name == "localhost" or name.endswith(".localhost")
