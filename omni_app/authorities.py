"""Whose certificates are believed by whoever calls out: this system's authorities', and those of `SSL_CERT_FILE`."""

import ssl
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx


@cache
def client_context(*protocols: str) -> ssl.SSLContext:
    """The client's side of TLS: 1.2 at least, certificates and names checked; `protocols` are what is spoken inside.

    OpenSSL reads `SSL_CERT_FILE` in place of the system's file: here that one is believed beside it.
    """
    context = ssl.create_default_context()
    if Path(system := ssl.get_default_verify_paths().openssl_cafile).is_file():
        context.load_verify_locations(system)
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


def web_context() -> ssl.SSLContext:
    """For HTTP."""
    return client_context("http/1.1")


def web_client(timeout_s: float) -> "httpx.AsyncClient":
    """For who is asked now and then: by no proxy that the environment names, and only where the address leads."""
    import httpx

    return httpx.AsyncClient(verify=web_context(), timeout=timeout_s, trust_env=False, follow_redirects=False)


def file() -> str:
    """For who wants one file: `SSL_CERT_FILE`, else the system's, else the list that comes with Python's packages."""
    import certifi

    return ssl.get_default_verify_paths().cafile or certifi.where()


def problem(path: Path) -> str:
    """What is wrong with a file of certificates: OpenSSL itself passes over one that it cannot read."""
    try:
        _read(path, path.stat().st_mtime_ns)
    except OSError as error:
        return f"{path} holds no certificates that can be read ({error.strerror or error})"
    return ""


@cache
def _read(path: Path, _changed_ns: int) -> None:
    """Once: a system's file takes OpenSSL 20 ms. Raises `OSError`."""
    ssl.create_default_context(cafile=path)
