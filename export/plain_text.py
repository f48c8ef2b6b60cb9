"""Text from outside made fit for its next place. Pure; knows characters, and nothing of where the text came from."""

from __future__ import annotations

import re
from typing import Any

# C0 and C1 control characters except tab, line feed and carriage return: no importer expects them, some stop at NUL.
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_BREAKS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_SURROGATES = re.compile("[\ud800-\udfff]")

MAX_REASON_CHARS = 200


def encodable(value: Any) -> Any:
    """JSON data in which every text can be encoded.

    A form sent as JSON may hold half a surrogate pair; no UTF-8 encoder takes that. It becomes U+FFFD.
    """
    if isinstance(value, str):
        return _SURROGATES.sub("\ufffd", value)
    if isinstance(value, dict):
        return {encodable(key): encodable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [encodable(item) for item in value]
    return value


def without_controls(text: str) -> str:
    """The text without control characters; tabs and line breaks stay."""
    return _CONTROLS.sub("", text)


def one_line(text: str, limit: int = MAX_REASON_CHARS) -> str:
    """The text on one line and not longer than `limit` characters: for a log, a table, a reason."""
    text = _BREAKS.sub(" ", _SURROGATES.sub("\ufffd", text)).strip()
    return text if len(text) <= limit else text[: limit - 1] + "…"
