from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from ropo import secrets
from ropo.inspection import Finding, inspect
from ropo.settings import load
from storage.layout import Layout
from storage.lock import hold
from tests.support.ports import free_port


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def findings(folder: Path, *, proxy: str = "", sinks: str = "", upstream: str = "demo") -> dict[str, Finding]:
    config = folder / "config.yaml"
    listen = proxy or f"127.0.0.1:{free_port()}"
    config.write_text(
        f"proxy: {{listen: '{listen}', upstream: '{upstream}'}}\nstorage: {{path: data}}\n"
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


def test_a_site_that_is_down_is_a_warning(tmp_path: Path, taken: int):
    up = findings(tmp_path, upstream=f"http://127.0.0.1:{taken}")["proxy.upstream"]
    down = findings(tmp_path, upstream=f"http://127.0.0.1:{free_port()}")["proxy.upstream"]
    assert (up.state, down.state) == ("ok", "warning")
    assert "refused" in down.detail


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
