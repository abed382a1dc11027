"""The one door for provider calls: one pooled HTTP client with our own deadlines, size cap and no redirects.

One call is one attempt: nothing is sent twice. aiohttp retries a request by itself only for idempotent methods, and
every call here is a POST. Hosts come from the settings alone; nothing of a request can name one.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import aiohttp

from omni_app.providers.base import FaultKind, ProviderFault, Timeouts

MAX_ANSWER_BYTES = 8_388_608
"""Decoded; a larger answer is a fault."""
MAX_CONNECTIONS = 1_000
MAX_DETAIL = 300
MAX_READ_DETAIL = 4_000
KEY_LIKE = re.compile(
    r"""
      \b(?:sk|pk|rk|gsk|xai|omr|hf)[-_][^\s"',;]{4,}  # sk-…, sk-ant-…, gsk_…, and what is left of a masked one
    | \bkey[-_](?=[^\s"',;]*\d)[^\s"',;]{6,}         # key-1f2e…, but not key-value
    | \b(?:AIza|AQ\.|eyJ)[^\s"',;]{8,}              # Google's keys, JSON web tokens
    | \b(?:Bearer|Basic)\s+(?=\S*\d|\S{20})\S+
    | \b(?:api[-_]?key|key|token|secret)=[^\s"'&,;]+
    | [^\s"']*\*{3,}[^\s"']*                        # abcd****wxyz
    | [A-Za-z0-9]{32,}
    | (?=[^\s]*\d)[A-Za-z0-9+/_-]{40,}
    """,
    re.VERBOSE | re.IGNORECASE,
)
"""What may be a key: the prefixes that providers use, and every run too long for a word."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(slots=True)
class Transport:
    """The pool, made on first use, on the running loop."""

    max_answer_bytes: int = MAX_ANSWER_BYTES
    _session: aiohttp.ClientSession | None = field(default=None, init=False)

    async def post(
        self, url: str, *, headers: Mapping[str, str], body: bytes, timeouts: Timeouts, max_bytes: int | None = None
    ) -> Reply:
        """The whole answer, whatever its status. `max_bytes`: its cap, None = the usual. Raises `ProviderFault`."""
        until_s = time.monotonic() + timeouts.total_s
        cap = max_bytes or self.max_answer_bytes
        async with self._open(url, headers=headers, body=body, timeouts=timeouts) as response:
            return Reply(response.status, response.headers, await self._read(response, timeouts, until_s, cap))

    @asynccontextmanager
    async def events(
        self, url: str, *, headers: Mapping[str, str], body: bytes, timeouts: Timeouts
    ) -> AsyncIterator["Reply | AsyncIterator[bytes]"]:
        """A streamed answer's lines as they come, or the whole reply when its status is not 200.

        Leaving the block before the end closes the connection: so a provider learns that nobody listens any more.
        """
        until_s = time.monotonic() + timeouts.total_s
        async with self._open(url, headers=headers, body=body, timeouts=timeouts) as response:
            if response.status == 200:
                yield self._lines(response, timeouts, until_s)
            else:
                whole = await self._read(response, timeouts, until_s, self.max_answer_bytes)
                yield Reply(response.status, response.headers, whole)

    async def _lines(
        self, response: aiohttp.ClientResponse, timeouts: Timeouts, until_s: float
    ) -> AsyncIterator[bytes]:
        """Whole lines without their ends; a last line without an end is not a line: it was cut."""
        rest, size = b"", 0
        async for piece in self._chunks(response, timeouts, until_s):
            size += len(piece)
            if size > self.max_answer_bytes:
                raise ProviderFault(FaultKind.TOO_LARGE, f"the answer is over {self.max_answer_bytes} bytes")
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                yield line.rstrip(b"\r")

    @asynccontextmanager
    async def _open(
        self, url: str, *, headers: Mapping[str, str], body: bytes, timeouts: Timeouts
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer's head within the first-byte deadline; connection faults by their kind."""
        try:
            async with asyncio.timeout(min(timeouts.first_byte_s, timeouts.total_s)):
                response = await self._pool().post(
                    url,
                    data=body,
                    headers=headers,
                    allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(total=None, sock_connect=timeouts.connect_s),
                )
        except aiohttp.ConnectionTimeoutError:
            raise ProviderFault(FaultKind.CONNECT_TIMEOUT, f"no connection in {timeouts.connect_s:g} s") from None
        except TimeoutError:
            raise ProviderFault(FaultKind.FIRST_BYTE_TIMEOUT, f"no answer in {timeouts.first_byte_s:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise connection_fault(error) from None
        try:
            if 300 <= response.status < 400:
                raise ProviderFault(FaultKind.REDIRECT, "redirects are not followed", http_status=response.status)
            yield response
        except (aiohttp.ClientError, OSError) as error:
            raise connection_fault(error) from None
        finally:
            if response.content.at_eof():
                response.release()
            else:
                response.close()

    async def _read(self, response: aiohttp.ClientResponse, timeouts: Timeouts, until_s: float, cap: int) -> bytes:
        parts: list[bytes] = []
        size = 0
        async for part in self._chunks(response, timeouts, until_s):
            size += len(part)
            if size > cap:
                response.close()
                raise ProviderFault(FaultKind.TOO_LARGE, f"the answer is over {cap} bytes")
            parts.append(part)
        return b"".join(parts)

    async def _chunks(
        self, response: aiohttp.ClientResponse, timeouts: Timeouts, until_s: float
    ) -> AsyncIterator[bytes]:
        """The body as it comes, each piece within its deadline and all of them within the whole one.

        No deadline spans a `yield`: it would strike whoever holds the piece.
        """
        pieces = response.content.iter_any()
        while True:
            left_s = until_s - time.monotonic()
            try:
                async with asyncio.timeout(min(timeouts.between_chunks_s, left_s)):
                    piece = await anext(pieces, b"")
            except TimeoutError:
                response.close()
                if left_s <= timeouts.between_chunks_s:
                    raise _out_of_time(timeouts) from None
                detail = f"nothing came for {timeouts.between_chunks_s:g} s"
                raise ProviderFault(FaultKind.INTERRUPTED, detail) from None
            if not piece:
                return
            yield piece

    def _pool(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=MAX_CONNECTIONS, limit_per_host=0, ttl_dns_cache=60),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                auto_decompress=True,
            )
        return self._session

    async def aclose(self) -> None:
        """Closes the pool."""
        if self._session is not None:
            await self._session.close()
            self._session = None


def _out_of_time(timeouts: Timeouts) -> ProviderFault:
    return ProviderFault(FaultKind.TOTAL_TIMEOUT, f"no whole answer in {timeouts.total_s:g} s")


def connection_fault(error: Exception) -> ProviderFault:
    """What a failed connection means: nobody there, or somebody who went away."""
    if isinstance(error, aiohttp.ClientConnectorError | ConnectionRefusedError):
        return ProviderFault(FaultKind.REFUSED, "no connection to the provider")
    if isinstance(error, aiohttp.ClientPayloadError | aiohttp.ContentTypeError):
        return ProviderFault(FaultKind.CONNECTION_LOST, "the answer was cut off")
    return ProviderFault(FaultKind.CONNECTION_LOST, f"the connection broke ({type(error).__name__})")


def cleaned(text: str) -> str:
    """A provider's error text, fit for a caller and a log: one line, short, nothing that looks like a key."""
    line = " ".join("".join(one if one.isprintable() else " " for one in text[:MAX_READ_DETAIL]).split())
    return KEY_LIKE.sub("[removed]", line)[:MAX_DETAIL]


def retry_after_s(headers: Mapping[str, str], *, now: datetime | None = None) -> float | None:
    """`Retry-After` as seconds, from a number or an HTTP date; None when there is none to be read."""
    value = headers.get("Retry-After", "").strip()
    try:
        seconds = float(value)
    except ValueError:
        pass
    else:
        return seconds if 0 <= seconds < 86_400 else None
    try:
        moment = parsedate_to_datetime(value)
    except (TypeError, ValueError):
        return None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return max(0.0, (moment - (now or datetime.now(UTC))).total_seconds())
