"""Targets and globs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker import paths


@pytest.mark.parametrize(
    "target, path, query",
    [
        ("/", "/", None),
        ("/a/b", "/a/b", None),
        ("/a?x=1", "/a", "x=1"),
        ("/a?", "/a", ""),
        ("/a?x=1?y=2", "/a", "x=1?y=2"),
        ("/a?x=http://b/", "/a", "x=http://b/"),
        ("/a?x=1#top", "/a", "x=1"),
        ("/%C3%A4?x", "/%C3%A4", "x"),
        ("//evil.example/x", "//evil.example/x", None),
        ("http://example.com/a?x=1", "/a", "x=1"),
        ("https://example.com", "/", None),
        ("http://example.com?x=1", "/", "x=1"),
        ("*", "*", None),
        ("example.com:443", "example.com:443", None),
        ("", "", None),
    ],
)
def test_a_target_has_a_path_and_perhaps_a_query(target: str, path: str, query: str | None):
    assert paths.split(target) == (path, query)


@pytest.mark.parametrize(
    "globs, text, fits",
    [
        (["/health"], "/health", True),
        (["/health"], "/health/", False),
        (["/static/*"], "/static/a/b.css", True),
        (["/static/*"], "/Static/a.css", False),
        (["*.css", "*.js"], "/a/b.js", True),
        (["/a?c"], "/abc", True),
        (["/a?c"], "/ac", False),
        (["/a.c"], "/abc", False),
        (["/a[bc]"], "/ab", False),
        (["/a[bc]"], "/a[bc]", True),
        (["*"], "/x\ny", True),
        (["*.example.com"], "example.com", False),
    ],
)
def test_a_glob_is_taken_letter_for_letter_but_for_star_and_question_mark(globs: list[str], text: str, fits: bool):
    matches = paths.matcher(globs)
    assert matches is not None
    assert matches(text) is fits


def test_no_globs_make_no_matcher():
    assert paths.matcher([]) is None


@given(st.text(max_size=60))
def test_any_target_can_be_split(target: str):
    path, query = paths.split(target)
    assert "?" not in path and "#" not in path
    assert query is None or "#" not in query
