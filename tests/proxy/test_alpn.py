"""Which protocol a visitor's connection gets."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from proxy.http1 import Http1
from proxy.http2 import Http2
from tests.proxy.conftest import ok
from tests.support.http2_client import Http2Client

Build = Callable[..., Awaitable[tuple]]


def context(*protocols: str) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    if protocols:
        made.set_alpn_protocols(list(protocols))
    return made


@pytest.mark.parametrize(
    "wants, gets",
    [
        (["h2", "http/1.1"], Http2),
        (["http/1.1", "h2"], Http2),
        (["h2"], Http2),
        (["http/1.1"], Http1),
        (["spdy/3"], Http1),
        ([], Http1),
    ],
)
async def test_who_knows_http2_gets_it_and_anybody_else_http1(http2_stage: Build, wants: list[str], gets: type):
    stage, visit = await http2_stage(ok())
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.https_port, ssl=context(*wants))
    stage.writers.append(writer)
    if gets is Http1:
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert await asyncio.wait_for(reader.readexactly(12), 5) == b"HTTP/1.1 200"
    else:
        assert (await asyncio.wait_for(reader.readexactly(9), 5))[3] == 4  # SETTINGS
    [connection] = stage.proxy.connections
    assert type(connection) is gets and connection.peer == "127.0.0.1"


async def test_behind_a_proxy_header_it_is_the_same(http2_stage: Build):
    stage, visit = await http2_stage(ok(), proxy_protocol=True, trusted=["127.0.0.0/8"])
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(asyncio.Protocol, "127.0.0.1", stage.https_port)
    transport.write(b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n")
    client = Http2Client()
    secure = await loop.start_tls(transport, client, context("h2"))
    client.connection_made(secure)
    client.h2.initiate_connection()
    client.flush()
    assert (await client.answer(client.ask())).status == 200
    [exchange] = await stage.until_logged()
    assert (exchange.client, exchange.scheme) == ("192.0.2.7", "https")
    await client.close()


def test_without_http2_its_library_is_not_loaded():
    root = Path(__file__).resolve().parents[2]
    code = "import sys, proxy.server; print(sorted({'h2', 'hpack', 'hyperframe', 'proxy.http2'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"
