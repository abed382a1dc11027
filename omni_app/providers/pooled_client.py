"""Our own HTTP/1.1 client: a POST over a kept connection costs a tenth of what general clients take for it.

It does what provider calls need and no more (docs/decisions/0032-own-http-client.md): llhttp parses (httptools), the
loop does TLS, aiohappyeyeballs chooses between IPv6 and IPv4. A kept connection that the other side closes is forgotten
at once; one that breaks while a request is on its way is a fault, for nobody knows whether it was served.
"""

import asyncio
import zlib
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import cast
from urllib.parse import urlsplit

import aiohappyeyeballs
import httptools

from omni_app.authorities import web_context
from omni_app.pace import LoopTimeout
from omni_app.providers.base import ProviderFault
from omni_app.providers.http import broken, cut_off, no_answer_in, no_connection_in, refused, socket_of
from omni_app.providers.names import Name

KEPT_S = 15.0
"""How long a connection without work is kept: less than the minute after which most servers close theirs."""
MAX_HEAD_BYTES = 65_536
HIGH_WATER_BYTES = 262_144
"""More than this waits in the socket, not in memory, while nobody reads."""
INFLATED_BYTES = 65_536
"""A compressed answer is inflated in pieces of at most this size, so that a small bomb stays small."""
EYEBALLS_DELAY_S = 0.25
"""Until the next address is tried beside the one that is silent (RFC 8305)."""
COMPRESSED = frozenset({"gzip", "x-gzip", "deflate"})

Address = tuple[str, int, bool]
"""Host, port, whether over TLS; the path of a socket, 0 and False."""


@lru_cache(maxsize=256)
def address_of(url: str) -> Address:
    """Where a URL leads. Raises `ValueError`."""
    if path := socket_of(url):
        return path, 0, False
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    if not parts.hostname or parts.scheme not in ("http", "https"):
        raise ValueError("not an address of a web server")
    return parts.hostname, parts.port or (443 if secure else 80), secure


@lru_cache(maxsize=256)
def head_of(url: str, headers: tuple[tuple[str, str], ...]) -> bytes:
    """The request's head up to the length of its body. Raises `ValueError` where a header would be two."""
    parts = urlsplit(url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    host = "localhost" if socket_of(url) else parts.netloc.rpartition("@")[2]
    lines = [f"POST {target or '/'} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in headers]
    if not all(line.isprintable() for line in lines):
        raise ValueError("a line of the request's head holds what no header may hold")
    return ("\r\n".join([*lines, "Accept-Encoding: identity", "Content-Length: "])).encode("latin-1")


class Exchange:
    """One request and its answer, an `HttpAnswer`. The parser tells it what comes."""

    __slots__ = (
        "_connection",
        "_fault",
        "_framed",
        "_full",
        "_has_head",
        "_head_bytes",
        "_inflating",
        "_keeps",
        "_loop",
        "_parser",
        "_pieces",
        "_rest",
        "_strikes_s",
        "_timer",
        "_until_s",
        "_waiter",
        "_waiting_bytes",
        "_whole",
        "headers",
        "status",
    )

    def __init__(self, connection: "Connection", loop: asyncio.AbstractEventLoop) -> None:
        self._connection = connection
        self._loop = loop
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[None] | None = None
        self._until_s = 0.0  # how long the waiter waits
        self._timer: asyncio.TimerHandle | None = None
        self._strikes_s = 0.0
        self._fault: ProviderFault | None = None
        self.status = 0
        self.headers: dict[str, str] = {}
        self._head_bytes = 0
        self._has_head = False
        self._framed = False  # its head says how long it is
        self._pieces: list[bytes] = []
        self._waiting_bytes = 0
        self._whole = False
        self._keeps = False  # whether the connection is good for another exchange
        self._inflating: zlib._Decompress | None = None
        self._rest = b""  # of a compressed piece
        self._full = False  # the inflated piece was as long as it may be: there may be more

    # What the connection tells

    def feed(self, data: bytes) -> None:
        """What came."""
        if not self._has_head:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._end(broken("not HTTP"))
        if not self._has_head and self._head_bytes > MAX_HEAD_BYTES:
            self._end(broken("a head without end"))
        if self._waiting_bytes > HIGH_WATER_BYTES:
            self._connection.pause()
        self._wake()

    def lost(self, error: Exception | None) -> None:
        """The connection has ended: so has an answer that does not say how long it is."""
        if self._has_head and not self._framed and error is None:
            self._whole = True
        elif not self._whole and self._fault is None:
            why = "closed" if error is None else type(error).__name__
            self._fault = cut_off() if self._has_head else broken(why)
        self._wake()

    # What the parser calls

    def on_message_begin(self) -> None:
        """An answer begins; a second one is more than was asked for."""
        if self._whole:
            self._keeps = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """A line of the head."""
        key = name.decode("latin-1").lower()
        self.headers[key] = value.decode("latin-1")
        if key in ("content-length", "transfer-encoding"):
            self._framed = True

    def on_headers_complete(self) -> None:
        """The head has come, unless it is one of those that only announce the answer (1xx)."""
        status = self._parser.get_status_code()
        if self._whole or status < 200:
            self.headers = {}
            return
        self.status = status
        self._has_head = True
        if self.headers.get("content-encoding", "").strip().lower() in COMPRESSED:
            self._inflating = zlib.decompressobj(zlib.MAX_WBITS | 32)

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        if not self._whole:
            self._pieces.append(body)
            self._waiting_bytes += len(body)

    def on_message_complete(self) -> None:
        """The answer is whole."""
        if self._has_head and not self._whole:
            self._whole = True
            self._keeps = self._parser.should_keep_alive()

    # What the caller wants

    async def head(self, within_s: float) -> None:
        """Returns when the head has come. Raises `TimeoutError` or `ProviderFault`."""
        until_s = self._loop.time() + within_s
        while not self._has_head:
            if self._fault is not None:
                raise self._fault
            await self._news(until_s)

    @property
    def is_whole(self) -> bool:
        return self._whole and not (self._pieces or self._rest or self._full)

    async def piece(self, within_s: float) -> bytes:
        until_s = self._loop.time() + within_s
        while True:
            if self._pieces or self._rest or self._full:
                piece = self._taken() if self._inflating is None else self._inflated(self._inflating)
                if piece:
                    return piece
            elif self._whole:
                if self._inflating is not None and not self._inflating.eof:
                    raise cut_off()
                return b""
            elif self._fault is not None:
                raise self._fault
            else:
                await self._news(until_s)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._connection.end_exchange(keep=self._keeps and self.is_whole)

    def _taken(self) -> bytes:
        piece = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces = []
        self._waiting_bytes = 0
        self._connection.resume()
        return piece

    def _inflated(self, inflating: "zlib._Decompress") -> bytes:
        """A piece of what a compressed answer says; empty when more has to come first."""
        try:
            piece = inflating.decompress(self._rest or (b"" if self._full else self._taken()), INFLATED_BYTES)
        except zlib.error:
            raise broken("not compressed as announced") from None
        self._rest = inflating.unconsumed_tail
        self._full = len(piece) == INFLATED_BYTES and not inflating.eof
        return piece

    def _end(self, fault: ProviderFault) -> None:
        """Nothing good can come any more. An answer that was whole before stays whole."""
        self._keeps = False
        if not self._whole:
            self._fault = fault
        self._connection.drop()

    async def _news(self, until_s: float) -> None:
        """Returns when something has come. Raises `TimeoutError`.

        A timer that strikes early sets itself anew: a long stream needs one a minute, not one for each piece.
        """
        self._until_s = until_s
        if self._timer is None or until_s < self._strikes_s:
            self._set_timer()
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._strikes_s = self._until_s
        self._timer = self._loop.call_at(self._until_s, self._strike)

    def _strike(self) -> None:
        self._timer = None
        if self._loop.time() < self._until_s:
            self._set_timer()
        elif self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(TimeoutError())

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Connection(asyncio.Protocol):
    """One connection in its place: one exchange after the other."""

    __slots__ = ("_exchange", "_loop", "_paused", "_place", "_transport", "idle_since_s", "is_open")

    def __init__(self, loop: asyncio.AbstractEventLoop, place: "Place") -> None:
        self._loop = loop
        self._place = place
        self._transport: asyncio.Transport
        self._exchange: Exchange | None = None
        self._paused = False
        self.is_open = False
        self.idle_since_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It can be written to."""
        self._transport = cast("asyncio.Transport", transport)
        self.is_open = True

    def data_received(self, data: bytes) -> None:
        """An answer's next bytes; without a request nobody wants them."""
        if self._exchange is None:
            self.drop()
        else:
            self._exchange.feed(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is closed, by whomever."""
        self.is_open = False
        if self._exchange is not None:
            self._exchange.lost(exc)
        self._place.forget(self)

    def ask(self, head: bytes, body: bytes) -> Exchange:
        """Sends a request. One at a time."""
        self._exchange = Exchange(self, self._loop)
        if not self._transport.is_closing():  # else the exchange is told right away; asyncio's would raise TypeError
            self._transport.writelines((head, b"%d\r\n\r\n" % len(body), body))
        return self._exchange

    def end_exchange(self, *, keep: bool) -> None:
        """The answer has been read, or is not wanted any more."""
        self._exchange = None
        if keep and self.is_open:
            self._place.keep(self)
        else:
            self.drop()

    def drop(self) -> None:
        """Closes it at once: what the other side still sends is not wanted."""
        if self.is_open:
            self.is_open = False
            self._transport.abort()

    def pause(self) -> None:
        """Lets what comes wait in the socket."""
        if not self._paused and self.is_open:
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Reads on."""
        if self._paused and self.is_open:
            self._paused = False
            self._transport.resume_reading()


@dataclass(slots=True)
class Place:
    """The connections to one address: those in use, those kept, and who waits for one."""

    most: int
    name: Name
    idle: deque[Connection] = field(default_factory=deque)
    open: int = 0
    """In use, kept or being made."""
    line: deque[asyncio.Future[None]] = field(default_factory=deque)

    def kept(self) -> Connection | None:
        """The connection that was used last, of those that are still good."""
        while self.idle:
            connection = self.idle.pop()
            if connection.is_open:
                return connection
        return None

    def keep(self, connection: Connection) -> None:
        """For the next call."""
        connection.idle_since_s = asyncio.get_running_loop().time()
        self.idle.append(connection)
        self._next()

    def forget(self, connection: Connection) -> None:
        """It is closed."""
        self.let_go()
        if connection in self.idle:
            self.idle.remove(connection)

    def let_go(self) -> None:
        """A connection less."""
        self.open -= 1
        self._next()

    def close_old(self, now_s: float) -> None:
        """Closes those that have been without work for too long; the oldest stand in front."""
        while self.idle and self.idle[0].idle_since_s <= now_s - KEPT_S:
            self.idle.popleft().drop()

    async def turn(self) -> None:
        """Returns when a connection is free or may be made."""
        while not self.idle and self.open >= self.most:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self.line.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled():
                    self._next()  # it was told, and cannot use it
                raise

    def _next(self) -> None:
        while self.line:
            waiter = self.line.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return


@dataclass(slots=True)
class PooledClient:
    """The pool. At most `max_connections` to one address: one that hangs holds its own places and nobody else's."""

    max_connections: int
    _places: dict[Address, Place] = field(default_factory=dict)
    _sweep: asyncio.TimerHandle | None = None

    async def post(
        self, url: str, *, headers: Mapping[str, str], body: bytes, connect_s: float, answer_s: float
    ) -> Exchange:
        loop = asyncio.get_running_loop()
        until_s = loop.time() + answer_s
        try:
            address, head = address_of(url), head_of(url, tuple(headers.items()))
        except ValueError as error:
            raise broken(type(error).__name__) from None
        place = self._places.get(address) or self._places.setdefault(address, self._place(address))
        kept = None if place.line else place.kept()
        connection = kept or await self._connect(address, place, min(connect_s, answer_s))
        exchange = connection.ask(head, body)
        try:
            await exchange.head(until_s - loop.time())
        except TimeoutError:
            exchange.close()
            raise no_answer_in(answer_s) from None
        except BaseException:
            exchange.close()
            raise
        return exchange

    def _place(self, address: Address) -> Place:
        host, port, _ = address
        return Place(self.max_connections, Name(host, port))

    async def _connect(self, address: Address, place: Place, connect_s: float) -> Connection:
        """A connection that can be written to, within one deadline: a free place, the name, TCP and TLS."""
        had_place = False
        try:
            async with LoopTimeout(connect_s):
                await place.turn()
                had_place = True
                return place.kept() or await self._open(address, place)
        except TimeoutError:
            if had_place:
                place.name.forget()
            raise no_connection_in(connect_s) from None
        except (OSError, ValueError):
            raise refused() from None

    async def _open(self, address: Address, place: Place) -> Connection:
        host, _, secure = address
        loop = asyncio.get_running_loop()
        connection = Connection(loop, place)
        place.open += 1
        try:
            if host.startswith("/"):
                await loop.create_unix_connection(lambda: connection, host)
            else:
                await self._reach(connection, place.name, secure=secure)
        except BaseException:
            if connection.is_open:
                connection.drop()
            else:
                place.let_go()
            raise
        self._sweep_later(loop)
        return connection

    @staticmethod
    async def _reach(connection: Connection, name: Name, *, secure: bool) -> None:
        """Over TCP, and TLS. An address at which that fails need not be this name's any more."""
        addresses = await name.addresses()
        try:
            wire = await aiohappyeyeballs.start_connection(addresses, happy_eyeballs_delay=EYEBALLS_DELAY_S)
            tls, shown = (web_context(), name.host) if secure else (None, None)
            loop = asyncio.get_running_loop()
            await loop.create_connection(lambda: connection, sock=wire, ssl=tls, server_hostname=shown)
        except (OSError, ValueError):
            name.forget(addresses)
            raise

    def _sweep_later(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._sweep is None:
            self._sweep = loop.call_later(KEPT_S / 2, self._sweep_now, loop)

    def _sweep_now(self, loop: asyncio.AbstractEventLoop) -> None:
        self._sweep = None
        for place in self._places.values():
            place.close_old(loop.time())
        if any(place.open for place in self._places.values()):
            self._sweep_later(loop)

    async def aclose(self) -> None:
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        for place in self._places.values():
            place.name.close()
            for connection in tuple(place.idle):
                connection.drop()
        self._places.clear()
