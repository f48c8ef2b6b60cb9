import csv
import io
import json
import math

import duckdb
import pytest

from dashboard.reader.formats import Csv, Json, Lines, cell, distinct, form_of, wanted
from dashboard.reader.problem import Problem

BROKEN = Problem(504, "time_limit", "too late")


def answered(form, sql):
    with duckdb.connect() as con:
        con.execute("set timezone = 'UTC'")
        result = con.execute(sql)
        columns = [(column[0], str(column[1])) for column in result.description]
        octets = [form.begin(columns)]
        count = 0
        while rows := result.fetchmany(2):
            octets.append(form.rows(rows))
            count += len(rows)
        return b"".join([*octets, form.end(count)])


@pytest.mark.parametrize(
    ("accept", "name", "form"),
    [
        ("", None, "json"),
        ("*/*", None, "json"),
        ("application/json", None, "json"),
        ("text/csv", None, "csv"),
        ("text/csv;q=0.5, application/json;q=0.4", None, "csv"),
        ("text/html, application/xhtml+xml, */*;q=0.8", None, "json"),
        ("application/x-ndjson", None, "ndjson"),
        ("application/jsonl", None, "ndjson"),
        ("Application/Vnd.Apache.Arrow.Stream", None, "arrow"),
        ("text/csv;q=0", None, None),
        ("image/png", None, None),
        ("text/csv;q=often, application/json", None, "json"),
        ("image/png", "csv", "csv"),
        ("text/csv", "xml", None),
    ],
)
def test_the_form_is_what_was_asked_for(accept, name, form):
    assert wanted(accept, name) == form


VALUES = """
select 9223372036854775807 as big, 170141183460469231731687303715884105727::hugeint as huge, 1.10::decimal(9, 2) as money,
  'nan'::double as nan, true as yes, null as nothing, 'ü"\n,' as text, date '2026-11-22' as day,
  timestamptz '2026-11-22 10:00:00.5+00' as moment, timestamp '2026-11-22 10:00:00' as local, time '01:02:03' as clock,
  interval 1 day as span, '019a8a00-0000-7000-8000-000000000001'::uuid as id, 'ab'::blob as octets, [1, null] as list,
  {'a': [{'b': 'x'}]} as nested, map {'k': 1} as map, '{"a":1}'::json as json, 'x'::enum('x') as word
"""


def test_every_type_has_its_json():
    told = json.loads(answered(Json(), VALUES), parse_float=str)
    row = dict(zip([column["name"] for column in told["columns"]], told["rows"][0], strict=True))
    assert row == {
        "big": 2**63 - 1, "huge": 2**127 - 1, "money": "1.10", "nan": None, "yes": True, "nothing": None, "text": 'ü"\n,',
        "day": "2026-11-22", "moment": "2026-11-22T10:00:00.500000Z", "local": "2026-11-22T10:00:00", "clock": "01:02:03",
        "span": "P1D", "id": "019a8a00-0000-7000-8000-000000000001", "octets": "YWI=", "list": [1, None],
        "nested": {"a": [{"b": "x"}]}, "map": {"k": 1}, "json": '{"a":1}', "word": "x",
    }  # fmt: skip
    assert {"name": "money", "type": "DECIMAL(9,2)"} in told["columns"]
    assert told["row_count"] == 1


def test_every_type_has_its_cell():
    head, row = csv.reader(io.StringIO(answered(Csv(), VALUES).decode(), newline=""))
    assert dict(zip(head, row, strict=True)) | {"nan": ""} == {
        "big": str(2**63 - 1), "huge": str(2**127 - 1), "money": "1.10", "nan": "", "yes": "true", "nothing": "",
        "text": 'ü"\n,', "day": "2026-11-22", "moment": "2026-11-22T10:00:00.500000Z", "local": "2026-11-22T10:00:00",
        "clock": "01:02:03", "span": "P1D", "id": "019a8a00-0000-7000-8000-000000000001", "octets": "YWI=",
        "list": "[1,null]", "nested": '{"a":[{"b":"x"}]}', "map": '{"k":1}', "json": '{"a":1}', "word": "x",
    }  # fmt: skip


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_each_form_has_every_row_once(count):
    sql = f"select range as n, 'x' as t from range({count}) order by 1"
    assert json.loads(answered(Json(), sql))["rows"] == [[n, "x"] for n in range(count)]
    lines = answered(Lines(), sql).decode().splitlines()
    assert [json.loads(line) for line in lines] == [{"n": n, "t": "x"} for n in range(count)]
    assert answered(Csv(), sql).decode().splitlines() == ["n,t", *(f"{n},x" for n in range(count))]


def test_two_columns_of_one_name_both_come_as_lines():
    assert json.loads(answered(Lines(), "select 1 as a, 2 as a, 3 as a_1")) == {"a": 1, "a_2": 2, "a_1": 3}
    assert distinct(["a", "b"]) == ["a", "b"]
    assert len(set(distinct(["a", "a", "a_1", "a"]))) == 4


def test_an_answer_that_breaks_off_says_so_where_its_form_can():
    begun = Json().begin([("a", "INTEGER")])
    form = Json()
    assert (
        json.loads(form.begin([("a", "INTEGER")]) + form.rows([(1,)]) + form.broken(BROKEN))["error"]["status"] == 504
    )
    assert begun.startswith(b'{"columns"')
    assert json.loads(form_of("ndjson").broken(BROKEN))["error"]["kind"] == "time_limit"
    assert form_of("csv").broken(BROKEN) == b""


def test_a_number_that_is_none_stays_a_number_in_csv():
    assert math.isnan(cell(math.nan))
    assert cell(1.5) == 1.5
