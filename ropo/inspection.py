"""What can be found out before ropo starts: can it write, listen, reach the site and hand over leads?

Knows how to try each without leaving a trace. Nothing here is a promise: a minute later the disk may be full.
"""

from __future__ import annotations

import errno
import http.client
import os
import resource
import shutil
import socket
import ssl
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from dashboard.settings import SqlSettings
from export.settings import CsvSettings, JsonlSettings, WebhookSettings
from proxy import health, servers, tls
from proxy.address import Address
from proxy.settings import CertificateSettings, HealthSettings, ProxySettings, TlsSettings
from ropo import addresses, running, secrets
from ropo.demo_process import ERP_LISTEN
from ropo.settings import Settings
from storage.layout import Layout

State = Literal["ok", "warning", "failed"]

CONNECT_SECS = 3.0
# The log of a busy day fits into this; with less, a full disk is near.
LOW_SPACE_BYTES = 1 << 30
# certbot renews 30 days before the end, and short-lived certificates when a third is left: nothing has been renewed.
EXPIRY_NEAR = timedelta(days=14)
# Each visitor may need a connection to the site; the rest is for listeners, files and idle connections.
DESCRIPTORS_PER_VISITOR, DESCRIPTORS_BESIDES = 2, 500

_RENEW = "renew it, and see why that did not happen by itself; ropo takes the new files without a restart"


@dataclass(frozen=True)
class Finding:
    """`detail` says what was found; `todo` what to do about it, empty when all is well."""

    name: str
    state: State
    detail: str
    todo: str = ""


def inspect(settings: Settings, layout: Layout) -> Iterator[Finding]:
    """Each finding as soon as it is known, in the order of the settings."""
    holder = running.holder(layout)
    yield _port("proxy.listen", settings.proxy.listen, holder)
    if settings.proxy.tls is not None:
        yield _port("proxy.tls.listen", settings.proxy.tls.listen, holder)
        yield from _certificates(settings.proxy.tls, datetime.now(UTC))
    yield from _upstreams(settings.proxy)
    yield _open_files(settings.proxy)
    yield _storage(layout)
    if layout.hot_path is not None:
        yield _hot(layout.hot_path)
    yield _keys(settings, layout)
    for sink in settings.export.sinks:
        if isinstance(sink, WebhookSettings):
            yield _webhook(sink)
        else:
            yield _folder(sink)
    yield _port("dashboard.listen", settings.dashboard.listen, holder)
    if settings.dashboard.sql is not None:
        yield _sql(settings.dashboard.sql, holder)
    yield _run(layout, holder)


def _run(layout: Layout, holder: int | None) -> Finding:
    if holder is None:
        return Finding("running", "ok", "no ropo serves this storage path at the moment")
    return Finding("running", "ok", f"process {holder or 'unknown'} serves {layout.root}")


def _port(name: str, listen: str, holder: int | None) -> Finding:
    host, port = addresses.host_and_port(listen)
    try:
        kind, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(kind, socket.SOCK_STREAM) as listener:
            # As a server does: a port in TIME_WAIT is free, one with a listener is not.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(1)
    except socket.gaierror:
        return Finding(name, "failed", f"no address is known for {host}", "write an IP address of this machine")
    except OSError as error:
        if error.errno == errno.EADDRINUSE and holder is not None:
            return Finding(name, "ok", f"{listen} is served by the running ropo")
        return Finding(name, "failed", f"cannot listen on {listen} ({error.strerror})", _port_todo(name, error, port))
    return Finding(name, "ok", f"{listen} is free")


def _sql(settings: SqlSettings, holder: int | None) -> Finding:
    found = _port("dashboard.sql.listen", settings.listen, holder)
    if found.state != "ok" or settings.is_local:
        return found
    return Finding(
        found.name,
        "warning",
        f"{found.detail}; it is plain http: token, queries and answers can be read on the way",
        "listen on 127.0.0.1, and reach it through a TLS proxy or an SSH tunnel; or stay within a network you trust",
    )


def _port_todo(name: str, error: OSError, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"stop what listens there (ss -ltnp 'sport = :{port}' names it), or set another {name}"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"ports below 1024 need a right of their own (CAP_NET_BIND_SERVICE); grant it, or set another {name}"
    if error.errno == errno.EADDRNOTAVAIL:
        return "this machine does not have that address; `ip address` lists the ones it has"
    return f"set another {name}"


def _certificates(settings: TlsSettings, now: datetime) -> Iterator[Finding]:
    for i, pair in enumerate(settings.certificates):
        yield _certificate(f"proxy.tls.certificates[{i}]", pair, settings, now)
        try:
            mode = os.stat(pair.key).st_mode & 0o777
        except OSError:
            continue  # said already
        if mode & 0o007:
            yield Finding(
                f"proxy.tls.certificates[{i}].key",
                "warning",
                f"{pair.key} is open to all users of this machine (mode {mode:o})",
                f"chmod o= {pair.key}",
            )


def _certificate(key: str, pair: CertificateSettings, settings: TlsSettings, now: datetime) -> Finding:
    try:
        certificate = tls.load(pair, settings)
    except tls.CertificateError as error:
        detail, _, todo = str(error).partition("; ")
        return Finding(key, "failed", detail, todo)
    detail = f"{pair.certificate} for {_some(certificate.names)}"
    if certificate.expires < now:
        return Finding(key, "warning", f"{detail} expired on {certificate.expires:%Y-%m-%d}", _RENEW)
    if certificate.begins > now:
        todo = "wait until then, or set this machine's clock"
        return Finding(key, "warning", f"{detail} is valid only from {certificate.begins:%Y-%m-%d %H:%M} UTC on", todo)
    detail += f", valid until {certificate.expires:%Y-%m-%d}"
    if certificate.expires - now < EXPIRY_NEAR:
        return Finding(key, "warning", detail, _RENEW)
    return Finding(key, "ok", detail)


def _some(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return (", ".join(names[:3]) or "no host name") + more


def _upstreams(settings: ProxySettings) -> Iterator[Finding]:
    context = None
    try:
        context = servers.tls_context(settings)
        if settings.upstream_ca_file and settings.verify_upstream:
            detail = f"{settings.upstream_ca_file} holds {context.cert_store_stats()['x509']} authorities"
            yield Finding("proxy.upstream_ca_file", "ok", detail)
        elif settings.upstream_ca_file:
            todo = "leave one of the two out"
            detail = "is not looked at, because proxy.verify_upstream is false"
            yield Finding("proxy.upstream_ca_file", "warning", detail, todo)
    except ValueError as error:
        detail = str(error).removeprefix("proxy.upstream_ca_file: ")
        yield Finding("proxy.upstream_ca_file", "failed", detail, "name the authorities' certificates in PEM form")
    sites = [("proxy.upstream", settings.upstream, None)]
    for i, site in enumerate(settings.sites):
        # The Host of a health check: one a visitor would come with.
        host = next((host for host in site.hosts if "*" not in host), site.hosts[0].replace("*", "www", 1))
        host = f"[{host}]" if ":" in host else host
        sites.append((f"proxy.sites[{i}].upstream", site.upstream, host if site.host == "keep" else None))
    for key, upstream, host in sites:
        if upstream == "demo":
            yield Finding(key, "ok", "the built-in demo site, started with ropo")
        elif isinstance(upstream, str):
            yield _upstream(key, upstream, host, context, settings.health)
        else:
            for i, text in enumerate(upstream):
                yield _upstream(f"{key}[{i}]", text, host, context, settings.health)


def _upstream(
    key: str, text: str, host: str | None, context: ssl.SSLContext | None, question: HealthSettings | None
) -> Finding:
    """All that is wrong is a warning: ropo starts all the same, and answers 502 until the server is there."""
    address = Address.of(text)
    try:
        with _connected(address, context) as connection:
            if question is None or (address.tls and context is None):
                return Finding(key, "ok", f"{text} accepts connections")
            connection.settimeout(question.timeout_secs)
            status = _status(connection, host or address.host_field.decode("ascii"), question.path)
    except ssl.SSLCertVerificationError as error:
        return Finding(
            key,
            "warning",
            f"{text} shows a certificate that is not believed ({error.verify_message})",
            "give the server a certificate for that name, or name your own authority in proxy.upstream_ca_file",
        )
    except ssl.SSLError as error:
        detail = f"{text} does not speak TLS as it should ({error.reason or 'broken off'})"
        return Finding(key, "warning", detail, "write http:// if it speaks no TLS")
    except (OSError, http.client.HTTPException) as error:
        detail = f"{text} cannot be reached ({_why(error, address.host)})"
        return Finding(key, "warning", detail, "start the site behind")
    if 200 <= status < 400:
        return Finding(key, "ok", f"{text} is well ({status} at {question.path})")
    todo = "it will get no requests; mend the site, or set another proxy.health.path"
    return Finding(key, "warning", f"{text} answers {status} at {question.path}", todo)


def _connected(address: Address, context: ssl.SSLContext | None) -> socket.socket:
    """A connection as the proxy would make it, https verified. OSError (ssl.SSLError included) if there is none."""
    if address.path is not None:
        plain = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            plain.settimeout(CONNECT_SECS)
            plain.connect(address.path)
        except OSError:
            plain.close()
            raise
        return plain
    plain = socket.create_connection((address.host, address.port), timeout=CONNECT_SECS)
    if not address.tls or context is None:
        return plain
    try:
        return context.wrap_socket(plain, server_hostname=address.host.partition("%")[0].rstrip("."))
    except OSError:
        plain.close()
        raise


def _status(connection: socket.socket, host: str, path: str) -> int:
    asked = http.client.HTTPConnection("localhost")
    asked.sock = connection
    asked.request("GET", path, headers={"Host": host, "User-Agent": health.USER_AGENT, "Accept": "*/*"})
    with asked.getresponse() as response:
        return response.status


def _connect(host: str, port: int) -> str | None:
    try:
        socket.create_connection((host, port), timeout=CONNECT_SECS).close()
    except OSError as error:
        return _why(error, host)
    return None


def _why(error: Exception, host: str) -> str:
    match error:
        case socket.gaierror():
            return f"no address is known for {host}"
        case TimeoutError():
            return "no answer in time"
        case http.client.HTTPException():
            return "it accepts connections and answers no HTTP"
        case OSError():
            return error.strerror or str(error)
    return str(error)


def _open_files(settings: ProxySettings) -> Finding:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]  # workers raise their soft limit to it
    wanted = settings.max_connections * DESCRIPTORS_PER_VISITOR + DESCRIPTORS_BESIDES
    if hard == resource.RLIM_INFINITY or hard >= wanted:
        return Finding("open files", "ok", f"enough for {settings.max_connections} connections in each worker")
    return Finding(
        "open files",
        "warning",
        f"each worker may open {hard}, and needs {wanted} for proxy.max_connections of {settings.max_connections}",
        f"raise it (systemd: LimitNOFILE={wanted}), or lower proxy.max_connections to "
        f"{max((hard - DESCRIPTORS_BESIDES) // DESCRIPTORS_PER_VISITOR, 1)}",
    )


def _storage(layout: Layout) -> Finding:
    root = layout.root
    if wrong := _not_writable(root, create=True):
        return Finding("storage.path", "failed", wrong, "choose a storage.path that this user may write")
    free = shutil.disk_usage(_existing(root)).free
    detail = f"{root} can be written, {free / (1 << 30):,.1f} GiB free"
    if free < LOW_SPACE_BYTES:
        return Finding(
            "storage.path", "warning", detail, "make room: with a full disk requests pass, and are not logged"
        )
    return Finding("storage.path", "ok", detail)


def _hot(path: Path) -> Finding:
    if wrong := _not_writable(path.parent, create=True):
        return Finding("storage.hot_path", "failed", wrong, "choose another storage.hot_path, or leave it out")
    return Finding("storage.hot_path", "ok", f"{path.parent} can be written")


def _keys(settings: Settings, layout: Layout) -> Finding:
    try:
        there = secrets.check(layout.secrets, **secrets.needed(settings))
    except secrets.SecretsError as error:
        return Finding("secrets", "failed", str(error))
    if not there:
        return Finding("secrets", "ok", "keys are made at the first start")
    return Finding("secrets", "ok", f"{', '.join(path.name for path in there)} in {layout.secrets}")


def _folder(sink: CsvSettings | JsonlSettings) -> Finding:
    name, folder = f"sink {sink.name}", Path(sink.folder)
    if wrong := _not_writable(folder, create=sink.create_folder):
        todo = (
            "make the folder and let this user write there"
            if folder.exists() or sink.create_folder
            else (f"make it (mkdir -p {folder}), mount the share, or set create_folder: true")
        )
        return Finding(name, "failed", wrong, todo)
    return Finding(name, "ok", f"{folder} can be written" if folder.exists() else f"{folder} is made at the first lead")


def _webhook(sink: WebhookSettings) -> Finding:
    # The path of the URL may be secret; only its origin is shown.
    host, port = addresses.endpoint(sink.url)
    if f"{host}:{port}" == ERP_LISTEN and not sink.secret:
        return Finding(f"sink {sink.name}", "ok", f"{sink.origin} is the built-in demo ERP, started with ropo")
    if wrong := _connect(host, port):
        todo = "leads wait and are sent when it is there"
        return Finding(f"sink {sink.name}", "warning", f"{sink.origin} cannot be reached ({wrong})", todo)
    return Finding(f"sink {sink.name}", "ok", f"{sink.origin} accepts connections")


def _existing(path: Path) -> Path:
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def _not_writable(folder: Path, *, create: bool) -> str | None:
    """Why no file can be made in `folder`; None if it can. `create`: it may be missing, if it can be made."""
    try:
        if not folder.exists():
            if not create:
                return f"the folder {folder} does not exist"
            above = _existing(folder)
            if not above.is_dir():
                return f"{above} is in the way: it is not a folder"
            # Nothing is made for a mere question, so the rights of the folder above have to do as an answer.
            return None if os.access(above, os.W_OK | os.X_OK) else f"{folder} cannot be made: {above} is not writable"
        if not folder.is_dir():
            return f"{folder} is not a folder"
        # Rights do not tell of read-only mounts, quotas and full disks; a file that was written does.
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\0" * 4096)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return f"{folder} cannot be written ({error.strerror})"
    return None
