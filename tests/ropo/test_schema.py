from __future__ import annotations

from typing import Annotated, Literal

import msgspec
import pytest
from msgspec import Meta, inspect

from ropo.schema import is_secret, settings_of, words


class Csv(msgspec.Struct, tag="csv", tag_field="type"):
    folder: Annotated[str, Meta(description="Where to.")]


class Hook(msgspec.Struct, tag="hook", tag_field="type"):
    url: Annotated[str, Meta(description="Whom to.")]


class Part(msgspec.Struct, frozen=True):
    size: Annotated[int, Meta(ge=1, le=9, description="How many.")] = 3


class Whole(msgspec.Struct):
    part: Annotated[Part, Meta(description="A part.")] = Part()
    sinks: Annotated[list[Csv | Hook], Meta(description="Who gets it.")] = []
    waits: Annotated[list[float], Meta(description="How long.")] = msgspec.field(default_factory=lambda: [1.0, 2.5])


def test_settings_are_listed_with_key_default_and_meaning():
    assert [(s.key, s.default, s.meaning) for s in settings_of(Whole, "x")] == [
        ("x.part", "see below", "A part."),
        ("x.part.size", "`3`", "How many."),
        ("x.sinks", "`[]`", "Who gets it."),
        ("x.sinks[csv].folder", "required", "Where to."),
        ("x.sinks[hook].url", "required", "Whom to."),
        ("x.waits", "`[1, 2.5]`", "How long."),
    ]


@pytest.mark.parametrize(
    "type_, said",
    [
        (str, "text"),
        (Annotated[str, Meta(pattern="^a")], "text matching `^a`"),
        (bool, "`true` or `false`"),
        (Annotated[int, Meta(ge=1, le=256)], "a whole number from 1 to 256"),
        (Annotated[float, Meta(gt=0, le=60)], "a number over 0, up to 60"),
        (Annotated[int, Meta(gt=0)], "a whole number over 0"),
        (Annotated[int, Meta(ge=1)] | None, "a whole number from 1 or empty"),
        (Literal["b", "a", "c"], "`a`, `b` or `c`"),
        (Literal["\t", ";"], '`"\\t"` or `;`'),
        (list[str], "a list of texts"),
        (list[Annotated[int, Meta(ge=100, le=599)]], "a list of whole numbers from 100 to 599"),
        (list[Csv | Hook], "a list"),
        (Csv | Hook | None, "a section of `type` `csv` or `hook` or empty"),
        (dict[Literal["a", "b"], str], "keys (a, b) with text each"),
        (Part, "a section"),
    ],
)
def test_types_are_said_in_words(type_: object, said: str):
    assert words(inspect.type_info(type_)) == said


@pytest.mark.parametrize(
    "name, secret",
    [
        ("secret", True),
        ("secrets", True),
        ("former_secrets", True),
        ("password", True),
        ("smtp_password", True),
        ("api_key", True),
        ("sort_key", False),
        ("secure", False),
        ("tokens_per_secs", False),
    ],
)
def test_a_secret_is_told_by_its_name(name: str, secret: bool):
    assert is_secret(name) is secret
