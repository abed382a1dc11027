"""Reading a document from an address that the operator set: the only GET that leaves for anything but a provider.

No redirect is followed, no proxy of the environment used, nothing but the address' own host asked, and no more taken
than the cap: what is over it is refused, not cut.
"""

import asyncio
from urllib.parse import urlsplit

import httpx

from omni_app.addresses import is_this_machine
from omni_app.authorities import web_client

TOTAL_S = 60.0
SILENCE_S = 15.0


class FetchError(Exception):
    """The document was not to be had; the message says why, and names the host alone."""


def address_problem(url: str) -> str:
    """Empty when a document may be read there: https anywhere, http on this machine only."""
    parts = urlsplit(url)
    if parts.username or parts.password:
        return "must not hold a user or password"
    if parts.scheme == "https" and parts.hostname:
        return ""
    return "" if parts.scheme == "http" and is_this_machine(parts.hostname or "") else "must start with https://"


async def fetch(url: str, *, most_bytes: int) -> bytes:
    """The document, decoded, of at most so many bytes. Raises `FetchError`."""
    if problem := address_problem(url):
        raise FetchError(problem)
    host = urlsplit(url).hostname
    try:
        async with asyncio.timeout(TOTAL_S):
            return await _read(url, most_bytes=most_bytes)
    except TimeoutError:
        raise FetchError(f"{host}: no whole answer in {TOTAL_S:g} s") from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise FetchError(f"{host} cannot be read ({type(error).__name__})") from None


async def _read(url: str, *, most_bytes: int) -> bytes:
    host = urlsplit(url).hostname
    parts: list[bytes] = []
    size = 0
    headers = {"Accept": "application/json"}
    async with (
        web_client(SILENCE_S) as client,
        client.stream("GET", url, headers=headers) as answer,
    ):
        if answer.status_code != 200:
            raise FetchError(f"{host} answers with HTTP {answer.status_code}")
        async for part in answer.aiter_bytes():
            size += len(part)
            if size > most_bytes:
                raise FetchError(f"{host}: the answer is over {most_bytes} bytes")
            parts.append(part)
    return b"".join(parts)
