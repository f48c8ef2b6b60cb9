import asyncio
import base64
import datetime
import gzip
import ipaddress
import json
import ssl
import time
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from standardwebhooks import Webhook

from export.connector import Delivered, Later, Never, Parked
from export.settings import WebhookSettings
from export.sinks.webhook import WebhookSink, body_of
from export.webhook_signature import new_secret
from tests.export.exam import Bench, Exam, contacts_by_lead
from tests.export.leads import CONTACT_MARK, lead, message
from tests.support.ports import free_port

PATH = "/hooks/s3cr3t-path"


class Receiver:
    """A real server on loopback. Keeps each request and holds it against the reference library."""

    def __init__(self) -> None:
        self.secret = new_secret()
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.situation = "accepted"
        self.answer: web.Response | None = None
        self.free = asyncio.Event()
        app = web.Application(client_max_size=10**7)
        app.router.add_route("*", "/{path:.*}", self.handle)
        self.server = TestServer(app)

    @property
    def url(self) -> str:
        return str(self.server.make_url(PATH))

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        assert request.method == "POST"
        assert request.path == PATH
        Webhook(self.secret).verify(body, dict(request.headers))
        if self.answer is not None:
            self.requests.append((dict(request.headers), body))
            return self.answer
        if self.situation in ("accepted", "cut after sending"):
            self.requests.append((dict(request.headers), body))
        if self.situation == "cut after sending":
            request.transport.abort()
        if self.situation == "timeout":
            await self.free.wait()
        # A receiver that repeats what it got must not make us repeat it.
        text = body.decode()
        match self.situation:
            case "refused":
                return web.Response(status=422, reason=CONTACT_MARK, text=text)
            case "rate limited":
                return web.Response(status=429, headers={"Retry-After": "77"}, text=text)
            case "server error":
                return web.Response(status=503, text=text)
        return web.Response(status=202, text=text)

    def documents(self) -> list[dict[str, Any]]:
        """As a receiver keeps them that passes over ids it has seen."""
        return list({fields["webhook-id"]: json.loads(body)["data"] for fields, body in self.requests}.values())


class WebhookBench(Bench):
    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        self.secrets = [receiver.secret, receiver.secret[6:], "s3cr3t-path"]
        self.made: list[WebhookSink] = []
        self.now_is("accepted")

    def now_is(self, situation: str) -> None:
        self.receiver.situation = situation
        timeout_secs = 0.1 if situation == "timeout" else 20
        settings = WebhookSettings(
            name="crm", url=self.receiver.url, secret=self.receiver.secret, timeout_secs=timeout_secs
        )
        self.connector = WebhookSink(settings)
        self.made.append(self.connector)

    def received(self) -> dict[str, dict[str, Any]]:
        return contacts_by_lead(self.receiver.documents())


@pytest.fixture
async def receiver():
    receiver = Receiver()
    # Its own log names the path; ours must not.
    await receiver.server.start_server(access_log=None)
    yield receiver
    receiver.free.set()
    await receiver.server.close()


@pytest.fixture
async def bench(receiver):
    bench = WebhookBench(receiver)
    yield bench
    for sink in bench.made:
        await sink.close()


class TestWebhook(Exam):
    @pytest.fixture
    async def bench(self, bench):
        return bench


@pytest.fixture
async def deliver(receiver):
    """Delivers one lead with a sink set so, and closes it."""

    async def deliver(**settings):
        sink = WebhookSink(
            WebhookSettings(**{"name": "crm", "url": receiver.url, "secret": receiver.secret, **settings})
        )
        try:
            return await sink.deliver(message(lead(1)))
        finally:
            await sink.close()

    return deliver


async def test_the_body_is_the_event_with_the_lead_document(receiver, deliver):
    assert await deliver() == Delivered()
    fields, body = receiver.requests[0]
    assert json.loads(body) == {"type": "lead.created", "timestamp": lead(1)["occurred_at"], "data": lead(1)}
    assert body == body_of(message(lead(1)))
    assert b'", "' not in body.replace(b"Muster & ", b"")
    assert fields["Content-Type"] == "application/json"
    assert int(fields["Content-Length"]) == len(body)
    assert fields["webhook-id"] == message(lead(1)).delivery_id


async def test_every_attempt_has_the_same_id_and_its_own_moment(receiver):
    receiver.answer = web.Response(status=500)
    start = int(time.time())
    for attempt in (1, 2):
        sink = WebhookSink(
            WebhookSettings(name="crm", url=receiver.url, secret=receiver.secret),
            now=lambda n=attempt: start + 60.9 * n,
        )
        await sink.deliver(message(lead(1), attempt=attempt))
        await sink.close()
        receiver.answer = web.Response(status=500)
    seen = [(fields["webhook-id"], int(fields["webhook-timestamp"]) - start) for fields, _ in receiver.requests]
    name = message(lead(1)).delivery_id
    assert seen == [(name, 60), (name, 121)]


async def test_while_secrets_change_the_receiver_may_know_either(receiver, deliver):
    old = receiver.secret
    assert await deliver(secret=new_secret(), former_secrets=[old]) == Delivered()
    assert len(receiver.requests[0][0]["webhook-signature"].split(" ")) == 2


@pytest.mark.parametrize(
    ("status", "kind"),
    [(200, Delivered), (204, Delivered), (302, Parked), (401, Parked), (410, Parked), (400, Never), (500, Later)],
)
async def test_the_status_decides(receiver, deliver, status, kind):
    receiver.answer = web.Response(status=status, headers={"Location": receiver.url} if status == 302 else None)
    outcome = await deliver()
    assert type(outcome) is kind
    assert len(receiver.requests) == 1, "a redirect was followed"


async def test_the_wait_the_receiver_asks_for_is_handed_on(receiver, deliver):
    receiver.situation = "rate limited"
    assert await deliver() == Later("answered 429 Too Many Requests", after_secs=77)


async def test_no_cookie_is_kept_for_the_next_lead(receiver):
    receiver.answer = web.Response(status=200, headers={"Set-Cookie": "a=b; Path=/"})
    sink = WebhookSink(WebhookSettings(name="crm", url=receiver.url, secret=receiver.secret))
    await sink.deliver(message(lead(1)))
    receiver.answer = web.Response(status=200)
    await sink.deliver(message(lead(2)))
    await sink.close()
    assert [fields.get("Cookie") for fields, _ in receiver.requests] == [None, None]


async def serve_raw(answer: bytes, *, hold: asyncio.Event | None = None) -> tuple[asyncio.Server, str]:
    """A server that reads a request's head and body, answers these bytes, and closes (when `hold` is set)."""

    async def handle(reader, writer):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            writer.write(answer)
            await writer.drain()
            if hold is not None:
                await hold.wait()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    return server, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}{PATH}"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\nstart", Delivered()),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 10_000_000, Delivered()),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense",
            Later("{}: what it answered is not HTTP"),
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 10217\r\n\r\n"
            + gzip.compress(b"\0" * 10_500_000)[:10217],
            Delivered(),
        ),
        (b"SSH-2.0-OpenSSH_9.2\r\n", Later("{}: what it answered is not HTTP")),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000 + b"\r\n\r\n", Later("{}: what it answered is not HTTP")),
        (b"", Later("{}: the connection broke before the answer came")),
        (b"HTTP/1.1 20", Later("{}: the connection broke before the answer came")),
    ],
    ids=["endless", "huge", "broken chunks", "bomb", "not http", "huge head", "nothing", "half a head"],
)
async def test_a_strange_answer_has_an_outcome(deliver, answer, expected):
    server, url = await serve_raw(answer)
    outcome = await deliver(url=url)
    server.close()
    if isinstance(expected, Later):
        expected = Later(expected.reason.format(url.removesuffix(PATH)))
    assert outcome == expected


async def test_a_receiver_that_never_finishes_its_answer_has_accepted_all_the_same(deliver, monkeypatch):
    monkeypatch.setattr("export.sinks.webhook.ANSWER_REST_SECS", 0.02)
    hold = asyncio.Event()
    server, url = await serve_raw(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", hold=hold)
    assert await deliver(url=url) == Delivered()
    hold.set()
    server.close()


async def test_a_receiver_that_is_down_says_so_without_the_path(deliver):
    origin = f"http://127.0.0.1:{free_port()}"
    assert await deliver(url=origin + PATH) == Later(f"{origin}: no connection (Connection refused)")


async def test_a_name_nobody_knows_says_so(deliver):
    outcome = await deliver(url=f"http://no-such-host.invalid{PATH}")
    assert outcome == Later("http://no-such-host.invalid: its name could not be resolved")


async def test_a_slow_receiver_is_waited_for_only_so_long(receiver, deliver):
    receiver.situation = "timeout"
    outcome = await deliver(timeout_secs=0.05)
    assert outcome.reason.endswith("did not answer within 0.05 s")


async def test_a_proxy_in_the_environment_is_not_used(deliver, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    assert await deliver() == Delivered()


@pytest.fixture
def certificate(tmp_path):
    """A certificate for 127.0.0.1 that only its own file vouches for: (certificate, key)."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (tmp_path / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (tmp_path / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return tmp_path / "cert.pem", tmp_path / "key.pem"


async def test_a_certificate_is_checked_and_an_authority_of_one_s_own_is_believed(receiver, deliver, certificate):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    app = web.Application()
    app.router.add_post("/{path:.*}", receiver.handle)
    server = TestServer(app, scheme="https")
    await server.start_server(ssl=context)
    url = f"https://127.0.0.1:{server.port}{PATH}"
    outcome = await deliver(url=url)
    assert isinstance(outcome, Later)
    assert "its certificate is not trusted" in outcome.reason
    assert receiver.requests == []
    assert await deliver(url=url, ca_file=str(certificate[0])) == Delivered()
    await server.close()


async def test_a_ca_file_that_cannot_be_used_parks_the_sink_and_is_read_again(deliver, certificate, receiver, tmp_path):
    (tmp_path / "nonsense.pem").write_text("not a certificate")
    assert await deliver(ca_file=str(tmp_path / "missing.pem")) == Parked(
        "ca_file cannot be used: No such file or directory"
    )
    assert await deliver(ca_file=str(tmp_path / "nonsense.pem")) == Parked("ca_file cannot be used: not a PEM file")
    sink = WebhookSink(
        WebhookSettings(name="crm", url=receiver.url, secret=receiver.secret, ca_file=str(tmp_path / "nonsense.pem"))
    )
    assert isinstance(await sink.deliver(message(lead(1))), Parked)
    (tmp_path / "nonsense.pem").write_bytes(certificate[0].read_bytes())
    assert await sink.deliver(message(lead(1))) == Delivered()
    await sink.close()


def test_a_sink_shows_neither_its_secret_nor_its_path():
    secret = new_secret()
    sink = WebhookSink(WebhookSettings(name="crm", url=f"https://crm.example{PATH}", secret=secret))
    assert repr(sink) == "WebhookSink(WebhookSettings(name='crm', origin='https://crm.example'))"
    assert base64.b64encode(sink._keys[0]).decode() in secret
