"""The section `tracker:`: defaults, limits, and a line for the manual in every field."""

from __future__ import annotations

import re

import msgspec
import pytest

from tracker import settings
from tracker.settings import LEAD_FIELDS, TrackerSettings


def read(data: dict) -> TrackerSettings:
    return msgspec.convert(data, TrackerSettings)


def test_nothing_has_to_be_set():
    assert read({}) == TrackerSettings()
    assert read({}).cookie.max_age_days == 390
    assert read({}).inactivity_secs == 1800
    assert read({}).forms.capture == "generic"


def test_a_rule_names_lead_fields_and_how_success_is_told():
    rule = {
        "name": "contact",
        "path": "/contact/*",
        "fields": {"email": "e_mail", "message": "*nachricht*"},
        "success": {"type": "json", "field": "status", "value": "mail_sent"},
    }
    [read_rule] = read({"forms": {"rules": [rule]}}).forms.rules
    assert read_rule.fields["email"] == "e_mail"
    assert read_rule.success == settings.Json(field="status", value="mail_sent")


@pytest.mark.parametrize(
    "success",
    [
        {"type": "redirect", "to": "/thanks*"},
        {"type": "status", "codes": [201]},
        {"type": "text", "contains": "Vielen Dank"},
        {"type": "json", "field": "data.ok", "value": True},
    ],
)
def test_each_way_to_tell_success_can_be_written(success: dict):
    rules = [{"name": "a", "path": "/x", "success": success}]
    [rule] = read({"forms": {"rules": rules}}).forms.rules
    assert msgspec.to_builtins(rule.success) == success


@pytest.mark.parametrize(
    "data, told",
    [
        ({"cooky": {}}, "unknown field `cooky`"),
        ({"cookie": {"max_age_days": 401}}, "<= 400"),
        ({"cookie": {"name": "a b"}}, "regex"),
        ({"cookie": {"name": "a=b"}}, "regex"),
        ({"cookie": {"domain": "https://example.com"}}, "regex"),
        ({"cookie": {"secrets": ["short"]}}, "length >= 16"),
        ({"inactivity_secs": 59}, ">= 60"),
        ({"client_ip": "hashed"}, "'hashed'"),
        ({"exclude": ["static/*"]}, "regex"),
        ({"own_hosts": ["https://example.com/"]}, "regex"),
        ({"forms": {"capture": "all"}}, "'all'"),
        ({"forms": {"max_body_bytes": 10}}, ">= 1024"),
        ({"forms": {"rules": [{"name": "a"}]}}, "required field `path`"),
        ({"forms": {"rules": [{"name": "A b", "path": "/x"}]}}, "regex"),
        ({"forms": {"rules": [{"name": "a", "path": "/x", "fields": {"e-mail": "mail"}}]}}, "'e-mail'"),
        ({"forms": {"rules": [{"name": "a", "path": "/x", "success": {"type": "magic"}}]}}, "'magic'"),
        (
            {"forms": {"rules": [{"name": "a", "path": "/x", "success": {"type": "status", "codes": []}}]}},
            "length >= 1",
        ),
        (
            {"forms": {"rules": [{"name": "a", "path": "/x"}, {"name": "a", "path": "/y"}]}},
            "two rules of the same name: a",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(data: dict, told: str):
    with pytest.raises(msgspec.ValidationError, match=re.escape(told)) as refused:
        read(data)
    assert "$" in str(refused.value) or "unknown field" in str(refused.value)


def test_every_field_has_a_line_for_the_manual():
    structs = [value for value in vars(settings).values() if isinstance(value, type(TrackerSettings))]
    structs = [struct for struct in structs if struct is not msgspec.Struct]
    missing = []
    for struct in structs:
        for field in msgspec.inspect.type_info(struct).fields:
            extra = getattr(field.type, "extra_json_schema", None) or {}
            if not extra.get("description", "").endswith("."):
                missing.append(f"{struct.__name__}.{field.name}")
    assert len(structs) >= 8
    assert missing == []


def test_the_lead_fields_are_those_of_the_lead_document():
    assert len(set(LEAD_FIELDS)) == len(LEAD_FIELDS) == 18
    assert {"email", "message", "callback_at", "consent"} <= set(LEAD_FIELDS)
