from __future__ import annotations

from pathlib import Path

import pytest

from ropo.cli import options
from ropo.cli.terminal import Misuse
from tests.ropo.cli.conftest import Ropo
from tests.support.sample_log import SampleLog

QUERY = "select count(*) as n from leads"


def test_the_settings_may_be_named_before_and_after_the_command(ropo: Ropo, shared_log: SampleLog):
    for arguments in (("--config", shared_log.config, "sql", QUERY), ("sql", QUERY, "--config", shared_log.config)):
        assert ropo(*arguments).stdout.split() == ["n", "2"]
    for arguments in (
        ("--config", shared_log.config, "leads", "list"),
        ("leads", "list", "--config", shared_log.config),
    ):
        assert ropo(*arguments).exit_code == 0


def test_the_nearer_one_wins(ropo: Ropo, shared_log: SampleLog):
    assert ropo("--config", "nope.yaml", "sql", QUERY, "--config", shared_log.config).exit_code == 0


def test_without_a_name_it_is_config_yaml_in_this_folder(
    ropo: Ropo, shared_log: SampleLog, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(shared_log.config.parent)
    assert ropo("sql", QUERY).stdout.split() == ["n", "2"]


def test_the_folder_of_the_log_can_be_named_without_any_file(
    ropo: Ropo, shared_log: SampleLog, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(shared_log.config.parent)
    assert ropo("--config", "nope.yaml", "sql", "--storage", "data", QUERY).stdout.split() == ["n", "2"]


def test_who_reads_is_not_stopped_by_what_is_wrong_elsewhere(ropo: Ropo, shared_log: SampleLog, tmp_path: Path):
    config = tmp_path / "config.yaml"
    config.write_text(shared_log.config.read_text().replace("./data", str(shared_log.layout.root)) + "nonsense: 1\n")
    assert ropo("sql", QUERY, "--config", config).exit_code == 0
    assert ropo("check", "--config", config).exit_code == 2


def test_wrong_settings_are_a_misuse(tmp_path: Path):
    with pytest.raises(Misuse, match="there is no such file"):
        options.load(tmp_path / "nope.yaml")
    with pytest.raises(Misuse, match="there is no such file"):
        options.place(tmp_path / "nope.yaml", None)
