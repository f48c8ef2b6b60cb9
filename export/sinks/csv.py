"""The sink `csv`: a file with one row for each lead. Knows columns, quoting and spreadsheets.

The columns are always the same and always all there: an importer is set up once.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from export.drop_folder import DropFolder
from export.file_sink import FileSink
from export.lead import LEAD_FIELDS, journey_text
from export.plain_text import without_controls
from export.settings import CsvSettings

TOUCHES = ("first_touch", "last_touch")
TOUCH_COLUMNS = ("source", "medium", "campaign", "channel", "click_ids")
COLUMNS = (
    "lead_id",
    "occurred_at",
    *LEAD_FIELDS,
    "form",
    "page",
    "host",
    *(f"{touch}_{column}" for touch in TOUCHES for column in TOUCH_COLUMNS),
    "visits",
    "page_views",
    "days_to_lead",
    "journey",
)

_LINE_ENDS = {"crlf": "\r\n", "lf": "\n"}
# https://owasp.org/www-community/attacks/CSV_Injection: what a spreadsheet takes for the start of a formula, the
# full-width forms included.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


class CsvSink(FileSink):
    ending = "csv"

    def __init__(self, settings: CsvSettings, **drop: Any) -> None:
        """`drop`: further arguments of `DropFolder`, for tests."""
        super().__init__(settings.name, DropFolder(settings.folder, create=settings.create_folder, **drop))
        self._settings = settings

    def content_of(self, document: Mapping[str, Any]) -> bytes:
        settings = self._settings
        text = io.StringIO()
        # Every cell is quoted: a carriage return or a line separator inside is then a matter of course.
        writer = csv.writer(
            text, delimiter=settings.delimiter, lineterminator=_LINE_ENDS[settings.line_end], quoting=csv.QUOTE_ALL
        )
        if settings.header:
            writer.writerow(COLUMNS)
        finish = _neutral if settings.formulas == "neutralise" else without_controls
        writer.writerow(row_of(document, finish))
        return text.getvalue().encode(settings.encoding)


def row_of(document: Mapping[str, Any], finish: Callable[[str], str] = without_controls) -> list[str]:
    """The cells in the order of `COLUMNS`; what is not known is empty. `finish` is given each text."""
    cells = dict(_cells(document))
    return [finish(_text(cells.get(column))) for column in COLUMNS]


def _cells(document: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for column in ("lead_id", "occurred_at", "form", "page", "host", "visits", "page_views", "days_to_lead"):
        yield column, document.get(column)
    contact = document.get("contact") or {}
    for field in LEAD_FIELDS:
        yield field, contact.get(field)
    for touch in TOUCHES:
        for column, value in (document.get(touch) or {}).items():
            yield f"{touch}_{column}", value
    yield "journey", journey_text(document)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return " ".join(f"{name}={item}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return str(value)


def _neutral(text: str) -> str:
    text = without_controls(text)
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text
