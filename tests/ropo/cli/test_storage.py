from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from storage.lock import hold
from tests.ropo.cli.conftest import Ropo, on_terminal
from tests.support import whole_log
from tests.support.sample_log import SampleLog


@pytest.fixture
def days(tmp_path: Path) -> SampleLog:
    """A log with several days in parts."""
    layout, _ = whole_log.write(tmp_path)
    config = tmp_path / "config.yaml"
    config.write_text(
        f"proxy:\n  upstream: http://127.0.0.1:9\nstorage:\n  path: {layout.root}\n  hot_path: {layout.hot_db}\n  node: n1\n"
    )
    return SampleLog(config, layout)


def damage(log: SampleLog) -> None:
    os.truncate(log.layout.work_db, log.layout.work_db.stat().st_size // 3)


def test_a_whole_log_is_checked_and_told(ropo: Ropo, days: SampleLog) -> None:
    result = ropo("storage", "check", "--config", days.config)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines()[-1] == "The log is whole."
    told = json.loads(ropo("storage", "check", "--json", "--config", days.config).stdout)
    assert (told["ok"], told["serving"]) == (True, False)
    assert {"name", "state", "detail", "todo"} == set(told["checks"][0])


def test_what_is_wrong_ends_with_exit_code_1_and_what_to_do(ropo: Ropo, days: SampleLog) -> None:
    damage(days)
    result = ropo("storage", "check", "--config", days.config)
    assert result.exit_code == 1
    assert "`ropo storage rebuild`" in result.stdout
    told = json.loads(ropo("storage", "check", "--json", "--config", days.config).stdout)
    assert [check["name"] for check in told["checks"] if check["state"] == "failed"] == ["work.duckdb"]
    assert ropo("storage", "rebuild", "--config", days.config).exit_code == 0
    assert ropo("storage", "check", "--config", days.config).exit_code == 0


def test_beside_a_running_ropo_it_says_what_was_not_looked_at(ropo: Ropo, days: SampleLog) -> None:
    with hold(days.layout):
        result = ropo("storage", "check", "--config", days.config)
    assert result.exit_code == 0
    assert "not looked at" in result.stdout and str(days.layout.hot_db) in result.stdout


def test_a_rebuild_says_what_came_from_where(ropo: Ropo, days: SampleLog) -> None:
    before = whole_log.every_view(days.layout)
    damage(days)
    result = ropo("storage", "rebuild", "--json", "--config", days.config)
    told = json.loads(result.stdout)
    assert told["rows_in_parts"]["events"] + told["rows_taken_in"]["events"] == len(before["events"])
    assert told["files_from_archive"] > 0
    assert [Path(path).exists() for path in told["kept"]] == [True]
    again = ropo("storage", "rebuild", "--config", days.config)
    assert again.exit_code == 1 and "is whole" in again.stderr
    assert ropo("storage", "rebuild", "--anyway", "--config", days.config).exit_code == 0


def test_ropo_has_to_be_stopped_for_a_rebuild(ropo: Ropo, days: SampleLog) -> None:
    damage(days)
    with hold(days.layout):
        result = ropo("storage", "rebuild", "--config", days.config)
    assert result.exit_code == 1
    assert f"ropo runs (process {os.getpid()}): stop it first" in result.stderr


def test_small_parts_are_merged(ropo: Ropo, days: SampleLog) -> None:
    before = whole_log.every_view(days.layout)
    dry = json.loads(ropo("storage", "compact", "--dry-run", "--json", "--config", days.config).stdout)
    result = ropo("storage", "compact", "--config", days.config)
    assert result.exit_code == 0
    told = json.loads(ropo("storage", "compact", "--json", "--config", days.config).stdout)
    assert (told["parts_before"], told["merges"]) == (dry["parts_after"], [])
    assert whole_log.every_view(days.layout) == before


def test_a_backup_and_what_is_made_of_it(ropo: Ropo, days: SampleLog, tmp_path: Path) -> None:
    (days.layout.secrets / "contact.keys").write_text("key\n")
    before = whole_log.every_view(days.layout)
    result = ropo("storage", "backup", tmp_path / "copy", "--config", days.config)
    assert result.exit_code == 0 and "no contact in it can be opened" in result.stdout
    told = json.loads(ropo("storage", "backup", "--json", tmp_path / "copy", "--config", days.config).stdout)
    assert told["rows"]["events"] == len(before["events"]) and told["copied_files"] <= 1
    warned = ropo("storage", "backup", "--with-keys", tmp_path / "copy", "--config", days.config)
    assert "can read every contact" in warned.stderr
    made = ropo("storage", "restore", tmp_path / "copy", "--to", tmp_path / "new")
    assert made.exit_code == 0 and "ropo serve --storage" in made.stdout
    assert (tmp_path / "new" / "secrets" / "contact.keys").read_text() == "key\n"
    refused = ropo("storage", "restore", tmp_path / "copy", "--to", tmp_path / "new")
    assert refused.exit_code == 1 and "is there already" in refused.stderr


@pytest.mark.parametrize("command", ["check", "rebuild", "compact", "backup"])
def test_where_there_is_no_log_that_is_said(ropo: Ropo, tmp_path: Path, command: str) -> None:
    (tmp_path / "config.yaml").write_text("proxy:\n  upstream: http://127.0.0.1:9\nstorage:\n  path: ./data\n")
    folder = [tmp_path / "copy"] if command == "backup" else []
    result = ropo("storage", command, *folder, "--config", tmp_path / "config.yaml")
    assert result.exit_code == 1 and "There is no log" in result.stderr
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("command", ["", "check", "rebuild", "compact", "backup", "restore"])
def test_help_has_examples(ropo: Ropo, command: str) -> None:
    result = ropo("storage", *filter(None, [command]), "--help")
    assert result.exit_code == 0 and "\n  ropo storage" in result.stdout


def test_asked_wrongly_it_ends_with_exit_code_2(ropo: Ropo, tmp_path: Path) -> None:
    assert ropo("storage", "restore", tmp_path).exit_code == 2
    assert ropo("storage", "check", "--config", tmp_path / "none.yaml").exit_code == 2


def test_a_terminal_shows_how_far_it_is_and_what_was_found(days: SampleLog, tmp_path: Path) -> None:
    code, said = on_terminal("storage", "backup", tmp_path / "copy", "--config", days.config)
    assert code == 0 and "copying" in said
    code, said = on_terminal("storage", "check", "--config", days.config)
    assert code == 0 and "\x1b[32mok" in said
