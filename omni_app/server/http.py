"""HTTP/1.1 in front of an ASGI app: bytes to requests, and a limit on all that a peer may do.

uvicorn runs the process; this is what becomes of each connection, and `exchange.py` of each request. llhttp parses
(httptools). Ours, because it is on the way of every request, and because a request that comes while the worker is
overloaded may cost no more than its head (docs/decisions/0062-server.md has both measured).
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from enum import Enum, auto
from functools import partial
from typing import NoReturn, Protocol, cast
from urllib.parse import unquote

import httptools
from starlette.types import Scope

from omni_app.server.exchange import Exchange, Headers, Unreadable, rejection
from omni_app.server.heads import whole_post, without_wish, written
from omni_app.server.newcomers import Newcomers
from omni_app.server.unsent import TAKES_S, Unsent

MOST_HEAD_BYTES = 65_536
"""Of a head that goes on; one that ends within the next `PIECE_BYTES` is heard."""
MOST_HEADERS = 200
MOST_TARGET_BYTES = 16_384
"""Of a path with its query."""
MOST_IN_LINE = 16
"""Requests that a peer may send on before the ones before them are answered."""
HEAD_S = 10.0
"""For a head to come, also the next one of a connection: who asks nothing for so long is cut off."""
FAREWELL_S = 2.0
"""How long a connection that ends is read on, so that a reset does not overtake the last answer; and how long one that
asks nothing stays open while the process ends."""
PIECE_BYTES = 32_768
"""What is read and parsed at a time: only between two pieces it is seen what a body has around it, and nobody who sends
much has more than a few of them in a round of the loop."""
PER_BYTE = 16
"""What may come around each byte of a body in chunks, beside the bytes of a head: the smallest chunk has six."""
DISCARDS_S, DISCARDED_BYTES = 0.02, 262_144
"""Of what a peer goes on to send when its answer is out so much is read, and then nothing for a while: reading is work
too.
"""
AWAITED_BYTES = 65_536
"""Of a refused request's body: it is awaited, so that the connection can go on."""

VERSIONS = frozenset({"1.0", "1.1"})
ASGI = {"version": "3.0", "spec_version": "2.3"}


HEAD_TOO_LARGE = f"the request's head is larger than {MOST_HEAD_BYTES} bytes or has more than {MOST_HEADERS} headers"
NO_REQUEST = "this is no request in HTTP/1.1"
TARGET_TOO_LONG = f"the request's path is longer than {MOST_TARGET_BYTES} bytes"


class Ended(Exception):
    """The connection has had its last answer: nothing more is to be parsed."""


class Phase(Enum):
    """Of a connection: what is awaited of its peer."""

    IDLE = auto()
    """A request."""
    HEAD = auto()
    """The rest of a head."""
    BODY = auto()
    """The rest of a body."""
    ANSWER = auto()
    """Nothing, while it is being answered."""
    FAREWELL = auto()
    """The end."""


AROUND = frozenset({Phase.HEAD, Phase.BODY})
AFTER = frozenset({Phase.IDLE, Phase.FAREWELL})
"""These begin when the peer has taken all of its answer."""


class Host(Protocol):
    """What a connection is part of."""

    @property
    def address(self) -> tuple[str, int] | None: ...

    @property
    def default_headers(self) -> Headers: ...

    @property
    def room(self) -> memoryview:
        """Where the next bytes of any connection are written: `PIECE_BYTES`."""

    @property
    def newcomers(self) -> Newcomers:
        """Where a connection's first words wait for their turn."""

    def come(self, connection: "HttpConnection") -> bool:
        """Takes note of a connection; False when there are too many."""

    def gone(self, connection: "HttpConnection") -> None: ...

    def serve(self, exchange: "Exchange") -> None:
        """Runs the app for a request."""

    @property
    def crowded(self) -> Callable[[], bool]:
        """Tells whether some requests are refused now."""

    def refusal(self, scope: Scope) -> bytes:
        """A whole answer to a request that the app is spared; empty for one that it gets."""

    def to_websocket(self, transport: asyncio.Transport, head: bytes) -> None:
        """Hands a connection on to who speaks websocket."""


class HttpConnection(asyncio.BufferedProtocol):
    """One connection: parses what comes and has one request after the other served."""

    __slots__ = ("_around_bytes", "_closes", "_discarded_bytes", "_headers", "_host", "_in_line", "_incoming",
                 "_leaving", "_loop", "_new", "_parser", "_paused", "_peer", "_phase", "_refusal", "_scheme",
                 "_serving", "_since_s", "_target", "_unsent", "_upgrades", "_wire", "backlog",
                 "transport")  # fmt: skip

    transport: asyncio.Transport

    def __init__(self, host: Host, loop: asyncio.AbstractEventLoop, wire: asyncio.Transport | None = None) -> None:
        """`wire`: what is under TLS; None = nothing is."""
        self._host = host
        self._wire = wire
        self._loop = loop
        self._parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)
        self._phase, self._since_s = Phase.IDLE, loop.time()
        self._headers: Headers = []
        self._discarded_bytes = 0
        self._around_bytes = 0
        """Of the head so far, or of what stands between the pieces of a body: sizes, extensions, trailers."""
        self._target = b""
        self._incoming: Exchange | None = None
        """Whose body comes."""
        self._serving: Exchange | None = None
        """Who is being answered."""
        self._in_line: deque[Exchange] = deque()
        self._refusal = b""
        """What is answered once the body has come, without the app."""
        self._upgrades = self._leaving = self._paused = False
        self._closes = False
        """Ends once what was sent is out."""
        self._new = True
        """Nothing has come yet."""
        self.backlog: asyncio.Event | None = None
        """Set when the peer has taken enough of what was sent, or is gone; None while it takes more."""
        self._peer: tuple[str, int] | None = None
        self._scheme = "http"

    # The event loop's calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one by its methods alone
        self._unsent = Unsent(self._wire or self.transport)
        peer = transport.get_extra_info("peername")
        self._peer = (str(peer[0]), int(peer[1])) if isinstance(peer, tuple) else None
        self._scheme = "https" if transport.get_extra_info("sslcontext") else "http"
        if not self._host.come(self):
            self._reject(Unreadable(503, "too many connections; try again later"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._host.gone(self)
        self._parser = None
        self.resume_writing()
        for exchange in (self._serving, *self._in_line):
            if exchange is not None:
                exchange.lose()
        self._in_line.clear()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._host.room

    def buffer_updated(self, nbytes: int) -> None:
        data = bytes(self._host.room[:nbytes])
        if self._new:
            self._new = False
            if not self._host.newcomers.go_on(partial(self._hear_first, data)):
                self.pause_reading()
        else:
            self._hear(data)

    def _hear_first(self, data: bytes) -> None:
        if not self.transport.is_closing():
            self.resume_reading()
            self._hear(data)

    def _hear(self, data: bytes) -> None:
        if self._phase is Phase.FAREWELL:
            self._discard(len(data))
        elif not (self._host.crowded() and self._refused_unread(data)):
            self._read(data)

    def _discard(self, size: int) -> None:
        self._discarded_bytes += size
        if self._discarded_bytes >= DISCARDED_BYTES:
            self._discarded_bytes = 0
            self.pause_reading()
            self._loop.call_later(DISCARDS_S, self.resume_reading)

    def _read(self, data: bytes) -> None:
        while data and self._parser is not None:  # without a parser it is read on for the answer's sake alone
            piece, data = data, b""
            try:
                self._parser.feed_data(piece)
                if self._phase in AROUND:
                    self._around_bytes += len(piece)
                    if self._around_bytes > MOST_HEAD_BYTES:
                        raise Unreadable(431, HEAD_TOO_LARGE)
            except httptools.HttpParserUpgrade as end:
                data = self._leave_parser(self._parser) + piece[end.args[0] :]
            except httptools.HttpParserError as error:
                if self._phase is not Phase.FAREWELL:  # else it was refused, and nothing behind it counts
                    self._reject(reason(error))
            except Unreadable as why:
                self._reject(why)

    def _leave_parser(self, parser: httptools.HttpRequestParser) -> bytes:
        """At the end of a head that asks for another protocol. llhttp has passed over the body, for which it knows no
        end: so a new parser is to read the same head without the wish, and what comes behind it.
        """
        version = parser.get_http_version()
        if self._upgrades:
            self._parser = None
            self._host.gone(self)
            self._host.to_websocket(self.transport, written(b"GET", self._target, version, self._headers))
            return b""
        self._parser = httptools.HttpRequestParser(self)
        return written(parser.get_method(), self._target, version, without_wish(self._headers))

    def pause_writing(self) -> None:
        self.backlog = self.backlog or asyncio.Event()

    def resume_writing(self) -> None:
        if self.backlog is not None:
            self.backlog.set()
            self.backlog = None

    # The parser's calls. What they raise ends its work.

    def on_message_begin(self) -> None:
        self._headers, self._target, self._around_bytes = [], b"", 0
        self._phase, self._since_s = Phase.HEAD, self._loop.time()

    def on_url(self, url: bytes) -> None:
        self._target += url
        if len(self._target) > MOST_TARGET_BYTES:
            raise Unreadable(414, TARGET_TOO_LONG)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._phase is not Phase.HEAD:
            return  # a trailer, behind the body: nobody asks for one
        self._headers.append((name.lower(), value))
        if len(self._headers) > MOST_HEADERS:
            raise Unreadable(431, HEAD_TOO_LARGE)

    def on_headers_complete(self) -> None:
        parser = self._parser
        assert parser is not None  # noqa: S101 it is calling
        asks = parser.should_upgrade()
        if asks and not self._may_upgrade(parser):
            return  # the same head comes once more
        self._phase, self._around_bytes = Phase.BODY, 0
        scope, headers = self._scope(parser), dict(self._headers)
        if scope["http_version"] not in VERSIONS:
            raise Unreadable(505, "this server speaks HTTP/1.1")
        if scope["http_version"] == "1.0" and b"transfer-encoding" in headers:
            raise Unreadable(400, "a body in chunks is not of HTTP/1.0")
        keep_alive = parser.should_keep_alive() and scope["http_version"] == "1.1" and not self._leaving
        if asks:
            self._upgrade({**scope, "type": "websocket"})
            return
        if self._serving is None and (refusal := self._host.refusal(scope)):
            self._refuse(refusal, headers, keep_alive=keep_alive)
            return
        expects = headers.get(b"expect", b"").lower() == b"100-continue"
        exchange = Exchange(self, scope, keep_alive=keep_alive, expects=expects)
        if self._serving is not None:
            self._wait_in_line(exchange)
        else:
            self._incoming = self._serving = exchange
            self._host.serve(exchange)

    def on_body(self, body: bytes) -> None:
        self._around_bytes -= len(body) * PER_BYTE
        if self._incoming is not None:
            self._incoming.add(body)

    def on_message_complete(self) -> None:
        self._phase = Phase.ANSWER
        if self._refusal:
            self.transport.write(self._refusal)
            self._refusal = b""
            self._rest()
        elif self._incoming is not None:
            self._incoming.complete()
            self._incoming = None
            if self._serving is None:
                self._rest()

    # Steps of our own.

    def _scope(self, parser: httptools.HttpRequestParser) -> Scope:
        raw, _, query = self._target.partition(b"?")
        try:
            if not raw.startswith(b"/"):
                target = httptools.parse_url(self._target)
                raw, query = target.path or b"/", target.query or b""
            path = raw.decode("ascii")
        except (httptools.HttpParserInvalidURLError, UnicodeDecodeError):
            raise Unreadable(400, "the request's path cannot be read") from None
        return {
            "type": "http",
            "asgi": ASGI,
            "http_version": parser.get_http_version(),
            "method": parser.get_method().decode("ascii"),
            "scheme": self._scheme,
            "path": unquote(path) if "%" in path else path,
            "raw_path": raw,
            "query_string": query,
            "root_path": "",
            "headers": self._headers,
            "client": self._peer,
            "server": self._host.address,
        }

    def _may_upgrade(self, parser: httptools.HttpRequestParser) -> bool:
        """Whether the protocol that is asked for is spoken here, and now. Any other wish is let pass."""
        if (method := parser.get_method()) == b"CONNECT":
            raise Unreadable(405, "this is no proxy: ask for a path")
        wish = dict(self._headers).get(b"upgrade", b"").lower()
        return wish == b"websocket" and method == b"GET" and self._serving is None

    def _upgrade(self, scope: Scope) -> None:
        """The connection is to speak websocket from the end of this head on, unless the app says no."""
        if refusal := self._host.refusal(scope):
            self._phase = Phase.ANSWER  # a socket's request has no body
            self._end_with(refusal)
        self._upgrades = True

    def _wait_in_line(self, exchange: "Exchange") -> None:
        if len(self._in_line) >= MOST_IN_LINE:
            raise Unreadable(400, "too many requests were sent without waiting for an answer")
        self._incoming = exchange
        self._in_line.append(exchange)
        self.pause_reading()

    def _refused_unread(self, data: bytes) -> bool:
        """Whether this is one whole plain request, and refused without a parser: under overload most are."""
        if self._phase is not Phase.IDLE or self._serving is not None or self._leaving:
            return False
        path = whole_post(data)
        refusal = self._host.refusal({"type": "http", "method": "POST", "path": path, "headers": []}) if path else b""
        if refusal:
            self.transport.write(refusal)
            self._rest()
        return bool(refusal)

    def _refuse(self, refusal: bytes, headers: Mapping[bytes, bytes], *, keep_alive: bool) -> None:
        """A short body is awaited; with a long one, or at a client's wish, the connection ends."""
        length = headers.get(b"content-length", b"" if b"transfer-encoding" in headers else b"0")
        if keep_alive and length.isdigit() and int(length) <= AWAITED_BYTES:
            self._refusal = refusal
            return
        self._end_with(refusal)

    def _end_with(self, answer: bytes) -> NoReturn:
        """Called by the parser, and not called again: what it would make of the rest is no request any more."""
        self.transport.write(answer)
        self._close()
        raise Ended

    def _rest(self) -> None:
        """Nobody is served, and nothing was asked."""
        self._phase, self._since_s = Phase.IDLE, self._loop.time()

    def answered(self, exchange: "Exchange") -> None:
        """An answer is whole."""
        self._serving = None
        if not exchange.keep_alive or self._parser is None:
            self._close()
        elif self._in_line:
            self._serving = self._in_line.popleft()
            self._host.serve(self._serving)
            self.resume_reading()  # of the last in line the body may be still to come
        else:
            self.resume_reading()
            if self._phase is Phase.ANSWER:
                self._rest()

    @property
    def default_headers(self) -> Headers:
        """What every answer carries."""
        return self._host.default_headers

    def pause_reading(self) -> None:
        """Lets the peer wait."""
        if not self._paused and not self.transport.is_closing():
            self._paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Takes more from the peer, unless requests are in line."""
        if self._paused and not self._in_line and not self.transport.is_closing():
            self._paused = False
            self.transport.resume_reading()

    def _reject(self, why: Unreadable) -> None:
        """The end of reading. What is being answered is answered to its end, but for a body that breaks off here."""
        self._parser = None
        if self._incoming is not None:
            self._incoming.break_off()
            self._incoming = None
        if self._serving is None:
            self.transport.write(rejection(why))
            self._close()

    def _close(self) -> None:
        """Ends the connection. With something unread our side alone: closing would reset it, and the answer with it.

        TLS has no end of one side alone: there the answer's length says that it is over.
        """
        unread = self._phase in AROUND or self._parser is None
        self._parser = None
        self._phase, self._since_s = Phase.FAREWELL, self._loop.time()
        self._in_line.clear()
        if unread and not self.transport.is_closing():
            if self.transport.can_write_eof():
                self.transport.write_eof()
            self.resume_reading()
        elif self._wire is not None and self._unsent.here:
            self._closes = True  # TLS would give what is still to be sent no longer than its own farewell
        else:
            self.transport.close()

    def end_if_overdue(self, now_s: float) -> None:
        """Cuts the connection when its peer has let us wait for longer than it may."""
        overdue = self._serving is None and self._overdue(now_s)
        self._unsent.look(now_s, closely=overdue)
        if self._unsent.left and self._phase in AFTER:
            self._since_s, overdue = now_s, False
        elif self._closes and not self._unsent.left:
            self._closes = False
            self.transport.close()
        if overdue or self._unsent.untaken_s > TAKES_S:
            self.transport.abort()

    def _overdue(self, now_s: float) -> bool:
        """Whether what is awaited of the peer is."""
        waited_s = now_s - self._since_s
        if self._phase is Phase.FAREWELL:
            return waited_s > FAREWELL_S
        if self._phase is Phase.IDLE:
            return waited_s > (FAREWELL_S if self._leaving else HEAD_S)
        return waited_s > HEAD_S and (self._phase is Phase.HEAD or bool(self._refusal))

    def shutdown(self) -> None:
        """The process ends: what is asked is answered, and what is on its way already too."""
        self._leaving = True
        if self._serving is not None:
            self._serving.keep_alive = False
        elif self._phase is Phase.IDLE:
            self._since_s = self._loop.time()


def reason(error: httptools.HttpParserError) -> Unreadable:
    """What one of the parser's calls raised, or that it could make nothing of what came."""
    found = error.__context__
    # Without its traceback: that would keep what came in memory, in a ring, until the collector looks for rings.
    return found.with_traceback(None) if isinstance(found, Unreadable) else Unreadable(400, NO_REQUEST)
