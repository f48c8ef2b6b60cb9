from pathlib import Path

import pytest

from dashboard.reader.files import of_door, read_by
from dashboard.reader.problem import Refused
from storage.layout import Layout
from tests.support.logs import a_visit, layout_of, write_log


def test_the_door_itself_says_what_it_reads(tmp_path):
    layout = layout_of(tmp_path)
    write_log(layout, a_visit())
    files, folders = of_door(layout.log_db)
    assert files == [str(layout.hot_db), f"{layout.hot_db}.wal"]
    tables = {folder.rpartition("/")[2] for folder in folders}
    assert {"events", "lead_facts", "spool_files"} <= tables
    assert all(Path(folder).resolve().parent == layout.cold for folder in folders)


def test_names_with_the_signs_of_patterns_and_quotes_are_there_as_both_call_them():
    files, folders = read_by(
        [
            "select * from read_duckdb('/a''b/h.duckdb', table_name = 'x')",
            "from read_parquet('/a[[]1]/cold/events/**/*.parquet')",
        ]
    )
    assert files == ["/a'b/h.duckdb", "/a'b/h.duckdb.wal"]
    assert folders == ["/a[1]/cold/events", "/a[[]1]/cold/events"]


@pytest.mark.parametrize("content", [None, b"", b"no database"])
def test_no_door_is_told_as_no_log(tmp_path, content):
    layout = Layout(tmp_path)
    if content is not None:
        layout.log_db.write_bytes(content)
    with pytest.raises(Refused) as caught:
        of_door(layout.log_db)
    assert (caught.value.problem.status, caught.value.problem.kind) == (503, "log")
