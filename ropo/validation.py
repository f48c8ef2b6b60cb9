"""What is wrong with a value for the settings: all of it at once, each with its dotted key.

msgspec stops at the first problem it meets, and an operator wants to hear of all of them. So the value and the types
are walked together here, and msgspec has the last word on each struct. Knows no single setting by name, and shows no
secret and nothing that a reference led to.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import inspect

from ropo import references
from ropo.schema import alternatives, expected_words, is_secret, may_be_empty, settings_of, unwrap, words

Resolve = Callable[[str], str]

_BAD = object()
_SHOWN_CHARS = 60


@dataclass(frozen=True)
class Problem:
    key: str
    what: str

    def __str__(self) -> str:
        return f"{self.key}: {self.what}" if self.key else self.what


def check(
    value: Any, struct: type[msgspec.Struct], *, resolve: Resolve, at: str = ""
) -> tuple[dict[str, Any], list[Problem]]:
    """The plain value for `struct`, which stands at the key `at`, and all that is wrong with it.

    Its references are followed by `resolve`, which raises ReferenceProblem. With problems, the value holds what was
    good, so that the caller can look for more.
    """
    walk = _Walk(resolve, [s.key for s in settings_of(struct, at)])
    good = walk.struct({} if value is None else value, inspect.type_info(struct), at)
    return {} if good is _BAD else good, walk.problems


class _Walk:
    def __init__(self, resolve: Resolve, keys: list[str]) -> None:
        self.problems: list[Problem] = []
        self._resolve = resolve
        self._keys = keys
        self._hidden: set[str] = set()  # what references led to: never in a message
        self._incomplete: list[dict[str, Any] | list[Any]] = []

    def add(self, at: str, what: str) -> Any:
        for hidden in self._hidden:
            what = what.replace(hidden, "(hidden)")
        self.problems.append(Problem(at, what))
        return _BAD

    def struct(self, value: Any, type_: inspect.StructType, at: str) -> Any:
        fields = {f.encode_name: f for f in type_.fields}
        if not isinstance(value, dict):
            return self.add(at, f"must be a section, not {_show(value)}; allowed keys: {', '.join(fields)}")
        good: dict[str, Any] = {}
        for key, part in value.items():
            name = str(key)
            if name == type_.tag_field:
                good[name] = part
            elif name not in fields:
                self.add(_join(at, name), self._unknown(name, list(fields), type_.tag_field, at))
            else:
                field = fields[name]
                if part is None and not may_be_empty(field.type):
                    # `key:` with nothing behind it: all of it is commented out, the default stands.
                    if not field.required:
                        continue
                    part = {} if isinstance(unwrap(field.type)[0], inspect.StructType) else None
                checked = self.value(part, field.type, _join(at, name), secret=is_secret(name))
                if checked is not _BAD:
                    good[name] = checked
        for name, field in fields.items():
            if field.required and name not in value:
                inner, _ = unwrap(field.type)
                if isinstance(inner, inspect.StructType):
                    self.struct({}, inner, _join(at, name))  # says what is missing inside
                else:
                    self.add(_join(at, name), f"is missing; {expected_words(field.type)}")
        whole = self._whole(good)
        if any(field.required and name not in whole for name, field in fields.items()):
            self._incomplete.append(good)
            return good
        return good if self._is_content(whole, type_, at) else _BAD

    def _whole(self, value: Any) -> Any:
        """The value without the structs and lists that lack something, which msgspec would only complain of again."""
        if any(value is incomplete for incomplete in self._incomplete):
            return _BAD
        if isinstance(value, dict):
            parts = {key: self._whole(part) for key, part in value.items()}
            return {key: part for key, part in parts.items() if part is not _BAD}
        if isinstance(value, list):
            return [part for part in map(self._whole, value) if part is not _BAD]
        return value

    def _is_content(self, whole: dict[str, Any], type_: inspect.StructType, at: str) -> bool:
        """The struct's own last word: what its `__post_init__` knows of several fields together."""
        error = _refusal(whole, type_)
        if error is None:
            return True
        # Which key is it? The one the rooms put first in the text, or the one without which msgspec is content.
        named, _, rest = error.partition(": ")
        if named in whole:
            self.add(_join(at, named), rest)
            return False
        guilty = [k for k in whole if k != type_.tag_field and not _refusal({**whole, k: _BAD}, type_)]
        self.add(_join(at, guilty[0]) if len(guilty) == 1 else at, error)
        return False

    def _unknown(self, name: str, allowed: list[str], tag_field: str | None, at: str) -> str:
        what = f"unknown key; allowed: {', '.join([tag_field] * bool(tag_field) + allowed)}"
        near = difflib.get_close_matches(name, allowed, 1)
        if near:
            return f"{what}; did you mean `{near[0]}`?"
        elsewhere = [k for k in self._keys if k.rpartition(".")[2] == name]
        if len(elsewhere) == 1:
            return f"{what}; did you mean `{elsewhere[0]}`?"
        return what

    def value(self, value: Any, type_: inspect.Type, at: str, *, secret: bool) -> Any:
        expected = expected_words(type_)
        type_, _ = unwrap(type_)
        options = alternatives(type_)
        if value is None:
            return None if may_be_empty(type_) else self.add(at, f"is empty; {expected}")
        options = [t for t in options if not isinstance(t, inspect.NoneType)]
        structs = [t for t in options if isinstance(t, inspect.StructType)]
        if structs:
            return self._variant(value, structs, at)
        if isinstance(value, list):
            return self._list(value, options, at, expected, secret)
        if isinstance(value, dict):
            return self._dict(value, options, at, expected, secret)
        return self._leaf(value, options, at, expected, secret)

    def _variant(self, value: Any, structs: list[inspect.StructType], at: str) -> Any:
        if len(structs) == 1 and structs[0].tag is None:
            return self.struct(value, structs[0], at)
        tag_field, tags = structs[0].tag_field, {str(s.tag): s for s in structs}
        allowed = f"allowed: {', '.join(tags)}"
        if not isinstance(value, dict):
            return self.add(at, f"must be a section with the key `{tag_field}`, not {_show(value)}; {allowed}")
        if tag_field not in value:
            return self.add(f"{at}.{tag_field}", f"is missing; {allowed}")
        tag = str(value[tag_field])
        if tag not in tags:
            near = difflib.get_close_matches(tag, tags, 1)
            hint = f"; did you mean `{near[0]}`?" if near else ""
            return self.add(f"{at}.{tag_field}", f"unknown type {_show(value[tag_field])}; {allowed}{hint}")
        return self.struct(value, tags[tag], at)

    def _list(self, value: list[Any], options: list[inspect.Type], at: str, expected: str, secret: bool) -> Any:
        lists = [t for t in options if isinstance(t, inspect.ListType | inspect.VarTupleType)]
        if not lists:
            return self.add(at, f"may not be a list; {expected}")
        least, most = lists[0].min_length, lists[0].max_length
        if (least and len(value) < least) or (most is not None and len(value) > most):
            return self.add(at, f"has {len(value)} items; {expected}")
        items = [self.value(v, lists[0].item_type, f"{at}[{i}]", secret=secret) for i, v in enumerate(value)]
        good = [item for item in items if item is not _BAD]
        if least and len(self._whole(good)) < least:
            self._incomplete.append(good)
        return good

    def _dict(self, value: dict[Any, Any], options: list[inspect.Type], at: str, expected: str, secret: bool) -> Any:
        dicts = [t for t in options if isinstance(t, inspect.DictType)]
        if not dicts:
            return self.add(at, f"may not be a section with keys; {expected}")
        keys, _ = unwrap(dicts[0].key_type)
        good = {}
        for key, part in value.items():
            name = str(key)
            if isinstance(keys, inspect.LiteralType) and name not in keys.values:
                self.add(_join(at, name), self._unknown(name, [str(v) for v in keys.values], None, at))
                continue
            checked = self.value(part, dicts[0].value_type, _join(at, name), secret=secret or is_secret(name))
            if checked is not _BAD:
                good[name] = checked
        return good

    def _leaf(self, value: Any, options: list[inspect.Type], at: str, expected: str, secret: bool) -> Any:
        shown = "what stands there" if secret else _show(value)
        by_reference = isinstance(value, str) and references.has_reference(value)
        if secret and value != "" and not (isinstance(value, str) and references.is_reference(value)):
            return self.add(
                at,
                "a secret may not stand in the file; write `${NAME}` for an environment variable or `file:PATH`, "
                "or leave it out: ropo then makes one and keeps it below storage.path",
            )
        if by_reference:
            try:
                value = self._resolve(value)
            except references.ReferenceProblem as problem:
                return self.add(at, str(problem))
            if len(value) > 3:
                self._hidden.add(value)
            if secret and not value.strip():
                return self.add(at, f"{shown} is empty; give it a value, or leave the setting out")
        wrongs = []
        for option in options:
            checked, wrong = _scalar(value, option, from_text=by_reference)
            if not wrong:
                return checked
            wrongs.append(wrong)
        # Of several types the one whose kind fits says best what is wrong with the value.
        wrong = next((w for w in wrongs if not w.startswith("must be ")), wrongs[0] if wrongs else "does not fit")
        return self.add(at, f"{wrong.replace('@', shown)}; {expected}")


def _scalar(value: Any, type_: inspect.Type, *, from_text: bool) -> tuple[Any, str]:
    """The value for `type_`, or what is wrong with it, in which `@` stands for the value."""
    type_, _ = unwrap(type_)
    match type_:
        case inspect.LiteralType():
            if value in type_.values and type(value) in {type(v) for v in type_.values}:
                return value, ""
            near = difflib.get_close_matches(str(value), [str(v) for v in type_.values], 1)
            return _BAD, "@ is not allowed here" + (f", did you mean `{near[0]}`?" if near else "")
        case inspect.StrType():
            if not isinstance(value, str):
                return _BAD, "must be text, not @ (in quotes it would be text)"
            if type_.pattern and not re.search(type_.pattern, value):
                return _BAD, "@ does not have the right form"
            if type_.min_length and len(value) < type_.min_length:
                return _BAD, f"@ is too short: {type_.min_length} characters at least"
            if type_.max_length is not None and len(value) > type_.max_length:
                return _BAD, f"@ is too long: {type_.max_length} characters at most"
            return value, ""
        case inspect.BoolType():
            if from_text and str(value).lower() in ("true", "false"):
                return str(value).lower() == "true", ""
            return (value, "") if isinstance(value, bool) else (_BAD, "must be true or false, not @")
        case inspect.IntType() | inspect.FloatType():
            return _number(value, type_, from_text)
        case inspect.AnyType():
            return value, ""
    return _BAD, "must be " + words(type_) + ", not @"


def _number(value: Any, type_: inspect.IntType | inspect.FloatType, from_text: bool) -> tuple[Any, str]:
    whole = isinstance(type_, inspect.IntType)
    if from_text:
        with suppress(ValueError):  # else it stays text, and is told so below
            value = int(value) if whole else float(value)
    fits = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not fits or (whole and value != int(value)):
        return _BAD, f"must be {'a whole number' if whole else 'a number'}, not @"
    value = int(value) if whole else value
    small = (type_.ge is not None and value < type_.ge) or (type_.gt is not None and value <= type_.gt)
    large = (type_.le is not None and value > type_.le) or (type_.lt is not None and value >= type_.lt)
    if small or large:
        return _BAD, f"@ is too {'small' if small else 'large'}"
    return value, ""


def _refusal(good: dict[str, Any], type_: inspect.StructType) -> str | None:
    """Why msgspec refuses the struct, without the place it says it at; None if it is content."""
    try:
        msgspec.convert({k: v for k, v in good.items() if v is not _BAD}, type_.cls)
    except msgspec.ValidationError as error:
        return re.sub(r" - at `[^`]*`$", "", str(error))
    return None


def _show(value: Any) -> str:
    if isinstance(value, dict | list):
        return "a section with keys" if isinstance(value, dict) else "a list"
    text = {True: "true", False: "false", None: "nothing"}.get(value) if isinstance(value, bool | None) else None
    text = text or (f"{value}" if isinstance(value, int | float) else f'"{value}"')
    text = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
    return text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 4] + '..."'


def _join(at: str, name: str) -> str:
    return f"{at}.{name}" if at else name
