"""The collector's own part; its work on real processes is shown in tests/e2e."""

from __future__ import annotations

import base64

import msgspec

from export.settings import ExportSettings, JsonlSettings, WebhookSettings
from ropo.collector import CollectorOrders, with_keys
from storage.settings import StorageSettings
from tracker.settings import TrackerSettings


def key(letter: str) -> str:
    return "whsec_" + base64.b64encode(letter.encode() * 32).decode()


def test_generated_keys_are_put_in_and_of_several_the_newest_signs() -> None:
    export = ExportSettings(
        sinks=[
            WebhookSettings(name="erp", url="http://127.0.0.1:1/"),
            WebhookSettings(name="own", url="http://127.0.0.1:2/", secret=key("o")),
            JsonlSettings(name="files", folder="/tmp/x"),
        ]
    )
    erp, own, files = with_keys(export, {"erp": [key("a"), key("b")]}).sinks
    assert (erp.secret, erp.former_secrets) == (key("b"), [key("a")])
    assert own.secret == key("o")
    assert files == export.sinks[2]


def test_the_orders_survive_the_way_through_the_pipe() -> None:
    orders = CollectorOrders(
        tracker=TrackerSettings(exclude=["/health"]),
        storage=StorageSettings(path="/tmp/x"),
        export=ExportSettings(sinks=[WebhookSettings(name="erp", url="http://127.0.0.1:1/")]),
        contact_keys=["k"],
        webhook_keys={"erp": [key("a")]},
    )
    assert msgspec.json.decode(msgspec.json.encode(orders), type=CollectorOrders) == orders
