from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ropo import supervisor
from ropo.settings import Settings, SettingsError
from tests.ropo.cli.conftest import Ropo
from tests.support.ropo_process import run_ropo

SMALL = "proxy: {upstream: 'http://127.0.0.1:9'}\nstorage: {path: data}\n"


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Settings, Path, Callable[[], Settings]]]:
    """What the supervisor was started with, and how it reads the settings again. It ends at once, with 1."""
    calls: list[tuple[Settings, Path, Callable[[], Settings]]] = []

    def run(settings: Settings, *, config_path: Path, read_again: Callable[[], Settings]) -> int:
        calls.append((settings, config_path, read_again))
        return 1

    monkeypatch.setattr(supervisor, "run", run)
    return calls


def test_the_supervisor_gets_the_settings_and_its_exit_code_is_ours(ropo: Ropo, tmp_path: Path, started: list):
    config = tmp_path / "config.yaml"
    config.write_text(SMALL)
    assert ropo("serve", "--config", config).exit_code == 1
    [(settings, path, _)] = started
    assert (settings.storage.path, path) == (str(tmp_path / "data"), config)


def test_the_command_line_wins_and_its_paths_start_where_the_caller_is(
    ropo: Ropo, tmp_path: Path, started: list, monkeypatch: pytest.MonkeyPatch
):
    config = tmp_path / "config.yaml"
    config.write_text(SMALL)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    given = ("--upstream", "http://other:81", "--listen", "127.0.0.1:8090", "--storage", "log")
    ropo("serve", "--config", config, *given)
    [(settings, _, _)] = started
    assert (settings.proxy.upstream, settings.proxy.listen) == ("http://other:81", "127.0.0.1:8090")
    assert settings.storage.path == str(tmp_path / "elsewhere" / "log")


def test_a_reload_reads_the_file_again_and_the_command_line_goes_on_winning(ropo: Ropo, tmp_path: Path, started: list):
    config = tmp_path / "config.yaml"
    config.write_text(SMALL)
    ropo("serve", "--config", config, "--listen", "127.0.0.1:8090")
    [(_, _, read_again)] = started
    config.write_text("proxy: {upstream: 'http://127.0.0.1:10', listen: '127.0.0.1:1'}\nstorage: {path: data}\n")
    assert read_again().proxy.upstream == "http://127.0.0.1:10"
    assert read_again().proxy.listen == "127.0.0.1:8090"
    config.write_text(SMALL + "nonsense: 1\n")
    with pytest.raises(SettingsError, match="nonsense: unknown key"):
        read_again()


def test_wrong_settings_start_nothing_and_end_with_2(ropo: Ropo, tmp_path: Path, started: list):
    config = tmp_path / "config.yaml"
    config.write_text(SMALL + "nonsense: 1\n")
    done = ropo("serve", "--config", config)
    assert (done.exit_code, started) == (2, [])
    assert f"{config}: nonsense: unknown key" in done.stderr
    assert ropo("serve", "--config", config, "--listen", "8080").exit_code == 2


def test_a_process_of_its_own_ends_with_2_and_without_a_traceback(tmp_path: Path):
    done = run_ropo("serve", "--config", str(tmp_path / "nope.yaml"))
    assert done.returncode == 2
    assert "there is no such file" in done.stderr and "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("command", ["serve", "check", "sql", "leads", "leads list", "leads show", "leads retry"])
def test_every_command_explains_itself_with_an_example(ropo: Ropo, command: str):
    done = ropo(*command.split(), "--help")
    assert done.exit_code == 0
    assert f"ropo {command}" in done.stdout.partition("\n")[2]
    assert done.stdout == ropo(*command.split(), "-h").stdout


def test_a_command_that_does_not_exist_ends_with_2(ropo: Ropo):
    done = ropo("sever")
    assert done.exit_code == 2 and "No such command" in done.stderr
