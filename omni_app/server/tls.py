"""TLS of who comes in: versions, ciphers, and a certificate that is taken up anew when its files change."""

import logging
import ssl
from dataclasses import dataclass, field
from pathlib import Path

log = logging.getLogger(__name__)

CIPHERS = (
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
)
"""Of TLS 1.2, the strongest first: Mozilla's "intermediate" list without finite-field Diffie-Hellman. Those of TLS 1.3
are OpenSSL's own three, in its order: AES-256, ChaCha20, AES-128."""


class CertificateError(Exception):
    """The files cannot be served with; the message says what is wrong with them."""


def context_of(certificate: Path, key: Path) -> ssl.SSLContext:
    """The server's side of TLS 1.2 and 1.3. Raises `CertificateError`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(":".join(CIPHERS))
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except ssl.SSLError as error:
        why = f"{certificate} and {key} are no certificate (PEM) and its key ({error.reason or error})"
        raise CertificateError(why) from None
    except OSError as error:
        raise CertificateError(f"{certificate} or {key} cannot be read ({error.strerror})") from None
    return context


def _no_password() -> str:
    raise CertificateError("the key has a password, and nobody is there to say it: give one without")


@dataclass
class Certificate:
    """The two files. Made before the process is divided into workers: so it reads them when it is first asked."""

    certificate: Path
    key: Path
    _context: ssl.SSLContext | None = None
    _seen: tuple[tuple[int, int, int], ...] = field(default=())
    """The files when they were last read."""

    def context(self) -> ssl.SSLContext:
        """For the next connection. Raises `CertificateError` when there never was a good one."""
        if self._context is None:
            self._seen, self._context = self._look(), context_of(self.certificate, self.key)
        return self._context

    def renew(self) -> None:
        """Takes other files up. While they do not fit together the ones before are served on."""
        if self._context is None or (found := self._look()) == self._seen:
            return
        self._seen = found
        try:
            self._context = context_of(self.certificate, self.key)
            log.info("the certificate was renewed")
        except CertificateError as why:
            log.warning("the certificate before is served on: %s", why)

    def _look(self) -> tuple[tuple[int, int, int], ...]:
        try:
            found = [one.stat() for one in (self.certificate, self.key)]
        except OSError:
            return ()
        return tuple((one.st_mtime_ns, one.st_ino, one.st_size) for one in found)
