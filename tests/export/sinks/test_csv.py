import csv
import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from export.lead import LEAD_FIELDS
from export.plain_text import without_controls
from export.settings import CsvSettings
from export.sinks.csv import COLUMNS, CsvSink, row_of
from tests.export.exam import Exam
from tests.export.file_bench import FileBench
from tests.export.leads import lead, message
from tests.support.exports import csv_leads

MANUAL = (Path(__file__).parents[3] / "docs" / "sinks.md").read_text(encoding="utf-8")


class CsvBench(FileBench):
    def make(self, **drop: Any) -> CsvSink:
        return CsvSink(CsvSettings(name="erp", folder=str(self.folder)), **drop)

    def read(self, path: Path) -> tuple[str, dict[str, Any]]:
        with path.open(encoding="utf-8", newline="") as file:
            (row,) = csv.DictReader(file, delimiter=";")
        return row["lead_id"], {field: row[field] for field in LEAD_FIELDS}

    def as_read(self, text: str) -> str:
        return without_controls(text)


class TestCsv(Exam):
    @pytest.fixture
    def bench(self, tmp_path):
        bench = CsvBench(tmp_path / "in")
        yield bench
        bench.free.set()


def content(document: dict[str, Any], **settings: Any) -> str:
    sink = CsvSink(CsvSettings(name="erp", folder="/in", **settings))
    encoding = settings.get("encoding", "utf-8")
    return sink.content_of(document).decode(encoding)


def rows(text: str, delimiter: str = ";") -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))


def test_a_row_holds_the_lead_by_column():
    example = lead(1)
    cells = dict(zip(COLUMNS, row_of(example), strict=True))
    assert {field: cells.pop(field) for field in LEAD_FIELDS} == example["contact"]
    assert cells == {
        "lead_id": example["lead_id"],
        "occurred_at": "2026-11-22T10:00:00.000000Z",
        "form": "contact",
        "page": "/en/contact",
        "host": "www.example.com",
        "first_touch_source": "google",
        "first_touch_medium": "cpc",
        "first_touch_campaign": "pumps-autumn",
        "first_touch_channel": "Paid Search",
        "first_touch_click_ids": "gclid=Cj0KCQiA-eXaMpLe",
        "last_touch_source": "(direct)",
        "last_touch_medium": "(none)",
        "last_touch_campaign": "",
        "last_touch_channel": "Direct",
        "last_touch_click_ids": "",
        "visits": "2",
        "page_views": "3",
        "days_to_lead": "1.78",
        "journey": (
            "Paid Search: google / cpc / pumps-autumn > /en/pumps > /files/p-200.pdf (download) > "
            "Direct: (direct) / (none) > /en/pumps/p-200 > /en/contact > /en/contact/send (form_submit)"
        ),
    }


def test_the_manual_names_every_column_outside_the_contact():
    for column in COLUMNS:
        if column not in LEAD_FIELDS and not column.startswith("last_touch_"):
            assert f"`{column}`" in MANUAL, column
    assert f"the {len(LEAD_FIELDS)} fields of" in MANUAL


def test_a_lead_without_touches_has_all_columns_and_they_are_empty():
    bare = lead(1, first_touch=None, last_touch=None, journey=[], contact={}, visits=None)
    cells = dict(zip(COLUMNS, row_of(bare), strict=True))
    assert [cells[column] for column in ("first_touch_source", "last_touch_click_ids", "visits", "journey")] == [""] * 4


def test_a_contact_cannot_pose_as_another_column():
    cells = dict(zip(COLUMNS, row_of(lead(1, contact={"lead_id": "forged", "journey": "forged"})), strict=True))
    assert "forged" not in cells.values()


def test_the_form_of_the_file_is_as_set():
    example = lead(1)
    assert content(example).splitlines(keepends=True)[0] == ";".join(f'"{c}"' for c in COLUMNS) + "\r\n"
    assert content(example, line_end="lf").splitlines(keepends=True)[0].endswith('"\n')
    assert len(rows(content(example, header=False))) == 1
    assert content(example, delimiter="\t").startswith('"lead_id"\t"occurred_at"\t')
    sink = CsvSink(CsvSettings(name="erp", folder="/in", encoding="utf-8-sig"))
    assert sink.content_of(example).startswith(b"\xef\xbb\xbf")
    assert not CsvSink(CsvSettings(name="erp", folder="/in")).content_of(example).startswith(b"\xef\xbb\xbf")


FORMULAS = ["=1+1", "+49 30", "-1", "@sum", "\t=1", "\r=1", "\n=1", "＝1", "\x00=1"]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_spreadsheet_gets_no_formula_if_so_set_and_a_machine_gets_the_text(text):
    document = lead(1, contact={"message": text})
    place = COLUMNS.index("message")
    assert rows(content(document, formulas="neutralise"))[1][place] == "'" + without_controls(text)
    assert rows(content(document))[1][place] == without_controls(text)


@pytest.mark.parametrize("text", ["a=1", "Muster GmbH", "'quoted", "1-2", ""])
def test_what_is_no_formula_is_left_alone(text):
    document = lead(1, contact={"message": text})
    assert rows(content(document, formulas="neutralise"))[1][COLUMNS.index("message")] == text


any_text = st.text(st.characters(codec="utf-8"))


@given(any_text, any_text, st.sampled_from([";", ",", "\t", "|"]), st.sampled_from(["crlf", "lf"]))
def test_any_text_comes_back_from_its_cell_and_stays_in_its_row(one, other, delimiter, line_end):
    document = lead(1, contact={"message": one, "company": other})
    read = rows(content(document, delimiter=delimiter, line_end=line_end), delimiter)
    assert len(read) == 2
    cells = dict(zip(read[0], read[1], strict=True))
    assert (cells["message"], cells["company"]) == (without_controls(one), without_controls(other))


async def test_the_stdlib_is_not_shadowed_by_the_sinks_of_the_same_name():
    import export.sinks.csv as ours

    assert hasattr(ours.csv, "QUOTE_ALL")
    assert ours is not csv


async def test_a_lead_lies_in_the_folder_as_others_read_it(tmp_path):
    sink = CsvSink(CsvSettings(name="erp", folder=str(tmp_path)))
    outcome = await sink.deliver(message(lead(7)))
    await sink.close()
    assert outcome.remote_ref == f"lead-20261122T100000Z-{lead(7)['lead_id']}.csv"
    assert [row["email"] for row in csv_leads(tmp_path)] == [lead(7)["contact"]["email"]]
