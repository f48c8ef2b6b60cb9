"""The web servers of packaging/in-front, started with the example files as they are shipped.

Only ports, certificates, and where processes put their files are changed in them.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tests.support.certificates import Pair
from tests.support.ports import is_open
from tests.support.ropo_process import REPOSITORY
from tests.support.waiting import until

FILES = REPOSITORY / "packaging" / "in-front"


@dataclass(frozen=True)
class Setting:
    """What an example file has to be told of this machine. `folder` is for the server's own files."""

    folder: Path
    https: int
    http: int
    admin: int
    ropo: int
    pair: Pair


def _nginx(text: str, to: Setting) -> list[str]:
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{kind}_temp_path {to.folder / kind};\n" for kind in kinds)
    text = _replaced(
        text,
        ("http {\n", "http {\n" + temporary),
        ("listen 443 ", f"listen 127.0.0.1:{to.https} "),
        ("listen 80 ", f"listen 127.0.0.1:{to.http} "),
        ("127.0.0.1:8080;", f"127.0.0.1:{to.ropo};"),
        ("/etc/letsencrypt/live/example.com/fullchain.pem", str(to.pair.certificate)),
        ("/etc/letsencrypt/live/example.com/privkey.pem", str(to.pair.key)),
        ("pid /run/nginx.pid;", f"pid {to.folder}/nginx.pid;"),
        ("error_log /var/log/nginx/error.log;", "error_log stderr;"),
    )
    if os.geteuid():
        text = _replaced(text, ("user www-data;\n", ""))
    path = _written(text, to)
    return ["nginx", "-e", "stderr", "-p", str(to.folder), "-c", path, "-g", "daemon off;"]


def _haproxy(text: str, to: Setting) -> list[str]:
    both = to.folder / "site-with-key.pem"
    both.write_bytes(to.pair.certificate.read_bytes() + to.pair.key.read_bytes())
    text = _replaced(
        text,
        ("bind :443 ", f"bind 127.0.0.1:{to.https} "),
        ("bind :80\n", f"bind 127.0.0.1:{to.http}\n"),
        ("server ropo 127.0.0.1:8080 ", f"server ropo 127.0.0.1:{to.ropo} "),
        ("/etc/haproxy/certs/example.com.pem", str(both)),
    )
    if os.geteuid():
        text = _replaced(text, ("    user haproxy\n    group haproxy\n", ""))
    path = _written(text, to)
    return ["haproxy", "-db", "-f", path]


def _haproxy_with_proxy_protocol(text: str, to: Setting) -> list[str]:
    """The line that the file offers instead of the other."""
    text, active = re.subn(r"(?m)^    server ropo .*\n", "", text)
    text, offered = re.subn(r"(?m)^    # (server ropo .*)$", r"    \1", text)
    assert (active, offered) == (1, 1)
    return _haproxy(text, to)


def _caddy(text: str, to: Setting) -> list[str]:
    text = _replaced(
        text,
        ("http_port 80\n", f"http_port {to.http}\n"),
        ("https_port 443\n", f"https_port {to.https}\n"),
        ("admin localhost:2019", f"admin localhost:{to.admin}"),
        ("reverse_proxy 127.0.0.1:8080 ", f"reverse_proxy 127.0.0.1:{to.ropo} "),
        ("/etc/caddy/certs/example.com/fullchain.pem", str(to.pair.certificate)),
        ("/etc/caddy/certs/example.com/privkey.pem", str(to.pair.key)),
    )
    path = _written(text, to)
    return ["caddy", "run", "--adapter", "caddyfile", "--config", path]


def _written(text: str, to: Setting) -> str:
    path = to.folder / "settings"
    path.write_text(text)
    return str(path)


def _replaced(text: str, *changes: tuple[str, str]) -> str:
    for old, new in changes:
        assert old in text, f"the example has no {old!r} any more"
        text = text.replace(old, new)
    return text


class Example(NamedTuple):
    """A way to run one of the files. `command` writes it as `Setting` wants it, and returns what starts the server."""

    program: str
    file: str
    command: Callable[[str, Setting], list[str]]


EXAMPLES = {
    "nginx": Example("nginx", "nginx.conf", _nginx),
    "haproxy": Example("haproxy", "haproxy.cfg", _haproxy),
    "haproxy, PROXY protocol": Example("haproxy", "haproxy.cfg", _haproxy_with_proxy_protocol),
    "caddy": Example("caddy", "Caddyfile", _caddy),
}


@contextmanager
def running(example: Example, setting: Setting) -> Iterator[None]:
    """The server in a process of its own, until the block ends."""
    folder = setting.folder
    program, *arguments = example.command((FILES / example.file).read_text(), setting)
    said = folder / "said.log"
    home = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with said.open("ab") as output:
        process = subprocess.Popen(
            [found(program), *arguments],
            cwd=folder,
            env=os.environ | home,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )

    def listens() -> bool:
        assert process.poll() is None, f"it ended with {process.returncode}:\n{said.read_text(errors='replace')}"
        return is_open(setting.https)

    try:
        until(listens, f"{program} listens")
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@cache
def found(program: str) -> str | None:
    """Debian keeps servers where a user's PATH does not lead."""
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin:/sbin")
