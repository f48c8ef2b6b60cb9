"""ropo speaks https itself: real handshakes, certificates that are renewed, and a reload, while visitors come."""

from __future__ import annotations

import asyncio
import http.client
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509

from tests.e2e.test_reload import NamedSite, Visitors, change, eventually, hang_up, reloads, visitors
from tests.support.certificates import Authority, Pair
from tests.support.load import BROWSER
from tests.support.origins import Site
from tests.support.ports import free_port
from tests.support.ropo_process import RopoProcess
from tests.support.waiting import until

WWW, SHOP = "www.example.com", "shop.example.com"


def tls(*pairs: Pair, **settings: Any) -> dict[str, Any]:
    """The section `proxy.tls` on a free port."""
    certificates = [{"certificate": str(pair.certificate), "key": str(pair.key)} for pair in pairs]
    return {"listen": f"127.0.0.1:{free_port()}", "certificates": certificates, **settings}


def port_of(section: dict[str, Any]) -> int:
    return int(section["listen"].rpartition(":")[2])


def serial(pair: Pair) -> int:
    return x509.load_pem_x509_certificate(pair.certificate.read_bytes()).serial_number


@dataclass(frozen=True)
class Answer:
    """What came back; field names in lower case, and the number of the certificate that was shown."""

    status: int
    fields: dict[str, str]
    body: bytes
    serial: int


def ask(port: int, host: str, trust: ssl.SSLContext, target: str, body: bytes | None = None) -> Answer:
    """One request on a connection of its own, for which the server must show a certificate for `host`."""
    connection = http.client.HTTPConnection(host, port)
    plain = socket.create_connection(("127.0.0.1", port), timeout=30)
    connection.sock = trust.wrap_socket(plain, server_hostname=host)
    try:
        shown = int(connection.sock.getpeercert()["serialNumber"], 16)
        fields = {"User-Agent": BROWSER, "Accept": "text/html", "Sec-Fetch-Dest": "document"}
        connection.request("GET" if body is None else "POST", target, body, fields)
        answer = connection.getresponse()
        named = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, named, answer.read(), shown)
    finally:
        connection.close()


class HttpsVisitors(Visitors):
    """The visitors of a reload, over https. Each connection must show a certificate of `trust` for WWW."""

    def __init__(self, port: int, trust: ssl.SSLContext) -> None:
        super().__init__(port)
        self.trust = trust

    async def _connected(self, marker: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        try:
            return await asyncio.open_connection("127.0.0.1", self.port, ssl=self.trust, server_hostname=WWW)
        except OSError as error:
            self.failed.append(f"{marker}: refused: {error!r}")
            return None


def test_two_sites_each_with_its_certificate_and_its_own_server(tmp_path: Path, site: Site):
    authority = Authority(tmp_path)
    www, shop = authority.pair(tmp_path, WWW, file="www"), authority.pair(tmp_path, SHOP, file="shop")
    section = tls(www, shop)
    trust, port = ssl.create_default_context(cafile=authority.file), port_of(section)
    with (
        NamedSite("shop") as other,
        RopoProcess(
            tmp_path,
            upstream=site.url,
            proxy={"tls": section, "sites": [{"hosts": [SHOP], "upstream": other.url}]},
        ) as ropo,
    ):
        page = ask(port, WWW, trust, "/produkte/pumpe?m=www")
        assert (page.status, page.serial) == (200, serial(www))
        assert "; Secure" in page.fields["set-cookie"]
        bought = ask(port, SHOP, trust, "/page?m=shop")
        assert (bought.status, bought.body, bought.serial) == (200, b"shop", serial(shop))
        sent = ask(port, WWW, trust, "/upload?m=form", b"x" * 1_000_000)
        assert sent.body == b"1000000 bytes received"

        [seen] = site.received("GET", "/produkte/pumpe")
        assert seen.fields["host"] == seen.fields["x-forwarded-host"] == f"{WWW}:{port}"
        assert seen.fields["x-forwarded-proto"] == "https"
        logged = "select query, scheme, host from events order by query"
        rows = [("m=form", "https", f"{WWW}:{port}"), ("m=shop", "https", f"{SHOP}:{port}")]
        until(lambda: len(ropo.sql(logged)) == 3, "all of it is in the log")
        assert ropo.sql(logged) == [*rows, ("m=www", "https", f"{WWW}:{port}")]


def test_http_is_sent_to_https_but_for_the_challenge_of_an_authority(tmp_path: Path, site: Site):
    section = tls(Authority(tmp_path).pair(tmp_path, WWW), redirect=True)
    with RopoProcess(tmp_path, upstream=site.url, proxy={"tls": section}) as ropo:
        connection = http.client.HTTPConnection("127.0.0.1", ropo.port, timeout=30)
        answers = {}
        for method, target in (("GET", "/a%2Fb?m=get"), ("POST", "/kontakt"), ("GET", "/.well-known/acme-challenge/x")):
            connection.request(method, target, headers={"Host": f"{WWW}:{ropo.port}"})
            answer = connection.getresponse()
            answer.read()
            answers[target] = (answer.status, answer.getheader("Location"))
        connection.close()
        assert answers == {
            "/a%2Fb?m=get": (308, f"https://{WWW}:{port_of(section)}/a%2Fb?m=get"),
            "/kontakt": (308, f"https://{WWW}:{port_of(section)}/kontakt"),
            # The site was asked: it has no such page.
            "/.well-known/acme-challenge/x": (404, None),
        }
        rows = "select status, refusal, scheme from events where query = 'm=get'"
        until(lambda: ropo.sql(rows) == [(308, "https_only", "http")], "the redirect is in the log")


async def test_a_certificate_is_renewed_while_visitors_come_and_none_notices(tmp_path: Path):
    authority = Authority(tmp_path)
    old = authority.pair(tmp_path, WWW)
    section, trust = tls(old, reload_secs=0.5), ssl.create_default_context(cafile=authority.file)
    first, port = serial(old), port_of(section)
    with NamedSite("one") as one, RopoProcess(tmp_path, upstream=one.url, proxy={"tls": section}) as ropo:

        def shown() -> set[int]:
            """By both workers, as good as certainly."""
            return {ask(port, WWW, trust, "/page").serial for _ in range(16)}

        async with visitors(port, HttpsVisitors(port, trust)) as load:
            await load.more(100)
            assert await asyncio.to_thread(shown) == {first}
            # In place, one file after the other: at some moment the key does not belong to the certificate.
            second = serial(authority.pair(tmp_path, WWW))
            await eventually(lambda: shown() == {second}, "both workers show the new certificate")
            await load.more(100)

            whole = old.certificate.read_bytes()
            old.certificate.write_bytes(whole[: len(whole) // 2])
            await eventually(lambda: ropo.said().count("event=certificate_refused") >= 2, "both workers refuse it")
            assert await asyncio.to_thread(shown) == {second}
            await load.more(100)
        assert load.failed == []
        assert "Traceback" not in ropo.said()


async def test_a_reload_under_https_refuses_and_cuts_nothing(tmp_path: Path):
    authority = Authority(tmp_path)
    section = tls(authority.pair(tmp_path, WWW))
    trust, port = ssl.create_default_context(cafile=authority.file), port_of(section)
    with (
        NamedSite("one") as one,
        NamedSite("two") as two,
        RopoProcess(tmp_path, upstream=one.url, proxy={"tls": section}) as ropo,
    ):
        async with visitors(port, HttpsVisitors(port, trust)) as load:
            await load.more(100)
            change(ropo, proxy={"upstream": two.url})
            hang_up(ropo)
            await eventually(lambda: reloads(ropo) == 1, "the reload is done")
            assert (await asyncio.to_thread(ask, port, WWW, trust, "/page?m=asked")).body == b"two"
            await load.more(100)
        assert load.failed == []
        assert ropo.stop() == 0
        markers = ropo.markers()
        assert markers.pop("asked") == 1
        assert markers == dict.fromkeys(load.answered, 1)
        assert "process_died" not in ropo.said() and "Traceback" not in ropo.said()


def test_check_says_what_is_wrong_with_a_certificate_and_until_when_it_lasts(tmp_path: Path, site: Site):
    authority = Authority(tmp_path)
    pair = authority.pair(tmp_path, WWW, with_chain=True)
    ropo = RopoProcess(tmp_path, upstream=site.url, proxy={"tls": tls(pair)})

    def found() -> tuple[str, str]:
        checks = {check["name"]: check for check in ropo.json("check")["checks"]}
        assert checks["proxy.tls.listen"]["state"] == "ok"
        one = checks["proxy.tls.certificates[0]"]
        return one["state"], one["detail"]

    state, detail = found()
    assert state == "ok" and WWW in detail
    authority.pair(tmp_path, WWW, days=3, with_chain=True)
    state, detail = found()
    assert state == "warning", detail

    pair.key.write_bytes(authority.pair(tmp_path, "other.example.com", file="other").key.read_bytes())
    done = ropo.cli("check")
    assert done.returncode == 1
    assert "proxy.tls.certificates[0]" in done.stdout and "PRIVATE KEY" not in done.stdout
    with_a_stranger = ropo.cli("serve")
    assert with_a_stranger.returncode == 1 and str(pair.key) in with_a_stranger.stderr
