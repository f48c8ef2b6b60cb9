"""What of the upstream's answer goes downstream."""

from __future__ import annotations

import pytest

from proxy.response import Shape, is_sound, shape


@pytest.mark.parametrize(
    ("status", "method", "fields", "http_10", "expected"),
    [
        (200, "GET", {b"content-length": b"5"}, False, Shape(chunked=False, until_close=False)),
        (200, "GET", {}, False, Shape(chunked=True, until_close=False)),
        (200, "GET", {b"transfer-encoding": b"chunked"}, False, Shape(chunked=True, until_close=False)),
        (200, "GET", {b"transfer-encoding": b"chunked", b"content-length": b"5"}, False, Shape(True, False)),
        (200, "GET", {}, True, Shape(chunked=False, until_close=True)),
        (200, "GET", {b"content-length": b"5"}, True, Shape(chunked=False, until_close=False)),
        (200, "HEAD", {}, False, Shape(chunked=False, until_close=False)),
        (204, "GET", {}, False, Shape(chunked=False, until_close=False)),
        (304, "GET", {}, True, Shape(chunked=False, until_close=False)),
    ],
)
def test_the_framing_towards_the_visitor(
    status: int, method: str, fields: dict[bytes, bytes], http_10: bool, expected: Shape
) -> None:
    assert shape(status, method=method, lowered=fields, http_10=http_10) == expected


@pytest.mark.parametrize(
    ("name", "value", "sound"),
    [
        (b"X-A", b"caf\xe9", True),
        (b"Content-Type", b"text/html", True),
        (b"X A", b"b", False),
        (b"", b"b", False),
        (b"X:", b"b", False),
        (b"X", b"a\rb", False),
        (b"X", b"a\nb", False),
        (b"X", b"a\0b", False),
    ],
)
def test_fields_that_could_split_an_answer_are_not_passed_on(name: bytes, value: bytes, sound: bool) -> None:
    assert is_sound(((b"Server", b"x"), (name, value))) is sound
