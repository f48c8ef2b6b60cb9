"""YAML text becomes plain values. Knows the core schema of YAML 1.2, and nothing of settings.

PyYAML reads YAML 1.1, where `off`, `no` and `on` are booleans, `010` is eight, `22:30` is a number of seconds and
`2026-11-22` a date: `sync: off` would arrive as `False`. Here only `true` and `false` are booleans, as people expect.
"""

from __future__ import annotations

import re
from typing import Any

import yaml
from yaml.constructor import ConstructorError

# A file of settings is a few kilobytes; whatever is larger is not one.
MAX_BYTES = 1_048_576


class YamlError(ValueError):
    """What is wrong with the text. `problems` are lines such as `line 3, column 5: ...`, in the file's order."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def read(text: str) -> Any:
    """The value that stands in `text`. Raises YamlError for bad syntax, and for a key that stands twice."""
    twice: list[str] = []
    try:
        value = _Loader(text, twice).get_single_data()
    except yaml.MarkedYAMLError as error:
        raise YamlError(twice + [_say(error)]) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise YamlError(twice + [_say_plainly(error)]) from None
    if twice:
        raise YamlError(twice)
    return value


class _Loader(yaml.SafeLoader):
    """SafeLoader with the scalars of YAML 1.2 (section 10.3.2), which also remembers keys that stand twice."""

    # None of the scalar rules of YAML 1.1 are taken over.
    yaml_implicit_resolvers: dict[str, list[Any]] = {}

    def __init__(self, text: str, twice: list[str]) -> None:
        super().__init__(text)
        self.twice = twice

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        first: dict[str, int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                line = key.start_mark.line + 1
                if key.value in first:
                    # PyYAML would keep the last one without a word.
                    self.twice.append(
                        f"line {line}, column {key.start_mark.column + 1}: the key `{key.value}` stands here a second "
                        f"time, first in line {first[key.value]}; keep one of them"
                    )
                first.setdefault(key.value, line)
        return super().construct_mapping(node, deep)

    def construct_whole_number(self, node: yaml.ScalarNode) -> int:
        text = self.construct_scalar(node).replace("_", "").lower()
        return int(text, 0) if text.startswith(("0x", "0o")) else int(text)


def _rule(name: str, pattern: str, first: str) -> None:
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{name}", re.compile(f"(?:{pattern})$"), list(first))


_rule("null", "~|null|Null|NULL|", "~nN")
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile("$"), [""])
_rule("bool", "true|True|TRUE|false|False|FALSE", "tTfF")
# `1_000_000` is not in the schema; it is read as a number all the same, because nobody means text by it.
_rule("int", "[-+]?[0-9][0-9_]*|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789")
_rule("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", "-+.0123456789")
_rule("merge", "<<", "<")
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_whole_number)


def _say(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    what = error.problem or error.context or "not YAML"
    context = f" {error.context}" if error.context and error.context != what else ""
    if isinstance(error, ConstructorError):
        return f"{where}{what}; write plain text, numbers, lists and keys only"
    return f"{where}{_reworded(what)}{context}; {_next_step(what)}"


def _reworded(what: str) -> str:
    return what.replace("'\\t'", "a tab character")


def _next_step(what: str) -> str:
    if "'\\t'" in what:
        return "indent with spaces"
    if "mapping values are not allowed" in what:
        return "a second colon stands in this line, or the line is indented too deep; put text with `: ` in quotes"
    if "could not find expected ':'" in what:
        return "a key is followed by a colon and a space: `key: value`"
    if "block end" in what:
        return "keys of one section start in the same column"
    if "alias" in what or "anchor" in what or "character" in what:
        return "put text that starts with a special character in quotes"
    return "mend this place of the file"


def _say_plainly(error: Exception) -> str:
    if isinstance(error, yaml.reader.ReaderError):
        return f"position {error.position}: the character #x{error.character:04x} may not stand in YAML; remove it"
    if isinstance(error, RecursionError):
        return "nested too deep; a file of settings has about five levels"
    return f"{error}; mend this place of the file"
