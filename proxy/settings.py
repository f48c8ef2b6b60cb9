"""The section `proxy:` of config.yaml."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Seconds = Annotated[float, Meta(gt=0, le=86_400)]
Address = Annotated[str, Meta(min_length=1)]
HostRule = Literal["keep", "upstream"]


class CertificateSettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    certificate: Annotated[str, Meta(min_length=1, description="File with the certificate and its chain, PEM.")]
    key: Annotated[str, Meta(min_length=1, description="File with its private key, PEM, without a passphrase.")]


class TlsSettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    listen: Annotated[str, Meta(description="Address and port for https, `host:port`.")] = "127.0.0.1:8443"
    certificates: Annotated[
        list[CertificateSettings],
        Meta(
            min_length=1,
            description="Chosen by the name the visitor asks for (SNI); the first where none fits. Read again within "
            "`reload_secs` when a file changes.",
        ),
    ]
    min_version: Annotated[Literal["1.2", "1.3"], Meta(description="Oldest TLS version spoken.")] = "1.2"
    http2: Annotated[bool, Meta(description="Offer HTTP/2. It costs ropo several times what HTTP/1.1 does.")] = False
    redirect: Annotated[
        bool, Meta(description="Answer http requests with a redirect to https, but for `/.well-known/acme-challenge/`.")
    ] = False
    reload_secs: Annotated[Seconds, Meta(description="How often the certificate files are looked at.")] = 10.0


class HealthSettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    path: Annotated[str, Meta(pattern="^/", description="Asked of every upstream server; 2xx and 3xx are well.")]
    interval_secs: Annotated[Seconds, Meta(description="Pause between two questions to one server.")] = 5.0
    timeout_secs: Annotated[Seconds, Meta(description="Longest wait for the answer.")] = 2.0
    failures: Annotated[
        int, Meta(ge=1, le=100, description="Bad answers in a row until a server gets no new requests.")
    ] = 2


class SiteSettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    hosts: Annotated[
        list[Annotated[str, Meta(min_length=1, max_length=253)]],
        Meta(min_length=1, description="Names of the site, such as `shop.example.com` or `*.example.com`."),
    ]
    upstream: Annotated[Address | list[Address], Meta(description="As `proxy.upstream`, for these hosts.")]
    host: Annotated[HostRule, Meta(description="As `proxy.host`, for these hosts.")] = "keep"


class ProxySettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    listen: Annotated[str, Meta(description="Address and port visitors come to, `host:port`.")] = "127.0.0.1:8080"
    upstream: Annotated[
        Address | list[Address],
        Meta(
            description="The site behind: `http://host:port`, `https://host:port`, `unix:/path/to/socket`, a list of "
            "them for several servers of one site, or `demo` for the built-in site."
        ),
    ]
    workers: Annotated[
        Annotated[int, Meta(ge=1, le=256)] | None, Meta(description="Worker processes. Empty: one per core.")
    ] = None
    host: Annotated[
        HostRule, Meta(description="The Host the site sees: `keep` the visitor's, or the `upstream` address.")
    ] = "keep"
    sites: Annotated[
        list[SiteSettings],
        Meta(description="Sites with upstreams of their own. A request for any other host goes to `upstream`."),
    ] = []
    tls: Annotated[TlsSettings | None, Meta(description="Speak https to visitors. Empty: http only.")] = None
    trusted: Annotated[
        list[str],
        Meta(
            description="Networks of proxies in front, such as `10.0.0.0/8`, whose Forwarded, X-Forwarded-* and PROXY "
            "protocol are believed."
        ),
    ] = []
    proxy_protocol: Annotated[
        bool,
        Meta(description="Every connection begins with a PROXY protocol header (v1 or v2), from `trusted` peers only."),
    ] = False
    forwarded: Annotated[
        Literal["x", "rfc7239", "both"],
        Meta(description="How the site hears of the visitor: X-Forwarded-*, Forwarded (RFC 7239), or both."),
    ] = "both"
    access_log: Annotated[
        Literal["off", "combined", "json"], Meta(description="One line on stdout for every request that ended.")
    ] = "off"
    verify_upstream: Annotated[
        bool, Meta(description="Check the certificate of an `https://` upstream against the system's authorities.")
    ] = True
    upstream_ca_file: Annotated[
        str | None, Meta(description="PEM file with the authorities to check it against instead.")
    ] = None
    health: Annotated[
        HealthSettings | None, Meta(description="Ask upstream servers how they are. Empty: learn from requests only.")
    ] = None
    upstream_failures: Annotated[
        int,
        Meta(ge=1, le=1000, description="Failures in a row after which one of several servers is left alone."),
    ] = 3
    upstream_rest_secs: Annotated[Seconds, Meta(description="How long it is left alone then.")] = 10.0
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
    tunnel_idle_secs: Annotated[Seconds, Meta(description="How long a WebSocket may be silent in both directions.")] = (
        3600.0
    )
    upstream_idle_secs: Annotated[
        Seconds, Meta(description="How long an idle upstream connection is kept; stay below the site's own limit.")
    ] = 4.0
    upstream_idle_connections: Annotated[
        int, Meta(ge=0, le=65_536, description="Idle upstream connections kept by each worker, for each server.")
    ] = 256
    stop_timeout_secs: Annotated[
        Seconds, Meta(description="How long running answers may take to finish when ropo stops.")
    ] = 30.0
    reload_timeout_secs: Annotated[
        Seconds,
        Meta(description="How long a worker that a reload replaced may go on with running answers and WebSockets."),
    ] = 600.0
    max_target_bytes: Annotated[int, Meta(ge=256, le=1_048_576, description="Longest request target; else 414.")] = 8190
    max_field_bytes: Annotated[
        int, Meta(ge=256, le=1_048_576, description="Longest header field, name and value; else 431.")
    ] = 16_384
    max_fields: Annotated[int, Meta(ge=8, le=1000, description="Most header fields in a request; else 431.")] = 100
    max_head_bytes: Annotated[
        int, Meta(ge=1024, le=4_194_304, description="Longest request head, all of it; else 431.")
    ] = 65_536
    max_body_bytes: Annotated[
        Annotated[int, Meta(ge=0)] | None, Meta(description="Largest request body; else 413. Empty: the site decides.")
    ] = None
    min_upload_bytes_per_sec: Annotated[
        int,
        Meta(
            ge=0,
            le=1_000_000_000,
            description="Slowest upload, on average after 20 seconds; else 408. It keeps slow senders from occupying "
            "the site. 0: no such limit.",
        ),
    ] = 500
    max_connections: Annotated[
        int, Meta(ge=1, le=1_000_000, description="Visitors' connections in each worker; more are answered with 503.")
    ] = 10_000
    max_connections_per_address: Annotated[
        int,
        Meta(
            ge=0,
            le=1_000_000,
            description="Of one address in each worker, `trusted` ones excepted; more are answered with 429. 0: no "
            "such limit.",
        ),
    ] = 512
