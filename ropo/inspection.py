"""What can be found out before ropo starts: can it write, listen, reach the site and hand over leads?

Knows how to try each without leaving a trace. Nothing here is a promise: a minute later the disk may be full.
"""

from __future__ import annotations

import errno
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from export.settings import CsvSettings, JsonlSettings, WebhookSettings
from ropo import addresses, running, secrets
from ropo.demo_process import ERP_LISTEN
from ropo.settings import Settings
from storage.layout import Layout

State = Literal["ok", "warning", "failed"]

CONNECT_SECS = 3.0
# The log of a busy day fits into this; with less, a full disk is near.
LOW_SPACE_BYTES = 1 << 30


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
    yield _site(settings.proxy.upstream)
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


def _port_todo(name: str, error: OSError, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"stop what listens there (ss -ltnp 'sport = :{port}' names it), or set another {name}"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"ports below 1024 need a right of their own (CAP_NET_BIND_SERVICE); grant it, or set another {name}"
    if error.errno == errno.EADDRNOTAVAIL:
        return "this machine does not have that address; `ip address` lists the ones it has"
    return f"set another {name}"


def _site(upstream: str) -> Finding:
    if upstream == "demo":
        return Finding("proxy.upstream", "ok", "the built-in demo site, started with ropo")
    host, port = addresses.endpoint(upstream)
    if wrong := _connect(host, port):
        # A warning: ropo starts all the same, and answers 502 until the site is there.
        return Finding("proxy.upstream", "warning", f"{upstream} cannot be reached ({wrong})", "start the site behind")
    return Finding("proxy.upstream", "ok", f"{upstream} accepts connections")


def _connect(host: str, port: int) -> str | None:
    try:
        socket.create_connection((host, port), timeout=CONNECT_SECS).close()
    except socket.gaierror:
        return f"no address is known for {host}"
    except TimeoutError:
        return f"no answer within {CONNECT_SECS:.0f} seconds"
    except OSError as error:
        return error.strerror or str(error)
    return None


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
