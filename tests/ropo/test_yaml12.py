from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ropo.yaml12 import YamlError, read

# As section 10.3.2 of YAML 1.2 has it; in brackets what YAML 1.1 made of it.
SCALARS = {
    "off": "off",  # False
    "no": "no",  # False
    "yes": "yes",  # True
    "true": True,
    "False": False,
    "010": 10,  # 8
    "0o10": 8,
    "0x1F": 31,
    "1_000_000": 1_000_000,
    "22:30": "22:30",  # 1350
    "2026-11-22": "2026-11-22",  # a date
    "127.0.0.1:8080": "127.0.0.1:8080",
    "1e3": 1000.0,
    ".5": 0.5,
    "-3": -3,
    "~": None,
    "null": None,
    "": None,
    "'true'": "true",
    '"8080"': "8080",
    "${NAME}": "${NAME}",
}


@pytest.mark.parametrize("text, value", SCALARS.items(), ids=repr)
def test_scalars_are_those_of_yaml_1_2(text: str, value: object):
    assert read(f"key: {text}\n") == {"key": value}


WRONG = {
    "a tab": ("a:\n\t- b", "line 2, column 1", "indent with spaces"),
    "two colons": ("a: b: c", "line 1, column 5", "quotes"),
    "a list that never ends": ("a: [1, 2", "line 1, column 9", "mend"),
    "a column that is off": ("a:\n  b: 1\n c: 2", "line 3, column 2", "same column"),
    "an alias to nothing": ("a: *x", "line 1, column 4", "quotes"),
    "an at sign": ("a: @b", "line 1, column 4", "quotes"),
    "a tag of Python's": ("a: !!python/object/apply:os.system [ls]", "line 1, column 4", "plain text"),
    "a key that is a list": ("? [a]\n: b", "line 1, column 3", "plain text"),
    "a zero byte": ("a: \x00", "position 3", "remove it"),
    "two documents": ("---\na: 1\n---\nb: 2", "line 3, column 1", "single document"),
    "no end of nesting": ("[" * 5000, "nested too deep", "five levels"),
}


@pytest.mark.parametrize("text, place, advice", WRONG.values(), ids=WRONG)
def test_what_is_no_yaml_is_told_with_its_place_and_what_to_do(text: str, place: str, advice: str):
    with pytest.raises(YamlError) as raised:
        read(text)
    assert place in str(raised.value)
    assert advice in str(raised.value)
    assert "\n" not in raised.value.problems[0]


def test_every_key_that_stands_twice_is_told():
    with pytest.raises(YamlError) as raised:
        read("proxy:\n  listen: a\n  listen: b\nexport: {x: 1, x: 2}\n")
    assert raised.value.problems == [
        "line 3, column 3: the key `listen` stands here a second time, first in line 2; keep one of them",
        "line 4, column 16: the key `x` stands here a second time, first in line 4; keep one of them",
    ]


def test_the_same_key_may_stand_in_two_items_of_a_list():
    assert read("- name: a\n- name: b\n") == [{"name": "a"}, {"name": "b"}]


def test_an_empty_text_is_nothing():
    assert read("") is None
    assert read("# only a comment\n") is None


@given(st.text())
def test_any_text_is_read_or_refused_in_words(text: str):
    try:
        read(text)
    except YamlError as error:
        assert error.problems
