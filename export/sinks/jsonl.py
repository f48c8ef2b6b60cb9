"""The sink `jsonl`: a file with the lead document on one line. Knows JSON, and nothing of the lead's parts."""

from __future__ import annotations

from typing import Any

import msgspec

from export.drop_folder import DropFolder
from export.file_sink import FileSink
from export.settings import JsonlSettings

# JSON allows these inside a text, yet some readers end a line at them. They can stand nowhere else, so escaping them
# in the finished line is safe.
_LINE_ENDS = {"\x85": "\\u0085", "\u2028": "\\u2028", "\u2029": "\\u2029"}


class JsonlSink(FileSink):
    ending = "jsonl"

    def __init__(self, settings: JsonlSettings, **drop: Any) -> None:
        """`drop`: further arguments of `DropFolder`, for tests."""
        super().__init__(settings.name, DropFolder(settings.folder, create=settings.create_folder, **drop))

    def content_of(self, document: dict[str, Any]) -> bytes:
        line = msgspec.json.encode(document)
        for character, escape in _LINE_ENDS.items():
            line = line.replace(character.encode(), escape.encode())
        return line + b"\n"
