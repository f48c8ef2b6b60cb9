"""Connections to the site that wait for their next request."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from proxy.pool import Address, Pool
from proxy.settings import ProxySettings


@pytest.mark.parametrize(
    ("url", "host", "port", "tls", "field"),
    [
        ("http://127.0.0.1:9000", "127.0.0.1", 9000, False, b"127.0.0.1:9000"),
        ("http://shop.example", "shop.example", 80, False, b"shop.example"),
        ("https://shop.example/", "shop.example", 443, True, b"shop.example"),
        ("https://[::1]:8443", "::1", 8443, True, b"[::1]:8443"),
    ],
)
def test_an_upstream_is_a_url_without_a_path(url: str, host: str, port: int, tls: bool, field: bytes) -> None:
    assert Address.of(url) == Address(host, port, tls, field)


@pytest.mark.parametrize("url", ["127.0.0.1:9000", "ftp://a", "http://", "http://a/path", "http://a?q", "http://u:p@a"])
def test_anything_else_is_said_to_be_wrong(url: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        Address.of(url)


class Origin:
    """Accepts connections and keeps them."""

    async def start(self) -> None:
        self.writers: list[asyncio.StreamWriter] = []
        self.server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        with suppress(ConnectionError):
            await reader.read()


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    origin = Origin()
    await origin.start()
    yield origin
    origin.server.close()
    for writer in origin.writers:
        writer.transport.abort()
        with suppress(ConnectionError):
            await writer.wait_closed()
    await asyncio.sleep(0.01)


def pool_for(origin: Origin, **settings: object) -> Pool:
    return Pool(ProxySettings(upstream=f"http://127.0.0.1:{origin.port}", **settings), asyncio.get_running_loop())


async def test_the_newest_idle_connection_is_taken_first(origin) -> None:
    pool = pool_for(origin)
    one, two = await pool.connect(), await pool.connect()
    pool.give_back(one)
    pool.give_back(two)
    assert pool.idle == 2
    assert pool.take(may_retry=True) is two
    assert pool.take(may_retry=True) is one
    assert pool.take(may_retry=True) is None
    one.abort()
    two.abort()


async def test_an_old_connection_is_not_taken_and_is_swept(origin) -> None:
    pool = pool_for(origin, upstream_idle_secs=0.05)
    one, two = await pool.connect(), await pool.connect()
    pool.give_back(one)
    pool.give_back(two)
    await asyncio.sleep(0.1)
    assert pool.take(may_retry=True) is None
    pool.give_back(await pool.connect())
    await asyncio.sleep(0.1)
    pool.sweep()
    assert pool.idle == 0


async def test_a_connection_the_origin_has_closed_is_not_taken_for_a_request_that_cannot_be_repeated(origin) -> None:
    pool = pool_for(origin)
    pool.give_back(await pool.connect())
    await asyncio.sleep(0.05)
    for writer in origin.writers:
        with socket.socket(fileno=os.dup(writer.get_extra_info("socket").fileno())) as same:
            same.shutdown(socket.SHUT_WR)
    # No loop turn in between: asyncio has not been told of the end yet.
    assert pool.take(may_retry=False) is None


async def test_no_more_are_kept_than_the_setting_says(origin) -> None:
    pool = pool_for(origin, upstream_idle_connections=1)
    for upstream in [await pool.connect(), await pool.connect()]:
        pool.give_back(upstream)
    assert pool.idle == 1
    pool.close()


async def test_a_connection_that_cannot_be_had_is_counted(origin) -> None:
    pool = pool_for(origin)
    origin.server.close()
    await asyncio.sleep(0.01)
    with pytest.raises(OSError):
        await pool.connect()
    assert pool.failures == 1


@pytest.fixture
async def tls_origin(tmp_path):
    """An origin whose certificate no authority has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "origin.pem"
    file.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + certificate.public_bytes(Encoding.PEM)
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    yield f"https://localhost:{server.sockets[0].getsockname()[1]}"
    server.close()
    await asyncio.sleep(0.01)


async def test_an_upstream_over_tls_is_verified_unless_the_operator_says_otherwise(stage, tls_origin: str) -> None:
    request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    front = await stage(None, upstream=tls_origin)
    assert (await front.ask(request)).startswith(b"HTTP/1.1 502 Bad Gateway")
    assert front.exchanges[0].refusal == "upstream_down"
    front = await stage(None, upstream=tls_origin, verify_upstream=False)
    assert (await front.ask(request)).endswith(b"hello")
