"""The listening sockets of the workers."""

from __future__ import annotations

import socket

import pytest

from proxy.settings import ProxySettings
from ropo.listening import StartError, check_free, listen


def test_every_worker_has_a_socket_of_its_own_on_the_same_port() -> None:
    listeners = listen(ProxySettings(listen="127.0.0.1:0", upstream="demo", workers=3))
    try:
        ports = {listener.getsockname()[1] for listener in listeners}
        assert len(listeners) == 3
        assert len(ports) == 1
        with socket.create_connection(("127.0.0.1", ports.pop())):
            pass
    finally:
        for listener in listeners:
            listener.close()


def test_a_connection_waits_while_no_worker_is_there_to_take_it() -> None:
    [listener] = listen(ProxySettings(listen="127.0.0.1:0", upstream="demo", workers=1))
    with listener, socket.create_connection(listener.getsockname()) as visitor:
        visitor.sendall(b"GET")
        inherited = socket.socket(fileno=socket.dup(listener.fileno()))  # what a worker does when it starts
        connection, _ = inherited.accept()
        with inherited, connection:
            assert connection.recv(3) == b"GET"


def test_a_port_in_use_is_told_with_the_setting_it_stands_in() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(StartError, match=rf"^dashboard.listen: cannot listen on {taken} .*choose another port"):
            check_free("dashboard.listen", taken)
        with pytest.raises(StartError, match="proxy.listen"):
            listen(ProxySettings(listen=taken, upstream="demo"))


def test_another_ropo_on_the_same_port_is_noticed_although_both_would_share_it() -> None:
    listeners = listen(ProxySettings(listen="127.0.0.1:0", upstream="demo", workers=1))
    with listeners[0] as first, pytest.raises(StartError, match="in use"):
        listen(ProxySettings(listen=f"127.0.0.1:{first.getsockname()[1]}", upstream="demo", workers=1))


def test_a_name_that_does_not_resolve_is_told() -> None:
    with pytest.raises(StartError, match="proxy.listen: the name nowhere.invalid cannot be resolved"):
        listen(ProxySettings(listen="nowhere.invalid:80", upstream="demo"))
