"""What is neither page nor form passes as well: WebSockets, endless answers, methods without a body."""

from __future__ import annotations

import http.client
from pathlib import Path

import aiohttp

from tests.support.origins import Site
from tests.support.ropo_process import RopoProcess
from tests.support.visitor import Visitor
from tests.support.waiting import until


async def test_a_websocket_is_a_tunnel_and_one_row(tmp_path: Path, site: Site):
    with RopoProcess(tmp_path, upstream=site.url) as ropo:
        async with aiohttp.ClientSession() as session, session.ws_connect(f"{ropo.url}/ws?m=socket") as socket:
            for text in ("hello", "x" * 100_000):
                await socket.send_str(text)
                assert await socket.receive_str() == text
        row = "select method, status, ended_by from events where query = 'm=socket'"
        until(lambda: ropo.sql(row) == [("GET", 101, None)], "the tunnel is in the log")


def test_an_answer_arrives_while_the_site_still_sends_it(tmp_path: Path, site: Site):
    with RopoProcess(tmp_path, upstream=site.url) as ropo:
        connection = http.client.HTTPConnection("127.0.0.1", ropo.port, timeout=30)
        connection.request("GET", "/drip?m=drip")
        response = connection.getresponse()
        # The site sends the second line only when the visitor has told it that the first one arrived.
        assert response.readline() == b"first\n"
        assert Visitor(ropo.port).open("/drip-on").status == 200
        assert response.read() == b"second\n"
        connection.close()
        until(lambda: ropo.markers() == {"drip": 1}, "it is in the log")


def test_every_method_reaches_the_site_as_it_was_sent(tmp_path: Path, site: Site):
    methods = {"HEAD": None, "PUT": b"put", "PATCH": b"patch", "DELETE": None, "OPTIONS": None}
    with RopoProcess(tmp_path, upstream=site.url) as ropo:
        connection = http.client.HTTPConnection("127.0.0.1", ropo.port, timeout=30)
        for method, body in methods.items():
            connection.request(method, f"/any/%2e%2E//path?b=2&a=%20&m={method}", body)
            response = connection.getresponse()
            assert (response.status, response.getheader("x-method")) == (200, method)
            assert response.read() == (b"" if method == "HEAD" else body or b"")
        connection.close()
        assert [(seen.method, seen.target, seen.body) for seen in site.seen] == [
            (method, f"/any/%2e%2E//path?b=2&a=%20&m={method}", body or b"") for method, body in methods.items()
        ]
        until(lambda: ropo.markers() == dict.fromkeys(methods, 1), "each is in the log")
