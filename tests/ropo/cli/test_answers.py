from __future__ import annotations

import io

import pytest

from ropo.cli.answers import WRITERS, Table

NAMES, TYPES = ["a", "a", "j"], ["BIGINT", "VARCHAR", "JSON"]
ROWS = [(1, 'x,"y', '{"k": 1}'), (None, "ä\n", None)]

WRITTEN = {
    "csv": 'a,a,j\n1,"x,""y","{""k"": 1}"\n,"ä\n",\n',
    "json": '[\n{"a":1,"a_1":"x,\\"y","j":{"k": 1}},\n{"a":null,"a_1":"ä\\n","j":null}\n]\n',
    "ndjson": '{"a":1,"a_1":"x,\\"y","j":{"k": 1}}\n{"a":null,"a_1":"ä\\n","j":null}\n',
}
EMPTY = {"csv": "a,a,j\n", "json": "[]\n", "ndjson": ""}


@pytest.mark.parametrize("form", WRITERS)
def test_rows_are_written_in_each_form(form: str):
    for rows, wanted in ((ROWS, WRITTEN[form]), ([], EMPTY[form])):
        to = io.StringIO()
        WRITERS[form](to, NAMES, TYPES, rows)
        assert to.getvalue() == wanted


def test_a_table_keeps_some_rows_and_counts_all():
    table = Table.of(["n"], ((n,) for n in range(1234)), 3)
    assert table.rows == [(0,), (1,), (2,)]
    assert table.note() == "1,234 rows in 0.000 s, the first 3 shown (--max-rows 0 shows all)"
    assert Table.of(["n"], [(1,)], None).note() == "1 row in 0.000 s"
