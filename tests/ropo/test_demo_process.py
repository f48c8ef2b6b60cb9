"""When the built-in site and ERP run, and that they are what the shipped configuration needs."""

from __future__ import annotations

import asyncio
import urllib.request
from pathlib import Path

import pytest

from export.settings import ExportSettings, WebhookSettings
from proxy.settings import ProxySettings
from ropo.demo_process import ERP_LISTEN, Demo, demo_wanted
from ropo.settings import Settings, load
from storage.layout import Layout
from storage.settings import StorageSettings

REPOSITORY = Path(__file__).resolve().parents[2]


def settings_with(tmp_path: Path, *, upstream: str | list[str] = "http://127.0.0.1:9", sinks: tuple = ()) -> Settings:
    return Settings(
        proxy=ProxySettings(upstream=upstream),
        storage=StorageSettings(path=str(tmp_path)),
        export=ExportSettings(sinks=list(sinks)),
    )


@pytest.mark.parametrize(
    ("upstream", "url", "wanted"),
    [
        ("demo", "https://erp.example/", True),
        ("http://127.0.0.1:9", f"http://{ERP_LISTEN}/leads", True),
        ("http://127.0.0.1:9", "https://erp.example/", False),
        ("unix:/run/site/http.sock", "https://erp.example/", False),
        (["http://127.0.0.1:9", "http://127.0.0.1:10"], "https://erp.example/", False),
        (["http://127.0.0.1:9", "http://127.0.0.1:10"], f"http://{ERP_LISTEN}/leads", True),
    ],
)
def test_it_runs_only_for_whoever_uses_it(tmp_path: Path, upstream: str | list[str], url: str, wanted: bool) -> None:
    sink = WebhookSettings(name="erp", url=url)
    assert demo_wanted(settings_with(tmp_path, upstream=upstream, sinks=(sink,))) is wanted


def test_the_shipped_configuration_uses_both() -> None:
    settings = load(REPOSITORY / "config.yaml")
    assert settings.proxy.upstream == "demo"
    assert any(getattr(sink, "url", "") == f"http://{ERP_LISTEN}/leads" for sink in settings.export.sinks)


@pytest.mark.parametrize("upstream", ["unix:/run/site/http.sock", ["http://127.0.0.1:9", "http://127.0.0.1:10"]])
def test_it_takes_the_place_of_no_other_site(tmp_path: Path, upstream: str | list[str]) -> None:
    settings = settings_with(tmp_path, upstream=upstream)
    demo = Demo(settings, Layout(tmp_path))
    demo.site = "http://127.0.0.1:40124/"
    assert demo.served(settings) is settings


async def test_it_starts_says_where_it_is_and_stops(tmp_path: Path) -> None:
    demo = Demo(settings_with(tmp_path, upstream="demo"), Layout(tmp_path))
    settings = await demo.start()
    try:
        assert settings.proxy.upstream == demo.site.rstrip("/")
        assert demo.erp is None

        def get() -> int:
            with urllib.request.urlopen(settings.proxy.upstream + "/de/", timeout=10) as answer:
                return answer.status

        assert await asyncio.to_thread(get) == 200
    finally:
        await demo.stop()
    with pytest.raises(OSError):
        await asyncio.to_thread(get)
