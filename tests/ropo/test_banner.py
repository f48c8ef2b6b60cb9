"""What `ropo serve` says once it serves."""

from __future__ import annotations

from pathlib import Path

import pytest

from export.settings import CsvSettings, ExportSettings, WebhookSettings
from proxy.settings import ProxySettings
from ropo.banner import lines
from ropo.demo_process import Demo
from ropo.settings import Settings
from storage.layout import Layout
from storage.settings import StorageSettings


def test_it_says_where_things_are_and_what_to_try_and_no_secret(tmp_path: Path) -> None:
    sinks = [
        CsvSettings(name="csv", folder=str(tmp_path / "drop")),
        WebhookSettings(name="erp", url="https://erp.example/hook/s3cret"),
    ]
    settings = Settings(
        proxy=ProxySettings(upstream="http://127.0.0.1:9000"),
        storage=StorageSettings(path=str(tmp_path)),
        export=ExportSettings(sinks=sinks),
    )
    config = tmp_path / "config.yaml"
    said = "\n".join(lines(settings, "127.0.0.1:8080", "127.0.0.1:40123", Layout(tmp_path), config, None))
    assert "http://127.0.0.1:8080  in front of http://127.0.0.1:9000" in said
    assert "http://127.0.0.1:40123" in said
    assert str(tmp_path / "log.duckdb") in said
    assert "erp: https://erp.example" in said
    assert "s3cret" not in said
    assert f"--config {config} leads list" in said


@pytest.mark.parametrize(
    ("upstream", "behind"),
    [
        ("unix:/run/site/http.sock", "unix:/run/site/http.sock"),
        (["http://10.0.0.1:9000", "http://10.0.0.2:9000"], "http://10.0.0.1:9000, http://10.0.0.2:9000"),
    ],
)
def test_it_names_every_server_of_the_site(tmp_path: Path, upstream: str | list[str], behind: str) -> None:
    settings = Settings(proxy=ProxySettings(upstream=upstream), storage=StorageSettings(path=str(tmp_path)))
    demo = Demo(settings, Layout(tmp_path))
    demo.site, demo.erp = "http://127.0.0.1:40124/", "http://127.0.0.1:8082"  # it runs for the sake of its ERP
    said = lines(settings, "127.0.0.1:8080", None, Layout(tmp_path), tmp_path / "config.yaml", demo)
    assert f"  site       http://127.0.0.1:8080  in front of {behind}" in said
