"""What the transport asks of an HTTP client: one POST, its head, its body piece by piece. Two clients do it.

Neither follows a redirect, sends anything twice, keeps cookies or reads proxy settings from the environment.
"""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, unquote, urlsplit

from omni_app.providers.base import FaultKind, ProviderFault

ON_SOCKET = "http+unix"
"""The scheme of an address whose host is the path of a socket, percent-encoded."""


def unix_url(socket: Path) -> str:
    """The base URL of a web server that listens on a socket of this machine."""
    return f"{ON_SOCKET}://{quote(str(socket), safe='')}"


@lru_cache(maxsize=256)
def socket_of(url: str) -> str:
    """The socket's path; empty for a URL of another kind."""
    parts = urlsplit(url)
    return unquote(parts.netloc) if parts.scheme == ON_SOCKET else ""


class HttpAnswer(Protocol):
    """An answer whose head has come."""

    @property
    def status(self) -> int:
        """As sent."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """By their names in lower case."""
        ...

    @property
    def is_whole(self) -> bool:
        """Whether the last piece has been given away."""
        ...

    async def piece(self, within_s: float) -> bytes:
        """More of the body, decoded, as it comes; empty at its end. Raises `TimeoutError`, or `ProviderFault`."""
        ...

    def close(self) -> None:
        """Lets the connection go: for the next call where the answer is whole, else for good."""
        ...


class HttpClient(Protocol):
    """A pool of connections, on the running loop."""

    async def post(
        self, url: str, *, headers: Mapping[str, str], body: bytes, connect_s: float, answer_s: float
    ) -> HttpAnswer:
        """The answer's head. `connect_s` for a connection, `answer_s` for all. Raises `ProviderFault`."""
        ...

    async def aclose(self) -> None:
        """Closes every connection."""
        ...


def no_connection_in(seconds: float) -> ProviderFault:
    """Nobody took the connection in time, or there is no free place for one."""
    return ProviderFault(FaultKind.CONNECT_TIMEOUT, f"no connection in {seconds:g} s")


def no_answer_in(seconds: float) -> ProviderFault:
    """The request is out, and no head has come."""
    return ProviderFault(FaultKind.FIRST_BYTE_TIMEOUT, f"no answer in {seconds:g} s")


def refused() -> ProviderFault:
    """Nobody there: no such name, no such port, no certificate that can be trusted."""
    return ProviderFault(FaultKind.REFUSED, "no connection to the provider")


def cut_off() -> ProviderFault:
    """The answer ended before its end."""
    return ProviderFault(FaultKind.CONNECTION_LOST, "the answer was cut off")


def broken(why: str) -> ProviderFault:
    """Somebody was there and went away, or does not speak HTTP."""
    return ProviderFault(FaultKind.CONNECTION_LOST, f"the connection broke ({why})")
