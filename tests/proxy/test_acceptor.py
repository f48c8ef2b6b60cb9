"""Real sockets before a real loop: the header is taken to the byte, and nobody can hold the door open."""

from __future__ import annotations

import asyncio
import resource
import shutil
import socket
import ssl
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from proxy import acceptor as acceptor_module
from proxy.acceptor import MIN_TIMEOUT_SECS, Acceptor
from proxy.proxy_protocol import ProxyHeader
from tests.support.ports import free_port

V1 = b"PROXY TCP4 203.0.113.9 192.0.2.1 51000 443\r\n"
ADDRESSES = bytes([203, 0, 113, 9, 192, 0, 2, 1]) + struct.pack("!HH", 51000, 443)
V2 = (
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack("!H", len(ADDRESSES) + 8) + ADDRESSES
    + b"\x20\x00\x05\x01\x00\x00\x00\x00"
)  # fmt: skip
VISITOR = ProxyHeader("203.0.113.9", 51000)
REQUEST = b"POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 9\r\n\r\nPROXY x\r\n"


async def until(happened: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not happened():  # noqa: ASYNC110 - what is waited for are plain attributes
            await asyncio.sleep(0.005)


class Answering(asyncio.Protocol):
    """Echoes, and remembers what it got and from whom."""

    def __init__(self, header: ProxyHeader) -> None:
        self.header = header
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        self.transport.write(data)


class Door:
    """An acceptor on loopback; `handed_on` are the connections that got through it."""

    def __init__(self, *, tls: ssl.SSLContext | None = None, listener: socket.socket | None = None, **settings) -> None:
        loop = asyncio.get_running_loop()
        self.handed_on: list[Answering] = []
        self.asked: list[str] = []
        self.clients: list[socket.socket] = []
        self.trusts = True

        def is_trusted(peer: str) -> bool:
            self.asked.append(peer)
            return self.trusts

        async def connected(sock: socket.socket, header: ProxyHeader) -> None:
            protocol = Answering(header)
            await loop.connect_accepted_socket(lambda: protocol, sock, ssl=tls)
            self.handed_on.append(protocol)

        self.listener = listener or socket.create_server(("127.0.0.1", 0))
        self.address = self.listener.getsockname()
        self.acceptor = Acceptor(
            loop, self.listener, **{"is_trusted": is_trusted, "timeout_secs": 60, "connected": connected, **settings}
        )

    def connect(self) -> socket.socket:
        client = socket.socket(self.listener.family)
        self.clients.append(client)
        client.connect(self.address)
        if client.family != socket.AF_UNIX:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.setblocking(False)
        return client

    @property
    def taken(self) -> list[int]:
        """How much of their headers the unfinished have had taken from their sockets."""
        return [len(unfinished.begun) for unfinished in self.acceptor._unfinished.values()]

    async def is_closed(self, client: socket.socket) -> bool:
        """Waits until the door closes the connection, whether by FIN or RST. False if it says something instead."""
        try:
            return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(client, 1), 20) == b""
        except ConnectionError:
            return True

    async def close(self) -> None:
        self.acceptor.close()
        async with asyncio.timeout(5):
            await self.acceptor.wait_closed()
        for protocol in self.handed_on:
            protocol.transport.abort()
        for client in self.clients:
            client.close()
        await asyncio.sleep(0.01)


@pytest.fixture
async def door():
    doors: list[Door] = []

    def build(**settings) -> Door:
        doors.append(Door(**settings))
        return doors[-1]

    yield build
    for one in doors:
        await one.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> Path:
    """A throw-away certificate for shop.example, its key behind it in the same file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "shop.example")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("shop.example")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "shop.pem"
    file.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return file


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.mark.parametrize("raw", [V1, V2], ids=["v1", "v2"])
async def test_a_header_may_come_octet_by_octet(door, raw: bytes) -> None:
    front = door()
    client = front.connect()
    for count in range(1, len(raw)):
        client.send(raw[count - 1 : count])
        await until(lambda count=count: front.taken == [count])
    client.send(raw[-1:] + REQUEST)
    await until(lambda: front.handed_on and front.handed_on[0].received == REQUEST)
    assert front.handed_on[0].header.source == "203.0.113.9"
    assert front.handed_on[0].header.tls is (raw is V2)
    assert front.acceptor.unfinished == 0


@pytest.mark.parametrize("raw", [V1, V2], ids=["v1", "v2"])
async def test_what_is_glued_to_the_header_is_left_for_the_connection(door, raw: bytes) -> None:
    front = door()
    client = front.connect()
    client.send(raw + REQUEST)
    await until(lambda: front.handed_on and front.handed_on[0].received == REQUEST)
    assert front.handed_on[0].header.source_port == 51000
    assert front.acceptor.refused == {}


async def test_a_second_header_is_the_connections_affair(door) -> None:
    front = door()
    client = front.connect()
    client.send(V1 + V1)
    await until(lambda: front.handed_on and front.handed_on[0].received == V1)


async def test_more_than_a_socket_buffer_may_follow_the_header(door) -> None:
    front = door()
    client = front.connect()
    upload = bytes(range(256)) * 8_000
    sending = asyncio.create_task(asyncio.get_running_loop().sock_sendall(client, V2 + upload))
    echoed = b""
    while len(echoed) < len(upload):
        echoed += await asyncio.wait_for(asyncio.get_running_loop().sock_recv(client, 2**18), 20)
    await sending
    assert echoed == upload


def talk_tls(address: tuple[str, int], pieces: Callable[[bytes], list[bytes]]) -> bytes:
    """A TLS client whose first flight is sent as `pieces` say; returns what the echo answers to a request."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="shop.example")
    with closing(socket.create_connection(address, 20)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def run(step: Callable[[], bytes | None]) -> bytes | None:
            while True:
                try:
                    return step()
                except ssl.SSLWantReadError:
                    sock.sendall(outgoing.read())
                    incoming.write(sock.recv(65_536))

        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        for piece in pieces(outgoing.read()):
            sock.sendall(piece)
        run(tls.do_handshake)
        tls.write(REQUEST)
        return run(lambda: tls.read(65_536))


@pytest.mark.parametrize(
    "pieces",
    [
        lambda hello: [V2 + hello],
        lambda hello: [V1 + hello],
        lambda hello: [V1 + hello[:1], hello[1:]],
        lambda hello: [V2[:20], V2[20:] + hello[:7], hello[7:]],
        lambda hello: [V2, hello],
    ],
    ids=["v2 glued", "v1 glued", "one octet glued", "cut across", "apart"],
)
async def test_tls_begins_right_after_the_header(door, tls, pieces) -> None:
    front = door(tls=tls)
    assert await asyncio.to_thread(talk_tls, front.address, pieces) == REQUEST
    assert front.handed_on[0].header.source == "203.0.113.9"


async def test_a_failed_handshake_is_counted_and_closed(door, tls) -> None:
    front = door(tls=tls)
    client = front.connect()
    client.send(V1 + b"GET / HTTP/1.1\r\n\r\n")
    await until(lambda: front.acceptor.refused == {"failed": 1})
    assert front.handed_on == []


async def test_a_bug_behind_the_door_closes_the_connection_and_keeps_the_door_open(door, caplog) -> None:
    async def connected(sock: socket.socket, header: ProxyHeader) -> None:
        raise ZeroDivisionError

    front = door(connected=connected)
    for count in (1, 2):
        client = front.connect()
        client.send(V1)
        assert await front.is_closed(client)
        assert front.acceptor.refused == {"failed": count}
    assert "proxy_bug" in caplog.text


async def test_waiting_for_the_rest_of_a_header_costs_nothing(door, monkeypatch) -> None:
    looks = []
    real = acceptor_module.read
    monkeypatch.setattr(acceptor_module, "read", lambda data: looks.append(data) or real(data))
    front = door()
    client = front.connect()
    client.send(V1[:20])
    await until(lambda: front.taken == [20])
    for _ in range(200):  # each turn asks the kernel which sockets are readable
        await asyncio.sleep(0)
    assert looks == [V1[:20]]
    client.send(V1[20:])
    await until(lambda: front.handed_on)


async def test_a_silent_peer_is_closed_at_the_deadline(door, monkeypatch) -> None:
    monkeypatch.setattr(acceptor_module, "MIN_TIMEOUT_SECS", 0.05)
    front = door(timeout_secs=0.05)
    assert await front.is_closed(front.connect())
    assert front.acceptor.refused == {"timed_out": 1}
    assert front.acceptor.unfinished == 0


async def test_a_peer_that_trickles_does_not_move_the_deadline(door, monkeypatch) -> None:
    monkeypatch.setattr(acceptor_module, "MIN_TIMEOUT_SECS", 0.2)
    front = door(timeout_secs=0.2)
    client = front.connect()
    endless = iter(V2[:16].replace(struct.pack("!H", len(V2) - 16), b"\x0f\x00") + bytes(3_000))
    with pytest.raises(ConnectionError):
        while True:
            client.send(bytes([next(endless)]))
            await asyncio.sleep(0.01)
    assert front.acceptor.refused == {"timed_out": 1}


async def test_a_deadline_is_never_shorter_than_the_paper_asks_for(door) -> None:
    assert door(timeout_secs=0.1).acceptor._timeout_secs == MIN_TIMEOUT_SECS == 3
    assert door(timeout_secs=15).acceptor._timeout_secs == 15


async def test_a_stranger_is_closed_unheard_and_counted(door, caplog) -> None:
    front = door()
    front.trusts = False
    for count in (1, 2, 3):
        client = front.connect()
        assert await front.is_closed(client)
        assert front.acceptor.refused == {"untrusted": count}
    assert front.asked == ["127.0.0.1"] * 3
    assert front.handed_on == []
    assert [record.getMessage().split()[:2] for record in caplog.records] == [
        ["event=proxy_header_refused", "reason=untrusted"]
    ]
    assert "127.0.0.1" not in caplog.text


async def test_of_too_many_unfinished_ones_the_oldest_goes(door) -> None:
    front = door(max_unfinished=3)
    clients = []
    for _ in range(3):
        clients.append(front.connect())
        await until(lambda: front.acceptor.unfinished == len(clients))
    newest = front.connect()
    assert await front.is_closed(clients[0])
    assert front.acceptor.unfinished == 3
    assert front.acceptor.refused == {"crowded_out": 1}
    for client in (*clients[1:], newest):
        client.send(V1)
    await until(lambda: len(front.handed_on) == 3)


@pytest.mark.parametrize(
    "garbage",
    [
        REQUEST,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
        b"PROXY TCP4 not an address\r\n",
        b"PROXY " + b"x" * 200,
        V2[:14] + b"\xff\xff",
    ],
)
async def test_garbage_is_closed_and_counted(door, garbage: bytes, caplog) -> None:
    front = door()
    client = front.connect()
    client.send(garbage)
    assert await front.is_closed(client)
    assert front.acceptor.refused == {"malformed": 1}
    assert front.handed_on == []
    assert "shop.example" not in caplog.text


@pytest.mark.parametrize("begun", [b"", V1[:10], V2[:15], V2[:-1]])
@pytest.mark.parametrize("how", ["fin", "reset"])
async def test_a_peer_that_leaves_before_its_header_is_whole_is_forgotten(door, begun: bytes, how: str) -> None:
    front = door()
    client = front.connect()
    client.send(begun)
    await until(lambda: front.taken == [len(begun)])
    if how == "reset":
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    await until(lambda: front.acceptor.refused == {"left": 1})
    assert front.acceptor.unfinished == 0


async def test_a_health_check_that_says_local_and_leaves_is_handed_on(door) -> None:
    front = door()
    client = front.connect()
    client.send(b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00")
    client.close()
    await until(lambda: front.handed_on)
    assert front.handed_on[0].header == ProxyHeader()


async def test_without_descriptors_it_pauses_says_so_once_and_goes_on(door, caplog) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    with closing(socket.create_connection(listener.getsockname())) as client:
        client.send(V1)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        front = door(listener=listener)
        resource.setrlimit(resource.RLIMIT_NOFILE, (1, hard))
        try:
            await until(lambda: "accept_failed" in caplog.text)
            failures = []
            front.acceptor._pause, pause = lambda error: failures.append(error) or pause(error), front.acceptor._pause
            await until(lambda: len(failures) == 3)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        await until(lambda: front.handed_on)
    assert len([record for record in caplog.records if "accept_failed" in record.getMessage()]) == 1


async def test_closing_drops_the_unfinished_and_leaves_the_others_alone(door) -> None:
    front = door()
    finished, waiting = front.connect(), front.connect()
    finished.send(V1)
    await until(lambda: front.handed_on and front.acceptor.unfinished == 1)
    front.acceptor.close()
    front.acceptor.close()
    await front.acceptor.wait_closed()
    assert await front.is_closed(waiting)
    assert front.acceptor.refused == {}
    with pytest.raises(ConnectionRefusedError):
        front.connect()
    finished.send(b"still here")
    assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(finished, 100), 20) == b"still here"


async def test_who_waits_for_the_end_in_vain_ends_it(door) -> None:
    at_work, sockets = asyncio.Event(), []

    async def connected(sock: socket.socket, header: ProxyHeader) -> None:
        sockets.append(sock)
        at_work.set()
        await asyncio.Event().wait()

    front = door(connected=connected)
    client = front.connect()
    client.send(V1)
    await at_work.wait()
    front.acceptor.close()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await front.acceptor.wait_closed()
    assert await front.is_closed(client)
    assert sockets[0].fileno() == -1


async def test_on_a_unix_socket_the_peer_is_called_unix(door, tmp_path: Path) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s"))
    listener.listen()
    front = door(listener=listener)
    client = front.connect()
    client.send(V1 + REQUEST)
    await until(lambda: front.handed_on and front.handed_on[0].received == REQUEST)
    assert front.asked == ["unix"]


async def test_on_a_socket_for_both_families_an_ipv4_peer_has_its_own_address(door) -> None:
    front = door(listener=socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True))
    client = socket.create_connection(("127.0.0.1", front.address[1]))
    front.clients.append(client)
    client.sendall(V1)
    await until(lambda: front.handed_on)
    assert front.asked == ["127.0.0.1"]


async def test_many_connections_at_once_all_get_through(door) -> None:
    front = door(listener=socket.create_server(("127.0.0.1", 0), backlog=512))
    for count in range(300):
        front.connect().send(b"PROXY TCP4 203.0.113.9 192.0.2.1 %d 443\r\n" % count + REQUEST)
    await until(lambda: len(front.handed_on) == 300)
    await until(lambda: all(one.received == REQUEST for one in front.handed_on))
    assert {one.header.source_port for one in front.handed_on} == set(range(300))


@contextmanager
def haproxy(tmp_path: Path, port: int, bind: str, server: str) -> Iterator[None]:
    config = tmp_path / "haproxy.cfg"
    config.write_text(
        "defaults\n mode tcp\n timeout connect 5s\n timeout client 20s\n timeout server 20s\n"
        f"frontend f\n bind 127.0.0.1:{port} {bind}\n default_backend b\nbackend b\n server s {server}\n"
    )
    process = subprocess.Popen(
        ["haproxy", "-db", "-f", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.skipif(shutil.which("haproxy") is None, reason="no haproxy")
@pytest.mark.parametrize(
    ("send", "tls", "authority"),
    [
        ("send-proxy", False, None),
        ("send-proxy-v2", False, None),
        ("send-proxy-v2 proxy-v2-options crc32c", False, None),
        ("send-proxy-v2-ssl-cn proxy-v2-options crc32c,authority,unique-id,ssl,cert-cn", True, "shop.example"),
    ],
)
async def test_the_header_of_a_real_haproxy_is_understood(
    door, tmp_path: Path, certificate: Path, send: str, tls: bool, authority: str | None
) -> None:
    front = door()
    port = free_port()
    context = ssl.create_default_context(cafile=str(certificate))
    with haproxy(tmp_path, port, f"ssl crt {certificate}" if tls else "", f"127.0.0.1:{front.address[1]} {send}"):
        async with asyncio.timeout(20):
            while True:
                try:
                    reader, writer = await asyncio.open_connection(
                        "127.0.0.1", port, ssl=context if tls else None, server_hostname="shop.example" if tls else None
                    )
                    break
                except ConnectionRefusedError:
                    await asyncio.sleep(0.02)
            own_port = writer.get_extra_info("sockname")[1]
            writer.write(REQUEST)
            assert await reader.readexactly(len(REQUEST)) == REQUEST
            writer.close()
            await writer.wait_closed()
        header = front.handed_on[0].header
        assert header == ProxyHeader("127.0.0.1", own_port, tls, authority)
