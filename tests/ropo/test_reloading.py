"""What a reload may change."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ropo.reloading import applicable, free_names, shown_upstream
from ropo.settings import Settings


def settings(**sections: dict[str, Any]) -> Settings:
    tree: dict[str, dict[str, Any]] = {
        "proxy": {"listen": "127.0.0.1:8080", "upstream": "http://127.0.0.1:9000"},
        "storage": {"path": "/srv/ropo"},
    }
    for name, section in sections.items():
        tree.setdefault(name, {}).update(section)
    return msgspec.convert(tree, Settings)


def tls(listen: str) -> dict[str, Any]:
    return {"tls": {"listen": listen, "certificates": [{"certificate": "c", "key": "k"}]}}


@pytest.mark.parametrize(
    "read",
    [
        settings(),
        settings(proxy={"upstream": "http://127.0.0.1:9001", "workers": 7, "listen": "0.0.0.0:80"}),
        settings(proxy=tls("0.0.0.0:443")),
        settings(storage={"seal_interval_secs": 3, "node": "n2"}, dashboard={"listen": "127.0.0.1:9999"}),
        settings(export={"sinks": [{"type": "csv", "name": "erp", "folder": "/srv/erp"}]}),
    ],
)
def test_nearly_all_can_be_changed(read: Settings):
    assert applicable(settings(), read) == (read, [])


@pytest.mark.parametrize(
    "read, key, given",
    [
        (settings(storage={"path": "/srv/other"}), "storage.path", ()),
        (settings(storage={"hot_path": "/srv/hot"}), "storage.hot_path", ()),
        (settings(proxy={"listen": "0.0.0.0:80"}), "proxy.listen", ("http",)),
        (settings(proxy={"upstream": "demo"}), "demo", ()),
    ],
)
def test_what_needs_a_restart_stays_as_it_is_and_is_named(read: Settings, key: str, given: tuple[str, ...]):
    plan = applicable(settings(), read, given=given)
    assert plan.settings == settings()
    assert [name for name, _ in plan.left] == [key]


def test_the_https_socket_of_systemd_stays_where_it_is():
    running = settings(proxy=tls("0.0.0.0:443"))
    plan = applicable(running, settings(proxy=tls("0.0.0.0:8443")), given=["https"])
    assert plan.settings == running
    assert [name for name, _ in plan.left] == ["proxy.tls.listen"]


def test_the_rest_of_a_file_is_applied_where_one_setting_is_not():
    plan = applicable(settings(), settings(storage={"path": "/srv/other"}, proxy={"workers": 9}))
    assert (plan.settings.proxy.workers, plan.settings.storage.path) == (9, "/srv/ropo")


def test_the_built_in_site_can_come_into_use_again_while_it_runs():
    read = settings(proxy={"upstream": "demo"})
    assert applicable(settings(), read, demo=True) == (read, [])


@pytest.mark.parametrize(
    "taken, count, names",
    [
        ((), 2, ["worker-1", "worker-2"]),
        (("worker-1", "worker-2"), 2, ["worker-3", "worker-4"]),
        (("worker-1", "worker-3", "worker-4"), 3, ["worker-2", "worker-5", "worker-6"]),
    ],
)
def test_new_workers_get_the_lowest_names_nobody_has(taken: tuple[str, ...], count: int, names: list[str]):
    assert free_names(taken, count) == names


def test_several_servers_are_shown_in_one_line():
    assert shown_upstream("http://a") == "http://a"
    assert shown_upstream(["http://a", "http://b"]) == "http://a, http://b"
