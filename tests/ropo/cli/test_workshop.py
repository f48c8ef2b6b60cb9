from __future__ import annotations

import os
from pathlib import Path

import pytest

from ropo.cli import workshop


def test_what_is_made_has_its_name_when_it_is_whole(tmp_path: Path):
    target = tmp_path / "x.csv"
    with workshop.beside(target) as shop:
        (shop / "x.csv").write_text("new")
        assert not target.exists()
        workshop.put(shop / "x.csv", target, aside=shop / "before")
    assert target.read_text() == "new"
    assert os.listdir(tmp_path) == ["x.csv"]


def test_what_fails_leaves_nothing_and_takes_nothing(tmp_path: Path):
    target = tmp_path / "x.csv"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError), workshop.beside(target) as shop:
        (shop / "x.csv").write_text("half")
        raise ZeroDivisionError
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["x.csv"]


def test_a_folder_takes_the_place_of_a_folder_whole(tmp_path: Path):
    target = tmp_path / "export"
    target.mkdir()
    (target / "old").write_text("old")
    with workshop.beside(target) as shop:
        made = shop / "export"
        (made / "day=1").mkdir(parents=True)
        (made / "day=1" / "new").write_text("new")
        workshop.put(made, target, aside=shop / "before")
    assert [path.name for path in target.rglob("*")] == ["day=1", "new"]
    assert os.listdir(tmp_path) == ["export"]
