"""Wrong settings, hostile requests, broken folders: a clear message, an unharmed site, nothing lost."""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.e2e.conftest import Sinks
from tests.support.load import BROWSER
from tests.support.origins import Site
from tests.support.ports import free_port
from tests.support.ropo_process import RopoProcess, run_ropo
from tests.support.visitor import Visitor
from tests.support.waiting import unchanged_for, until

SMALLEST = """\
proxy:
  listen: 127.0.0.1:{port}
  upstream: http://127.0.0.1:9
storage:
  path: {folder}/data
dashboard:
  listen: 127.0.0.1:{dashboard_port}
"""


def write_config(folder: Path, *, change: tuple[str, str] = ("", ""), port: int | None = None) -> Path:
    config = folder / "config.yaml"
    text = SMALLEST.format(folder=folder, port=port or free_port(), dashboard_port=free_port())
    assert change[0] in text
    config.write_text(text.replace(*change, 1))
    return config


def assert_refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    said = done.stdout + done.stderr
    assert done.returncode in (1, 2), said
    assert "Traceback" not in said
    for word in words:
        assert word in said


# Settings

WRONG_SETTINGS = {
    "unknown key": (("upstream:", "upstrem:"), ("proxy.upstrem", "upstream")),
    "unknown section": (("storage:", "stroage:"), ("stroage", "storage")),
    "no such scheme": (("http://127.0.0.1:9", "htp://127.0.0.1:9"), ("proxy.upstream", "htp://127.0.0.1:9")),
    "no URL at all": (("http://127.0.0.1:9", "the old server"), ("proxy.upstream", "the old server")),
    "no port": (("listen: 127.0.0.1:", "listen: 127.0.0.1 #"), ("proxy.listen",)),
    "not YAML": (("storage:", "storage: ["), ("config.yaml",)),
    "a number that is text": (("storage:\n", "storage:\n  grace_secs: soon\n"), ("storage.grace_secs", "soon")),
}


@pytest.mark.parametrize("change, words", WRONG_SETTINGS.values(), ids=WRONG_SETTINGS)
def test_wrong_settings_are_refused_by_the_name_of_the_setting(
    tmp_path: Path, change: tuple[str, str], words: tuple[str, ...]
):
    config = write_config(tmp_path, change=change)
    for command in ("check", "serve"):
        assert_refused(run_ropo(command, "--config", str(config)), *words)


def test_all_mistakes_are_told_at_once(tmp_path: Path):
    config = write_config(tmp_path, change=("upstream:", "workers: 0\n  upstream:"))
    config.write_text(config.read_text().replace("storage:\n", "storage:\n  grace: 4\n"))
    assert_refused(run_ropo("check", "--config", str(config)), "proxy.workers", "storage.grace")


def test_a_config_file_that_is_not_there_is_named(tmp_path: Path):
    missing = str(tmp_path / "nowhere.yaml")
    assert_refused(run_ropo("serve", "--config", missing), missing)


@pytest.mark.parametrize("section", ["proxy", "dashboard"])
def test_a_port_in_use_is_named(tmp_path: Path, section: str):
    config = write_config(tmp_path)
    lines = config.read_text().split(f"{section}:\n  listen: ")
    address = lines[1].split("\n")[0]
    with socket.create_server(("127.0.0.1", int(address.rpartition(":")[2]))):
        assert_refused(run_ropo("serve", "--config", str(config)), address, "in use")


def test_a_storage_path_that_is_a_file_is_named(tmp_path: Path):
    config = write_config(tmp_path)
    (tmp_path / "data").write_text("not a folder")
    assert_refused(run_ropo("serve", "--config", str(config)), str(tmp_path / "data"))


def test_a_storage_path_without_permission_is_named(tmp_path: Path, obedient: list[str]):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    config = write_config(tmp_path, change=(f"{tmp_path}/data", f"{locked}/data"))
    done = run_ropo("serve", "--config", str(config), launcher=obedient)
    assert_refused(done, str(locked), "ermission")


def test_a_second_ropo_on_the_same_data_is_refused(tmp_path: Path, site: Site):
    with RopoProcess(tmp_path, upstream=site.url) as ropo:
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        second = write_config(elsewhere, change=(f"{elsewhere}/data", str(ropo.data)))
        assert_refused(run_ropo("serve", "--config", str(second)), str(ropo.process.pid), str(ropo.data))
        assert Visitor(ropo.port).open("/").status == 200


def test_asking_before_there_is_a_log_says_what_to_do(tmp_path: Path):
    config = write_config(tmp_path)
    assert_refused(run_ropo("sql", "select 1", "--config", str(config)), "ropo serve")


# Requests


def test_a_broken_or_forged_cookie_is_replaced_and_never_believed(tmp_path: Path, site: Site):
    with RopoProcess(tmp_path, upstream=site.url) as ropo:
        genuine = Visitor(ropo.port).open("/?m=first").fields["set-cookie"].split(";")[0].removeprefix("ropo_id=")
        visitor, stamp, signature = genuine.rsplit(".", 2)
        other = f"{visitor[:-4]}{'0000' if visitor[-4:] != '0000' else '1111'}"
        values = {
            "forged": f"{other}.{stamp}.{signature}",
            "cut": genuine[:-3],
            "noise": "%00%ff\x80' drop table events --",
            "huge": "x" * 6000,
            "empty": "",
        }
        for marker, value in values.items():
            answer = Visitor(ropo.port).open(f"/?m={marker}", Cookie=f"ropo_id={value}; theirs=1")
            assert answer.status == 200
            assert answer.fields["set-cookie"].startswith("ropo_id=")
        assert Visitor(ropo.port).open("/?m=again", Cookie=f"ropo_id={genuine}").status == 200

        seen = "select regexp_extract(query, 'm=([^&]+)', 1), visitor_id, identity from events"
        until(lambda: len(ropo.sql(seen)) == len(values) + 2, "all are in the log")
        logged = {marker: (visitor_id, identity) for marker, visitor_id, identity in ropo.sql(seen)}
        assert logged["first"] == (visitor, "minted")
        assert logged["again"] == (visitor, "known")
        # Nobody is taken for the visitor he claims to be: each is a new one, and the log tells what was tried.
        assert {logged[marker][1] for marker in values} == {"forged"}
        assert not {visitor, other, None} & {logged[marker][0] for marker in values}
        assert len({visitor_id for visitor_id, _ in logged.values()}) == len(values) + 1
        # The site gets its own cookies as they were, and none of ours.
        cookies = [seen.fields.get("cookie") for seen in site.received("GET", "/")]
        assert cookies == [None, *["theirs=1"] * len(values), None]


def test_a_large_upload_to_a_form_address_streams_through(tmp_path: Path, site: Site):
    megabyte, count = os.urandom(1_048_576), 100
    opening = (
        b'--edge\r\nContent-Disposition: form-data; name="email"\r\n\r\nerika@example.com\r\n--edge\r\n'
        b'Content-Disposition: form-data; name="file"; filename="plan.pdf"\r\nContent-Type: application/pdf\r\n\r\n'
    )
    closing = b"\r\n--edge--\r\n"
    expected = hashlib.sha256()
    with RopoProcess(tmp_path, upstream=site.url) as ropo:
        workers = [psutil.Process(state["pid"]) for state in ropo.states().values() if state["kind"] == "worker"]
        before = max(worker.memory_info().rss for worker in workers)
        peak = 0
        connection = http.client.HTTPConnection("127.0.0.1", ropo.port, timeout=60)
        connection.putrequest("POST", "/kontakt?m=large")
        connection.putheader("User-Agent", BROWSER)
        connection.putheader("Content-Type", "multipart/form-data; boundary=edge")
        connection.putheader("Content-Length", str(len(opening) + count * len(megabyte) + len(closing)))
        connection.endheaders()
        for chunk in (opening, *[megabyte] * count, closing):
            connection.send(chunk)
            expected.update(chunk)
            peak = max(peak, *(worker.memory_info().rss for worker in workers))
        response = connection.getresponse()
        response.read()
        connection.close()
        assert response.status == 303
        [seen] = site.received("POST", "/kontakt")
        assert seen.sha256 == expected.hexdigest()
        assert peak - before < 32 * 1_048_576, "the worker held the upload in memory"
        until(lambda: ropo.markers() == {"large": 1}, "it is in the log")
        assert ropo.sql("select request_bytes from events") == [(seen.bytes,)]


def test_a_form_with_a_drawing_attached_is_a_lead_without_the_drawing(tmp_path: Path, site: Site, sinks: Sinks):
    body = (
        b'--edge\r\nContent-Disposition: form-data; name="email"\r\n\r\nerika@example.com\r\n--edge\r\n'
        b'Content-Disposition: form-data; name="file"; filename="plan-secret.pdf"\r\n'
        b"Content-Type: application/pdf\r\n\r\n" + os.urandom(5 * 1_048_576) + b"\r\n--edge\r\n"
        b'Content-Disposition: form-data; name="name"\r\n\r\nErika Muster\r\n--edge--\r\n'
    )
    with RopoProcess(tmp_path, upstream=site.url, export=sinks.settings()) as ropo:
        assert Visitor(ropo.port).send("/kontakt", body, "multipart/form-data; boundary=edge").status == 303
        [seen] = site.received("POST", "/kontakt")
        assert seen.sha256 == hashlib.sha256(body).hexdigest()
        until(lambda: sinks.jsonl_emails() == ["erika@example.com"], "the lead is delivered")
        leads = "select list_sort(lead_fields), files from lead_facts where fact = 'accepted'"
        until(lambda: ropo.sql(leads) == [(["email", "name"], 1)], "the log has the fields and the number of files")
        kept = [file for file in ropo.data.rglob("*") if file.is_file() and b"plan-secret" in file.read_bytes()]
        assert kept == []


NOT_WHAT_IT_SAYS = {
    "multipart of noise": ("multipart/form-data; boundary=edge", os.urandom(3000)),
    "multipart without boundary": ("multipart/form-data", b"--edge\r\n\r\nemail=x@example.com\r\n--edge--"),
    "multipart never ended": (
        "multipart/form-data; boundary=edge",
        b'--edge\r\nContent-Disposition: form-data; name="email"\r\n\r\nx@exa',
    ),
    "JSON of noise": ("application/json", b"\xff\xfe{{{" * 50),
    "JSON nested without end": ("application/json", b'{"a":' * 20_000),
    "urlencoded of noise": ("application/x-www-form-urlencoded", os.urandom(3000)),
    "a hundred thousand fields": ("application/x-www-form-urlencoded", b"&".join([b"a=1"] * 100_000)),
    "urlencoded that is JSON": ("application/x-www-form-urlencoded", b'{"email": "x@example.com"}'),
    "unknown charset": ("application/x-www-form-urlencoded; charset=klingon", b"email=x%40example.com&name=X"),
    "a type of noise": ('multipart/;;;boundary="', b"email=x"),
    "no type": (None, b"email=x%40example.com"),
}


def test_a_body_that_is_not_what_it_says_reaches_the_site_as_it_is(tmp_path: Path, site: Site):
    with RopoProcess(tmp_path, upstream=site.url) as ropo:
        for content_type, body in NOT_WHAT_IT_SAYS.values():
            assert Visitor(ropo.port).send("/upload", body, content_type).status == 200
        sent = [hashlib.sha256(body).hexdigest() for _, body in NOT_WHAT_IT_SAYS.values()]
        assert [seen.sha256 for seen in site.received("POST", "/upload")] == sent
        logged = "select count(*) from events where path = '/upload' and status = 200"
        until(lambda: ropo.sql(logged) == [(len(NOT_WHAT_IT_SAYS),)], "all are in the log")
        assert "Traceback" not in ropo.said()
        assert {state.get("observer_errors", 0) for state in ropo.states().values()} == {0}


# Folders of sinks


def send_form(ropo: RopoProcess, email: str) -> None:
    values = {"name": "Erika Muster", "email": email, "nachricht": "Angebot bitte"}
    assert Visitor(ropo.port).fill_in("/kontakt", values).status == 303


def failures(ropo: RopoProcess) -> list[str]:
    """What the deliveries to the csv sink failed for."""
    return [
        reason for (reason,) in ropo.sql("select reason from delivery_facts where sink = 'erp-csv' and fact = 'failed'")
    ]


def assert_waits_then_delivers(
    ropo: RopoProcess, sinks: Sinks, broken_folder: Path, words: tuple[str, ...]
) -> Iterator:
    """Sends a lead into a broken folder; the caller mends it where this yields; then the lead is there, once."""
    send_form(ropo, "first@example.com")
    until(lambda: failures(ropo), "the delivery has failed")
    assert any(word in failures(ropo)[0] for word in words), failures(ropo)
    assert str(broken_folder) in failures(ropo)[0]
    assert "first@example.com" not in failures(ropo)[0] + ropo.said()
    assert Visitor(ropo.port).open("/").status == 200
    until(lambda: sinks.jsonl_emails() == ["first@example.com"], "the other sinks have it")
    yield
    until(lambda: sinks.csv_emails() == ["first@example.com"], "the folder has it")
    send_form(ropo, "second@example.com")
    both = ["first@example.com", "second@example.com"]
    until(lambda: sorted(sinks.csv_emails()) == both, "and the next one")
    assert unchanged_for(lambda: sorted(sinks.csv_emails()), 2) == both


@pytest.fixture
def obedient() -> list[str]:
    """A launcher under which file permissions hold for root, too."""
    if os.geteuid() != 0:
        return []
    if not shutil.which("setpriv"):
        pytest.skip("root may write anywhere, and setpriv (util-linux) is not here to take that right away")
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all", "--"]


def test_a_drop_folder_that_is_read_only_gets_its_lead_when_it_can_be_written(
    tmp_path: Path, site: Site, sinks: Sinks, obedient: list[str]
):
    sinks.csv.chmod(0o500)
    with RopoProcess(tmp_path, upstream=site.url, export=sinks.settings(), launcher=obedient) as ropo:
        for _ in assert_waits_then_delivers(ropo, sinks, sinks.csv, ("not allowed",)):
            sinks.csv.chmod(0o700)


def test_a_drop_folder_that_is_gone_gets_its_lead_when_it_is_back(tmp_path: Path, site: Site, sinks: Sinks):
    with RopoProcess(tmp_path, upstream=site.url, export=sinks.settings()) as ropo:
        shutil.rmtree(sinks.csv)
        sinks.csv.write_text("a file where the folder was")
        for _ in assert_waits_then_delivers(ropo, sinks, sinks.csv, ("not a folder",)):
            sinks.csv.unlink()
            sinks.csv.mkdir()


@pytest.fixture
def small_disk(sinks: Sinks) -> Iterator[Path]:
    """The csv folder as a file system of its own, of 64 kB."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount the small file system this test fills")
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(sinks.csv)]
    if (done := subprocess.run(mount, capture_output=True, text=True)).returncode:
        pytest.skip(f"no small file system to fill: {done.stderr.strip()}")
    yield sinks.csv
    subprocess.run(["umount", str(sinks.csv)], check=True)


def test_a_drop_folder_that_is_full_gets_its_lead_when_there_is_room(
    tmp_path: Path, site: Site, sinks: Sinks, small_disk: Path
):
    ballast = small_disk / "ballast"
    with RopoProcess(tmp_path, upstream=site.url, export=sinks.settings()) as ropo:
        with ballast.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
            while True:
                file.write(bytes(4096))
        for _ in assert_waits_then_delivers(ropo, sinks, small_disk, ("no space left",)):
            ballast.unlink()
