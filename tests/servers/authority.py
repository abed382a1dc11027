"""An authority for certificates that this machine does not know, and servers' certificates of it."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from omni_app import authorities, certificates


@dataclass
class Authority:
    """`file` is what its clients trust."""

    folder: Path
    file: Path = field(init=False)
    _signs: certificates.Authority = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._signs = certificates.Authority(f"An authority of the tests: {self.folder.name}")
        self.file = self.folder / "authority.pem"
        self.file.write_bytes(self._signs.pem)

    def issue(self, *hosts: str, of_rsa: bool = False, to_client: bool = False) -> tuple[Path, Path]:
        """A certificate for these names and addresses, or for a client of the first name, and its key."""
        key = rsa.generate_private_key(65_537, 2_048) if of_rsa else certificates.new_key()
        number = len(list(self.folder.glob("*.crt")))
        certificate, private = self.folder / f"{number}.crt", self.folder / f"{number}.key"
        shows = ExtendedKeyUsageOID.CLIENT_AUTH if to_client else ExtendedKeyUsageOID.SERVER_AUTH
        certificate.write_bytes(self._signs.certificate(hosts, key, shows=shows))
        private.write_bytes(certificates.pem(key))
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


@contextmanager
def believing(file: Path | None) -> Iterator[None]:
    """As in a process that was started with this `SSL_CERT_FILE`, or without one."""
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("SSL_CERT_FILE", raising=False)
        if file:
            environment.setenv("SSL_CERT_FILE", str(file))
        authorities.client_context.cache_clear()
        yield
    authorities.client_context.cache_clear()
