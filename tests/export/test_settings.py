import re
from pathlib import Path
from typing import get_args, get_type_hints

import msgspec
import pytest

from export.settings import (
    CircuitSettings,
    CsvSettings,
    ExportSettings,
    JsonlSettings,
    RetrySettings,
    SinkSettings,
    WebhookSettings,
)
from export.sinks import CONNECTORS, connectors_for
from export.webhook_signature import new_secret

MANUAL = (Path(__file__).parents[2] / "docs" / "sinks.md").read_text(encoding="utf-8")
SECRET = new_secret()
CSV = {"type": "csv", "name": "erp", "folder": "/in"}
JSONL = {"type": "jsonl", "name": "archive", "folder": "/in"}
WEBHOOK = {"type": "webhook", "name": "crm", "url": "https://crm.example/hooks/s3cr3t", "secret": SECRET}


def settings(*sinks, **more) -> ExportSettings:
    return msgspec.convert({"sinks": list(sinks), **more}, ExportSettings)


def test_nothing_needs_to_be_set():
    assert settings() == ExportSettings()
    assert ExportSettings().sinks == []
    assert ExportSettings().retry.schedule_secs == [10, 60, 300, 1800, 7200, 21_600, 43_200]


def test_sinks_are_told_apart_by_type():
    kinds = [type(sink) for sink in settings(CSV, JSONL, WEBHOOK).sinks]
    assert kinds == [CsvSettings, JsonlSettings, WebhookSettings]


@pytest.mark.parametrize(
    ("sinks", "said"),
    [
        ([{**CSV, "type": "fax"}], "Invalid value 'fax'"),
        ([{"name": "erp", "folder": "/in"}], "type"),
        ([{**CSV, "folders": "/in"}], "unknown field `folders`"),
        ([{**CSV, "folder": ""}], "length >= 1"),
        ([{**CSV, "name": "My ERP"}], "matching regex"),
        ([{**CSV, "name": "erp\n"}], "matching regex"),
        ([{**CSV, "name": ""}], "matching regex"),
        ([{**CSV, "delimiter": "::"}], "delimiter"),
        ([{**CSV, "encoding": "cp1252"}], "encoding"),
        ([CSV, {**JSONL, "name": "erp"}], "two of them are named 'erp'"),
        ([CSV, {**CSV, "name": "two", "folder": "/in/../in/"}], "'erp' and 'two' fill the same folder"),
        ([{**WEBHOOK, "url": "ftp://crm.example/"}], "url: must start with https://"),
        ([{**WEBHOOK, "url": "crm.example/hooks"}], "url: must start with https://"),
        ([{**WEBHOOK, "url": "https:///hooks"}], "url:"),
        ([{**WEBHOOK, "url": "https://[::1/x"}], "url: not a URL"),
        ([{**WEBHOOK, "url": "https://me:pw@crm.example/"}], "url: holds a user or password"),
        ([{**WEBHOOK, "secret": "hunter2"}], "secret: a webhook secret starts with whsec_"),
        ([{**WEBHOOK, "former_secrets": ["whsec_hunter2"]}], "former_secrets: "),
        ([{**WEBHOOK, "timeout_secs": 0}], "> 0"),
        ([{**WEBHOOK, "timeout_secs": 121}], "<= 120"),
    ],
)
def test_a_wrong_sink_is_refused_with_a_reason_that_repeats_no_secret(sinks, said):
    with pytest.raises(msgspec.ValidationError) as caught:
        settings(*sinks)
    assert said in str(caught.value)
    assert "sinks" in str(caught.value)
    for secret in ("hunter2", "me:pw", SECRET):
        assert secret not in str(caught.value)


@pytest.mark.parametrize(
    "retry", [{"give_up_days": 0}, {"give_up_days": 29}, {"schedule_secs": [0]}, {"schedule_secs": [-1]}, {"x": 1}]
)
def test_a_wrong_retry_is_refused(retry):
    with pytest.raises(msgspec.ValidationError):
        settings(retry=retry)


def test_csv_and_jsonl_may_fill_the_same_folder():
    assert len(settings(CSV, JSONL).sinks) == 2


def test_no_repr_shows_a_secret_or_the_path_of_a_url():
    from rich.pretty import pretty_repr

    sink = settings({**WEBHOOK, "former_secrets": [new_secret()]}).sinks[0]
    everything = ExportSettings(sinks=[sink])
    for text in (repr(sink), str(sink), repr(everything), pretty_repr(everything), repr(connectors_for(everything))):
        assert "https://crm.example" in text
        assert "whsec_" not in text
        assert "s3cr3t" not in text


def test_settings_travel_to_another_process_and_come_back_whole():
    sent = settings(CSV, JSONL, WEBHOOK)
    assert msgspec.json.decode(msgspec.json.encode(sent), type=ExportSettings) == sent


def test_every_kind_of_sink_has_a_connector():
    assert set(CONNECTORS) == set(get_args(SinkSettings))
    made = connectors_for(settings(CSV, JSONL, WEBHOOK))
    assert list(made) == ["erp", "archive", "crm"]
    assert [type(connector) for connector in made.values()] == list(CONNECTORS.values())


def test_a_webhook_without_a_secret_is_not_put_to_work():
    with pytest.raises(ValueError, match="'crm' has no secret"):
        connectors_for(settings({**WEBHOOK, "secret": ""}))


def section(title: str) -> str:
    rest = re.split(rf"^##+ `{re.escape(title)}`$", MANUAL, flags=re.MULTILINE)[1]
    return re.split(r"^##", rest, flags=re.MULTILINE)[0]


@pytest.mark.parametrize(
    ("title", "struct"),
    [
        ("csv", CsvSettings),
        ("jsonl", JsonlSettings),
        ("webhook", WebhookSettings),
        ("export.retry", RetrySettings),
        ("export.circuit", CircuitSettings),
    ],
)
def test_the_manual_has_a_line_for_every_setting_and_says_the_same(title, struct):
    rows = dict(re.findall(r"^\| `(\w+)` \|.*?\| ([^|]*(?:\\\|[^|]*)*)\|$", section(title), re.MULTILINE))
    described = {name: description(hint) for name, hint in get_type_hints(struct, include_extras=True).items()}
    assert list(rows) == list(described)
    for name, text in described.items():
        # The manual may say more, not something else.
        words = re.sub(r"[^\w ]", "", text).split()
        assert set(words) <= set(re.sub(r"[^\w ]", "", rows[name]).split()), name


def description(hint) -> str:
    return next(meta.description for meta in hint.__metadata__ if meta.description)


def test_the_sinks_in_the_manual_are_valid():
    import yaml

    example = yaml.safe_load(re.search(r"```yaml\n(.*?)```", MANUAL, re.DOTALL)[1])
    for sink in example["export"]["sinks"]:
        if sink["type"] == "webhook":
            assert sink["secret"] == "${CRM_WEBHOOK_SECRET}"
            sink["secret"] = SECRET
    assert len(msgspec.convert(example["export"], ExportSettings).sinks) == 3


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (f"{owner}.{name}", value)
        for owner, defaults in (("retry", RetrySettings()), ("circuit", CircuitSettings()))
        for name, value in msgspec.structs.asdict(defaults).items()
    ],
)
def test_the_manual_names_the_defaults_that_hold(name, value):
    shown = [int(item) for item in value] if isinstance(value, list) else int(value)
    assert f"| `{name.partition('.')[2]}` | `{shown}` |" in MANUAL
