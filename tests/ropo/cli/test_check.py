from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from tests.ropo.cli.conftest import Ropo, on_terminal
from tests.support.ports import free_port
from tests.support.ropo_process import run_ropo


def written(folder: Path, *, port: int | None = None, upstream: str = "demo", more: str = "") -> Path:
    config = folder / "config.yaml"
    config.write_text(
        f"proxy: {{listen: '127.0.0.1:{port or free_port()}', upstream: '{upstream}', max_connections: 10}}\nstorage: {{path: data}}\n"
        f"dashboard: {{listen: '127.0.0.1:{free_port()}'}}\n{more}"
    )
    return config


def test_a_good_house_ends_with_0_and_says_so(tmp_path: Path):
    config = written(tmp_path)
    done = run_ropo("check", "--config", str(config))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == f"{config}: good"
    assert "\x1b" not in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


def test_a_warning_is_no_failure(ropo: Ropo, tmp_path: Path):
    done = ropo("check", "--config", written(tmp_path, upstream=f"http://127.0.0.1:{free_port()}"))
    assert done.exit_code == 0
    assert "good, 1 warning" in done.stdout


def test_what_is_missing_ends_with_1_and_says_what_to_do(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = written(tmp_path, port=taken.getsockname()[1])
        done = run_ropo("check", "--config", str(config))
    assert done.returncode == 1
    assert "failed" in done.stdout and "set another proxy.listen" in done.stdout
    assert "1 of these must be mended" in done.stdout


def test_wrong_settings_end_with_2_and_tell_all_of_it(ropo: Ropo, tmp_path: Path):
    config = written(tmp_path, more="nonsense: 1\nexport: {sinks: [{type: sftp}]}\n")
    done = ropo("check", "--config", config)
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"{config}: nonsense: unknown key" in done.stderr
    assert f"{config}: export.sinks[0].type: unknown type" in done.stderr


def test_the_command_line_can_be_tried_before_serve_gets_it(ropo: Ropo, tmp_path: Path):
    config = written(tmp_path)
    done = ropo("check", "--config", config, "--upstream", "localhost:3000")
    assert done.exit_code == 2 and "command line: proxy.upstream" in done.stderr
    done = ropo("check", "--config", config, "--storage", tmp_path / "other")
    assert str(tmp_path / "other") in done.stdout.replace("\n", "")


def test_json_for_machines(ropo: Ropo, tmp_path: Path):
    config = written(tmp_path, upstream=f"http://127.0.0.1:{free_port()}")
    good = json.loads(ropo("check", "--config", config, "--json").stdout)
    assert (good["ok"], good["problems"]) == (True, [])
    assert {check["name"]: check["state"] for check in good["checks"]}["proxy.upstream"] == "warning"
    done = ropo("check", "--config", written(tmp_path, more="nonsense: 1\n"), "--json")
    bad = json.loads(done.stdout)
    assert (done.exit_code, bad["ok"], bad["checks"]) == (2, False, [])
    assert "nonsense: unknown key" in bad["problems"][0]


@pytest.mark.parametrize("environ, coloured", [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colours_are_for_terminals_that_want_them(tmp_path: Path, environ: dict[str, str], coloured: bool):
    code, said = on_terminal("check", "--config", written(tmp_path), **environ)
    assert code == 0
    assert ("\x1b[32m" in said) is coloured
