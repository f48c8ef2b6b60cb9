from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from ropo.cli.terminal import Cells, Failure, Misuse, fit, plain, plain_lines


def shown(cells: Cells, *, width: int | None = None) -> str:
    """As a terminal of that width shows it; None is a pipe."""
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=width is not None, color_system=None)
    cells.show(console)
    return file.getvalue()


@pytest.mark.parametrize(
    "text, safe",
    [
        ("Müller & Söhne 日本", "Müller & Söhne 日本"),
        ("\x1b[2J\x07", r"\x1b[2J\x07"),
        ("a\nb\tc\r", r"a\nb\tc\r"),
        ("\u202egpj.exe", r"\u202egpj.exe"),
        ("\u200b", r"\u200b"),
        ("a\u00a0b", "a b"),
        ("\U000e0041", r"\U000e0041"),
        ("\ud800", r"\ud800"),
    ],
)
def test_what_is_not_seen_is_written_as_an_escape(text: str, safe: str):
    assert plain(text) == safe


@given(st.text())
def test_nothing_but_printable_characters_reaches_a_terminal(text: str):
    assert plain(text).isprintable()
    assert all(line.isprintable() for line in plain_lines(text).split("\n"))


def test_lines_stay_lines_where_they_are_wanted():
    assert plain_lines("a\r\nb\rc\x1b") == "a\nb\nc\\x1b"


def test_a_pipe_gets_aligned_columns_whole_and_without_colour():
    cells = Cells(["name", "n"], [["a" * 300, "1"], ["日本", "10000"], [None, "2"]], right=[1])
    lines = shown(cells).splitlines()
    assert lines[1] == "a" * 300 + "  " + "    1"
    assert {cell_len(line) for line in lines} == {307}
    assert lines[3].startswith("NULL ")


def test_a_line_break_in_a_cell_does_not_break_the_table():
    assert shown(Cells(["a"], [["x\ny"]])).splitlines() == ["a", r"x\ny"]


def test_a_terminal_narrows_the_widest_column_and_leaves_the_others_whole():
    cells = Cells(["id", "text"], [["0199d3a2-5c1e", "word " * 30]], whole=[0], least=20)
    lines = shown(cells, width=60).splitlines()
    assert "0199d3a2-5c1e  word word" in lines[1]
    assert all(cell_len(line) <= 60 for line in lines)
    assert "".join(lines).count("word") == 30


def test_more_columns_than_the_terminal_has_room_for_are_shown_row_by_row():
    cells = Cells([f"column_{i}" for i in range(20)], [[f"value {i}" for i in range(20)], [None] * 20])
    lines = [line.rstrip() for line in shown(cells, width=40).splitlines()]
    assert lines[0] == "row 1"
    assert "column_19  value 19" in lines
    assert "row 2" in lines and lines[-1] == "column_19  NULL"


def test_no_rows_are_a_header():
    assert shown(Cells(["a", "b"], [])) == "a  b\n"
    assert shown(Cells(["a", "b"], []), width=40).split() == ["a", "b"]


def test_markup_of_rich_is_text():
    assert "[bold]x[/bold] :smile:" in shown(Cells(["a"], [["[bold]x[/bold] :smile:"]]), width=80)


@given(st.lists(st.tuples(st.integers(1, 200), st.integers(1, 40)), min_size=1, max_size=12), st.integers(1, 300))
def test_widths_fit_the_room_and_are_neither_below_least_nor_above_natural(columns: list[tuple[int, int]], room: int):
    natural = [width for width, _ in columns]
    least = [min(pair) for pair in columns]
    widths = fit(natural, least, room)
    if widths is None:
        assert sum(least) > room
    else:
        assert sum(widths) <= room or widths == least
        assert all(low <= width <= high for low, width, high in zip(least, widths, natural, strict=True))
        assert widths == natural or sum(widths) == room


def test_errors_have_their_exit_codes():
    assert (Failure("x").exit_code, Misuse("x").exit_code) == (1, 2)
