from __future__ import annotations

import os
import resource
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from ropo import secrets
from ropo.inspection import Finding, inspect
from ropo.settings import load
from storage.layout import Layout
from storage.lock import hold
from tests.support.certificates import Authority, Pair
from tests.support.ports import free_port


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def findings(
    folder: Path, *, proxy: str = "", sinks: str = "", upstream: str = "demo", more: str = ""
) -> dict[str, Finding]:
    config = folder / "config.yaml"
    listen = proxy or f"127.0.0.1:{free_port()}"
    upstream = upstream if upstream.startswith("[") else f"'{upstream}'"
    # Few enough connections for the open files of any machine.
    more = more if "max_connections" in more else f"max_connections: 10, {more}"
    config.write_text(
        f"proxy: {{listen: '{listen}', upstream: {upstream}, {more}}}\nstorage: {{path: data}}\n"
        f"dashboard: {{listen: '127.0.0.1:{free_port()}'}}\nexport: {{sinks: [{sinks}]}}\n"
    )
    return {finding.name: finding for finding in inspect(load(config), Layout(folder / "data"))}


def test_a_good_house_is_found_good_and_left_as_it_was(tmp_path: Path):
    found = findings(tmp_path, sinks="{type: csv, name: erp, folder: out, create_folder: true}")
    assert {finding.state for finding in found.values()} == {"ok"}
    assert not any(finding.todo for finding in found.values())
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


def test_what_is_there_is_left_as_it_was(tmp_path: Path):
    layout = Layout(tmp_path / "data")
    layout.create()
    secrets.read_or_make(layout.secrets)
    (tmp_path / "out").mkdir()
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    found = findings(tmp_path, sinks="{type: csv, name: erp, folder: out}")
    assert "contact.keys" in found["secrets"].detail
    assert sorted(str(path) for path in tmp_path.rglob("*")) == sorted([*before, str(tmp_path / "config.yaml")])


def test_a_port_in_use_is_a_failure_and_says_who_to_ask(tmp_path: Path, taken: int):
    found = findings(tmp_path, proxy=f"127.0.0.1:{taken}")["proxy.listen"]
    assert found.state == "failed"
    assert f"127.0.0.1:{taken}" in found.detail and "in use" in found.detail
    assert f"sport = :{taken}" in found.todo


def test_a_port_in_use_by_the_running_ropo_is_none(tmp_path: Path, taken: int):
    layout = Layout(tmp_path / "data")
    layout.create()
    with hold(layout):
        found = findings(tmp_path, proxy=f"127.0.0.1:{taken}")
    assert found["proxy.listen"].state == "ok"
    assert str(os.getpid()) in found["running"].detail


def test_an_address_this_machine_does_not_have(tmp_path: Path):
    # RFC 5737: for documentation, on no machine.
    found = findings(tmp_path, proxy=f"192.0.2.1:{free_port()}")["proxy.listen"]
    assert found.state == "failed" and "does not have that address" in found.todo


def test_sql_over_http_is_looked_at_where_it_is_on(tmp_path: Path, taken: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SQL_TOKEN", "t" * 20)

    def found(listen: str, token: str = "''") -> Finding:
        text = (tmp_path / "config.yaml").read_text().replace(
            "dashboard: {", f"dashboard: {{sql: {{listen: '{listen}', token: {token}}}, "
        )  # fmt: skip
        (tmp_path / "sql.yaml").write_text(text)
        settings = load(tmp_path / "sql.yaml")
        return {one.name: one for one in inspect(settings, Layout(tmp_path / "data"))}["dashboard.sql.listen"]

    assert "dashboard.sql.listen" not in findings(tmp_path)
    assert found(f"127.0.0.1:{free_port()}").state == "ok"
    assert found(f"127.0.0.1:{taken}").state == "failed"
    open_to_others = found(f"0.0.0.0:{free_port()}", "'${SQL_TOKEN}'")
    assert open_to_others.state == "warning"
    assert "plain http" in open_to_others.detail and "SSH tunnel" in open_to_others.todo


def test_a_site_that_is_down_is_a_warning(tmp_path: Path, taken: int):
    up = findings(tmp_path, upstream=f"http://127.0.0.1:{taken}")["proxy.upstream"]
    down = findings(tmp_path, upstream=f"http://127.0.0.1:{free_port()}")["proxy.upstream"]
    assert (up.state, down.state) == ("ok", "warning")
    assert "refused" in down.detail


class Site(BaseHTTPRequestHandler):
    """Answers 200 at /health, 302 at /moved and 503 elsewhere, and notes who was asked for."""

    asked: list[tuple[str | None, str]] = []

    def do_GET(self) -> None:
        self.asked.append((self.headers["Host"], self.path))
        self.send_response({"/health": 200, "/moved": 302}.get(self.path, 503))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def address_string(self) -> str:
        return "visitor"  # a Unix socket has no address

    def log_message(self, *_: object) -> None:
        pass


class Quiet(HTTPServer):
    """One whose visitors may go in the middle of a handshake."""

    def handle_error(self, *_: object) -> None:
        pass


@contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def site() -> Iterator[int]:
    Site.asked = []
    server = HTTPServer(("127.0.0.1", 0), Site)
    with serving(server):
        yield server.server_port


@pytest.fixture
def secure_site(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """Its port, and the file of the authority that signed its certificate for `localhost`."""
    authority = Authority(tmp_path)
    pair = authority.pair(tmp_path, "localhost", file="secure")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair)
    server = Quiet(("127.0.0.1", 0), Site)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    with serving(server):
        yield server.server_port, authority.file


def test_every_server_of_every_site_is_tried(tmp_path: Path, taken: int):
    down = free_port()
    found = findings(
        tmp_path,
        upstream=f"['http://127.0.0.1:{taken}', 'http://127.0.0.1:{down}']",
        more=f"sites: [{{hosts: [a.test], upstream: 'http://127.0.0.1:{down}'}}]",
    )
    states = {key: finding.state for key, finding in found.items() if "upstream" in key}
    assert states == {
        "proxy.upstream[0]": "ok",
        "proxy.upstream[1]": "warning",
        "proxy.sites[0].upstream": "warning",
    }
    assert f"127.0.0.1:{down}" in found["proxy.upstream[1]"].detail


def test_a_socket_is_tried(tmp_path: Path):
    path = tmp_path / "site.sock"
    with serving(socketserver.UnixStreamServer(str(path), Site)):
        up = findings(tmp_path, upstream=f"unix:{path}", more="health: {path: /health}")["proxy.upstream"]
    down = findings(tmp_path, upstream=f"unix:{path}")["proxy.upstream"]
    missing = findings(tmp_path, upstream=f"unix:{path}.not")["proxy.upstream"]
    assert (up.state, down.state, missing.state) == ("ok", "warning", "warning")
    assert "refused" in down.detail and "No such file" in missing.detail


def test_an_https_server_is_verified_as_the_proxy_does(tmp_path: Path, secure_site: tuple[int, Path]):
    port, authority = secure_site

    def found(host: str, more: str = "") -> Finding:
        return findings(tmp_path, upstream=f"https://{host}:{port}", more=more)["proxy.upstream"]

    unknown, wrong_name = found("localhost"), found("127.0.0.1", f"upstream_ca_file: {authority}")
    assert (unknown.state, wrong_name.state) == ("warning", "warning")
    assert "not believed" in unknown.detail and "proxy.upstream_ca_file" in unknown.todo
    assert "IP address mismatch" in wrong_name.detail
    assert found("localhost", "verify_upstream: false").state == "ok"
    believed = found("localhost", f"upstream_ca_file: {authority}, health: {{path: /health}}")
    assert believed.state == "ok" and "200 at /health" in believed.detail


def test_a_server_that_speaks_no_tls(tmp_path: Path, site: int):
    found = findings(tmp_path, upstream=f"https://127.0.0.1:{site}")["proxy.upstream"]
    assert found.state == "warning" and "does not speak TLS" in found.detail


def test_the_file_of_authorities(tmp_path: Path, secure_site: tuple[int, Path]):
    (tmp_path / "none.pem").write_text("nothing")
    files = {"authority.pem": "ok", "none.pem": "failed", "missing.pem": "failed"}
    upstream = f"https://localhost:{secure_site[0]}"
    for file, state in files.items():
        found = findings(tmp_path, upstream=upstream, more=f"upstream_ca_file: {file}")
        assert found["proxy.upstream_ca_file"].state == state
        assert str(tmp_path / file) in found["proxy.upstream_ca_file"].detail
    unused = findings(tmp_path, more="upstream_ca_file: authority.pem, verify_upstream: false")
    assert unused["proxy.upstream_ca_file"].state == "warning"


def test_the_health_path_is_asked_as_visitors_would_ask(tmp_path: Path, site: int):
    url = f"http://127.0.0.1:{site}"
    sites = ", ".join(
        f"{{hosts: {hosts}, upstream: '{url}', host: {host}}}"
        for hosts, host in (("['*.b.test', a.test]", "keep"), ("['*.d.test']", "keep"), ("[c.test]", "upstream"))
    )
    found = findings(tmp_path, upstream=url, more=f"sites: [{sites}], health: {{path: /moved}}")
    assert {finding.state for key, finding in found.items() if "upstream" in key} == {"ok"}
    own = f"127.0.0.1:{site}"
    assert Site.asked == [(own, "/moved"), ("a.test", "/moved"), ("www.d.test", "/moved"), (own, "/moved")]


def test_a_health_path_that_does_not_answer_well(tmp_path: Path, site: int):
    found = findings(tmp_path, upstream=f"http://127.0.0.1:{site}", more="health: {path: /}")["proxy.upstream"]
    assert found.state == "warning" and "answers 503 at /" in found.detail and "proxy.health.path" in found.todo


def test_a_server_that_accepts_and_says_nothing(tmp_path: Path, taken: int):
    more = "health: {path: /, timeout_secs: 0.05}"
    found = findings(tmp_path, upstream=f"http://127.0.0.1:{taken}", more=more)["proxy.upstream"]
    assert found.state == "warning" and "no answer in time" in found.detail


# -- https towards visitors


def certificates(folder: Path, pair: Pair, *, listen: str = "") -> dict[str, Finding]:
    listen = listen or f"127.0.0.1:{free_port()}"
    tls = f"{{listen: '{listen}', certificates: [{{certificate: {pair.certificate}, key: {pair.key}}}]}}"
    return findings(folder, more=f"tls: {tls}")


def test_a_good_certificate_is_told_with_its_names_and_its_end(tmp_path: Path):
    names = [f"{letter}.test" for letter in "abcde"]
    found = certificates(tmp_path, Authority(tmp_path).pair(tmp_path, *names))
    assert {finding.state for finding in found.values()} == {"ok"}
    assert "for a.test, b.test, c.test and 2 more, valid until 2" in found["proxy.tls.certificates[0]"].detail
    assert "is free" in found["proxy.tls.listen"].detail


def test_the_port_for_https_is_tried(tmp_path: Path, taken: int):
    found = certificates(tmp_path, Authority(tmp_path).pair(tmp_path, "a.test"), listen=f"127.0.0.1:{taken}")
    assert found["proxy.tls.listen"].state == "failed" and "another proxy.tls.listen" in found["proxy.tls.listen"].todo


@pytest.mark.parametrize(
    "days, state, words",
    [(-1, "warning", "expired on"), (13.9, "warning", "valid until"), (14.1, "ok", "valid until")],
)
def test_a_certificate_near_its_end_is_warned_about(tmp_path: Path, days: float, state: str, words: str):
    found = certificates(tmp_path, Authority(tmp_path).pair(tmp_path, "a.test", days=days))["proxy.tls.certificates[0]"]
    assert found.state == state and words in found.detail
    assert bool(found.todo) is (state == "warning")


def test_a_key_of_another_certificate(tmp_path: Path):
    authority = Authority(tmp_path)
    one, other = (authority.pair(tmp_path, "a.test", file=file) for file in ("one", "other"))
    found = certificates(tmp_path, Pair(one.certificate, other.key))["proxy.tls.certificates[0]"]
    assert found.state == "failed" and str(other.key) in found.detail and "does not belong" in found.detail
    assert found.todo.startswith("name the two files")


def test_a_certificate_that_is_missing(tmp_path: Path):
    found = certificates(tmp_path, Pair(tmp_path / "no.pem", tmp_path / "no.key"))
    assert found["proxy.tls.certificates[0]"].state == "failed"
    assert "proxy.tls.certificates[0].key" not in found


@pytest.mark.parametrize("mode, state", [(0o644, "warning"), (0o640, None), (0o600, None)])
def test_a_key_that_everybody_may_read(tmp_path: Path, mode: int, state: str | None):
    pair = Authority(tmp_path).pair(tmp_path, "a.test")
    pair.key.chmod(mode)
    found = certificates(tmp_path, pair).get("proxy.tls.certificates[0].key")
    assert (found and found.state) == state
    assert found is None or found.todo == f"chmod o= {pair.key}"


@pytest.mark.parametrize(
    "hard, state", [(2499, "warning"), (2500, "ok"), (resource.RLIM_INFINITY, "ok"), (100, "warning")]
)
def test_open_files_for_all_connections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hard: int, state: str):
    monkeypatch.setattr(resource, "getrlimit", lambda which: (100, hard))
    found = findings(tmp_path, more="max_connections: 1000")["open files"]
    assert found.state == state
    if state == "warning":
        assert "needs 2500 for proxy.max_connections of 1000" in found.detail and "LimitNOFILE=2500" in found.todo


def test_a_storage_path_that_is_a_file_or_below_one(tmp_path: Path):
    (tmp_path / "data").write_text("")
    found = findings(tmp_path)["storage.path"]
    assert found.state == "failed" and str(tmp_path / "data") in found.detail and found.todo


def test_a_hot_path_is_tried_only_where_one_is_set(tmp_path: Path):
    assert "storage.hot_path" not in findings(tmp_path)
    settings = load(tmp_path / "config.yaml")
    (tmp_path / "file").write_text("")
    found = [*inspect(settings, Layout(tmp_path / "data", tmp_path / "file" / "hot.duckdb"))]
    assert [finding.state for finding in found if finding.name == "storage.hot_path"] == ["failed"]


def test_secrets_that_others_may_read(tmp_path: Path):
    layout = Layout(tmp_path / "data")
    layout.create()
    secrets.read_or_make(layout.secrets)
    secrets.cookie_file(layout.secrets).chmod(0o644)
    found = findings(tmp_path)["secrets"]
    assert found.state == "failed" and "chmod 600" in found.detail


def test_a_sink_folder_that_is_missing_says_how_to_make_it(tmp_path: Path):
    found = findings(tmp_path, sinks="{type: jsonl, name: erp, folder: in}")["sink erp"]
    assert found.state == "failed"
    assert f"mkdir -p {tmp_path / 'in'}" in found.todo


def test_a_sink_folder_that_is_a_file(tmp_path: Path):
    (tmp_path / "in").write_text("")
    found = findings(tmp_path, sinks="{type: csv, name: erp, folder: in, create_folder: true}")["sink erp"]
    assert found.state == "failed" and "is not a folder" in found.detail


def test_a_folder_that_takes_no_file_although_rights_do_not_say_so(tmp_path: Path):
    # Linux lets nobody make a file there, root neither: as on a share that is mounted read-only.
    found = findings(tmp_path, sinks="{type: csv, name: erp, folder: /proc/self/fdinfo}")["sink erp"]
    assert found.state == "failed" and "/proc/self/fdinfo cannot be written" in found.detail and found.todo


def test_a_webhook_is_shown_without_the_path_of_its_url(tmp_path: Path, taken: int):
    sinks = f"{{type: webhook, name: crm, url: 'http://127.0.0.1:{taken}/hooks/s3cret'}}"
    found = findings(tmp_path, sinks=sinks)["sink crm"]
    assert found.state == "ok"
    assert "s3cret" not in found.detail


def test_a_webhook_that_is_down_is_a_warning(tmp_path: Path):
    sinks = f"{{type: webhook, name: crm, url: 'http://127.0.0.1:{free_port()}/s3cret'}}"
    found = findings(tmp_path, sinks=sinks)["sink crm"]
    assert found.state == "warning" and "s3cret" not in found.detail + found.todo


def test_the_demo_erp_comes_with_ropo(tmp_path: Path):
    found = findings(tmp_path, sinks="{type: webhook, name: erp, url: 'http://127.0.0.1:8082/leads'}")["sink erp"]
    assert found.state == "ok" and "built-in" in found.detail
