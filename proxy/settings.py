"""The section `proxy:` of config.yaml."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Seconds = Annotated[float, Meta(gt=0, le=86_400)]


class ProxySettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    listen: Annotated[str, Meta(description="Address and port visitors come to, `host:port`.")] = "127.0.0.1:8080"
    upstream: Annotated[
        str,
        Meta(description="The site behind: `http://host:port`, `https://host:port`, or `demo` for the built-in site."),
    ]
    workers: Annotated[
        Annotated[int, Meta(ge=1, le=256)] | None, Meta(description="Worker processes. Empty: one per core.")
    ] = None
    host: Annotated[
        Literal["keep", "upstream"],
        Meta(description="The Host the site sees: `keep` the visitor's, or the `upstream` address."),
    ] = "keep"
    trusted: Annotated[
        list[str],
        Meta(description="Networks of proxies in front, such as `10.0.0.0/8`, whose X-Forwarded-* are believed."),
    ] = []
    verify_upstream: Annotated[
        bool, Meta(description="Check the certificate of an `https://` upstream against the system's authorities.")
    ] = True
    connect_timeout_secs: Annotated[Seconds, Meta(description="Until a connection to the upstream stands.")] = 5.0
    response_timeout_secs: Annotated[
        Seconds, Meta(description="From the whole request to the upstream's response head; then the visitor gets 504.")
    ] = 60.0
    stall_timeout_secs: Annotated[
        Seconds, Meta(description="Longest pause inside a body, either way, before the exchange is given up.")
    ] = 60.0
    head_timeout_secs: Annotated[Seconds, Meta(description="From a request's first byte to the end of its head.")] = (
        15.0
    )
    idle_timeout_secs: Annotated[Seconds, Meta(description="How long an idle visitor's connection is kept.")] = 75.0
    upstream_idle_secs: Annotated[
        Seconds, Meta(description="How long an idle upstream connection is kept; stay below the site's own limit.")
    ] = 4.0
    upstream_idle_connections: Annotated[
        int, Meta(ge=0, le=65_536, description="Idle upstream connections kept by each worker.")
    ] = 256
    stop_timeout_secs: Annotated[
        Seconds, Meta(description="How long running answers may take to finish when ropo stops.")
    ] = 30.0
    max_target_bytes: Annotated[int, Meta(ge=256, le=1_048_576, description="Longest request target; else 414.")] = 8190
    max_field_bytes: Annotated[
        int, Meta(ge=256, le=1_048_576, description="Longest header field, name and value; else 431.")
    ] = 16_384
    max_fields: Annotated[int, Meta(ge=8, le=1000, description="Most header fields in a request; else 431.")] = 100
