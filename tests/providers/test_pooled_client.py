"""Our own HTTP client against a server that writes each byte: what an answer is, what a connection is kept for."""

import asyncio
import gzip
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from omni_app.providers import pooled_client
from omni_app.providers.base import FaultKind, ProviderFault
from omni_app.providers.pooled_client import PooledClient, head_of
from tests.providers.resolver import Resolver, resolving
from tests.servers.authority import Authority, believing

LONG = b"the router answers " * 20_000
CLOSING = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi"
GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


class Scripted:
    """Answers each request on a connection with the next of `script`; None closes it. Counts connections."""

    def __init__(self, *script: bytes | None, pieces: int = 1) -> None:
        self.script, self.pieces, self.connections = list(script), pieces, 0
        self.heads: list[bytes] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while self.script:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionError):
                break
            self.heads.append(head)
            await reader.readexactly(int(head.lower().partition(b"content-length:")[2].split()[0]))
            answer = self.script.pop(0)
            if answer is None:
                break
            size = max(1, len(answer) // self.pieces)
            for start in range(0, len(answer), size):
                writer.write(answer[start : start + size])
                await writer.drain()
                await asyncio.sleep(0)
        writer.close()


@asynccontextmanager
async def served(script: Scripted, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    server = await asyncio.start_server(script, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1?x=1"


async def ask(client: PooledClient, url: str, *, body: bytes = b"{}") -> tuple[int, bytes]:
    answer = await client.post(url, headers={"X-Own": "1"}, body=body, connect_s=2, answer_s=2)
    try:
        parts = []
        while part := await answer.piece(2):
            parts.append(part)
        return answer.status, b"".join(parts)
    finally:
        answer.close()


@pytest.fixture
async def client() -> AsyncIterator[PooledClient]:
    client = PooledClient(10)
    yield client
    await client.aclose()


def chunked(*parts: bytes, after: bytes = b"") -> bytes:
    said = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + said + b"0\r\n" + after + b"\r\n"


def compressed(body: bytes, coding: bytes = b"gzip") -> bytes:
    packed = gzip.compress(body)
    return b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\nContent-Length: %d\r\n\r\n%b" % (coding, len(packed), packed)


@pytest.mark.parametrize("pieces", [1, 7])
@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (GOOD, b"hi"),
        (b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + GOOD, b"hi"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + GOOD, b"hi"),
        (chunked(b"hel", b"lo"), b"hello"),
        (chunked(b"hello", after=b"X-Trailer: 1\r\n"), b"hello"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (compressed(LONG), LONG),
        (compressed(b"", b"x-gzip"), b""),
        (compressed(bytes(65_536)), bytes(65_536)),
    ],
    ids=["plain", "103", "100", "chunked", "trailer", "204", "gzip", "gzip-empty", "gzip-of-one-piece"],
)
async def test_an_answer_is_read_and_its_connection_kept(
    client: PooledClient, answer: bytes, body: bytes, pieces: int
) -> None:
    server = Scripted(answer, answer, pieces=pieces)
    async with served(server) as url:
        assert (await ask(client, url))[1] == body
        assert (await ask(client, url))[1] == body
    assert server.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        CLOSING,
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        GOOD + b"and more",
        GOOD + GOOD,
    ],
    ids=["close", "http-1.0", "garbage-behind", "second-answer"],
)
async def test_a_connection_that_cannot_be_trusted_is_not_used_again(client: PooledClient, answer: bytes) -> None:
    server = Scripted(answer, answer)
    async with served(server) as url:
        for _ in range(2):
            assert await ask(client, url) == (200, b"hi")
    assert server.connections == 2


async def test_an_answer_without_a_length_ends_with_its_connection(client: PooledClient) -> None:
    server = Scripted(b"HTTP/1.1 200 OK\r\n\r\nall of it")
    async with served(server) as url:
        assert await ask(client, url) == (200, b"all of it")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhi",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000,
        compressed(LONG)[:-20].replace(b"Content-Length", b"X-Length"),
        None,
    ],
    ids=["short", "short-chunk", "two-lengths", "two-content-lengths", "upgrade", "long-head", "cut-gzip", "nothing"],
)
async def test_anything_else_is_a_lost_connection(client: PooledClient, answer: bytes | None) -> None:
    server = Scripted(answer)
    async with served(server) as url:
        with pytest.raises(ProviderFault) as met:
            await ask(client, url)
    assert met.value.kind is FaultKind.CONNECTION_LOST
    assert len(server.heads) == 1


async def test_what_nobody_reads_waits_in_the_socket(client: PooledClient) -> None:
    """A reader that is slower than a provider does not fill our memory."""
    sent = 0

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"{}")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        try:
            while True:
                writer.write(bytes(65_536))
                await asyncio.wait_for(writer.drain(), 0.5)
                sent += 65_536
        except (TimeoutError, ConnectionError):
            writer.transport.abort()

    server = await asyncio.start_server(endless, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        answer = await client.post(url, headers={}, body=b"{}", connect_s=2, answer_s=2)
        await asyncio.sleep(1)
        held = sum(map(len, answer._pieces))
        answer.close()
    assert sent > held and held <= pooled_client.HIGH_WATER_BYTES + 1_048_576


async def test_a_connection_without_work_is_closed_after_a_while(
    client: PooledClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pooled_client, "KEPT_S", 0.1)
    gone = asyncio.Event()

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        writer.write(GOOD)
        await reader.read()
        gone.set()
        writer.close()

    server = await asyncio.start_server(once, "127.0.0.1", 0)
    async with server, asyncio.timeout(5):
        await ask(client, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        await gone.wait()


async def test_tls_speaks_with_whom_the_system_trusts_and_nobody_else(client: PooledClient, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server = Scripted(GOOD, GOOD)
    async with served(server, authority.serves("127.0.0.1")) as url:
        with pytest.raises(ProviderFault) as met:
            await ask(client, url)
        assert met.value.kind is FaultKind.REFUSED and not server.heads
        with believing(authority.file):
            trusting = PooledClient(10)
            assert await ask(trusting, url) == await ask(trusting, url) == (200, b"hi")
            await trusting.aclose()
            with pytest.raises(ProviderFault) as met:
                await ask(client, url.replace("127.0.0.1", "localhost"))
            assert met.value.kind is FaultKind.REFUSED, "another name than the certificate's"


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolver]:
    with resolving(monkeypatch) as resolver:
        yield resolver


def named(url: str) -> str:
    return url.replace("127.0.0.1", "provider.example")


async def test_a_late_lookup_gives_way_to_the_last_good_answer(client: PooledClient, resolver: Resolver) -> None:
    async with served(Scripted(CLOSING, CLOSING, CLOSING)) as url:
        await ask(client, named(url))
        resolver.hanging = {"provider.example"}
        for _ in range(2):
            assert await ask(client, named(url)) == (200, b"hi")
    assert len(resolver.asked) == 2, "the second of them hangs, and is not asked again meanwhile"


async def test_a_resolver_that_is_away_leaves_what_is_known_and_a_name_that_is_gone_is_gone(
    client: PooledClient, resolver: Resolver
) -> None:
    async with served(Scripted(CLOSING, CLOSING)) as url:
        await ask(client, named(url))
        resolver.failing = {"provider.example": socket.EAI_AGAIN}
        assert await ask(client, named(url)) == (200, b"hi")
        for answer in (socket.EAI_NONAME, socket.EAI_AGAIN):
            resolver.failing = {"provider.example": answer}
            with pytest.raises(ProviderFault) as met:
                await ask(client, named(url))
            assert met.value.kind is FaultKind.REFUSED


async def test_an_address_that_nobody_answers_at_is_not_used_again(client: PooledClient, resolver: Resolver) -> None:
    async with served(Scripted(CLOSING)) as url:
        await ask(client, named(url))
    resolver.hanging = {"provider.example"}
    for kind in (FaultKind.REFUSED, FaultKind.CONNECT_TIMEOUT):
        with pytest.raises(ProviderFault) as met:
            await client.post(named(url), headers={}, body=b"{}", connect_s=0.5, answer_s=2)
        assert met.value.kind is kind


def test_a_header_that_would_be_two_is_refused() -> None:
    assert b"\r\nX-A: b\r\n" in head_of("http://a.example/v1", (("X-A", "b"),))
    with pytest.raises(ValueError, match="header"):
        head_of("http://a.example/v1", (("X-A", "b\r\nX-B: c"),))
