"""TLS of who comes in, over real sockets: versions, ciphers, a new certificate, and who does not speak it."""

import asyncio
import re
import socket
import ssl
import warnings
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from starlette.types import Receive, Scope, Send

from omni_app.server.tls import CIPHERS, Certificate, CertificateError, context_of
from tests.security.raw_client import connected, say
from tests.server.test_http import body, start
from tests.servers.asgi import serving
from tests.servers.authority import Authority

V = ssl.TLSVersion


def client_hello() -> bytes:
    """The first words of a client."""
    came, goes = ssl.MemoryBIO(), ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        ssl.create_default_context().wrap_bio(came, goes, server_hostname="localhost").do_handshake()
    return goes.read()


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await send(start())
    await send(body(scope["scheme"].encode() + b"\n" + b"x" * 300_000))


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def certificate(authority: Authority) -> Certificate:
    return Certificate(*authority.issue("127.0.0.1", "localhost"))


@pytest.fixture
async def address(certificate: Certificate) -> AsyncIterator[str]:
    async with serving(app, certificate=certificate) as url:
        yield url


def offering(authority: Authority, version: V, ciphers: str = "ALL") -> ssl.SSLContext:
    """A client of this version alone, which would take anything."""
    context = authority.trusted()
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # that the versions are old
        context.minimum_version, context.maximum_version = version, version
    context.set_ciphers(f"{ciphers}:@SECLEVEL=0")
    return context


@asynccontextmanager
async def greeting(address: str, context: ssl.SSLContext) -> AsyncIterator[ssl.SSLObject]:
    """A connection whose handshake succeeded."""
    parts = urlsplit(address)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, ssl=context)
    del reader
    yield writer.get_extra_info("ssl_object")
    writer.transport.abort()


@asynccontextmanager
async def lax(authority: Authority) -> AsyncIterator[str]:
    """A server that takes anything: the proof that the clients of these tests can speak what ours refuses."""
    context = authority.serves("127.0.0.1")
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        context.minimum_version = V.TLSv1
    context.set_ciphers("ALL:@SECLEVEL=0")
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()


@pytest.mark.parametrize("version", [V.TLSv1_2, V.TLSv1_3])
async def test_tls_1_2_and_1_3_are_spoken(address: str, authority: Authority, version: V) -> None:
    async with greeting(address, offering(authority, version)) as tls:
        assert tls.version() == version.name.replace("_", ".")


@pytest.mark.parametrize("version", [V.TLSv1, V.TLSv1_1])
async def test_older_versions_are_refused(address: str, authority: Authority, version: V) -> None:
    old = offering(authority, version)
    async with lax(authority) as elsewhere, greeting(elsewhere, old) as tls:
        assert tls.version() in ("TLSv1", "TLSv1.1")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        async with greeting(address, old):
            pass


def other_ciphers() -> list[str]:
    """All of TLS 1.2 and before that this OpenSSL has and our list does not."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_ciphers("ALL:COMPLEMENTOFALL:@SECLEVEL=0")
    known = (one["name"] for one in context.get_ciphers() if one["protocol"] != "TLSv1.3")
    return [one for one in known if one not in CIPHERS]


@pytest.mark.parametrize("of_rsa", [False, True], ids=["elliptic", "RSA"])
async def test_no_other_cipher_is_taken_than_those_of_the_list(authority: Authority, *, of_rsa: bool) -> None:
    taken, others = [], other_ciphers()
    assert len(others) > 100 and {"AES128-SHA", "ECDHE-RSA-AES128-SHA", "AES256-GCM-SHA384"} < set(others)
    async with serving(app, certificate=Certificate(*authority.issue("127.0.0.1", of_rsa=of_rsa))) as address:
        for name in others:
            with suppress(ssl.SSLError, ConnectionError):
                async with greeting(address, offering(authority, V.TLSv1_2, name)):
                    taken.append(name)
    assert taken == []


@pytest.mark.parametrize("of_rsa", [False, True], ids=["elliptic", "RSA"])
@pytest.mark.parametrize("version", [V.TLSv1_2, V.TLSv1_3])
async def test_the_strongest_cipher_is_preferred(authority: Authority, version: V, *, of_rsa: bool) -> None:
    kind = "RSA" if of_rsa else "ECDSA"
    strongest = "TLS_AES_256_GCM_SHA384" if version is V.TLSv1_3 else f"ECDHE-{kind}-AES256-GCM-SHA384"
    weakest_first = f"ECDHE-{kind}-AES128-GCM-SHA256:ECDHE-{kind}-CHACHA20-POLY1305:ALL"
    async with (
        serving(app, certificate=Certificate(*authority.issue("127.0.0.1", of_rsa=of_rsa))) as address,
        greeting(address, offering(authority, version, weakest_first)) as tls,
    ):
        assert tls.cipher()[0] == strongest  # type: ignore[index]
        assert tls.compression() is None


async def test_http_1_1_is_what_is_spoken_inside(address: str, authority: Authority) -> None:
    context = authority.trusted()
    context.set_alpn_protocols(["h2", "http/1.1"])
    async with greeting(address, context) as tls:
        assert tls.selected_alpn_protocol() == "http/1.1"


async def test_nobody_negotiates_again(certificate: Certificate) -> None:
    assert certificate.context().options & ssl.OP_NO_RENEGOTIATION


async def test_the_app_is_told_that_it_is_asked_over_tls(address: str, authority: Authority) -> None:
    async with httpx.AsyncClient(verify=authority.trusted(), base_url=address) as client:
        for path in ("/", "/again"):
            answer = await client.post(path, content=b"a" * 200_000)
            assert (answer.text[:6], len(answer.content)) == ("https\n", 300_006)


async def test_a_large_body_waits_for_whoever_reads_it(certificate: Certificate, authority: Authority) -> None:
    size, read = 64 * 2**20, asyncio.Event()  # beyond what the kernel holds

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await read.wait()
            await app(scope, receive, send)

    def push(address: str) -> int:
        """In a thread: how much is taken before nothing more is."""
        parts, sent = urlsplit(address), 0
        with (
            socket.create_connection((parts.hostname, parts.port)) as plain,
            authority.trusted().wrap_socket(plain, server_hostname=parts.hostname) as tls,
        ):
            tls.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size)
            tls.settimeout(1.0)
            with suppress(TimeoutError):
                while sent < size:
                    sent += tls.send(b"a" * 16_384)
        return sent

    async with serving(slow, certificate=certificate) as address:
        assert await asyncio.to_thread(push, address) < size // 2
        read.set()


async def test_who_asks_without_tls_is_told_so_and_refused(address: str) -> None:
    heard = await say(address.replace("https", "http"), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", within_s=2)
    assert heard.closed and heard.statuses == [400] and b"https://" in heard.data


async def test_what_is_no_handshake_is_cut_off(address: str) -> None:
    garbage = b"\x16\x03\x01" + b"\xff" * 2_000
    heard = await say(address.replace("https", "http"), garbage, within_s=2)
    assert heard.closed and heard.statuses == []


@pytest.mark.parametrize("begins", [b"", client_hello()], ids=["silent", "after the first words"])
async def test_a_handshake_that_does_not_end_is_over_in_time(
    address: str, begins: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("omni_app.server.handshake.HEAD_S", 1.0)
    heard = await say(address.replace("https", "http"), begins, within_s=5)
    assert heard.closed and 0.9 < heard.after_s < 3


async def test_handshakes_count_as_connections_until_they_are_over(
    certificate: Certificate, authority: Authority
) -> None:
    async with serving(app, certificate=certificate, connections=3) as address, AsyncExitStack() as held:
        for _ in range(3):
            await held.enter_async_context(connected(address.replace("https", "http")))
        with pytest.raises(ConnectionError):
            async with greeting(address, authority.trusted()):
                pass
        await held.aclose()
        await asyncio.sleep(0.1)
        for _ in range(3):
            await held.enter_async_context(greeting(address, authority.trusted()))


async def test_handshakes_that_failed_hold_nothing(certificate: Certificate, authority: Authority) -> None:
    async with serving(app, certificate=certificate, connections=3) as address:
        for _ in range(10):
            await say(address.replace("https", "http"), b"\x16\x03\x01" + b"\xff" * 2_000, within_s=2)
        async with greeting(address, authority.trusted()):
            pass


async def test_another_certificate_is_taken_up_and_connections_stay(
    certificate: Certificate, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    def serial(tls: ssl.SSLObject) -> object:
        return (tls.getpeercert() or {})["serialNumber"]

    async with serving(app, certificate=certificate) as address, connected(address) as (reader, writer):
        async with greeting(address, authority.trusted()) as tls:
            before = serial(tls)
        other, key = authority.issue("127.0.0.1")
        certificate.certificate.write_bytes(other.read_bytes())  # and its key not yet
        await asyncio.sleep(1.0)
        async with greeting(address, authority.trusted()) as tls:
            assert serial(tls) == before
        key.replace(certificate.key)
        await asyncio.sleep(1.0)
        async with greeting(address, authority.trusted()) as tls:
            assert serial(tls) != before
        writer.write(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")


def test_files_that_cannot_be_served_with_are_refused_with_the_reason(authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.issue("localhost")
    other, _ = authority.issue("localhost")
    sealed = tmp_path / "sealed.key"
    loaded = load_pem_private_key(key.read_bytes(), None)
    sealed.write_bytes(loaded.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")))
    for files, why in {
        (tmp_path / "none", key): "cannot be read",
        (other, key): "no certificate (PEM) and its key",
        (key, key): "no certificate (PEM) and its key",
        (certificate, sealed): "has a password",
    }.items():
        with pytest.raises(CertificateError, match=re.escape(why)):
            context_of(*files)
