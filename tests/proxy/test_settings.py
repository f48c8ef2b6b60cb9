"""The section `proxy:` of config.yaml."""

from __future__ import annotations

import msgspec
import pytest

from proxy.settings import ProxySettings


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
