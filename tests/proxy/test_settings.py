"""The section `proxy:` of config.yaml."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from proxy.refusal import Refusal
from proxy.settings import ProxySettings

SECURITY = Path(__file__).resolve().parents[2] / "docs/security.md"


def test_all_but_the_upstream_has_a_default() -> None:
    settings = msgspec.convert({"upstream": "http://127.0.0.1:9000"}, ProxySettings)
    assert (settings.listen, settings.workers, settings.host) == ("127.0.0.1:8080", None, "keep")
    with pytest.raises(msgspec.ValidationError, match="upstream"):
        msgspec.convert({}, ProxySettings)


@pytest.mark.parametrize(
    "section",
    [
        {"workers": 0},
        {"host": "other"},
        {"connect_timeout_secs": 0},
        {"max_fields": 1},
        {"unknown": 1},
        {"listen": 8080},
    ],
)
def test_what_makes_no_sense_is_refused(section: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"upstream": "demo", **section}, ProxySettings)


def test_the_threat_model_lists_every_limit_with_its_default_and_status() -> None:
    text = SECURITY.read_text(encoding="utf-8").split("## Limits")[1].split("\n## ")[0]
    told = {row[1]: (row[2], row[3]) for row in re.finditer(r"^\| `(\w+)` \| `?(\w+)`? \| ([^|]+) \|", text, re.M)}
    limits = {
        field.name: field
        for field in msgspec.structs.fields(ProxySettings)
        if field.name.startswith(("max_", "min_"))
        or field.name.endswith("_timeout_secs")
        or field.name == "tunnel_idle_secs"
    }
    assert set(told) == set(limits)
    known = {str(refusal.status) for refusal in Refusal}
    meant = {
        field.name: (getattr(field.type, "extra_json_schema", None) or {}).get("description", "")
        for field in msgspec.inspect.type_info(ProxySettings).fields
    }
    compared = 0
    for name, (default, answer) in told.items():
        assert default == ("empty" if limits[name].default is None else f"{limits[name].default:g}")
        assert set(re.findall(r"[0-9]{3}", answer)) <= known
        if said := re.search(r"(?:else|with|gets) ([0-9]{3})", meant[name]):
            assert answer.startswith(said[1])
            compared += 1
    assert compared > 5
