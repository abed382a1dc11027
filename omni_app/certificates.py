"""Certificates for services of one's own, which no public authority knows: `python -m omni_app certificates`.

An authority is made for one certificate and its key thrown away: whoever believes it believes that one and no other.
"""

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY, CERTIFICATE, KEY = "authority.pem", "server.crt", "server.key"
LASTS = timedelta(days=3_650)
SKEW = timedelta(hours=1)
"""Of clocks that are late."""

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class Authority:
    """Signs certificates of servers. `pem`: what is believed by whoever believes it."""

    def __init__(self, name: str) -> None:
        self._name = _name(name)
        self._key = new_key()
        made = self._builder(self._name, self._key)
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        made = made.add_extension(_usage(signs=True), critical=True)
        self.pem = made.sign(self._key, SHA256()).public_bytes(Encoding.PEM)

    def certificate(
        self, hosts: Sequence[str], key: PrivateKey, *, shows: x509.ObjectIdentifier = ExtendedKeyUsageOID.SERVER_AUTH
    ) -> bytes:
        """For a server of these names and addresses, in PEM; or for a client (`shows`)."""
        names = x509.SubjectAlternativeName([_host(one) for one in hosts])
        made = self._builder(_name(hosts[0]), key).add_extension(names, critical=False)
        made = made.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        made = made.add_extension(_usage(signs=False), critical=True)
        made = made.add_extension(x509.ExtendedKeyUsage([shows]), critical=False)
        return made.sign(self._key, SHA256()).public_bytes(Encoding.PEM)

    def _builder(self, subject: x509.Name, key: PrivateKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        number = x509.random_serial_number()
        made = x509.CertificateBuilder(self._name, subject, key.public_key(), number, now - SKEW, now + LASTS)
        ours, theirs = self._key.public_key(), key.public_key()
        made = made.add_extension(x509.SubjectKeyIdentifier.from_public_key(theirs), critical=False)
        return made.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ours), critical=False)


def new_key() -> ec.EllipticCurvePrivateKey:
    """On the curve P-256."""
    return ec.generate_private_key(ec.SECP256R1())


def pem(key: PrivateKey) -> bytes:
    """The key without a password."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def make(hosts: Sequence[str], folder: Path) -> bool:
    """Writes an authority, a certificate and its key; whether there were none. The key is its owner's and group's."""
    if all((folder / one).exists() for one in (AUTHORITY, CERTIFICATE, KEY)):
        return False
    folder.mkdir(parents=True, exist_ok=True)
    authority, key = Authority(f"Omni-Model Router, for {hosts[0]}"), new_key()
    _write(folder / KEY, pem(key), mode=0o640)
    _write(folder / CERTIFICATE, authority.certificate(hosts, key), mode=0o644)
    _write(folder / AUTHORITY, authority.pem, mode=0o644)
    return True


def _write(path: Path, content: bytes, *, mode: int) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        os.fchmod(file.fileno(), mode)  # whatever the umask
        file.write(content)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=signs, crl_sign=signs, encipher_only=False, decipher_only=False,
    )  # fmt: skip
