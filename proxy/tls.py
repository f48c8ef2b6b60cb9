"""TLS towards visitors: which certificate is shown to whom, and how a renewed one comes into use without a restart.

Knows certificate files, names and OpenSSL's contexts. Knows nothing of connections: those that are open keep what they
began with. OpenSSL reads the private keys by itself; none is ever held in a value of ours, so that none can be shown.
"""

from __future__ import annotations

import logging
import os
import ssl
import stat
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.x509.oid import NameOID

from proxy.settings import CertificateSettings, TlsSettings

log = logging.getLogger(__name__)

# A chain has a handful of certificates of some kilobytes each; more than this is the wrong file.
MAX_FILE_BYTES = 1 << 20

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
# What OpenSSL calls a key of another certificate: of the same kind (RSA, EC), or of another one.
_MISMATCH = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")
_WEAK = ("EE_KEY_TOO_SMALL", "CA_KEY_TOO_SMALL", "CA_MD_TOO_WEAK")


class CertificateError(ValueError):
    """A certificate or its key cannot be used; the text names the file and says what to do."""


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key, ready to be shown to visitors.

    `names` are in lower case, as visitors ask for them (`xn--...`), wildcards with their star.
    """

    file: str
    names: tuple[str, ...]
    begins: datetime
    expires: datetime
    context: ssl.SSLContext = field(repr=False, compare=False)


class Certificates:
    """All certificates of a listener.

    Raises CertificateError with one line for each that cannot be used.
    """

    def __init__(self, settings: TlsSettings, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._settings = settings
        self._now = now
        slots, problems = [], []
        for pair in settings.certificates:
            try:
                slots.append(_Slot(pair, settings))
            except CertificateError as error:
                problems.append(str(error))
        if problems:
            raise CertificateError("\n".join(problems))
        self._slots: list[_Slot] = slots
        self._contexts = _by_name(slot.certificate for slot in slots)
        self._first = slots[0].certificate.context
        for slot in slots:
            slot.warn_of_dates(now())
        # It has no certificate of its own: were one left out by mistake, no visitor would be shown an old one.
        self.context = _context(settings)
        self.context.sni_callback = self._show

    def __repr__(self) -> str:
        return f"<Certificates {', '.join(slot.certificate.file for slot in self._slots)}>"

    def refresh(self) -> bool:
        """Looks at the files and takes over what changed; True if visitors are shown another certificate from now on.

        What cannot be used is logged once, and the old one stays in use. Reads files: it may be called in a thread,
        by one caller at a time.
        """
        changed = [slot for slot in self._slots if slot.refresh(self._settings)]
        if changed:
            self._contexts = _by_name(slot.certificate for slot in self._slots)
            self._first = self._slots[0].certificate.context
        for slot in self._slots:
            slot.warn_of_dates(self._now())
        return bool(changed)

    def _show(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        """Called by OpenSSL in every handshake, also without a name, and in TLS 1.2 and 1.3 before anything is chosen."""
        connection.context = self._contexts.get(_wanted(name, self._contexts), self._first)


def ignore_unreadable_names() -> None:
    """Keeps visitors who ask for a name that is no ASCII from writing to stderr as often as they like.

    CPython refuses such a handshake, and tells `sys.unraisablehook` of the UnicodeDecodeError
    (https://github.com/python/cpython/blob/v3.11.7/Modules/_ssl.c, _servername_callback). For the start of a worker.
    """
    told = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        if not (isinstance(unraisable.exc_value, UnicodeDecodeError) and isinstance(unraisable.object, bytes)):
            told(unraisable)

    sys.unraisablehook = hook


class _Slot:
    """Two files, the certificate that was last good in them, and what has been said of them."""

    __slots__ = ("_complaint", "_expiry_told", "_pair", "_stamp", "certificate")

    def __init__(self, pair: CertificateSettings, settings: TlsSettings) -> None:
        self._pair = pair
        self._complaint: tuple[Any, str] | None = None
        self._expiry_told = False
        self._stamp = _stamp(pair)  # before the files are read: what changes meanwhile is seen the next time
        self.certificate = load(pair, settings)

    def refresh(self, settings: TlsSettings) -> bool:
        stamp = _stamp(self._pair)
        if stamp == self._stamp:
            return False
        try:
            self.certificate = load(self._pair, settings)
        except CertificateError as error:
            # Tried again the next time even if the files stay as they are: there may have been no descriptor free.
            if self._complaint != (stamp, str(error)):
                self._complaint = (stamp, str(error))
                log.error('event=certificate_refused file=%s in_use=old error="%s"', self._pair.certificate, error)
            return False
        self._stamp, self._complaint, self._expiry_told = stamp, None, False
        log.info("event=certificate_changed file=%s expires=%s", self.certificate.file, self.certificate.expires)
        return True

    def warn_of_dates(self, now: datetime) -> None:
        """Says once that visitors' browsers will refuse the certificate. It is shown all the same: nothing is better."""
        certificate = self.certificate
        if self._expiry_told or certificate.begins <= now <= certificate.expires:
            return
        self._expiry_told = True
        event, when = (
            ("certificate_expired", certificate.expires)
            if now > certificate.expires
            else ("certificate_not_valid_yet", certificate.begins)
        )
        log.warning("event=%s file=%s date=%s todo=renew_it", event, certificate.file, when)


def load(pair: CertificateSettings, settings: TlsSettings) -> Certificate:
    """The certificate in the two files. CertificateError names the file that is wrong and says what to do."""
    data = _read(pair.certificate, "certificate")
    try:
        leaf = x509.load_pem_x509_certificates(data)[0]
        names = _names(leaf)
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        leaf = None
    if leaf is None or _is_cut(data):
        raise CertificateError(
            f"certificate {pair.certificate}: holds no whole certificate in PEM form (-----BEGIN CERTIFICATE-----); "
            "write the site's certificate into it and then its chain, as in certbot's fullchain.pem"
        )
    context = _context(settings)
    _read(pair.key, "key")  # says better than OpenSSL why it cannot be read
    asked = False

    def passphrase() -> bytes:
        nonlocal asked
        asked = True  # without this function OpenSSL would ask on the terminal, and wait
        return b""

    try:
        context.load_cert_chain(pair.certificate, pair.key, password=passphrase)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise CertificateError(_blame(pair, error, asked)) from None
    return Certificate(pair.certificate, names, leaf.not_valid_before_utc, leaf.not_valid_after_utc, context)


def _context(settings: TlsSettings) -> ssl.SSLContext:
    # Ciphers and groups are those of Python and OpenSSL: forward secrecy only, AEAD first, security level 2. OpenSSL
    # takes versions and options from the first context of a connection and ALPN from the one chosen by name
    # (https://docs.openssl.org/3.0/man3/SSL_set_SSL_CTX/), so all of them are made alike.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[settings.min_version]
    # RFC 9325 sections 3.3 and 3.5: compression (CRIME) and renegotiation are of no use to anybody honest.
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["h2", "http/1.1"] if settings.http2 else ["http/1.1"])
    return context


def _by_name(certificates: Iterable[Certificate]) -> dict[str, ssl.SSLContext]:
    contexts: dict[str, ssl.SSLContext] = {}
    for certificate in certificates:
        for name in certificate.names:
            contexts.setdefault(name, certificate.context)  # the first in the settings wins
    return contexts


def _wanted(name: str | None, known: dict[str, ssl.SSLContext]) -> str:
    """The key in `known` for what a visitor asks for: the name itself before a wildcard."""
    # RFC 6066 section 3: a host name without the dot at its end, in any case. Some clients leave the dot there.
    wanted = (name or "").lower().removesuffix(".")
    # RFC 9525 section 6.3: the star stands for the whole first label, and for no more than one.
    return wanted if wanted in known else "*." + wanted.partition(".")[2]


def _names(leaf: x509.Certificate) -> tuple[str, ...]:
    try:
        found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = found.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound:
        names = [str(part.value) for part in leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    return tuple(dict.fromkeys(_ascii(name).lower().removesuffix(".") for name in names))


def _ascii(name: str) -> str:
    """The name as it goes over the wire; only a common name of old may be written otherwise."""
    if name.isascii():
        return name
    try:
        return name.encode("idna").decode("ascii")
    except UnicodeError:
        return name  # a person's or a company's name: nobody asks for it


def _read(path: str, what: str) -> bytes:
    data = None
    try:
        if stat.S_ISREG(os.stat(path).st_mode):  # a pipe would keep its reader waiting
            with Path(path).open("rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise CertificateError(f"{what} {path}: there is no such file; correct the path, or put it there") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise CertificateError(
            f"{what} {path}: cannot be read ({getattr(error, 'strerror', error)}); let the user ropo runs as read it, and pass through "
            "the folders above it"
        ) from None
    if data is None:
        raise CertificateError(f"{what} {path}: is no file; name the file in PEM form")
    if len(data) > MAX_FILE_BYTES:
        raise CertificateError(f"{what} {path}: larger than {MAX_FILE_BYTES} bytes; is this the right file?")
    return data


def _is_cut(data: bytes) -> bool:
    return data.count(b"-----BEGIN ") != data.count(b"-----END ")


def _blame(pair: CertificateSettings, error: OSError | ValueError, asked_for_passphrase: bool) -> str:
    """Why OpenSSL did not take two files of which the certificate could be read."""
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or "no reason given"
    if asked_for_passphrase:
        return (
            f"key {pair.key}: is protected by a passphrase, and nobody is there to type it when ropo starts; write it "
            f"without one (openssl pkey -in {pair.key} -out NEW_FILE) and let only ropo's user read it"
        )
    if reason in _MISMATCH:
        return (
            f"key {pair.key}: does not belong to the first certificate in {pair.certificate}; name the two files that "
            "were issued together, and put the site's own certificate before its chain"
        )
    if reason in _WEAK:
        return (
            f"certificate {pair.certificate}: too weak for browsers and OpenSSL ({reason}); have one issued with an EC "
            "key (P-256), or RSA of 2048 bits"
        )
    key = _read(pair.key, "key")
    if b"PRIVATE KEY-----" not in key or _is_cut(key):
        return f"key {pair.key}: holds no whole private key in PEM form (-----BEGIN PRIVATE KEY-----); write it there"
    return (
        f"key {pair.key}: OpenSSL cannot use it with {pair.certificate} ({reason}); "
        f"`openssl pkey -in {pair.key} -noout -check` says more"
    )


def _stamp(pair: CertificateSettings) -> tuple[Any, ...]:
    """What changes when one of the files does, or its rights; links are followed, as certbot moves those."""

    def of(path: str) -> tuple[int, ...] | None:
        try:
            seen = os.stat(path)
        except (OSError, ValueError):
            return None
        return seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns

    return of(pair.certificate), of(pair.key)
