"""TLS towards visitors, with real handshakes on the workers' loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest
from cryptography import x509

from proxy.settings import CertificateSettings, TlsSettings
from proxy.tls import CertificateError, Certificates, ignore_unreadable_names, load
from tests.support.certificates import Authority, Pair


class Greeting(NamedTuple):
    """What a visitor saw of a handshake."""

    serial: int
    version: str
    alpn: str | None
    chain: list[int]


class Visitor:
    def __init__(self, port: int) -> None:
        self.port = port

    async def connect(
        self, name: str | None, *, alpn: list[str] | None = None, **versions: ssl.TLSVersion
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        for which, version in versions.items():
            setattr(context, which, version)
        if alpn:
            context.set_alpn_protocols(alpn)
        return await asyncio.open_connection("127.0.0.1", self.port, ssl=context, server_hostname=name or "")

    async def greet(self, name: str | None, *, alpn: list[str] | None = None, **versions: ssl.TLSVersion) -> Greeting:
        """Shakes hands, has one line echoed, and goes."""
        reader, writer = await self.connect(name, alpn=alpn, **versions)
        seen = greeting(writer)
        assert await echoed(reader, writer) == b"hello\n"
        writer.close()
        await writer.wait_closed()
        return seen

    async def serial(self, name: str | None) -> int:
        return (await self.greet(name)).serial


def greeting(writer: asyncio.StreamWriter) -> Greeting:
    connection = writer.get_extra_info("ssl_object")
    # Python 3.13 made the two public.
    raw = getattr(connection, "_sslobj", connection)
    chain = [
        x509.load_der_x509_certificate(part if isinstance(part, bytes) else part.public_bytes(2)).serial_number
        for part in raw.get_unverified_chain() or []
    ]
    own = x509.load_der_x509_certificate(connection.getpeercert(binary_form=True)).serial_number
    return Greeting(own, connection.version(), connection.selected_alpn_protocol(), chain)


async def echoed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    writer.write(b"hello\n")
    return await asyncio.wait_for(reader.readline(), 20)


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[Certificates], Awaitable[Visitor]]]:
    """`await serve(certificates)`: an echo server behind its context, and a visitor for it."""
    servers: list[asyncio.Server] = []
    writers: list[asyncio.StreamWriter] = []

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        while line := await reader.readline():
            writer.write(line)
        writer.close()

    async def begin(certificates: Certificates) -> Visitor:
        server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=certificates.context)
        servers.append(server)
        return Visitor(server.sockets[0].getsockname()[1])

    yield begin
    for server in servers:
        server.close()
    for writer in writers:
        writer.transport.abort()
    await asyncio.sleep(0)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def settings(*pairs: Pair, **more: object) -> TlsSettings:
    return TlsSettings(certificates=[CertificateSettings(certificate=str(c), key=str(k)) for c, k in pairs], **more)


def serial(pair: Pair) -> int:
    return x509.load_pem_x509_certificate(pair.certificate.read_bytes()).serial_number


ASKED = {
    "its name": ("shop.example.com", "shop"),
    "its name in capitals": ("SHOP.Example.COM", "shop"),
    "its name with the dot of the root": ("shop.example.com.", "shop"),
    "below a wildcard": ("news.example.com", "wild"),
    "below a wildcard in capitals": ("NEWS.EXAMPLE.COM", "wild"),
    "a name before a wildcard of an earlier file": ("www.example.com", "www"),
    "two labels below a wildcard": ("a.b.example.com", "shop"),
    "the wildcard's own parent": ("example.com", "shop"),
    "an international name": ("müller.example", "müller"),
    "an international name as it is sent": ("xn--mller-kva.example", "müller"),
    "a name nobody has": ("nobody.test", "shop"),
    "an address, for which clients send no name": ("127.0.0.1", "shop"),
    "no name": (None, "shop"),
    "a single label": ("localhost", "shop"),
}


async def test_the_certificate_is_chosen_by_the_name_the_visitor_asks_for(
    tmp_path: Path, authority: Authority, serve: Callable[[Certificates], Awaitable[Visitor]]
):
    pairs = {
        "shop": authority.pair(tmp_path, "shop.example.com", "127.0.0.1", file="shop"),
        "wild": authority.pair(tmp_path, "*.example.com", file="wild", kind="rsa"),
        "www": authority.pair(tmp_path, "WWW.example.com", file="www"),
        "müller": authority.pair(tmp_path, "xn--mller-kva.example", file="mueller"),
    }
    files = {serial(pair): file for file, pair in pairs.items()}
    visitor = await serve(Certificates(settings(*pairs.values())))
    seen = {case: files[await visitor.serial(name)] for case, (name, _) in ASKED.items()}
    assert seen == {case: file for case, (_, file) in ASKED.items()}


async def test_of_two_files_for_one_name_the_first_wins(
    tmp_path: Path, authority: Authority, serve: Callable[[Certificates], Awaitable[Visitor]]
):
    other = authority.pair(tmp_path, "other.test", file="other")
    first = authority.pair(tmp_path, "a.test", "*.b.test", file="first")
    second = authority.pair(tmp_path, "a.test", "*.b.test", "c.test", file="second", kind="rsa")
    visitor = await serve(Certificates(settings(other, first, second)))
    assert [await visitor.serial(name) for name in ("a.test", "x.b.test", "c.test")] == [
        serial(first),
        serial(first),
        serial(second),
    ]


async def test_a_certificate_of_old_has_its_name_in_the_subject(
    tmp_path: Path, authority: Authority, serve: Callable[[Certificates], Awaitable[Visitor]]
):
    first = authority.pair(tmp_path, "a.test", common_name="not-this.test", file="first")
    old = authority.pair(tmp_path, common_name="Müller.example", file="old")
    person = authority.pair(tmp_path, common_name="Jürgen Müller & Co.. KG", file="person")
    certificates = Certificates(settings(first, old, person))
    visitor = await serve(certificates)
    assert await visitor.serial("müller.example") == serial(old)
    assert await visitor.serial("not-this.test") == serial(first)  # RFC 9525: with SANs the subject does not count


async def test_the_chain_is_sent_with_the_certificate(
    tmp_path: Path, authority: Authority, serve: Callable[[Certificates], Awaitable[Visitor]]
):
    between = authority.below(tmp_path, "between")
    pair = between.pair(tmp_path, "a.test", with_chain=True)
    visitor = await serve(Certificates(settings(pair)))
    seen = await visitor.greet("a.test")
    above = x509.load_pem_x509_certificate(between.file.read_bytes()).serial_number
    assert seen.chain == [serial(pair), above]


async def test_certificate_and_key_may_stand_in_one_file_as_haproxy_has_it(
    tmp_path: Path, authority: Authority, serve: Callable[[Certificates], Awaitable[Visitor]]
):
    pair = authority.pair(tmp_path, "a.test")
    both = tmp_path / "both.pem"
    both.write_bytes(pair.certificate.read_bytes() + pair.key.read_bytes())
    visitor = await serve(Certificates(settings(Pair(both, both))))
    assert await visitor.serial("a.test") == serial(pair)


def client_hello(name: bytes) -> bytes:
    """The first message of a visitor who asks for `name`, which may be what no library would send."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    placeholder = "x" * len(name)
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname=placeholder).do_handshake()
    return outgoing.read().replace(placeholder.encode(), name)


@pytest.mark.parametrize("name, answered", [(b"\xff\xfe.test", False), (b"a\x00.test", False), (b"a \n.test", True)])
async def test_a_name_that_is_none_is_refused_or_nobodys_and_writes_no_log(
    tmp_path: Path,
    authority: Authority,
    serve: Callable[[Certificates], Awaitable[Visitor]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    name: bytes,
    answered: bool,
):
    told: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)
    ignore_unreadable_names()
    visitor = await serve(Certificates(settings(authority.pair(tmp_path, "a.test"))))
    reader, writer = await asyncio.open_connection("127.0.0.1", visitor.port)
    writer.write(client_hello(name))
    assert bool(await asyncio.wait_for(reader.read(5), 20)) is answered
    writer.close()
    assert (told, caplog.records) == ([], [])


def test_what_else_cannot_be_raised_is_still_told(monkeypatch: pytest.MonkeyPatch):
    told: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)
    ignore_unreadable_names()
    others = [SimpleNamespace(exc_value=ValueError(), object=b""), SimpleNamespace(exc_value=None, object=None)]
    for other in others:
        sys.unraisablehook(other)
    assert told == others


# -- renewal


@pytest.mark.parametrize("name", ["a.test", "nobody.test", None])
async def test_a_renewed_certificate_comes_into_use_while_connections_run(
    tmp_path: Path, authority: Authority, serve: Callable[[Certificates], Awaitable[Visitor]], name: str | None
):
    old = serial(pair := authority.pair(tmp_path, "a.test"))
    certificates = Certificates(settings(pair))
    visitor = await serve(certificates)
    reader, writer = await visitor.connect(name)
    assert certificates.refresh() is False

    new = serial(authority.pair(tmp_path, "a.test", kind="rsa"))  # of another kind, so both could stand side by side
    assert await visitor.serial(name) == old  # not looked at yet
    assert certificates.refresh() is True
    assert await visitor.serial(name) == new != old
    assert await echoed(reader, writer) == b"hello\n"
    assert greeting(writer).serial == old
    writer.close()
    assert certificates.refresh() is False


async def test_links_that_are_moved_as_certbot_does_are_followed(
    tmp_path: Path, authority: Authority, serve: Callable[[Certificates], Awaitable[Visitor]]
):
    live = tmp_path / "live"
    live.mkdir()
    one = authority.pair(tmp_path, "a.test", file="one")
    two = authority.pair(tmp_path, "a.test", file="two")
    pair = Pair(live / "fullchain.pem", live / "privkey.pem")

    def link(to: Pair) -> None:
        for link, file in zip(pair, to, strict=True):
            fresh = link.with_suffix(".new")
            fresh.symlink_to(file)
            fresh.replace(link)

    link(one)
    certificates = Certificates(settings(pair))
    visitor = await serve(certificates)
    assert await visitor.serial("a.test") == serial(one)
    link(two)
    assert certificates.refresh() is True
    assert await visitor.serial("a.test") == serial(two)


async def test_names_that_a_renewed_certificate_adds_and_drops_are_heeded(
    tmp_path: Path, authority: Authority, serve: Callable[[Certificates], Awaitable[Visitor]]
):
    first = authority.pair(tmp_path, "first.test", file="first")
    second = authority.pair(tmp_path, "old.test", file="second")
    certificates = Certificates(settings(first, second))
    visitor = await serve(certificates)
    second = authority.pair(tmp_path, "new.test", file="second")
    certificates.refresh()
    assert [await visitor.serial(n) for n in ("new.test", "old.test")] == [serial(second), serial(first)]


def cut_certificate(pair: Pair) -> None:
    pair.certificate.write_bytes(pair.certificate.read_bytes()[:200])


def cut_chain(pair: Pair) -> None:
    whole = pair.certificate.read_bytes()
    pair.certificate.write_bytes(whole + whole[:200])


def cut_key(pair: Pair) -> None:
    pair.key.write_bytes(pair.key.read_bytes()[:60])


def spoil_key(pair: Pair) -> None:
    pair.key.write_bytes(b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")


def other_key(pair: Pair) -> None:
    shutil.copy(Authority(pair.key.parent).pair(pair.key.parent, "x.test", file="x").key, pair.key)


def other_kind_of_key(pair: Pair) -> None:
    shutil.copy(Authority(pair.key.parent).pair(pair.key.parent, "x.test", file="x", kind="rsa").key, pair.key)


def der(pair: Pair) -> None:
    pair.certificate.write_bytes(ssl.PEM_cert_to_DER_cert(pair.certificate.read_text()))


def folder(pair: Pair) -> None:
    pair.key.unlink()
    pair.key.mkdir()


# What is done to the files, which of them is to blame, and words of what to do.
BROKEN: dict[str, tuple[Callable[[Pair], object], str, str]] = {
    "a half-written certificate": (cut_certificate, "certificate", "fullchain.pem"),
    "a half-written chain": (cut_chain, "certificate", "no whole certificate in PEM form"),
    "an empty certificate": (lambda pair: pair.certificate.write_text(""), "certificate", "no whole certificate"),
    "a certificate in DER": (der, "certificate", "PEM form"),
    "a certificate that is gone": (lambda pair: pair.certificate.unlink(), "certificate", "there is no such file"),
    "a certificate that is none": (lambda pair: pair.certificate.write_bytes(os.urandom(500)), "certificate", "PEM"),
    "a very large file": (lambda pair: pair.certificate.write_bytes(b"#" * 2_000_000), "certificate", "right file?"),
    "a half-written key": (cut_key, "key", "no whole private key"),
    "a key with nonsense in it": (spoil_key, "key", "says more"),
    "an empty key": (lambda pair: pair.key.write_text(""), "key", "no whole private key"),
    "a key that is gone": (lambda pair: pair.key.unlink(), "key", "there is no such file"),
    "a folder for a key": (folder, "key", "is no file"),
    "another certificate's key": (other_key, "key", "does not belong to the first certificate"),
    "another kind of key": (other_kind_of_key, "key", "does not belong to the first certificate"),
    "the certificate for a key": (lambda pair: shutil.copy(pair.certificate, pair.key), "key", "no whole private key"),
}


@pytest.mark.parametrize("spoil, to_blame, todo", BROKEN.values(), ids=BROKEN)
def test_what_cannot_be_used_is_told_with_its_file_and_what_to_do(
    tmp_path: Path, authority: Authority, spoil: Callable[[Pair], object], to_blame: str, todo: str
):
    pair = authority.pair(tmp_path, "a.test")
    spoil(pair)
    with pytest.raises(CertificateError) as raised:
        Certificates(settings(pair))
    said = str(raised.value)
    assert said.startswith(f"{to_blame} {getattr(pair, to_blame)}: ")
    assert todo in said and "\n" not in said


@pytest.mark.parametrize("spoil", [spoil for spoil, _, _ in BROKEN.values()], ids=BROKEN)
async def test_a_broken_renewal_leaves_the_old_certificate_in_use_and_is_logged_once(
    tmp_path: Path,
    authority: Authority,
    serve: Callable[[Certificates], Awaitable[Visitor]],
    caplog: pytest.LogCaptureFixture,
    spoil: Callable[[Pair], object],
):
    old = serial(pair := authority.pair(tmp_path, "a.test"))
    certificates = Certificates(settings(pair))
    visitor = await serve(certificates)
    spoil(pair)
    assert [certificates.refresh() for _ in range(3)] == [False, False, False]
    assert await visitor.serial("a.test") == old
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1 and "event=certificate_refused" in said[0] and str(pair.certificate) in said[0]
    assert "in_use=old" in said[0]

    if pair.key.is_dir():
        pair.key.rmdir()
    new = serial(authority.pair(tmp_path, "a.test"))
    assert certificates.refresh() is True
    assert await visitor.serial("a.test") == new


async def test_a_second_fault_is_logged_as_well(tmp_path: Path, authority: Authority, caplog: pytest.LogCaptureFixture):
    certificates = Certificates(settings(pair := authority.pair(tmp_path, "a.test")))
    for spoil in (cut_key, cut_certificate):
        spoil(pair)
        certificates.refresh()
        certificates.refresh()
    assert ["key" in r.getMessage().split('error="')[1][:4] for r in caplog.records] == [True, False]


async def test_one_broken_renewal_does_not_keep_another_from_its_own(
    tmp_path: Path, authority: Authority, serve: Callable[[Certificates], Awaitable[Visitor]]
):
    first = authority.pair(tmp_path, "a.test", file="first")
    second = authority.pair(tmp_path, "b.test", file="second")
    was = serial(first)
    certificates = Certificates(settings(first, second))
    visitor = await serve(certificates)
    cut_certificate(first)
    new = serial(authority.pair(tmp_path, "b.test", file="second"))
    assert certificates.refresh() is True
    assert [await visitor.serial(name) for name in ("a.test", "b.test")] == [was, new]


def test_a_fault_that_was_ours_is_tried_again_without_a_new_file(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
):
    certificates = Certificates(settings(pair := authority.pair(tmp_path, "a.test")))
    authority.pair(tmp_path, "a.test")

    def none_free(*_: object, **__: object) -> None:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patched:
        patched.setattr(ssl.SSLContext, "load_cert_chain", none_free)
        assert certificates.refresh() is False
    assert certificates.refresh() is True
    assert str(pair.certificate) in repr(certificates)


# -- what is refused, and what is only told


def test_a_key_that_cannot_be_read_is_told(tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch):
    pair = authority.pair(tmp_path, "a.test")
    opened = Path.open

    def refuse(path: Path, *given: object, **more: object) -> object:
        if path == pair.key:
            raise PermissionError(13, "Permission denied")
        return opened(path, *given, **more)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(CertificateError) as raised:
        Certificates(settings(pair))
    assert str(raised.value).startswith(f"key {pair.key}: cannot be read (Permission denied); let the user")


@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_a_key_with_a_passphrase_is_refused_and_nobody_is_asked_for_it(tmp_path: Path, authority: Authority, kind: str):
    pair = authority.pair(tmp_path, "a.test", passphrase="hunter2", kind=kind)
    with pytest.raises(CertificateError) as raised:
        Certificates(settings(pair))
    assert str(raised.value).startswith(f"key {pair.key}: is protected by a passphrase")
    assert f"openssl pkey -in {pair.key}" in str(raised.value)


def test_a_key_too_short_for_browsers_is_refused(tmp_path: Path, authority: Authority):
    pair = authority.pair(tmp_path, "a.test", kind="rsa1024")
    with pytest.raises(CertificateError, match=r"too weak for browsers and OpenSSL \(EE_KEY_TOO_SMALL\)"):
        Certificates(settings(pair))


def test_all_that_cannot_be_used_is_told_at_once(tmp_path: Path, authority: Authority):
    pairs = [authority.pair(tmp_path, "a.test", file=file) for file in ("one", "two", "three")]
    cut_certificate(pairs[0])
    cut_key(pairs[2])
    with pytest.raises(CertificateError) as raised:
        Certificates(settings(*pairs))
    assert [line.split(": ")[0] for line in str(raised.value).splitlines()] == [
        f"certificate {pairs[0].certificate}",
        f"key {pairs[2].key}",
    ]


def test_nothing_of_a_key_is_in_any_text(tmp_path: Path, authority: Authority, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    pair = authority.pair(tmp_path, "a.test")
    certificates = Certificates(settings(pair))
    told = [repr(certificates), repr(load(settings(pair).certificates[0], settings(pair)))]
    secret = pair.key.read_text().splitlines()[1:-1]
    pair.key.write_text("\n".join(["-----BEGIN PRIVATE KEY-----", *secret[:-1], "-----END PRIVATE KEY-----", ""]))
    certificates.refresh()
    with pytest.raises(CertificateError) as raised:
        Certificates(settings(pair))
    said = "\n".join([*told, str(raised.value), repr(raised.value), caplog.text])
    assert not any(line[:12] in said for line in secret)


async def test_an_expired_certificate_is_shown_and_warned_about(
    tmp_path: Path,
    authority: Authority,
    serve: Callable[[Certificates], Awaitable[Visitor]],
    caplog: pytest.LogCaptureFixture,
):
    pair = authority.pair(tmp_path, "a.test", days=-1)
    certificates = Certificates(settings(pair))
    certificates.refresh()
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1 and f"event=certificate_expired file={pair.certificate}" in said[0]
    visitor = await serve(certificates)
    assert await visitor.serial("a.test") == serial(pair)


def test_a_certificate_that_expires_in_use_is_warned_about_once(
    tmp_path: Path, authority: Authority, caplog: pytest.LogCaptureFixture
):
    today = datetime.now(UTC)
    pair = authority.pair(tmp_path, "a.test", days=3)
    certificates = Certificates(settings(pair), now=lambda: today)
    certificates.refresh()
    assert caplog.records == []
    today += timedelta(days=4)
    assert [certificates.refresh(), certificates.refresh()] == [False, False]
    assert [r.getMessage().split()[0] for r in caplog.records] == ["event=certificate_expired"]
    today -= timedelta(days=400)
    Certificates(settings(pair), now=lambda: today)
    assert caplog.records[-1].getMessage().startswith("event=certificate_not_valid_yet")


# -- versions and protocols


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")
@pytest.mark.parametrize(
    "least, spoken, outcome",
    [
        ("1.2", ssl.TLSVersion.TLSv1, None),
        ("1.2", ssl.TLSVersion.TLSv1_1, None),
        ("1.2", ssl.TLSVersion.TLSv1_2, "TLSv1.2"),
        ("1.2", ssl.TLSVersion.TLSv1_3, "TLSv1.3"),
        ("1.3", ssl.TLSVersion.TLSv1_2, None),
        ("1.3", ssl.TLSVersion.TLSv1_3, "TLSv1.3"),
    ],
)
@pytest.mark.parametrize("name", ["a.test", "b.test"])
async def test_old_versions_are_refused(
    tmp_path: Path,
    authority: Authority,
    serve: Callable[[Certificates], Awaitable[Visitor]],
    least: str,
    spoken: ssl.TLSVersion,
    outcome: str | None,
    name: str,
):
    pairs = [authority.pair(tmp_path, "a.test", file="a", kind="rsa"), authority.pair(tmp_path, "b.test", file="b")]
    visitor = await serve(Certificates(settings(*pairs, min_version=least)))
    range_ = {"minimum_version": spoken, "maximum_version": spoken}
    if outcome is None:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await visitor.greet(name, **range_)
    else:
        assert (await visitor.greet(name, **range_)).version == outcome


@pytest.mark.parametrize(
    "http2, offered, chosen",
    [
        (False, ["h2", "http/1.1"], "http/1.1"),
        (True, ["h2", "http/1.1"], "h2"),
        (True, ["http/1.1", "h2"], "h2"),
        (True, ["http/1.1"], "http/1.1"),
        (True, ["spdy/3"], None),
        (True, None, None),
    ],
)
async def test_http2_is_offered_only_where_it_is_wanted(
    tmp_path: Path,
    authority: Authority,
    serve: Callable[[Certificates], Awaitable[Visitor]],
    http2: bool,
    offered: list[str] | None,
    chosen: str | None,
):
    pairs = [authority.pair(tmp_path, f"{file}.test", file=file) for file in ("a", "b")]
    visitor = await serve(Certificates(settings(*pairs, http2=http2)))
    assert [(await visitor.greet(name, alpn=offered)).alpn for name in ("a.test", "b.test")] == [chosen, chosen]


async def test_compression_and_renegotiation_are_off(tmp_path: Path, authority: Authority):
    context = Certificates(settings(authority.pair(tmp_path, "a.test"))).context
    assert context.options & ssl.OP_NO_COMPRESSION and context.options & ssl.OP_NO_RENEGOTIATION


async def test_a_tls_session_outlives_a_renewal(
    tmp_path: Path, authority: Authority, serve: Callable[[Certificates], Awaitable[Visitor]]
):
    certificates = Certificates(settings(authority.pair(tmp_path, "a.test")))
    visitor = await serve(certificates)

    def visit(context: ssl.SSLContext, session: ssl.SSLSession | None) -> tuple[bool, ssl.SSLSession]:
        with (
            socket.create_connection(("127.0.0.1", visitor.port), timeout=20) as plain,
            context.wrap_socket(plain, server_hostname="a.test", session=session) as connection,
        ):
            connection.sendall(b"hello\n")
            assert connection.recv(100) == b"hello\n"  # TLS 1.3: the ticket comes with the first data
            return connection.session_reused, connection.session

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    first, session = await asyncio.to_thread(visit, context, None)
    authority.pair(tmp_path, "a.test")
    certificates.refresh()
    again, _ = await asyncio.to_thread(visit, context, session)
    assert (first, again) == (False, True)
