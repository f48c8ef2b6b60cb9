import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from export.plain_text import MAX_REASON_CHARS, encodable, one_line, without_controls

any_text = st.text(st.characters())
json_data = st.recursive(
    st.none() | st.booleans() | st.integers() | any_text,
    lambda inner: st.lists(inner) | st.dictionaries(any_text, inner),
    max_leaves=10,
)


def test_half_a_surrogate_pair_becomes_the_replacement_character():
    document = json.loads(r'{"contact": {"name": "a\ud83d", "ok": "\ud83d\ude00"}, "list": ["\udc00"]}')
    assert encodable(document) == {"contact": {"name": "a\ufffd", "ok": "😀"}, "list": ["\ufffd"]}


@given(json_data)
def test_whatever_came_in_can_be_encoded(data):
    json.dumps(encodable(data), ensure_ascii=False).encode("utf-8")


@given(json_data)
def test_what_can_be_encoded_already_stays_as_it_is(data):
    clean = encodable(data)
    assert encodable(clean) == clean


def test_controls_go_and_line_breaks_stay():
    assert without_controls("a\x00b\x1bc\x85d\te\r\nf") == "abcd\te\r\nf"


@pytest.mark.parametrize(
    ("text", "line"),
    [("a\nb", "a b"), ("  a\r\n\r\n\tb ", "a b"), ("a\u2028b\x00c", "a b c"), ("\ud800", "\ufffd"), ("", "")],
)
def test_a_reason_is_one_line(text, line):
    assert one_line(text) == line


@given(any_text)
def test_a_reason_has_a_limit_and_can_be_written_anywhere(text):
    line = one_line(text)
    assert len(line) <= MAX_REASON_CHARS
    assert len(line.splitlines()) <= 1
    line.encode()
