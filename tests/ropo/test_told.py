"""What each process is told."""

from __future__ import annotations

import socket

import msgspec

from dashboard.reader.process import Orders as ReaderOrders
from dashboard.settings import DashboardSettings, SqlSettings
from ropo import told
from ropo.collector import CollectorOrders
from ropo.secrets import Keys
from ropo.settings import Settings
from ropo.worker import WorkerOrders

KEYS = Keys(cookie=("c" * 20,), contact=("k",), webhooks={"crm": ("w",)})
SETTINGS = msgspec.convert({"proxy": {"upstream": "http://127.0.0.1:9000"}, "storage": {"path": "/srv/ropo"}}, Settings)


def test_a_worker_learns_its_sockets_of_both_kinds_and_inherits_no_others():
    with socket.socket() as plain, socket.socket() as tls:
        child = told.worker("worker-3", SETTINGS, KEYS, [plain], [tls])
        assert child.pass_fds == (plain.fileno(), tls.fileno())
        orders = msgspec.json.decode(msgspec.json.encode({**child.orders, "ready": 9}), type=WorkerOrders)
        assert (orders.name, orders.plain, orders.tls, orders.ready) == (
            "worker-3", [plain.fileno()], [tls.fileno()], 9,
        )  # fmt: skip
        assert (orders.proxy, orders.cookie_keys, orders.contact_keys) == (SETTINGS.proxy, ["c" * 20], ["k"])
        assert child.says_ready


def test_the_collector_understands_what_it_is_told():
    orders = msgspec.json.decode(msgspec.json.encode(told.collector(SETTINGS, KEYS).orders), type=CollectorOrders)
    assert (orders.export, orders.webhook_keys) == (SETTINGS.export, {"crm": ["w"]})


def test_the_same_settings_are_the_same_orders_and_no_reason_to_start_anew():
    again = msgspec.convert(msgspec.to_builtins(SETTINGS), Settings)
    assert told.collector(SETTINGS, KEYS).orders == told.collector(again, KEYS).orders
    assert told.dashboard(SETTINGS).orders == told.dashboard(again).orders
    other = msgspec.structs.replace(again, dashboard=msgspec.structs.replace(again.dashboard, refresh_secs=9))
    assert told.dashboard(SETTINGS).orders != told.dashboard(other).orders


def test_the_reader_is_told_its_token_and_nobody_else_is():
    assert told.reader(SETTINGS) is None
    sql = SqlSettings(listen="0.0.0.0:8083", token="t" * 20)
    settings = msgspec.structs.replace(SETTINGS, dashboard=DashboardSettings(sql=sql))
    orders = msgspec.json.decode(msgspec.json.encode(told.reader(settings).orders), type=ReaderOrders)
    assert (orders.sql, orders.layout.root) == (sql, "/srv/ropo")
    others = (told.collector(settings, KEYS), told.dashboard(settings))
    assert not any("t" * 20 in str(msgspec.json.encode(child.orders)) for child in others)
    assert told.dashboard(settings).orders == told.dashboard(SETTINGS).orders
