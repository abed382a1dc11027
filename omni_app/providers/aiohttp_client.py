"""aiohttp as the HTTP client: the well-kept second one (`HTTP_CLIENT=aiohttp`), should ours meet a provider it cannot.

aiohttp retries by itself only what is idempotent, and every call here is a POST.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from omni_app.authorities import web_context
from omni_app.pace import LoopTimeout
from omni_app.providers.base import ProviderFault
from omni_app.providers.http import broken, cut_off, no_answer_in, no_connection_in, refused, socket_of
from omni_app.providers.names import looked_up

WITHOUT_LIMIT = aiohttp.ClientTimeout(total=None)
NUMERIC = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV


class Resolver(AbstractResolver):
    """The system's, without the loop's few threads; aiohttp itself asks for a name once at a time."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Every address, IPv6 or not. Raises `OSError`."""
        return [
            ResolveResult(
                hostname=host,
                host=socket.getnameinfo(address, NUMERIC)[0],
                port=port,
                family=kind,
                proto=proto,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, _, proto, _, address in await looked_up(host, port)
        ]

    async def close(self) -> None:
        """It holds nothing."""


class Connector(aiohttp.TCPConnector):
    """aiohttp's pool, with one deadline for all that connecting takes: a free place, the name, TCP and TLS."""

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Any], timeout: aiohttp.ClientTimeout
    ) -> aiohttp.connector.Connection:
        """A connection that can be written to. Raises `TimeoutError`."""
        async with LoopTimeout(timeout.connect or 0):
            return await super().connect(req, traces, WITHOUT_LIMIT)


@dataclass(slots=True)
class AiohttpAnswer:
    """An answer whose head has come."""

    _response: aiohttp.ClientResponse
    headers: Mapping[str, str] = field(init=False)
    _pieces: AsyncIterator[bytes] = field(init=False)

    def __post_init__(self) -> None:
        self.headers = {name.lower(): value for name, value in self._response.headers.items()}
        self._pieces = self._response.content.iter_any()

    @property
    def status(self) -> int:
        return self._response.status

    @property
    def is_whole(self) -> bool:
        return self._response.content.at_eof()

    async def piece(self, within_s: float) -> bytes:
        try:
            async with asyncio.timeout(within_s):
                return await anext(self._pieces, b"")
        except (aiohttp.ClientError, OSError) as error:
            if isinstance(error, TimeoutError):
                raise
            raise connection_fault(error) from None

    def close(self) -> None:
        if self.is_whole:
            self._response.release()
        else:
            self._response.close()


@dataclass(slots=True)
class AiohttpClient:
    """The pool, made on first use. At most `max_connections` to one address."""

    max_connections: int
    _sessions: dict[str, aiohttp.ClientSession] = field(default_factory=dict)
    """One for each socket of this machine, and one for all other addresses (`""`)."""

    async def post(
        self, url: str, *, headers: Mapping[str, str], body: bytes, connect_s: float, answer_s: float
    ) -> AiohttpAnswer:
        path = socket_of(url)
        try:
            async with asyncio.timeout(answer_s):
                response = await self._pool(path).post(
                    f"http://localhost{urlsplit(url).path}" if path else url,
                    data=body,
                    headers=headers,
                    allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(total=None, connect=connect_s),
                )
        except aiohttp.ConnectionTimeoutError:
            raise no_connection_in(connect_s) from None
        except TimeoutError:
            raise no_answer_in(answer_s) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise connection_fault(error) from None
        return AiohttpAnswer(response)

    def _pool(self, socket: str) -> aiohttp.ClientSession:
        if socket not in self._sessions:
            self._sessions[socket] = aiohttp.ClientSession(
                connector=self._connector(socket),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                auto_decompress=True,
            )
        return self._sessions[socket]

    def _connector(self, socket: str) -> aiohttp.BaseConnector:
        if socket:
            return aiohttp.UnixConnector(socket, limit=self.max_connections)
        return Connector(
            limit=0, limit_per_host=self.max_connections, resolver=Resolver(), ttl_dns_cache=60, ssl=web_context()
        )

    async def aclose(self) -> None:
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()


def connection_fault(error: Exception) -> ProviderFault:
    """What a failed connection means: nobody there, or somebody who went away."""
    if isinstance(error, aiohttp.ClientConnectorError | ConnectionRefusedError):
        return refused()
    if isinstance(error, aiohttp.ClientPayloadError | aiohttp.ContentTypeError):
        return cut_off()
    return broken(type(error).__name__)
