"""A connection that is to speak TLS, until it does.

It counts as a connection from its first moment, has `HEAD_S` for the whole handshake, and waits for its turn like every
newcomer: a handshake takes more of the processor than a request's head. The rest is the loop's own TLS.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Protocol, cast

from uvloop.loop import SSLProtocol  # type: ignore[attr-defined]  # what its `create_server` puts around a protocol

from omni_app.server.exchange import Unreadable, rejection
from omni_app.server.http import FAREWELL_S, HEAD_S, PIECE_BYTES
from omni_app.server.newcomers import Newcomers
from omni_app.server.tls import Certificate

HANDSHAKE = 0x16
"""The first byte of whoever speaks TLS."""
PLAIN = "this port speaks TLS alone: ask https://"


class Host(Protocol):
    """What a connection is part of."""

    @property
    def newcomers(self) -> Newcomers: ...

    @property
    def room(self) -> memoryview: ...

    def come(self, connection: "Handshake") -> bool:
        """Takes note of a connection; False when there are too many."""

    def gone(self, connection: "Handshake") -> None: ...


class Inside(asyncio.Protocol):
    """Stands where the connection proper will: that is made when somebody is there to speak with it."""

    def __init__(self, connection: Callable[[], asyncio.BaseProtocol]) -> None:
        self._connection = connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        secure = cast(asyncio.Transport, transport)
        secure.set_read_buffer_limits(PIECE_BYTES)  # type: ignore[attr-defined]  # of what waits unread
        connection = self._connection()
        secure.set_protocol(connection)
        connection.connection_made(secure)


class Handshake(asyncio.BufferedProtocol):
    """Takes the first bytes and hands the connection to TLS.

    `connection` makes what is served inside of it, and is told what lies under it.
    """

    def __init__(
        self,
        host: Host,
        loop: asyncio.AbstractEventLoop,
        certificate: Certificate,
        connection: Callable[[asyncio.Transport], asyncio.BaseProtocol],
    ) -> None:
        self._host = host
        self._loop = loop
        self._certificate = certificate
        self._connection = connection
        self._until_s = loop.time() + HEAD_S
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if not self._host.come(self):
            self._transport.abort()  # nothing can be said before the handshake

    def connection_lost(self, exc: Exception | None) -> None:
        self._host.gone(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._host.room

    def buffer_updated(self, nbytes: int) -> None:
        data = bytes(self._host.room[:nbytes])
        if data[0] != HANDSHAKE:
            self._transport.write(rejection(Unreadable(400, PLAIN)))
            self._transport.close()
        elif not self._host.newcomers.go_on(partial(self._begin, data)):
            self._transport.pause_reading()

    def _begin(self, data: bytes) -> None:
        if self._transport.is_closing():
            return
        done: asyncio.Future[None] = self._loop.create_future()
        done.add_done_callback(self._done)
        tls = SSLProtocol(
            self._loop, Inside(self._connected), self._certificate.context(), done, server_side=True,
            ssl_shutdown_timeout=FAREWELL_S,
        )  # fmt: skip
        self._transport.set_protocol(tls)
        tls.connection_made(self._transport)
        tls.get_buffer(len(data))[: len(data)] = data
        tls.buffer_updated(len(data))
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def _connected(self) -> asyncio.BaseProtocol:
        self._host.gone(self)  # who comes in its place is counted then
        return self._connection(self._transport)

    def _done(self, done: "asyncio.Future[None]") -> None:
        self._host.gone(self)
        if done.exception() is not None:  # else somebody is connected
            self._transport.abort()

    def end_if_overdue(self, now_s: float) -> None:
        """Cuts off whose handshake is not over."""
        if now_s > self._until_s:
            self._transport.abort()

    def shutdown(self) -> None:
        """The process ends, and nobody has asked anything here."""
        self._transport.abort()
