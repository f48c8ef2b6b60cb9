"""Starting and stopping a whole ropo. What happens when a process is killed under load is shown in tests/e2e."""

from __future__ import annotations

import json
import signal
import socket
import urllib.request
from pathlib import Path

import psutil
import pytest
import yaml

from tests.support.origins import Site
from tests.support.ports import free_port
from tests.support.ropo_process import RopoProcess, run_ropo
from tests.support.waiting import until


@pytest.fixture(scope="module")
def site():
    with Site() as site:
        yield site


def get(url: str) -> int:
    with urllib.request.urlopen(url, timeout=20) as answer:
        return answer.status


def test_a_stop_takes_in_what_was_served_and_leaves_no_process_and_no_waiting_file(tmp_path: Path, site: Site) -> None:
    with RopoProcess(tmp_path, upstream=site.url) as ropo:
        assert "is serving. Ctrl-C stops it." in until(
            lambda: ropo.said() if "Try next" in ropo.said() else "", "it says so"
        )
        family = ropo.family()
        for number in range(30):
            assert get(f"{ropo.url}/?m=stop{number}") == 200
        assert ropo.stop() == 0
        assert [process for process in family if process.is_running()] == []
        assert list((ropo.data / "spool").iterdir()) == []
        assert ropo.markers() == {f"stop{number}": 1 for number in range(30)}
        assert ropo.sql("select sum(received), sum(logged), sum(missing), bool_and(stopped) from ledger") == [
            (30, 30, 0, True)
        ]
        assert ropo.states() == {}


def test_when_the_supervisor_is_killed_its_processes_stop_by_themselves(tmp_path: Path, site: Site) -> None:
    with RopoProcess(tmp_path, upstream=site.url) as ropo:
        family = ropo.family()
        assert get(f"{ropo.url}/?m=orphan") == 200
        ropo.process.kill()
        ropo.process.wait()
        _, alive = psutil.wait_procs(family, timeout=60)
        assert alive == []
        assert ropo.start().stop() == 0  # and the next one goes on where it was
        assert ropo.markers() == {"orphan": 1}


def test_a_second_ropo_on_the_same_storage_is_refused_with_the_number_of_the_first(tmp_path: Path, site: Site) -> None:
    with RopoProcess(tmp_path, upstream=site.url) as first:
        (tmp_path / "second").mkdir()
        second = RopoProcess(tmp_path / "second", upstream=site.url, storage={"path": str(first.data)})
        done = run_ropo("serve", "--config", str(second.config))
        assert done.returncode == 1
        assert f"in use by another ropo (process {first.process.pid})" in done.stderr
        assert "Traceback" not in done.stderr


def test_sql_over_http_is_switched_on_survives_a_kill_and_is_switched_off(tmp_path: Path, site: Site) -> None:
    with RopoProcess(tmp_path, upstream=site.url) as ropo:
        assert get(f"{ropo.url}/?m=one") == 200
        assert "reader" not in ropo.states()
        listen = f"127.0.0.1:{free_port()}"
        reload(ropo, sql={"listen": listen})

        def count() -> list[list[int]] | None:
            address = f"http://{listen}/sql?q=select%20count(*)%20from%20events"
            try:
                with urllib.request.urlopen(address, timeout=20) as answer:
                    return json.load(answer)["rows"]
            except OSError:
                return None

        until(lambda: count() == [[1]], "it answers")
        ropo.kill_and_wait("reader")
        assert get(f"{ropo.url}/?m=two") == 200
        until(lambda: count() == [[2]], "another answers")
        assert ropo.states()["supervisor"]["restarts"]["reader"] == 1
        reload(ropo, sql={"listen": "0.0.0.0:1"})  # is refused: no token
        until(lambda: "event=reload_refused" in ropo.said(), "it is refused")
        assert count() == [[2]]
        reload(ropo, sql=None)
        until(lambda: "reader" not in ropo.states(), "it is gone")
        assert count() is None
        assert ropo.stop() == 0
        assert ropo.states() == {}


def reload(ropo: RopoProcess, *, sql: dict[str, object] | None) -> None:
    settings = yaml.safe_load(ropo.config.read_text())
    settings["dashboard"]["sql"] = sql
    ropo.config.write_text(yaml.safe_dump(settings))
    ropo.process.send_signal(signal.SIGHUP)


def test_a_port_in_use_and_a_storage_path_that_cannot_be_are_told_before_anything_starts(
    tmp_path: Path, site: Site
) -> None:
    ropo = RopoProcess(tmp_path, upstream=site.url)
    with socket.create_server(("127.0.0.1", ropo.port)):
        done = run_ropo("serve", "--config", str(ropo.config))
    assert done.returncode == 1
    assert f"proxy.listen: cannot listen on 127.0.0.1:{ropo.port}" in done.stderr
    (tmp_path / "file").write_text("")
    ropo = RopoProcess(tmp_path, upstream=site.url, storage={"path": str(tmp_path / "file" / "data")})
    done = run_ropo("serve", "--config", str(ropo.config))
    assert done.returncode == 1
    assert "storage.path: cannot use" in done.stderr
    assert "Traceback" not in done.stderr
