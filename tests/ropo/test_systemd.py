"""What systemd gives a service and hears from it; the units it would run."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ropo.listening import StartError, address_of
from ropo.systemd import Notifier, given_sockets, sorted_out
from tests.support.ports import free_port, is_open
from tests.support.waiting import until

REPOSITORY = Path(__file__).resolve().parents[2]
UNITS = REPOSITORY / "packaging" / "systemd"


def given(count: int, names: str = "", pid: int | None = None) -> dict[str, str]:
    return {"LISTEN_PID": str(pid or os.getpid()), "LISTEN_FDS": str(count), "LISTEN_FDNAMES": names, "PATH": "/bin"}


# Sockets


def test_given_sockets_come_with_their_names_and_the_environment_forgets_them():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        environ = given(1, "http")
        [(name, one)] = given_sockets(environ, first_fd=os.dup(listener.fileno()))
        with one:
            assert (name, address_of(one), one.get_inheritable()) == ("http", address_of(listener), False)
    assert environ == {"PATH": "/bin"}


@pytest.mark.parametrize("environ", [{}, given(1, pid=1), {**given(1), "LISTEN_FDS": "x"}, given(0)])
def test_what_is_meant_for_another_process_is_left_alone(environ: dict[str, str]):
    assert given_sockets(environ, first_fd=0) == []
    assert not any(name.startswith("LISTEN_") for name in environ)


@pytest.mark.parametrize(
    "make",
    [
        lambda: socket.socket(),  # does not listen
        lambda: socket.socket(type=socket.SOCK_DGRAM),
        lambda: socket.socketpair()[0],
        lambda: socket.socket(socket.AF_UNIX),
    ],
    ids=["not listening", "udp", "a pair", "unix"],
)
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_what_is_no_listening_tcp_socket_is_told(make):
    with make() as wrong, pytest.raises(StartError, match="no listening TCP socket.*Accept=no"):
        given_sockets(given(1, "http"), first_fd=os.dup(wrong.fileno()))


def test_a_descriptor_that_is_no_socket_is_told(tmp_path: Path):
    with (tmp_path / "file").open("w") as file, pytest.raises(StartError, match="without a name"):
        given_sockets(given(1), first_fd=file.fileno())


def test_a_socket_is_used_for_what_its_name_or_its_address_says_and_others_are_closed(caplog):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(4)]
    named, by_address, stranger, for_nobody = sockets
    found = sorted_out(
        [("https", named), ("ropo.socket", by_address), ("ropo.socket", stranger)],
        {"http": address_of(by_address), "https": "127.0.0.1:443"},
    )
    assert found == {"https": [named], "http": [by_address]}
    assert stranger.fileno() == -1
    assert "event=socket_unused name=ropo.socket" in caplog.text
    assert sorted_out([("https", for_nobody)], {"http": "127.0.0.1:80"}) == {}  # https is not configured
    for one in sockets:
        one.close()


# Words


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path: Path):
    name = str(tmp_path / "notify") if request.param == "path" else f"@ropo-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(name.replace("@", "\0"))
        listener.settimeout(20)
        yield name, lambda: listener.recv(4096).decode().split("\n")


def test_the_manager_hears_how_it_stands(manager):
    name, hear = manager
    environ = {"NOTIFY_SOCKET": name}
    notifier = Notifier(environ)
    assert environ == {}
    notifier.ready("2 workers\nserve")
    assert hear() == ["READY=1", "STATUS=2 workers serve"]
    notifier.reloading()
    reloading, moment, _ = hear()
    assert reloading == "RELOADING=1" and re.fullmatch(r"MONOTONIC_USEC=\d+", moment)
    notifier.stopping()
    assert hear() == ["STOPPING=1", "STATUS=Stopping"]
    notifier.status("x")
    assert hear() == ["STATUS=x"]


async def test_the_watchdog_is_fed_if_it_is_ours(manager):
    name, hear = manager
    notifier = Notifier({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "20000", "WATCHDOG_PID": str(os.getpid())})
    assert notifier.watchdog_secs == 0.02
    feeding = asyncio.create_task(notifier.watch())
    assert [await asyncio.to_thread(hear) for _ in range(3)] == [["WATCHDOG=1"]] * 3
    feeding.cancel()
    others = Notifier({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "20000", "WATCHDOG_PID": "1"})
    assert others.watchdog_secs is None
    await others.watch()  # ends at once


@pytest.mark.parametrize("name", ["", "/nowhere/at/all", "@nobody-listens-here", "vsock:2:1234", "\0"])
def test_nobody_to_tell_harms_nothing(name: str):
    Notifier({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "soon"}).ready("well")


# A whole ropo, as systemd would start it

ACTIVATE = """
import os, socket, sys
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
os.dup2(listener.fileno(), 3)
os.set_inheritable(3, True)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "http"}
os.execv(sys.argv[2], sys.argv[2:])
"""


def test_a_ropo_serves_on_the_socket_it_was_given_and_tells_of_its_life(tmp_path: Path, monkeypatch):
    from tests.support.origins import Site
    from tests.support.ropo_process import RopoProcess

    said: list[str] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, Site() as site:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        given_port = free_port()

        def hears(word: str) -> bool:
            try:
                while True:
                    said.extend(manager.recv(4096).decode().split("\n"))
            except BlockingIOError:
                return word in said

        ropo = RopoProcess(
            tmp_path, upstream=site.url, launcher=[sys.executable, "-c", ACTIVATE, str(given_port)],
            proxy={"listen": "127.0.0.1:1"},
        )  # fmt: skip
        ropo.port = given_port
        with ropo:
            until(lambda: hears("READY=1"), "the manager hears that it is ready")
            said.clear()
            ropo.process.send_signal(1)
            until(lambda: hears("READY=1"), "the reload has ended")
            assert said[0] == "RELOADING=1" and said[1].startswith("MONOTONIC_USEC=")
            assert is_open(given_port)
            children = [process.environ() for process in ropo.family()]
            assert not [1 for environ in children if {"NOTIFY_SOCKET", "LISTEN_PID", "LISTEN_FDS"} & environ.keys()]
            assert ropo.stop() == 0
            assert hears("STOPPING=1")


# Units


def unit(name: str) -> str:
    return (UNITS / name).read_text(encoding="utf-8")


def test_the_units_say_what_the_manual_promises():
    service = unit("ropo.service")
    for line in (
        "Type=notify-reload", "KillMode=mixed", "NoNewPrivileges=yes", "ProtectSystem=strict", "StateDirectory=ropo",
        "PrivateTmp=yes", "CapabilityBoundingSet=CAP_NET_BIND_SERVICE",
        "SystemCallFilter=@system-service landlock_create_ruleset landlock_add_rule landlock_restrict_self",
        "AmbientCapabilities=CAP_NET_BIND_SERVICE", "MemoryDenyWriteExecute=yes",
    ):  # fmt: skip
        assert line in service.splitlines()
    assert "FileDescriptorName=http" in unit("ropo.socket").splitlines()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")
@pytest.mark.parametrize("before_253", [False, True])
def test_systemd_understands_the_units(tmp_path: Path, before_253: bool):
    version = subprocess.run(["systemd-analyze", "--version"], capture_output=True, text=True, timeout=30).stdout
    number = re.match(r"systemd (\d+)", version)
    if number is None or (int(number[1]) < 253) != before_253:
        pytest.skip(f"this is {version.splitlines()[0] if version else 'no systemd'}")
    service = unit("ropo.service").replace("/opt/ropo/bin/ropo", sys.executable)
    if before_253:
        # As the unit's own comment says.
        service = service.replace("#   Type=notify\n#   ExecReload", "Type=notify\nExecReload")
        service = service.replace("Type=notify-reload\n", "")
        assert "\nExecReload=/bin/kill -HUP $MAINPID\n" in service
    (tmp_path / "ropo.service").write_text(service)
    (tmp_path / "ropo.socket").write_text(unit("ropo.socket"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / "ropo.service"), str(tmp_path / "ropo.socket")],
        capture_output=True, text=True, timeout=60, env={**os.environ, "SYSTEMD_LOG_LEVEL": "warning"},
    )  # fmt: skip
    ours = [line for line in done.stderr.splitlines() if "ropo" in line]
    assert ours == []
