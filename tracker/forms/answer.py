"""What the site answered to a submission, as facts: status, where it leads, whether the form is there again.

Knows responses. Knows nothing of what the facts mean (`verdict` does), and keeps none of the answer's text.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from tracker.forms.encodings import Plain, Unpacker, unpacker_for
from tracker.forms.page import UNTOLD, read_page
from tracker.model import FormAnswer
from tracker.settings import Json, Success, Text

_MAX_LOCATION = 2048


class Answered(Protocol):
    """What is read of an exchange: the status the visitor got, and the answer's fields, once they are there."""

    status: int
    response_fields: tuple[tuple[bytes, bytes], ...]


class AnswerCapture:
    """The answer to one submission. `exchange` is read when the answer's first bytes come, not before.

    `max_bytes` bounds what is kept of it, unpacked.
    """

    __slots__ = ("_body", "_exchange", "_field_names", "_max_bytes", "_path", "_success", "_truncated", "_unpacker")

    def __init__(
        self, exchange: Answered, *, path: str, field_names: Sequence[str], success: Success | None, max_bytes: int
    ) -> None:
        self._exchange = exchange
        self._path = path
        self._field_names = tuple(field_names)
        self._success = success
        self._max_bytes = max_bytes
        self._unpacker: Unpacker | None = None
        self._body = bytearray()
        self._truncated = False

    def feed(self, chunk: bytes) -> bool:
        """The next bytes of the answer's body. Always True: even unread, the answer is to be told when it is whole."""
        if self._unpacker is None:
            self._unpacker = self._begun()
        if self._truncated:
            return True
        # One more than is kept tells a longer body from one that just fits.
        self._body += self._unpacker.unpack(chunk, self._max_bytes + 1 - len(self._body))
        if len(self._body) > self._max_bytes:
            del self._body[self._max_bytes :]
            self._truncated = True
        elif not self._unpacker.is_whole:
            self._truncated = True
        return True

    def _begun(self) -> Unpacker:
        if not _is_text(_field(self._exchange, b"content-type")):
            self._truncated = True
            return Plain()
        unpacker = unpacker_for(_field(self._exchange, b"content-encoding"))
        self._truncated = unpacker is None
        return unpacker or Plain()

    def read(self) -> FormAnswer:
        """The facts. Called once, when the answer is whole."""
        content_type = _field(self._exchange, b"content-type")
        location = _field(self._exchange, b"location")
        answer = FormAnswer(
            status=self._exchange.status,
            content_type=content_type.decode("latin-1")[:100],
            location=location[:_MAX_LOCATION].decode("utf-8", "backslashreplace") if location else None,
            truncated=self._truncated,
        )
        body, self._body = bytes(self._body), bytearray()
        text = body.decode(_charset(content_type, body), "replace")
        start = text.lstrip("\ufeff \t\r\n")[:1]
        if b"json" in content_type.lower() or start in ("{", "[") or text.strip() in ("0", "-1"):
            answer.json_ok = None if self._truncated else _json_ok(body, self._success)
        elif _is_html(content_type) and not 300 <= answer.status < 400:
            reading = read_page(text, path=self._path, field_names=self._field_names) if text else UNTOLD
            # Not in the part that was read: that tells nothing of the rest.
            is_untold = self._truncated and reading.form_again is False
            answer.form_again = None if is_untold else reading.form_again
            answer.errors = reading.errors
        if isinstance(self._success, Text):
            found = _contains(text, self._success.contains)
            answer.text_found = None if self._truncated and not found else found
        return answer


def _field(exchange: Answered, name: bytes) -> bytes:
    return next((value for key, value in exchange.response_fields if key.lower() == name), b"")


def _is_text(content_type: bytes) -> bool:
    lowered = content_type.lstrip()[:80].lower()
    return not lowered or lowered.startswith(b"text/") or b"json" in lowered or b"xml" in lowered


def _is_html(content_type: bytes) -> bool:
    return content_type.lstrip()[:40].lower().startswith((b"text/html", b"application/xhtml+xml"))


# -- charset

_named_charset = re.compile(rb"charset\s*=\s*[\"']?([A-Za-z0-9_-]{1,20})", re.IGNORECASE).search
_CODECS = {
    "utf-8", "utf8", "iso-8859-2", "iso-8859-15", "windows-1250", "windows-1251", "windows-1252", "koi8-r",
}  # fmt: skip


def _charset(content_type: bytes, body: bytes) -> str:
    """The codec of the body: as the header says, else as the page's head says, else UTF-8."""
    # WHATWG HTML section 13.2.3.2 looks through the first 1024 bytes.
    found = _named_charset(content_type) or _named_charset(body[:1024])
    name = found[1].decode("ascii").lower() if found else "utf-8"
    if name in ("iso-8859-1", "latin1", "us-ascii", "ascii"):
        return "windows-1252"  # WHATWG encoding section 4.2
    return name if name in _CODECS else "utf-8"


# -- text


def _contains(text: str, wanted: str) -> bool:
    wanted = " ".join(wanted.split())
    return wanted in " ".join(text.split()) or wanted in " ".join(html.unescape(text).split())


# -- JSON

_decode = msgspec.json.Decoder().decode
_MISSING = object()

# Words of engines for how it went. Contact Form 7's `mail_failed` is in neither: the form was good, its mail is lost.
_YES = {"success", "successful", "ok", "sent", "mail_sent", "created", "accepted", "done", "true", "valid"}
_NO = {
    "error", "errors", "fail", "failed", "failure", "invalid", "validation_failed", "validation_error",
    "acceptance_missing", "spam", "aborted", "rejected", "denied", "false",
}  # fmt: skip


def _json_ok(body: bytes, success: Success | None) -> bool | None:
    try:
        value = _decode(body.removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.DecodeError, RecursionError, ValueError):
        return None
    if isinstance(success, Json):
        return _matches(_at(value, success.field), success.value)
    if type(value) is int and value in (0, -1):
        return False  # what WordPress's admin-ajax.php says when nobody took the request, or a nonce was stale
    if not isinstance(value, dict):
        return None
    said = {_said(value)}
    if isinstance(value.get("data"), dict):
        said.add(_said(value["data"]))
    return False if False in said else True if True in said else None


def _said(value: dict[Any, Any]) -> bool | None:
    """What one object says of itself: a refusal weighs more than a success."""
    if value.get("errors") or value.get("error") or value.get("invalid_fields"):
        return False
    words = [value[key] for key in ("success", "ok", "status", "result", "valid") if key in value]
    told = {_yes_or_no(word) for word in words}
    if False in told:
        return False
    return True if True in told or value.get("errors", _MISSING) in ([], {}) else None


def _yes_or_no(word: Any) -> bool | None:
    if isinstance(word, bool):
        return word
    if isinstance(word, int):
        return True if word == 1 or 200 <= word < 300 else False if word == 0 or 400 <= word < 600 else None
    if isinstance(word, str):
        return True if word.lower() in _YES else False if word.lower() in _NO else None
    return None


def _at(value: Any, path: str) -> Any:
    for part in path.split("."):
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            return _MISSING
    return value


def _matches(value: Any, wanted: str | bool | int) -> bool:
    if isinstance(value, bool) or isinstance(wanted, bool):
        return str(value).lower() == str(wanted).lower()
    return value is not _MISSING and str(value) == str(wanted)
