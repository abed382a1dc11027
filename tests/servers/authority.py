"""An authority for certificates that this machine does not know, and servers' certificates of it."""

import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


@dataclass
class Authority:
    """`file` is what its clients trust."""

    folder: Path
    file: Path = field(init=False)
    _key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1()), init=False
    )
    _name: x509.Name = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.file = self.folder / "authority.pem"
        self._name = _name(f"An authority of the tests: {self.folder.name}")
        made = _builder(self._name, self._name, self._key.public_key())
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        self.file.write_bytes(made.sign(self._key, SHA256()).public_bytes(Encoding.PEM))

    def issue(self, *hosts: str, of_rsa: bool = False) -> tuple[Path, Path]:
        """A certificate for these names and addresses, and its key."""
        key = rsa.generate_private_key(65_537, 2_048) if of_rsa else ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([_host(one) for one in hosts])
        made = _builder(_name(hosts[0]), self._name, key.public_key()).add_extension(names, critical=False)
        number = len(list(self.folder.glob("*.crt")))
        certificate, private = self.folder / f"{number}.crt", self.folder / f"{number}.key"
        certificate.write_bytes(made.sign(self._key, SHA256()).public_bytes(Encoding.PEM))
        private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        private.chmod(0o600)
        return certificate, private

    def serves(self, *hosts: str) -> ssl.SSLContext:
        """A server's side of TLS with a new certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.issue(*hosts))
        return context

    def trusted(self) -> ssl.SSLContext:
        """A client's side, which trusts this authority alone."""
        return ssl.create_default_context(cafile=self.file)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    begins, ends = now - timedelta(hours=1), now + timedelta(days=1)
    return x509.CertificateBuilder(issuer, subject, key, x509.random_serial_number(), begins, ends)
