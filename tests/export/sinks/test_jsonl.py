import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from export.settings import JsonlSettings
from export.sinks.jsonl import JsonlSink
from tests.export.exam import Exam
from tests.export.file_bench import FileBench
from tests.export.leads import lead, message
from tests.support.exports import jsonl_leads


class JsonlBench(FileBench):
    def make(self, **drop: Any) -> JsonlSink:
        return JsonlSink(JsonlSettings(name="erp", folder=str(self.folder)), **drop)

    def read(self, path: Path) -> tuple[str, dict[str, Any]]:
        (line,) = path.read_text(encoding="utf-8").splitlines()
        document = json.loads(line)
        return document["lead_id"], document["contact"]


class TestJsonl(Exam):
    @pytest.fixture
    def bench(self, tmp_path):
        bench = JsonlBench(tmp_path / "in")
        yield bench
        bench.free.set()


def content(document: dict[str, Any]) -> bytes:
    return JsonlSink(JsonlSettings(name="erp", folder="/in")).content_of(document)


def test_the_line_is_the_lead_document_and_nothing_else():
    line = content(lead(1))
    assert json.loads(line) == lead(1)
    assert list(json.loads(line)) == list(lead(1))
    assert not line.startswith(b"\xef\xbb\xbf")


@given(st.text(st.characters(codec="utf-8")))
def test_whatever_a_visitor_writes_it_stays_one_line_for_every_reader(text):
    line = content(lead(1, contact={"message": text}))
    assert json.loads(line)["contact"]["message"] == text
    assert line.endswith(b"}\n")
    assert len(line.splitlines()) == 1
    assert len(line.decode().splitlines()) == 1


async def test_a_lead_lies_in_the_folder_as_others_read_it(tmp_path):
    sink = JsonlSink(JsonlSettings(name="erp", folder=str(tmp_path)))
    outcome = await sink.deliver(message(lead(7)))
    await sink.close()
    assert outcome.remote_ref == f"lead-20261122T100000Z-{lead(7)['lead_id']}.jsonl"
    assert jsonl_leads(tmp_path) == [lead(7)]
