"""The listening sockets of the workers, on real sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest

from proxy.settings import CertificateSettings, ProxySettings, TlsSettings
from ropo.listening import Listeners, StartError, address_of, check_free, close, drain, is_at, listens, shares
from tests.support.ports import free_port, is_open


def settings(listen: str = "127.0.0.1:0", workers: int = 1, tls: str | None = None) -> ProxySettings:
    certificates = [CertificateSettings(certificate="c.pem", key="k.pem")]
    return ProxySettings(
        listen=listen,
        upstream="demo",
        workers=workers,
        tls=None if tls is None else TlsSettings(listen=tls, certificates=certificates),
    )


@pytest.fixture
def opened() -> Iterator[list[Listeners]]:
    """Whatever is put in here is closed at the end."""
    made: list[Listeners] = []
    yield made
    for one in made:
        close(one.but(Listeners()))


def all_of(listeners: Listeners) -> list[socket.socket]:
    return listeners.but(Listeners())


@pytest.mark.parametrize(
    "sockets, workers, shared",
    [
        ("ab", 2, ["a", "b"]),
        ("abc", 2, ["ac", "bc"]),  # there were three workers before
        ("abcd", 1, ["abcd"]),
        ("a", 3, ["a", "a", "a"]),  # systemd gave one
        ("ab", 3, ["ab", "ab", "ab"]),
    ],
)
def test_every_worker_has_a_socket_and_no_socket_is_without_a_worker(sockets: str, workers: int, shared: list[str]):
    assert shares(sockets, workers) == [list(group) for group in shared]


def test_every_worker_has_a_socket_of_its_own_on_the_same_port(opened: list[Listeners]):
    listeners = Listeners().reopened(settings(workers=3))
    opened.append(listeners)
    own = [listeners.of_worker("http", number, 3) for number in range(3)]
    assert [len(group) for group in own] == [1, 1, 1]
    assert len({address_of(group[0]) for group in own}) == 1
    assert listeners.of_worker("https", 0, 3) == []
    assert (listeners.address("http"), listeners.address("https")) == (address_of(own[0][0]), None)
    with socket.create_connection(own[0][0].getsockname()):
        pass


def test_a_connection_waits_while_no_worker_is_there_to_take_it(opened: list[Listeners]):
    opened.append(Listeners().reopened(settings()))
    [listener] = all_of(opened[0])
    with socket.create_connection(listener.getsockname()) as visitor:
        visitor.sendall(b"GET")
        with socket.socket(fileno=socket.dup(listener.fileno())) as inherited:  # what a worker does when it starts
            connection, _ = inherited.accept()
            with connection:
                assert connection.recv(3) == b"GET"


def test_a_reload_keeps_the_sockets_of_an_address_that_is_still_wanted(opened: list[Listeners]):
    first = Listeners().reopened(settings(workers=2))
    more = first.reopened(settings(workers=3))
    fewer = more.reopened(settings(workers=1))
    opened += [first, more, fewer]
    assert all_of(first) == all_of(more)[:2]
    assert len(more.but(first)) == 1
    # Nobody who waits on one of them is reset: the only worker takes from all three.
    assert fewer.but(more) == more.but(fewer) == []
    assert len(fewer.of_worker("http", 0, 1)) == 3


def test_a_name_for_the_same_address_keeps_its_sockets(opened: list[Listeners]):
    port = free_port()
    first = Listeners().reopened(settings(f"127.0.0.1:{port}"))
    opened.append(first)
    assert first.reopened(settings(f"localhost:{port}")).but(first) == []


def test_a_changed_address_is_opened_beside_the_old_one(opened: list[Listeners]):
    first = Listeners().reopened(settings())
    second = first.reopened(settings("127.0.0.1:0", tls="127.0.0.1:0"))
    third = second.reopened(settings(f"127.0.0.1:{free_port()}"))
    opened += [first, second, third]
    assert second.address("http") == first.address("http")
    assert second.but(first) == second.of_worker("https", 0, 1)
    assert len(third.but(second)) == 1
    assert sorted(map(address_of, second.but(third))) == sorted([second.address("http"), second.address("https")])


def test_all_addresses_may_take_the_place_of_one_on_the_same_port(opened: list[Listeners]):
    port = free_port()
    opened.append(Listeners().reopened(settings(f"127.0.0.1:{port}")))
    opened.append(opened[0].reopened(settings(f"0.0.0.0:{port}")))
    assert opened[1].address("http") == f"0.0.0.0:{port}"


def test_if_one_address_cannot_be_had_none_is_opened():
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken, free = f"127.0.0.1:{other.getsockname()[1]}", free_port()
        with pytest.raises(StartError, match=r"^proxy\.tls\.listen: cannot listen on"):
            Listeners().reopened(settings(f"127.0.0.1:{free}", tls=taken))
        assert not is_open(free)


def test_a_port_in_use_is_told_with_the_setting_it_stands_in():
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(StartError, match=rf"^dashboard.listen: cannot listen on {taken} .*choose another port"):
            check_free("dashboard.listen", taken)
        with pytest.raises(StartError, match="proxy.listen"):
            Listeners().reopened(settings(taken))


def test_another_ropo_on_the_same_port_is_noticed_although_both_would_share_it(opened: list[Listeners]):
    opened.append(Listeners().reopened(settings()))
    with pytest.raises(StartError, match="in use"):
        Listeners().reopened(settings(opened[0].address("http")))


def test_a_name_that_does_not_resolve_is_told():
    with pytest.raises(StartError, match="proxy.listen: the name nowhere.invalid cannot be resolved"):
        Listeners().reopened(settings("nowhere.invalid:80"))


def test_sockets_from_outside_are_used_instead_and_shared_by_all(opened: list[Listeners]):
    outside = socket.create_server(("127.0.0.1", 0))
    listeners = Listeners.given({"http": [outside]}).reopened(settings("127.0.0.1:1", workers=3))
    opened.append(listeners)
    assert listeners.given_kinds == {"http"}
    assert [listeners.of_worker("http", number, 3) for number in range(3)] == [[outside]] * 3
    # It is not ours to close as long as we run: nobody could open it again.
    assert listeners.reopened(settings("127.0.0.1:2", workers=1)).but(listeners) == []
    assert is_at(outside, "proxy.listen", address_of(outside))
    assert not is_at(outside, "proxy.listen", "127.0.0.1:1")
    assert not is_at(outside, "proxy.listen", f"0.0.0.0:{outside.getsockname()[1]}")


def test_where_to_listen_is_read_from_the_settings():
    assert listens(settings("h:1")) == {"http": "h:1"}
    assert listens(settings("h:1", tls="h:2")) == {"http": "h:1", "https": "h:2"}


async def test_a_drained_socket_has_let_everybody_in_who_had_come_and_nobody_else():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
        visitors = [socket.create_connection(address) for _ in range(50)]
        listener.setblocking(False)
        loop, accepted = asyncio.get_running_loop(), []
        draining = asyncio.create_task(drain([listener]))
        await asyncio.sleep(0)  # from here on newcomers are not heard
        newcomer = socket.socket()
        newcomer.setblocking(False)
        assert newcomer.connect_ex(address) != 0
        while len(accepted) < 50:
            accepted.append((await loop.sock_accept(listener))[0])
        await draining
        with pytest.raises(BlockingIOError):
            listener.accept()
    for one in (newcomer, *visitors, *accepted):
        one.close()


async def test_nothing_to_drain_takes_no_time():
    await drain([])
