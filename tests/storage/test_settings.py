import socket
from typing import get_type_hints

import msgspec
import pytest

from storage.settings import StorageSettings


def test_the_path_alone_is_enough() -> None:
    settings = msgspec.convert({"path": "./data"}, StorageSettings)
    assert (settings.sync, settings.sync_interval_ms, settings.seal_interval_secs) == ("group", 10, 1.0)
    assert (settings.publish_interval_secs, settings.part_rows, settings.grace_secs) == (2.0, 1_000_000, 60.0)
    assert (settings.archive_hours, settings.hot_path, settings.memory_limit_mb) == (48, None, 1024)


def test_the_node_is_the_host_unless_it_is_named() -> None:
    assert StorageSettings(path="x").node_name == socket.gethostname()
    assert StorageSettings(path="x", node="web-1").node_name == "web-1"


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"path": ""},
        {"path": "x", "sync": "sometimes"},
        {"path": "x", "sync_interval_ms": 0},
        {"path": "x", "seal_interval_secs": 0},
        {"path": "x", "node": "../x"},
        {"path": "x", "archive_hours": -1},
        {"path": "x", "spool": "y"},
    ],
)
def test_what_makes_no_sense_is_refused(wrong: dict) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(wrong, StorageSettings)


def test_every_setting_has_a_line_for_the_manual() -> None:
    hints = get_type_hints(StorageSettings, include_extras=True)
    without = [
        name
        for name in StorageSettings.__struct_fields__
        if not any(getattr(meta, "description", None) for meta in getattr(hints[name], "__metadata__", ()))
    ]
    assert without == []
