"""What settings there are: read from the rooms' structs, with what may stand there, in words.

Knows msgspec's types and how to say them. Knows nothing of files, and no single setting by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import NODEFAULT, inspect

_SECRET = re.compile(r"(?:^|_)(?:secrets?|passwords?|passphrase|tokens?|api_key|private_key)$")


@dataclass(frozen=True)
class Setting:
    """One line of the manual: dotted key, what may stand there, its default as YAML would have it, what it means."""

    key: str
    allowed: str
    default: str
    meaning: str


def is_secret(name: str) -> bool:
    """Whether a setting of this name holds a secret, which never stands in the file and is never shown."""
    return _SECRET.search(name) is not None


def settings_of(struct: type[msgspec.Struct], at: str = "") -> Iterator[Setting]:
    """Every setting below `struct`. Items of a list stand at `key[]`, of a variant at `key[type]`."""
    info = inspect.type_info(struct)
    assert isinstance(info, inspect.StructType)
    yield from _settings(info, at)


def _settings(struct: inspect.StructType, at: str) -> Iterator[Setting]:
    for field in struct.fields:
        key = f"{at}.{field.encode_name}" if at else field.encode_name
        type_, meaning = unwrap(field.type)
        inner = [t for t in alternatives(type_) if not isinstance(t, inspect.NoneType)]
        below = key
        if len(inner) == 1 and isinstance(inner[0], inspect.ListType):
            inner, below = alternatives(unwrap(inner[0].item_type)[0]), f"{key}[]"
        structs = [t for t in inner if isinstance(t, inspect.StructType)]
        if not structs or below != key or meaning:
            yield Setting(key, words(type_), _default(field), meaning)
        for variant in structs:
            name = below.removesuffix("[]") + f"[{variant.tag}]" if variant.tag is not None else below
            yield from _settings(variant, name)


def words(type_: inspect.Type) -> str:
    """What may stand there, such as `a whole number from 1 to 256`."""
    type_, _ = unwrap(type_)
    match type_:
        case inspect.LiteralType():
            return _or(_code(v) for v in type_.values)
        case inspect.StrType():
            return f"text matching `{type_.pattern}`" if type_.pattern else "text"
        case inspect.BoolType():
            return "`true` or `false`"
        case inspect.IntType():
            return "a whole number" + _range(type_)
        case inspect.FloatType():
            return "a number" + _range(type_)
        case inspect.NoneType():
            return "empty"
        case inspect.ListType() | inspect.VarTupleType():
            return "a list" if _has_structs(type_.item_type) else f"a list of {_plural(words(type_.item_type))}"
        case inspect.DictType():
            keys, values = unwrap(type_.key_type)[0], words(type_.value_type)
            names = f" ({', '.join(map(str, keys.values))})" if isinstance(keys, inspect.LiteralType) else ""
            return f"keys{names} with {values} each"
        case inspect.StructType():
            return "a section"
        case inspect.UnionType() if _has_structs(type_):
            tags = [_code(t.tag) for t in type_.types if isinstance(t, inspect.StructType) and t.tag is not None]
            return ("a section of `type` " + _or(tags) if tags else "a section") + " or empty" * may_be_empty(type_)
        case inspect.UnionType():
            return _or(words(t) for t in sorted(type_.types, key=lambda t: isinstance(t, inspect.NoneType)))
    return "a value"


def unwrap(type_: inspect.Type) -> tuple[inspect.Type, str]:
    meaning = ""
    while isinstance(type_, inspect.Metadata):
        meaning = meaning or (type_.extra_json_schema or {}).get("description", "")
        type_ = type_.type
    return type_, meaning


def alternatives(type_: inspect.Type) -> list[inspect.Type]:
    return [unwrap(t)[0] for t in type_.types] if isinstance(type_, inspect.UnionType) else [type_]


def _has_structs(type_: inspect.Type) -> bool:
    return any(isinstance(t, inspect.StructType) for t in alternatives(unwrap(type_)[0]))


def may_be_empty(type_: inspect.Type) -> bool:
    return any(isinstance(t, inspect.NoneType | inspect.AnyType) for t in alternatives(unwrap(type_)[0]))


def expected_words(type_: inspect.Type) -> str:
    said, meaning = words(type_), unwrap(type_)[1].rstrip(".")
    return f"allowed: {said} ({meaning})" if meaning else f"allowed: {said}"


def _default(field: inspect.Field) -> str:
    if field.required:
        return "required"
    value = field.default if field.default is not NODEFAULT else field.default_factory()
    if isinstance(value, msgspec.Struct):
        return "see below"
    if value is None or value == "":
        return "empty"
    return _code(value)


def _code(value: Any) -> str:
    """The value as YAML would have it."""
    if isinstance(value, str):
        return f"`{value}`" if value.isprintable() else f"`{msgspec.json.encode(value).decode()}`"
    if isinstance(value, list | tuple):
        return f"`[{', '.join(_code(part).strip('`') for part in value)}]`"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return f"`{msgspec.json.encode(value).decode()}`"


def _or(said: Iterable[str]) -> str:
    *some, last = said
    return f"{', '.join(some)} or {last}" if some else last


def _range(type_: inspect.IntType | inspect.FloatType) -> str:
    if type_.ge is not None and type_.le is not None:
        return f" from {type_.ge} to {type_.le}"
    bounds = (("from", type_.ge), ("over", type_.gt), ("up to", type_.le), ("below", type_.lt))
    said = [f"{word} {bound}" for word, bound in bounds if bound is not None]
    return " " + ", ".join(said) if said else ""


def _plural(said: str) -> str:
    return re.sub(r"^(?:a )?(text|whole number|number)\b", r"\1s", said)
