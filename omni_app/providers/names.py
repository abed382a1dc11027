"""The addresses behind a host's name.

The system looks a name up in a thread, and goes on there when its callers have left. So each lookup has a thread of its
own, which no other waits for, and a name is looked up once at a time. Where the answer is late or the resolver is away,
the last good one is used (docs/decisions/0077-a-lookup-holds-up-nobody.md).
"""

import asyncio
import socket
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from threading import Thread

LATE_S = 0.25
"""A lookup that takes longer is late: what was known before is used."""

SocketAddress = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]
Addresses = Sequence[tuple[socket.AddressFamily, socket.SocketKind, int, str, SocketAddress]]
"""As `getaddrinfo` gives them."""


async def looked_up(host: str, port: int) -> Addresses:
    """What the system says. Raises `OSError`, or `ValueError` for what is no name."""
    answer: Future[Addresses] = Future()

    def ask() -> None:
        answer.set_running_or_notify_cancel()
        try:
            answer.set_result(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, ValueError) as error:
            answer.set_exception(error)

    Thread(target=ask, name=f"lookup of {host}", daemon=True).start()
    return await asyncio.wrap_future(answer)


@dataclass(slots=True)
class Name:
    """One host and port."""

    host: str
    port: int
    _known: Addresses = ()
    _looking: asyncio.Task[None] | None = None
    _began_s: float = 0.0

    async def addresses(self) -> Addresses:
        """At least one. Raises `OSError`."""
        loop = asyncio.get_running_loop()
        if self._looking is None:
            self._began_s = loop.time()
            self._looking = loop.create_task(self._look())
        patience_s = self._began_s + LATE_S - loop.time() if self._known else None
        await asyncio.wait([self._looking], timeout=patience_s)  # who is cancelled here ends it for nobody
        if not self._known:
            raise OSError(f"no address is known of {self.host}")
        return self._known

    def forget(self, addresses: Addresses | None = None) -> None:
        """Nobody could be reached there; None = at what is known now."""
        if addresses is None or self._known is addresses:
            self._known = ()

    async def _look(self) -> None:
        try:
            self._known = await looked_up(self.host, self.port)
        except (OSError, ValueError) as error:
            if getattr(error, "errno", None) != socket.EAI_AGAIN:
                self._known = ()  # there is no such name
        finally:
            self._looking = None

    def close(self) -> None:
        """Nobody waits for it any more."""
        if self._looking is not None:
            self._looking.cancel()
