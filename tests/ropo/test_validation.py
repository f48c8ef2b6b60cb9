from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from ropo.references import ReferenceProblem
from ropo.validation import check


class File(msgspec.Struct, forbid_unknown_fields=True, tag="file", tag_field="type"):
    folder: Annotated[str, Meta(min_length=1, description="Where to.")]
    mark: Literal["comma", "tab"] = "comma"


class Hook(msgspec.Struct, forbid_unknown_fields=True, tag="hook", tag_field="type"):
    url: str
    secret: str = ""


class Sink(msgspec.Struct, forbid_unknown_fields=True):
    to: File | Hook | None = None
    low: Annotated[int, Meta(ge=0)] = 1
    high: Annotated[int, Meta(le=10)] = 9

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError("low must not be over high")


class Settings(msgspec.Struct, forbid_unknown_fields=True):
    listen: Annotated[str, Meta(description="Where visitors come to.")]
    workers: Annotated[int, Meta(ge=1, le=256)] | None = None
    wait_secs: Annotated[float, Meta(gt=0)] = 1.0
    verify: bool = True
    codes: list[Annotated[int, Meta(ge=100, le=599)]] = []
    fields: dict[Literal["email", "phone"], str] = {}
    value: str | bool | int = ""
    sink: Sink = msgspec.field(default_factory=Sink)
    sinks: list[File | Hook] = []


class Many(msgspec.Struct):
    sinks: Annotated[list[File | Hook], Meta(min_length=1)]


class House(msgspec.Struct):
    many: Many | None = None


KNOWN = {"${PORT}": "9000", "${KEY}": "hunter2hunter2", "${EMPTY}": "", "${FAST}": "soon"}


def resolve(text: str) -> str:
    if text not in KNOWN:
        raise ReferenceProblem(f"nobody knows {text}")
    return KNOWN[text]


def problems(**tree: Any) -> list[str]:
    _, found = check({"listen": "here", **tree}, Settings, resolve=resolve)
    return [str(problem) for problem in found]


def test_good_values_come_through_as_they_are():
    tree = {
        "listen": "here",
        "workers": None,
        "wait_secs": 2,
        "codes": [200],
        "fields": {"email": "mail"},
        "value": True,
        "sink": {"to": {"type": "hook", "url": "u"}},
        "sinks": [{"type": "file", "folder": "f", "mark": "tab"}],
    }
    assert check(tree, Settings, resolve=resolve) == (tree, [])


WRONG = {
    "unknown key, near one": ({"lisen": 1}, ["lisen: unknown key; allowed: listen, ", "did you mean `listen`?"]),
    "unknown key, from elsewhere": ({"low": 1}, ["low: unknown key", "did you mean `sink.low`?"]),
    "unknown key, from nowhere": ({"zzz": 1}, ["zzz: unknown key; allowed: listen"]),
    "a key that is a number": ({8080: 1}, ["8080: unknown key"]),
    "too small": ({"workers": 0}, ["workers: 0 is too small; allowed: a whole number from 1 to 256 or empty"]),
    "too large": ({"workers": 257}, ["workers: 257 is too large"]),
    "a number that is text": ({"wait_secs": "fast"}, ['wait_secs: must be a number, not "fast"; allowed: a number over 0']),
    "infinite": ({"wait_secs": float("inf")}, ["wait_secs: must be a number, not inf"]),
    "a boolean for a number": ({"workers": True}, ["workers: must be a whole number, not true"]),
    "half a worker": ({"workers": 1.5}, ["workers: must be a whole number, not 1.5"]),
    "text for a boolean": ({"verify": "yes"}, ['verify: must be true or false, not "yes"']),
    "a number for text": (
        {"listen": 8080},
        ["listen: must be text, not 8080 (in quotes it would be text); allowed: text (Where visitors come to)"],
    ),
    "a list for text": ({"listen": ["a"]}, ["listen: may not be a list; allowed: text"]),
    "text for a list": ({"codes": "200"}, ['codes: must be a list of whole numbers from 100 to 599, not "200"']),
    "a section for a list": ({"codes": {"a": 1}}, ["codes: may not be a section with keys"]),
    "an item of a list": ({"codes": [200, 99, "x"]}, ["codes[1]: 99 is too small", 'codes[2]: must be a whole number, not "x"']),
    "a key of a map": ({"fields": {"mail": "x"}}, ["fields.mail: unknown key; allowed: email, phone; did you mean `email`?"]),
    "a value of a map": ({"fields": {"email": 1}}, ["fields.email: must be text, not 1"]),
    "empty and required": ({"listen": None}, ["listen: is empty; allowed: text"]),
    "no section": ({"sink": "x"}, ['sink: must be a section, not "x"; allowed keys: to, low, high']),
    "no type": ({"sink": {"to": {"url": "u"}}}, ["sink.to.type: is missing; allowed: file, hook"]),
    "unknown type": ({"sinks": [{"type": "hok"}]}, ['sinks[0].type: unknown type "hok"; allowed: file, hook; did you mean `hook`?']),
    "no variant at all": ({"sinks": ["hook"]}, ["sinks[0]: must be a section with the key `type`"]),
    "missing in a variant": ({"sinks": [{"type": "file"}]}, ["sinks[0].folder: is missing; allowed: text (Where to)"]),
    "too short": ({"sinks": [{"type": "file", "folder": ""}]}, ['sinks[0].folder: "" is too short: 1 characters at least']),
    "not one of them": (
        {"sinks": [{"type": "file", "folder": "f", "mark": "tap"}]},
        ['sinks[0].mark: "tap" is not allowed here, did you mean `tab`?; allowed: `comma` or `tab`'],
    ),
    "two that do not go together": ({"sink": {"low": 8, "high": 3}}, ["sink: low must not be over high"]),
    "one that does not go with the default": ({"sink": {"high": 0}}, ["sink.high: low must not be over high"]),
    "control characters": ({"verify": "\x1b[2J"}, [r'verify: must be true or false, not "\x1b[2J"']),
    "very long": ({"verify": "x" * 1000}, ['not "xxx', 'xxx..."']),
    "an unknown reference": ({"listen": "${NOPE}"}, ["listen: nobody knows ${NOPE}"]),
}  # fmt: skip


@pytest.mark.parametrize("tree, said", WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_said_with_key_value_and_what_is_allowed(tree: dict[str, Any], said: list[str]):
    _, refused = check({"listen": "here"} | tree, Settings, resolve=resolve)
    found = "\n".join(map(str, refused))
    for words in said:
        assert words in found
    assert all(len(line) < 600 for line in found.splitlines())


def test_all_problems_come_at_once():
    found = problems(workers=0, nope=1, codes=[1], sink={"low": 8, "high": 3, "x": 1}, sinks=[{"type": "hook"}])
    assert [line.split(":")[0] for line in found] == ["workers", "nope", "codes[0]", "sink.x", "sink", "sinks[0].url"]


@pytest.mark.parametrize(
    "sinks, said",
    [
        ([{"type": "file"}], ["many.sinks[0].folder: is missing"]),
        (["x"], ["many.sinks[0]: must be a section"]),
        (
            [{"type": "file"}, {"type": "file", "folder": 1}],
            ["many.sinks[0].folder: is missing", "many.sinks[1].folder: "],
        ),
        ([{"type": "file", "folder": "a"}, {"type": "file"}], ["many.sinks[1].folder: is missing"]),
        ([], ["many.sinks: has 0 items"]),
    ],
)
def test_a_list_that_is_too_short_without_its_faulty_items_is_not_told_of(sinks: list[Any], said: list[str]):
    _, found = check({"many": {"sinks": sinks}}, House, resolve=resolve)
    assert len(found) == len(said)
    assert all(str(problem).startswith(words) for problem, words in zip(found, said, strict=True))


def test_a_missing_setting_is_said_once_and_with_its_meaning():
    _, found = check({}, Settings, resolve=resolve)
    assert list(map(str, found)) == ["listen: is missing; allowed: text (Where visitors come to)"]


def test_a_key_with_nothing_behind_it_has_its_default():
    good, found = check({"listen": "x", "codes": None, "sink": None, "verify": None}, Settings, resolve=resolve)
    assert (good, found) == ({"listen": "x"}, [])


def test_a_reference_becomes_the_number_it_leads_to():
    assert check({"listen": "x", "wait_secs": "${PORT}"}, Settings, resolve=resolve)[0]["wait_secs"] == 9000.0


def test_what_a_reference_leads_to_is_not_shown():
    found = problems(wait_secs="${FAST}", workers="${KEY}")
    assert found[0].startswith('wait_secs: must be a number, not "${FAST}"')
    assert "hunter2" not in "".join(found) and "soon" not in "".join(found)


@pytest.mark.parametrize("value", ["hunter2", "whsec_${KEY}", 4711, ["hunter2"]])
def test_a_secret_may_not_stand_in_the_file_and_is_not_shown(value: Any):
    found = problems(sinks=[{"type": "hook", "url": "u", "secret": value}])
    assert len(found) == 1 and found[0].startswith("sinks[0].secret: ")
    assert "hunter2" not in found[0] and "4711" not in found[0]


def test_a_secret_by_reference_is_followed_and_an_empty_one_refused():
    good, found = check(
        {"listen": "x", "sinks": [{"type": "hook", "url": "u", "secret": "${KEY}"}]}, Settings, resolve=resolve
    )
    assert found == [] and good["sinks"][0]["secret"] == "hunter2hunter2"
    assert "is empty" in problems(sinks=[{"type": "hook", "url": "u", "secret": "${EMPTY}"}])[0]
    assert problems(sinks=[{"type": "hook", "url": "u", "secret": ""}]) == []


def test_a_struct_that_repeats_a_secret_in_its_refusal_does_not_betray_it():
    class Chatty(msgspec.Struct):
        secret: str

        def __post_init__(self) -> None:
            raise ValueError(f"secret: {self.secret} is weak")

    _, found = check({"secret": "${KEY}"}, Chatty, resolve=resolve)
    assert list(map(str, found)) == ["secret: (hidden) is weak"]


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["listen", "workers", "sink", "sinks", "to", "type", "low", "codes", "fields", "email", "secret", "x"]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(plain)
def test_whatever_is_found_good_is_good_for_msgspec(tree: Any):
    good, found = check(tree, Settings, resolve=resolve)
    if not found:
        assert isinstance(msgspec.convert(good, Settings), Settings)
