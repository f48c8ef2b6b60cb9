"""Bodies: what browsers and scripts send is read, what attackers send is given up within bounds."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tracker.forms.requests import BOUNDARY, MULTIPART, URLENCODED, multipart, urlencoded
from tracker.forms.bodies import FILES_FACTOR, MAX_DEPTH, MAX_FIELDS, MAX_NAME_CHARS, Body, Unreadable, reader_for

LIMIT = 10_000


def read(content_type: str, body: bytes, *, size: int = 1 << 30, limit: int = LIMIT) -> Body:
    reader = reader_for(content_type.encode(), max_bytes=limit)
    assert reader is not None
    for at in range(0, len(body), size):
        reader.feed(body[at : at + size])
    return reader.body()


def pairs(content_type: str, body: bytes) -> list[tuple[str, str]]:
    return [tuple(field) for field in read(content_type, body).fields]


def reason_of(content_type: str, body: bytes, **how: int) -> str:
    with pytest.raises(Unreadable) as error:
        read(content_type, body, **how)
    return error.value.reason


# -- which


@pytest.mark.parametrize("content_type", ["", "image/png", "application/octet-stream", "text/html", "application/grpc"])
def test_forms_do_not_come_in_every_type(content_type: str):
    assert reader_for(content_type.encode(), max_bytes=LIMIT) is None


@pytest.mark.parametrize("content_type", ["multipart/form-data", "multipart/form-data; boundary=" + "x" * 71])
def test_multipart_without_a_usable_boundary_is_given_up(content_type: str):
    with pytest.raises(Unreadable, match="unparsable"):
        reader_for(content_type.encode(), max_bytes=LIMIT)


# -- urlencoded


@pytest.mark.parametrize(
    "body, expected",
    [
        (b"", []),
        (b"a=1&b=2", [("a", "1"), ("b", "2")]),
        (b"a=1&a=2&a=", [("a", "1"), ("a", "2"), ("a", "")]),
        (b"&&a=1&&", [("a", "1")]),
        (b"a=b=c", [("a", "b=c")]),
        (b"a&b=1", [("b", "1")]),
        (b"=1", [("", "1")]),
        (b"a=1+2%2B3%zz%", [("a", "1 2+3%zz%")]),
        (b"n%5Bx%5D=%C3%BC", [("n[x]", "\xfc")]),
        (b"n=%FC%80", [("n", "\xfc\u20ac")]),  # not UTF-8: as browsers read old pages
        (b"n=M\xc3\xbcller", [("n", "M\xfcller")]),
        (b"n=a%00b%07c%0D%0Ad%0Ae%09f", [("n", "abc\nd\ne\tf")]),
        (b"n%00%0Ax=1", [("n x", "1")]),
    ],
)
def test_urlencoded_bodies_are_read(body: bytes, expected: list[tuple[str, str]]):
    assert pairs(URLENCODED, body) == expected


def test_a_declared_charset_is_believed_only_if_it_is_not_utf_8_anyway_and_is_a_known_one():
    assert pairs(f"{URLENCODED}; charset=iso-8859-15", b"a=%A4&b=%C3%BC") == [("a", "\u20ac"), ("b", "\xfc")]
    assert pairs(f"{URLENCODED}; charset=punycode", b"a=%FC") == [("a", "\xfc")]


def test_json_under_the_type_of_a_form_is_read_as_json():
    assert pairs(URLENCODED, b' {"email": "a@example.com"}') == [("email", "a@example.com")]


def test_what_only_begins_like_json_is_read_as_a_form():
    assert pairs(URLENCODED, b"{a=1&b=2") == [("{a", "1"), ("b", "2")]


@pytest.mark.parametrize(
    "body",
    [
        multipart(("email", "a@example.com")),
        b'<?xml version\n="1.0"?><lead/>',
        b"just some text",
        b"a\x00=1",
    ],
)
def test_another_format_under_the_type_of_a_form_is_unparsable(body: bytes):
    assert reason_of(URLENCODED, body) == "unparsable"


# -- JSON


@pytest.mark.parametrize(
    "body, expected",
    [
        (b'{"email":"a@example.com","age":30,"vip":true,"x":null,"f":1.5}',
         [("email", "a@example.com"), ("age", "30"), ("vip", "true"), ("f", "1.5")]),
        (b'{"contact":{"name":{"first":"Erika"}},"tags":["a","b"]}',
         [("contact[name][first]", "Erika"), ("tags[]", "a"), ("tags[]", "b")]),
        (b'{"fields":[{"objectTypeId":"0-1","name":"email","value":"a@example.com"}]}', [("email", "a@example.com")]),
        (b'[{"name":"email","value":"a@example.com"},{"name":"n","value":null}]', [("email", "a@example.com")]),
        (b'{"items":[{"sku":"x"},{"sku":"y"}]}', [("items[0][sku]", "x"), ("items[1][sku]", "y")]),
        (b'{"a":1,"a":2}', [("a", "2")]),
        (b'\xef\xbb\xbf{"a":"b"}', [("a", "b")]),
        (b"{}", []),
    ],
)  # fmt: skip
def test_json_bodies_are_read(body: bytes, expected: list[tuple[str, str]]):
    assert pairs("application/json", body) == expected
    assert pairs("application/vnd.api+json; charset=utf-8", body) == expected
    assert pairs("text/plain;charset=UTF-8", body) == expected


@pytest.mark.parametrize(
    "body, reason",
    [
        (b"", "unparsable"),
        (b"{", "unparsable"),
        (b"a=1", "unparsable"),
        (b'{"a":"\xff"}', "unparsable"),
        ('{"a":"b"}'.encode("utf-16"), "unparsable"),
        (b"1" * 5000, "not_a_form"),
        (b'{"a":' + b"1" * 5000 + b"}", "unparsable"),
        (b'"text"', "not_a_form"),
        (b"[" * 9000, "too_deep"),
        (b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1), "too_deep"),
        (b"[" + b"1," * MAX_FIELDS + b"1]", "too_many_fields"),
    ],
)
def test_json_that_is_none_or_too_much_is_given_up(body: bytes, reason: str):
    # An integer of 5,000 digits may be read as one, or refused: what matters is that it is given up.
    assert reason_of("application/json", body) in (reason, "unparsable", "not_a_form")
    if not body.startswith((b"1", b'{"a":1')):
        assert reason_of("application/json", body) == reason


def test_plain_text_that_is_no_json_is_no_form():
    assert reason_of("text/plain", b"email=a@example.com") == "not_a_form"


# -- multipart


def test_a_multipart_body_gives_its_fields_and_counts_its_files():
    body = multipart(
        ("your-name", "Erika M\xfcller"),
        ("your-file", "plan.pdf", b"%PDF-1.7\r\n--" + b"\0" * 500),
        ("no-file", "", b""),
        ("topic[]", "a"),
        ("topic[]", "b"),
        ("empty", ""),
    )
    found = read(MULTIPART, body)
    assert [tuple(field) for field in found.fields] == [
        ("your-name", "Erika M\xfcller"), ("topic[]", "a"), ("topic[]", "b"), ("empty", ""),
    ]  # fmt: skip
    assert found.files == 1


@pytest.mark.parametrize(
    "head, is_text",
    [
        ('Content-Disposition: form-data; name="a"', True),
        ("content-disposition:form-data;name=a", True),
        ('Content-Disposition: form-data; name="a"\r\nContent-Type: text/plain; charset=windows-1252', True),
        ('Content-Disposition: form-data; name="a"\r\nContent-Type: application/json', True),
        ('Content-Disposition: form-data; name="a"\r\nContent-Type: image/png', False),
        ("Content-Disposition: form-data; name=\"a\"; filename*=utf-8''plan.pdf", False),
        ('Content-Disposition: form-data; name="a"; filename="plan.pdf"', False),
        ("Content-Disposition: form-data", False),
        ("X-Other: 1", False),
    ],
)
def test_a_part_is_text_unless_it_may_be_a_file(head: str, is_text: bool):
    body = f"--{BOUNDARY}\r\n{head}\r\n\r\nsecret\r\n--{BOUNDARY}--\r\n".encode()
    assert [tuple(field) for field in read(MULTIPART, body).fields] == ([("a", "secret")] if is_text else [])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"a=1&b=2",
        b"--other\r\n\r\nx\r\n--other--\r\n",
        multipart(("a", "1"))[:-20],
        f"--{BOUNDARY}\r\nno colon here\r\n\r\nx\r\n--{BOUNDARY}--\r\n".encode(),
        f"--{BOUNDARY}\r\n".encode(),
    ],
)
def test_multipart_that_is_none_or_not_whole_is_unparsable(body: bytes):
    assert reason_of(MULTIPART, body) == "unparsable"


def test_a_malformed_body_does_not_fill_the_log(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.DEBUG):
        assert reason_of(MULTIPART, b"--" + BOUNDARY.encode() + b"x") == "unparsable"
    assert caplog.records == []


# -- limits


def test_a_body_larger_than_the_limit_is_given_up_at_the_limit():
    for content_type in (URLENCODED, "application/json", "text/plain"):
        reader = reader_for(content_type.encode(), max_bytes=LIMIT)
        reader.feed(b"x" * LIMIT)
        with pytest.raises(Unreadable, match="too_large"):
            reader.feed(b"x")


def test_the_text_of_a_multipart_body_is_bounded_and_its_files_are_not_kept():
    assert reason_of(MULTIPART, multipart(("a", "x" * (LIMIT + 1)))) == "too_large"
    assert reason_of(MULTIPART, multipart(*[("a", "x" * 1000)] * 12)) == "too_large"
    found = read(MULTIPART, multipart(("a", "1"), ("f", "f.bin", b"x" * LIMIT * 5), ("b", "2")))
    assert [field.value for field in found.fields] == ["1", "2"]


def test_an_upload_is_given_up_when_it_is_many_times_the_limit():
    reader = reader_for(MULTIPART.encode(), max_bytes=LIMIT)
    reader.feed(multipart(("f", "f.bin", b""))[: -len(BOUNDARY) - 8])
    with pytest.raises(Unreadable, match="too_large"):
        for _ in range(FILES_FACTOR + 1):
            reader.feed(b"\0" * LIMIT)


@pytest.mark.parametrize(
    "content_type, body",
    [
        (URLENCODED, b"&".join(b"f%d=1" % number for number in range(10_000))),
        (MULTIPART, multipart(*[(f"f{number}", "1") for number in range(10_000)])),
        (MULTIPART, multipart(*[("f", "", b"")] * (MAX_FIELDS + 1))),
    ],
)
def test_ten_thousand_fields_are_not_a_form(content_type: str, body: bytes):
    assert reason_of(content_type, body, limit=10_000_000) == "too_many_fields"


def test_headers_of_a_part_are_bounded():
    many = "".join(f"X-{number}: {'y' * 100}\r\n" for number in range(1000))
    body = f"--{BOUNDARY}\r\n{many}\r\nx\r\n--{BOUNDARY}--\r\n".encode()
    assert reason_of(MULTIPART, body) in ("too_large", "unparsable")
    assert reason_of(MULTIPART, f"--{BOUNDARY}\r\nX: {'y' * 20_000}".encode()) in ("too_large", "unparsable")


def test_names_are_cut():
    assert pairs(URLENCODED, b"n" * 9000 + b"=1") == [("n" * MAX_NAME_CHARS, "1")]
    ((name, _),) = pairs("application/json", b'{"' + b"a" * 4000 + b'":{"' + b"b" * 4000 + b'":1}}')
    assert len(name) == MAX_NAME_CHARS


def test_a_body_shows_no_values():
    assert "erika" not in repr(read(URLENCODED, b"a=erika"))


# -- however it is cut


NAMES = st.text("abcxyz_[]-\xfc\u20ac", min_size=1, max_size=12)
VALUES = st.text(st.characters(exclude_categories=["Cs", "Cc", "Co", "Cn"]), max_size=40)


@given(st.lists(st.tuples(NAMES, VALUES), max_size=8), st.integers(1, 400), st.booleans())
def test_any_form_is_read_back_however_its_body_was_cut(form: list[tuple[str, str]], size: int, is_multipart: bool):
    if is_multipart:
        found = read(MULTIPART, multipart(*form), size=size)
    else:
        found = read(URLENCODED, urlencoded(*form), size=size)
    assert [tuple(field) for field in found.fields] == form


@given(
    st.one_of(
        st.binary(max_size=300),
        st.lists(
            st.sampled_from(
                [b"--", BOUNDARY.encode(), b"\r\n", b"\r", b"\n", b"-", b"x", b"Content-Disposition: form-data; name=a",
                 b"; filename=b", b":", b"\0", b"a=1&", b"{", b"}", b'"']
            )
        ).map(b"".join),
    ),
    st.sampled_from([MULTIPART, URLENCODED, "application/json", "text/plain"]),
    st.integers(1, 50),
)  # fmt: skip
def test_whatever_comes_is_read_or_given_up_and_the_cuts_do_not_matter(body: bytes, content_type: str, size: int):
    def outcome(size: int) -> tuple:
        try:
            found = read(content_type, body, size=size)
        except Unreadable as error:
            return (error.reason,)
        return found.fields, found.files

    assert outcome(size) == outcome(1 << 30)
