"""ropo behind the web servers of packaging/in-front, which end TLS and HTTP/2: the example files as they are shipped.

A server that is not installed is skipped; so is everything without a curl that speaks HTTP/2.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import shutil
import ssl
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import aiohttp
import psutil
import pytest
from aiohttp import WSMsgType, web

from tests.support.certificates import Authority
from tests.support.fronts import EXAMPLES, Setting, found, running
from tests.support.origins import Seen, Site
from tests.support.ports import free_port
from tests.support.ropo_process import RopoProcess
from tests.support.waiting import until

HOST = "example.com"
# Loopback is a whole network: this visitor is none of ropo's trusted 127.0.0.1/32.
VISITOR = "127.0.0.5"
FORGED = "198.51.100.66"
UPLOAD_BYTES = 20_000_000


class Shop(Site):
    """The site behind: answers every path, and sends the second event when it was told that the first has arrived."""

    async def serve(self) -> Callable[[], Awaitable[None]]:
        self._told = asyncio.Event()
        app = web.Application()
        app.add_routes(
            [
                web.get("/events", self._events),
                web.get("/told", self._tell),
                web.get("/endless", self._endless),
                web.get("/ws", self._socket),
                web.route("*", "/{rest:.*}", self._answer),
            ]
        )
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.port, reuse_address=True).start()
        return runner.cleanup

    async def _answer(self, request: web.Request) -> web.Response:
        seen = await self._note(request)
        return web.Response(text=f"{seen.method} {seen.bytes}", content_type="text/html")

    async def _events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"data: first\n\n")
        await self._told.wait()
        await response.write(b"data: second\n\n")
        return response

    async def _endless(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        while True:
            await response.write(b"data: again\n\n")
            await asyncio.sleep(0.1)

    async def _tell(self, _: web.Request) -> web.Response:
        self._told.set()
        return web.Response(text="told")

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        await self._note(request)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if message.type == WSMsgType.TEXT:
                await socket.send_str(message.data)
        return socket


@cache
def curl_speaks_http2() -> bool:
    said = subprocess.run(["curl", "--version"], capture_output=True, text=True).stdout if shutil.which("curl") else ""
    return "HTTP2" in said


# -- the whole house


@dataclass(frozen=True)
class Front:
    """A server in front, ropo behind it, and the site behind that."""

    name: str
    https: int
    http: int
    authority: Authority
    ropo: RopoProcess
    site: Shop
    folder: Path

    @property
    def host(self) -> str:
        return f"{HOST}:{self.https}"

    def curl(self, target: str, *arguments: str) -> list[str]:
        """The command of a visitor from VISITOR who insists on nothing but what the server offers: h2 first."""
        return [
            *("curl", "--silent", "--show-error", "--http2", "--max-time", "60", "--interface", VISITOR),
            *("--cacert", str(self.authority.file), "--resolve", f"{HOST}:{self.https}:127.0.0.1", "--path-as-is"),
            *arguments,
            f"https://{self.host}{target}",
        ]

    def ask(self, target: str, *arguments: str) -> tuple[str, str, str]:
        """Status, version of HTTP, and body of the answer."""
        wanted = "\n%{http_code} %{http_version}"
        done = subprocess.run(self.curl(target, "--write-out", wanted, *arguments), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        body, _, figures = done.stdout.rpartition("\n")
        status, version = figures.split()
        return status, version, body

    def seen(self, marker: str) -> Seen:
        """The one request with that marker that reached the site."""
        [seen] = [seen for seen in list(self.site.seen) if f"m={marker}" in seen.target]
        return seen

    def logged(self, marker: str) -> tuple[str, ...]:
        """What the log keeps of it: method, status, scheme, host and the visitor's address."""
        query = "select method, status, scheme, host, client_ip from events where regexp_matches(query, ?)"
        [row] = until(lambda: self.ropo.sql(query, [f"(^|&)m={marker}$"]), f"{marker} is in the log")
        return row


@pytest.fixture(scope="module", params=EXAMPLES)
def front(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    example = EXAMPLES[request.param]
    if not found(example.program):
        pytest.skip(f"{example.program} is not installed")
    if not curl_speaks_http2():
        pytest.skip("there is no curl that speaks HTTP/2")
    folder = tmp_path_factory.mktemp("front")
    (folder / "server").mkdir()
    authority = Authority(folder)
    with Shop() as site:
        ropo = RopoProcess(
            folder,
            upstream=site.url,
            proxy={"trusted": ["127.0.0.1/32"], "proxy_protocol": "PROXY" in request.param},
            tracker={"client_ip": "full"},
        )
        setting = Setting(
            folder=folder / "server",
            https=free_port(),
            http=free_port(),
            admin=free_port(),
            ropo=ropo.port,
            pair=authority.pair(folder, HOST, "www.example.com", with_chain=True),
        )
        with ropo, running(example, setting):
            yield Front(request.param, setting.https, setting.http, authority, ropo, site, folder)


def test_a_page_comes_over_http2_and_its_target_reaches_the_site_byte_for_byte(front: Front):
    target = "/any/%2e%2E//a%2Fb/./%7e/?b=2&a=%20;&&x&m=page"
    assert front.ask(target) == ("200", "2", "GET 0")
    assert front.seen("page").target == target
    assert front.logged("page") == ("GET", 200, "https", front.host, VISITOR)


def test_the_site_and_the_log_see_the_visitors_address_scheme_and_host(front: Front):
    front.ask("/?m=who")
    fields = front.seen("who").fields
    assert fields["host"] == fields["x-forwarded-host"] == front.host
    assert fields["x-forwarded-proto"] == "https"
    assert fields["x-forwarded-for"].split(", ")[0] == VISITOR
    assert re.match(rf"for={VISITOR}\b", fields["forwarded"])
    assert f'host="{front.host}"' in fields["forwarded"] and "proto=https" in fields["forwarded"]
    assert front.logged("who")[2:] == ("https", front.host, VISITOR)


def test_an_absolute_target_keeps_its_host_and_arrives_as_a_path(front: Front):
    # RFC 9112 3.2.2: servers must take this form, though visitors use it only towards a proxy of their own.
    absolute = f"https://{front.host}/a%2Fb?m=absolute"
    assert front.ask("/", "--http1.1", "--request-target", absolute)[0] == "200"
    seen = front.seen("absolute")
    assert (seen.target, seen.fields["host"]) == ("/a%2Fb?m=absolute", front.host)
    assert front.logged("absolute")[3] == front.host


@pytest.mark.parametrize("version", ["--http2", "--http1.1"])
def test_what_a_visitor_forges_reaches_neither_the_site_nor_the_log(front: Front, version: str):
    forged = {
        "X-Forwarded-For": FORGED,
        "X-Forwarded-Proto": "http",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Port": "666",
        "X-Real-IP": FORGED,
        "X_Forwarded_For": FORGED,
        "Forwarded": f"for={FORGED};host=evil.example;proto=http",
    }
    marker = "forged" + version[-1]
    fields = [word for name, value in forged.items() for word in ("--header", f"{name}: {value}")]
    assert front.ask(f"/?m={marker}", version, *fields)[0] == "200"
    told = json.dumps(front.seen(marker).fields)
    assert FORGED not in told and "evil" not in told and "666" not in told
    assert front.seen(marker).fields["x-forwarded-proto"] == "https"
    assert front.logged(marker)[2:] == ("https", front.host, VISITOR)


def test_a_form_arrives_whole(front: Front):
    assert front.ask("/kontakt?m=form", "--data", "name=Erika&email=erika@example.com")[:2] == ("200", "2")
    seen = front.seen("form")
    assert seen.form() == {"name": "Erika", "email": "erika@example.com"}
    assert front.logged("form")[0] == "POST"


@pytest.mark.parametrize("framing", ["counted", "chunked"])
def test_an_upload_of_20_mb_arrives_whole(front: Front, framing: str):
    data = hashlib.shake_256(framing.encode()).digest(UPLOAD_BYTES)
    path = front.folder / framing
    path.write_bytes(data)
    # From a pipe curl does not know the length beforehand.
    body = ["--data-binary", f"@{path}"] if framing == "counted" else ["--upload-file", "-", "--request", "POST"]
    with path.open("rb") as pipe:
        command = front.curl(f"/upload?m={framing}", *body)
        done = subprocess.run(command, stdin=pipe, capture_output=True, text=True)
    assert (done.stderr, done.stdout) == ("", f"POST {UPLOAD_BYTES}")
    assert front.seen(framing).sha256 == hashlib.sha256(data).hexdigest()


def test_a_server_sent_event_arrives_while_the_next_is_not_yet_sent(front: Front):
    with subprocess.Popen(front.curl("/events?m=events", "--no-buffer"), stdout=subprocess.PIPE) as visitor:
        # The site sends the second event only when the visitor has told it that the first one arrived.
        assert visitor.stdout.readline() == b"data: first\n"
        assert front.ask("/told")[0] == "200"
        assert visitor.stdout.read() == b"\ndata: second\n\n"


def test_a_visitor_who_goes_away_ends_the_exchange_behind_as_well(front: Front):
    with subprocess.Popen(front.curl("/endless?m=gone", "--no-buffer"), stdout=subprocess.PIPE) as visitor:
        assert visitor.stdout.readline() == b"data: again\n"
        visitor.kill()
    row = "select ended_by from events where query = 'm=gone'"
    until(lambda: front.ropo.sql(row) == [("client",)], "ropo has heard that the visitor is gone")


def test_connections_to_ropo_are_kept_for_the_next_request(front: Front):
    def connections() -> set[int]:
        """The other ends of all that were opened to ropo, those included that were closed in the last minute."""
        return {found.raddr.port for found in psutil.net_connections("tcp4") if found.laddr == address and found.raddr}

    address = ("127.0.0.1", front.ropo.port)
    before = connections()
    urls = [f"https://{front.host}/kept?m=kept{number}" for number in range(1, 10)]
    done = subprocess.run(front.curl("/kept?m=kept0", *urls), capture_output=True, text=True)
    assert done.stdout == "GET 0" * 10
    assert len(connections() - before) <= 1
    assert connections(), "not even the one of this moment is seen"


async def test_a_websocket_goes_through_tls(front: Front):
    trust = ssl.create_default_context(cafile=front.authority.file)
    connector = aiohttp.TCPConnector(local_addr=(VISITOR, 0))
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.ws_connect(
            f"wss://127.0.0.1:{front.https}/ws?m=socket", ssl=trust, server_hostname=HOST, headers={"Host": front.host}
        ) as socket,
    ):
        for text in ("hello", "x" * 100_000):
            await socket.send_str(text)
            assert await socket.receive_str() == text
    row = await asyncio.to_thread(front.logged, "socket")
    assert row == ("GET", 101, "https", front.host, VISITOR)


def test_http_is_sent_to_https(front: Front):
    done = subprocess.run(
        [
            *("curl", "--silent", "--show-error", "--output", str(front.folder / "nothing"), "--write-out"),
            *("%{http_code} %{redirect_url}", "--resolve", f"{HOST}:{front.http}:127.0.0.1"),
            f"http://{HOST}:{front.http}/a%2Fb?m=plain",
        ],
        capture_output=True,
        text=True,
    )
    status, location = done.stdout.split()
    assert status == "308"
    assert location.startswith(f"https://{HOST}") and location.endswith("/a%2Fb?m=plain")
