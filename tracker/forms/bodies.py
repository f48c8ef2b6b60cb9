"""A form's body becomes names and values: urlencoded, multipart, or JSON, with hard limits.

Knows the three formats and how browsers and scripts bend them. Knows nothing of what a name means, and keeps nothing
of files but their number. Whatever the limits or the format forbid is `Unreadable`, with a reason; the body itself
passes to the site untouched either way.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol
from urllib.parse import unquote_to_bytes

import msgspec
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

# More fields than any form a person fills in; a body of 10,000 is an attack on whoever reads it.
MAX_FIELDS = 1000
MAX_DEPTH = 16
MAX_NAME_CHARS = 500

# Files are not kept, only stepped over; a form with this many times the limit on text is an upload, not an enquiry.
FILES_FACTOR = 32

# The multipart parser is handed blocks of this size, however the network cut the body: what it reads then depends on
# the body alone.
BLOCK_BYTES = 65_536

# It logs a warning for each malformed body. Anybody can send one; here it is counted instead.
logging.getLogger("python_multipart").setLevel(logging.ERROR)


class Unreadable(Exception):
    """This body is not looked at further. `reason` is one of the keys of `tracker.forms.capture.REASONS`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class FormField(NamedTuple):
    """A name and a value as sent, decoded; control characters are gone, lines end with a single newline."""

    name: str
    value: str


@dataclass(frozen=True)
class Body:
    """What a form sent: its fields in order, repeated names included, and how many files came along."""

    fields: tuple[FormField, ...] = field(repr=False)
    files: int = 0


class BodyReader(Protocol):
    """Both methods raise `Unreadable`."""

    def feed(self, chunk: bytes) -> None: ...

    def body(self) -> Body:
        """What was read. Called once, when the body is whole."""


def reader_for(content_type: bytes, *, max_bytes: int) -> BodyReader | None:
    """A reader for a body of this Content-Type; None if forms do not come in it.

    `max_bytes` bounds what is kept in memory: all of a body, or all text of a multipart one. Raises Unreadable.
    """
    media_type, parameters = parse_options_header(content_type[:1000])
    if media_type == b"application/x-www-form-urlencoded":
        return _WholeReader(_read_urlencoded, parameters.get(b"charset", b""), max_bytes)
    if media_type == b"multipart/form-data":
        boundary = parameters.get(b"boundary", b"")
        # RFC 2046 section 5.1.1: 1 to 70 characters.
        if not 1 <= len(boundary) <= 70:
            raise Unreadable("unparsable")
        return _MultipartReader(boundary, max_bytes)
    if media_type == b"application/json" or media_type.endswith(b"+json"):
        return _WholeReader(_read_json, b"", max_bytes)
    if media_type == b"text/plain":
        # fetch() and sendBeacon() call a string text/plain (WHATWG fetch, "extract a body").
        return _WholeReader(_read_plain, b"", max_bytes)
    return None


class _WholeReader:
    def __init__(self, read: Any, charset: bytes, max_bytes: int) -> None:
        self._read = read
        self._charset = charset
        self._max_bytes = max_bytes
        self._chunks: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> None:
        self._size += len(chunk)
        if self._size > self._max_bytes:
            self._chunks.clear()
            raise Unreadable("too_large")
        self._chunks.append(chunk)

    def body(self) -> Body:
        return Body(tuple(self._read(b"".join(self._chunks), self._charset)))


# -- urlencoded (WHATWG URL section 5.1)


def _read_urlencoded(raw: bytes, charset: bytes) -> list[FormField]:
    if raw.lstrip()[:1] in (b"{", b"["):
        # jQuery.ajax sends a JSON string under its default type, and sites read it.
        try:
            return _read_json(raw, charset)
        except Unreadable as error:
            if error.reason != "unparsable":
                raise
    if raw.count(b"&") >= MAX_FIELDS:
        raise Unreadable("too_many_fields")
    fields = []
    for pair in raw.split(b"&"):
        name, divider, value = pair.partition(b"=")
        if _controls_in(name):
            # No browser leaves these bare. It is some other format under a wrong name, and its text would be taken
            # for the names of fields, which are stored.
            raise Unreadable("unparsable")
        if divider:
            fields.append(_field(_percent_decoded(name), _percent_decoded(value), charset))
    if not fields and raw.strip():
        raise Unreadable("unparsable")
    return fields


_controls_in = re.compile(rb"[\x00-\x1f]").search


def _percent_decoded(raw: bytes) -> bytes:
    return unquote_to_bytes(raw.replace(b"+", b" "))


# -- JSON (RFC 8259)

_decode_json = msgspec.json.Decoder().decode


def _read_plain(raw: bytes, charset: bytes) -> list[FormField]:
    if raw.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] not in (b"{", b"["):
        raise Unreadable("not_a_form")
    return _read_json(raw, charset)


def _read_json(raw: bytes, _: bytes) -> list[FormField]:
    try:
        value = _decode_json(raw.removeprefix(b"\xef\xbb\xbf"))
    except RecursionError:
        raise Unreadable("too_deep") from None
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError):
        raise Unreadable("unparsable") from None
    if not isinstance(value, dict | list):
        raise Unreadable("not_a_form")
    fields: list[FormField] = []
    _flatten(value, "", 0, fields)
    return fields


def _flatten(value: Any, name: str, depth: int, fields: list[FormField]) -> None:
    """Objects become nested names as HTML forms write them: {"a": {"b": 1}} is `a[b]`."""
    if depth > MAX_DEPTH:
        raise Unreadable("too_deep")
    if isinstance(value, dict):
        for key, inner in value.items():
            key = str(key)[:MAX_NAME_CHARS]
            _flatten(inner, f"{name}[{key}]"[:MAX_NAME_CHARS] if name else key, depth + 1, fields)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            if isinstance(inner, dict):
                if isinstance(inner.get("name"), str) and not isinstance(inner.get("value"), dict | list):
                    # How HubSpot and jQuery.serializeArray write a form: [{"name": "email", "value": "..."}]
                    _flatten(inner.get("value"), inner["name"], depth + 1, fields)
                else:
                    _flatten(inner, f"{name}[{number}]" if name else str(number), depth + 1, fields)
            else:
                _flatten(inner, f"{name}[]", depth + 1, fields)
    elif value is not None:
        if len(fields) >= MAX_FIELDS:
            raise Unreadable("too_many_fields")
        try:
            text = str(value).lower() if isinstance(value, bool) else str(value)
        except ValueError:  # an integer of more digits than Python writes out
            raise Unreadable("unparsable") from None
        fields.append(FormField(_clean_name(name), _clean_value(text)))


# -- multipart (RFC 7578)


class _MultipartReader:
    def __init__(self, boundary: bytes, max_bytes: int) -> None:
        self._max_kept = max_bytes
        self._max_seen = max_bytes * FILES_FACTOR
        self._kept = 0
        self._seen = 0
        self._block = bytearray()
        self._fields: list[FormField] = []
        self._parts = 0
        self._files = 0
        self._ended = False
        self._begin_part()
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin_part,
                "on_header_field": self._header_name,
                "on_header_value": self._header_value,
                "on_header_end": self._header_end,
                "on_headers_finished": self._headers_end,
                "on_part_data": self._part_data,
                "on_part_end": self._end_part,
                "on_end": self._end,
            },
        )

    def feed(self, chunk: bytes) -> None:
        self._seen += len(chunk)
        if self._seen > self._max_seen:
            raise Unreadable("too_large")
        self._block += chunk
        while len(self._block) >= BLOCK_BYTES:
            self._write(bytes(self._block[:BLOCK_BYTES]))
            del self._block[:BLOCK_BYTES]

    def body(self) -> Body:
        self._write(bytes(self._block))
        if not self._ended:
            raise Unreadable("unparsable")
        return Body(tuple(self._fields), self._files)

    def _write(self, block: bytes) -> None:
        try:
            self._parser.write(block)
        except FormParserError:
            raise Unreadable("unparsable") from None

    def _keep(self, into: bytearray, data: bytes, start: int, end: int) -> None:
        self._kept += end - start
        if self._kept > self._max_kept:
            raise Unreadable("too_large")
        into += data[start:end]

    def _begin_part(self) -> None:
        self._name = b""
        self._charset = b""
        self._is_file = False
        self._is_named_file = False
        self._data = bytearray()
        self._header = bytearray(), bytearray()

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._keep(self._header[0], data, start, end)

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._keep(self._header[1], data, start, end)

    def _header_end(self) -> None:
        name, value = bytes(self._header[0]).lower(), bytes(self._header[1])
        self._header = bytearray(), bytearray()
        if name == b"content-disposition":
            _, parameters = parse_options_header(value[:4096])
            self._name = parameters.get(b"name", b"")
            self._is_named_file = bool(parameters.get(b"filename"))
            # Also `filename*`, which RFC 7578 section 4.2 forbids: what might be a file is not text.
            self._is_file = self._is_file or b"filename" in value.lower()
        elif name == b"content-type":
            media_type, parameters = parse_options_header(value[:4096])
            self._charset = parameters.get(b"charset", b"")
            self._is_file = self._is_file or not media_type.startswith((b"text/", b"application/json"))

    def _headers_end(self) -> None:
        self._parts += 1
        if self._parts > MAX_FIELDS:
            raise Unreadable("too_many_fields")

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if not self._is_file:
            self._keep(self._data, data, start, end)
        elif end > start:
            self._is_named_file = True

    def _end_part(self) -> None:
        if self._is_file:
            # An empty file input is sent as a file without name and content.
            self._files += self._is_named_file
        elif self._name:
            self._fields.append(_field(self._name, bytes(self._data), self._charset))

    def _end(self) -> None:
        self._ended = True


# -- text

# What pages in the wild are written in; other names of codecs are nothing a stranger should choose from.
_CHARSETS = {"utf-8", "iso-8859-1", "iso-8859-2", "iso-8859-15", "windows-1250", "windows-1251", "windows-1252"}

_controls = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff]")


def _field(name: bytes, value: bytes, charset: bytes) -> FormField:
    return FormField(_clean_name(_decoded(name, charset)), _clean_value(_decoded(value, charset)))


def _decoded(raw: bytes, charset: bytes) -> str:
    """Text in UTF-8 if it is that, else in the charset named, else as browsers read old pages: Windows-1252."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        named = charset.decode("latin-1").lower()
        # WHATWG encoding section 4.2: what is labelled iso-8859-1 is Windows-1252.
        codec = named if named in _CHARSETS - {"utf-8", "iso-8859-1"} else "windows-1252"
        return raw.decode(codec, "replace")


def _clean_name(name: str) -> str:
    return " ".join(_controls.sub("", name[:MAX_NAME_CHARS]).split())


def _clean_value(value: str) -> str:
    return _controls.sub("", value.replace("\r\n", "\n").replace("\r", "\n"))
