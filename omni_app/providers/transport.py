"""The one door for provider calls: a pooled HTTP client with our own deadlines, size cap and no redirects.

One call is one attempt: nothing is sent twice. Hosts come from the settings alone; nothing of a request can name one.
"""

import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from omni_app.providers.base import FaultKind, ProviderFault, Timeouts
from omni_app.providers.http import HttpAnswer, HttpClient
from omni_app.providers.pooled_client import PooledClient
from omni_app.records import record
from omni_app.turns import Turns

MAX_ANSWER_BYTES = 8_388_608
"""Decoded; a larger answer is a fault. Of a streamed one so much is held at most: of its text, and of a line."""
STREAMED = 16
"""How many times as much a stream may send: an event of 300 bytes holds a word, so that the longest answers (128,000
tokens) are 38 MB, and twenty `logprobs` to each of 16,000 tokens are 30."""
MAX_CONNECTIONS = 1_000
"""To one provider: one that hangs holds its own places and nobody else's."""
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


@record(frozen=True, slots=True)
class Reply:
    """A whole HTTP answer; headers by their names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def aiohttp_client(max_connections: int) -> HttpClient:
    """The second client, loaded when it is asked for."""
    from omni_app.providers.aiohttp_client import AiohttpClient

    return AiohttpClient(max_connections)


CLIENTS: Mapping[str, Callable[[int], HttpClient]] = {"own": PooledClient, "aiohttp": aiohttp_client}
"""By what `HTTP_CLIENT` may say."""


@dataclass(slots=True)
class Transport:
    """Deadlines and caps over a pool of connections."""

    turns: Turns = field(default_factory=Turns)
    max_answer_bytes: int = MAX_ANSWER_BYTES
    max_connections: int = MAX_CONNECTIONS
    client: str = "own"
    _client: HttpClient = field(init=False)

    def __post_init__(self) -> None:
        self._client = CLIENTS[self.client](self.max_connections)

    async def post(
        self, url: str, *, headers: Mapping[str, str], body: bytes, timeouts: Timeouts, max_bytes: int | None = None
    ) -> Reply:
        """The whole answer, whatever its status. `max_bytes`: its cap, None = the usual. Raises `ProviderFault`."""
        until_s = time.monotonic() + timeouts.total_s
        answer = await self._open(url, headers=headers, body=body, timeouts=timeouts)
        try:
            whole = await self._read(answer, timeouts, until_s, max_bytes or self.max_answer_bytes)
        finally:
            answer.close()
        return Reply(answer.status, answer.headers, whole)

    @asynccontextmanager
    async def events(
        self,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes,
        timeouts: Timeouts,
        check_size: Callable[[int], None],
    ) -> AsyncIterator["Reply | AsyncIterator[list[bytes]]"]:
        """A streamed answer's lines, those together that came together, or the whole reply when it is not 200.

        Lines are handed on: `check_size` is called whenever another `max_answer_bytes` has come, to raise when more
        than that is held. Leaving the block before the end closes the connection: so a provider learns that nobody
        listens any more.
        """
        until_s = time.monotonic() + timeouts.total_s
        answer = await self._open(url, headers=headers, body=body, timeouts=timeouts)
        try:
            if answer.status == 200:
                yield self._lines(answer, timeouts, until_s, check_size)
            else:
                whole = await self._read(answer, timeouts, until_s, self.max_answer_bytes)
                yield Reply(answer.status, answer.headers, whole)
        finally:
            answer.close()

    async def _lines(
        self, answer: HttpAnswer, timeouts: Timeouts, until_s: float, check_size: Callable[[int], None]
    ) -> AsyncIterator[list[bytes]]:
        r"""Whole lines without their `\n`; a last line without an end is not a line: it was cut."""
        rest, size, most = b"", 0, self.max_answer_bytes
        unchecked = most
        while piece := await self._piece(answer, timeouts, until_s):
            size += len(piece)
            if size > unchecked:
                unchecked += most
                if size > most * STREAMED:
                    raise too_large(most * STREAMED)
                check_size(most)
            lines = (rest + piece).split(b"\n")
            rest = lines.pop()
            if len(rest) > most:
                raise too_large(most)
            if lines:
                yield lines

    async def _open(self, url: str, *, headers: Mapping[str, str], body: bytes, timeouts: Timeouts) -> HttpAnswer:
        """The answer's head within the first-byte deadline. Raises `ProviderFault`."""
        answer = await self._client.post(
            url,
            headers=headers,
            body=body,
            connect_s=timeouts.connect_s,
            answer_s=min(timeouts.first_byte_s, timeouts.total_s),
        )
        if 300 <= answer.status < 400:
            answer.close()
            raise ProviderFault(FaultKind.REDIRECT, "redirects are not followed", http_status=answer.status)
        return answer

    async def _read(self, answer: HttpAnswer, timeouts: Timeouts, until_s: float, cap: int) -> bytes:
        parts: list[bytes] = []
        size = 0
        while not answer.is_whole and (part := await self._piece(answer, timeouts, until_s)):
            size += len(part)
            if size > cap:
                raise too_large(cap)
            parts.append(part)
        return b"".join(parts)

    async def _piece(self, answer: HttpAnswer, timeouts: Timeouts, until_s: float) -> bytes:
        """More of the body within its deadline and that of the whole; empty at the end."""
        left_s = until_s - time.monotonic()
        try:
            piece = await answer.piece(min(timeouts.between_chunks_s, left_s))
        except TimeoutError:
            if left_s <= timeouts.between_chunks_s:
                raise _out_of_time(timeouts) from None
            detail = f"nothing came for {timeouts.between_chunks_s:g} s"
            raise ProviderFault(FaultKind.INTERRUPTED, detail) from None
        if piece:
            await self.turns.to_answer()
        return piece

    async def aclose(self) -> None:
        """Closes the pool."""
        await self._client.aclose()


def _out_of_time(timeouts: Timeouts) -> ProviderFault:
    return ProviderFault(FaultKind.TOTAL_TIMEOUT, f"no whole answer in {timeouts.total_s:g} s")


def too_large(cap: int) -> ProviderFault:
    """An answer over its cap."""
    return ProviderFault(FaultKind.TOO_LARGE, f"the answer is over {cap} bytes")


def cleaned(text: str) -> str:
    """A provider's error text, fit for a caller and a log: one line, short, nothing that looks like a key."""
    line = " ".join("".join(one if one.isprintable() else " " for one in text[:MAX_READ_DETAIL]).split())
    return KEY_LIKE.sub("[removed]", line)[:MAX_DETAIL]


def retry_after_s(headers: Mapping[str, str], *, now: datetime | None = None) -> float | None:
    """`Retry-After` as seconds, from a number or an HTTP date; None when there is none to be read."""
    value = headers.get("retry-after", "").strip()
    try:
        seconds = float(value)
    except ValueError:
        pass
    else:
        return seconds if 0 <= seconds < 86_400 else None
    try:
        moment = parsedate_to_datetime(value)
    except (TypeError, ValueError, OverflowError):
        return None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return max(0.0, (moment - (now or datetime.now(UTC))).total_seconds())
