"""Throw-away certificates and their keys, as PEM files. Knows X.509, and nothing of who serves them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Literal, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class Pair(NamedTuple):
    """Two PEM files, the certificate with its chain, and its key."""

    certificate: Path
    key: Path


class Authority:
    """Who signs. `file` is its own certificate, as `upstream_ca_file` and clients want it."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(name)
        self._certificate = (
            _builder(self._name, self._name, self._key, datetime.now(UTC) + timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(_pem(self._certificate))

    def below(self, folder: Path, name: str) -> Authority:
        """An authority in between, whose `pair`s come with its own certificate as their chain."""
        inner = Authority(folder, name)
        inner._certificate = (
            _builder(inner._name, self._name, inner._key, datetime.now(UTC) + timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        inner.file.write_bytes(_pem(inner._certificate))
        return inner

    def pair(
        self,
        folder: Path,
        *names: str,
        file: str = "site",
        kind: Literal["ec", "rsa", "rsa1024"] = "ec",
        common_name: str = "",
        days: float = 90,
        passphrase: str = "",
        with_chain: bool = False,
    ) -> Pair:
        """Writes `file`.pem and `file`.key for the names (DNS, or IP addresses), in place of what stood there."""
        key: Key = (
            ec.generate_private_key(ec.SECP256R1())
            if kind == "ec"
            else rsa.generate_private_key(65537, 1024 if kind == "rsa1024" else 2048)
        )
        ends = datetime.now(UTC) + timedelta(days=days)
        builder = _builder(_name(common_name or (names[0] if names else "nobody")), self._name, key, ends)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName([_alternative(n) for n in names]), False)
        certificate = builder.sign(self._key, hashes.SHA256())
        pair = Pair(folder / f"{file}.pem", folder / f"{file}.key")
        pair.certificate.write_bytes(_pem(certificate) + (_pem(self._certificate) if with_chain else b""))
        pair.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.BestAvailableEncryption(passphrase.encode())
                if passphrase
                else serialization.NoEncryption(),
            )
        )
        pair.key.chmod(0o600)
        return pair


def _builder(subject: x509.Name, issuer: x509.Name, key: Key, ends: datetime) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(ends, datetime.now(UTC)) - timedelta(days=1))
        .not_valid_after(ends)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
