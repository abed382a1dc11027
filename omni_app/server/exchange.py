"""One request and its answer over HTTP/1.1: what an ASGI app receives and sends, and how an answer is written."""

import asyncio
import logging
from http import HTTPStatus
from typing import Protocol

import orjson
from starlette.types import ASGIApp, Message, Scope

from omni_app.request_ids import new_request_id

log = logging.getLogger(__name__)

HIGH_WATER = 65_536
"""Bytes of a body that nobody has read yet; then the peer waits."""

DISCONNECT: Message = {"type": "http.disconnect"}
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
BODILESS = frozenset({204, 304})
STATUS_LINES = {one.value: f"HTTP/1.1 {one.value} {one.phrase}\r\n".encode() for one in HTTPStatus}
CODES = {405: "method_not_allowed", 500: "internal_error", 503: "unavailable"}
"""Of what is said without the app; every other status is `invalid_request`."""
ALLOW = "allow: GET, HEAD, POST, OPTIONS\r\n"

Headers = list[tuple[bytes, bytes]]


class Unreadable(Exception):
    """What came cannot become a request: the answer's status, and why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Connection(Protocol):
    """What an exchange needs of its connection."""

    transport: asyncio.Transport

    @property
    def default_headers(self) -> Headers:
        """What every answer carries."""

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    @property
    def backlog(self) -> asyncio.Event | None:
        """Set when the peer has taken enough of what was sent, or is gone; None while it takes more."""

    def answered(self, exchange: "Exchange") -> None:
        """An answer is whole."""


class Exchange:
    """One request and its answer, as the app has them: `receive` and `send`."""

    __slots__ = ("_begun", "_body", "_body_bytes", "_body_told", "_body_whole", "_broken", "_chunked", "_connection",
                 "_ended", "_expects", "_gone", "_head", "_left", "_news", "keep_alive", "scope")  # fmt: skip

    def __init__(self, connection: Connection, scope: Scope, *, keep_alive: bool, expects: bool) -> None:
        self._connection = connection
        self.scope = scope
        self.keep_alive = keep_alive
        self._expects = expects
        """Whether the peer waits to be told that the body is wanted."""
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._body_whole = self._body_told = False
        self._begun = self._ended = self._gone = self._broken = False
        self._head = b""
        """Of the answer, until it goes out with the first piece."""
        self._chunked = False
        self._left: int | None = None
        """Bytes of the answer that are to come, where its length was told."""
        self._news: asyncio.Future[None] | None = None

    # The connection's calls.

    def add(self, body: bytes) -> None:
        """A piece of the body has come."""
        if self._ended:
            return
        self._body.append(body)
        self._body_bytes += len(body)
        if self._body_bytes > HIGH_WATER:
            self._connection.pause_reading()
        self._tell()

    def complete(self) -> None:
        """The body has come."""
        self._body_whole = True
        self._tell()

    def break_off(self) -> None:
        """Of the body comes no more than there is."""
        self._broken = True
        self._tell()

    def lose(self) -> None:
        """The peer is gone."""
        self._gone = True
        self._body.clear()
        self._tell()

    def _tell(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    # The app's.

    async def run(self, app: ASGIApp) -> None:
        """Serves the request, and sees to it that there is an answer."""
        try:
            await app(self.scope, self.receive, self.send)
        except Exception:
            log.exception("a request met an error that nobody expected")
        except asyncio.CancelledError:
            self._connection.transport.abort()  # nobody will answer, and the peer may wait for ever
            raise
        if self._ended or self._gone:
            return
        if self._begun:
            self._connection.transport.abort()  # an answer that is not whole must not look so
        else:
            self.keep_alive = False
            self._connection.transport.write(rejection(Unreadable(500, "internal error")))
            self._end()

    async def receive(self) -> Message:
        """The next piece of the body; after the last one, the end of the request."""
        while not (self._over or (not self._body_told and (self._body or self._body_whole))):
            if self._expects:
                self._expects = False
                self._connection.transport.write(CONTINUE)
            if self._news is None or self._news.done():
                self._news = asyncio.get_running_loop().create_future()
            await self._news
        if self._over:
            return DISCONNECT
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._body, self._body_bytes, self._body_told = [], 0, self._body_whole
        self._connection.resume_reading()
        return {"type": "http.request", "body": body, "more_body": not self._body_whole}

    @property
    def _over(self) -> bool:
        """Whether nothing more can be received."""
        return self._gone or self._ended or self._broken

    async def send(self, message: Message) -> None:
        """Takes a piece of the answer. Its head leaves with the first piece of its body, in one write."""
        if (backlog := self._connection.backlog) is not None:
            await backlog.wait()
        if self._gone:
            return
        if message["type"] == "http.response.start" and not self._begun:
            self._begin(message["status"], message.get("headers", []))
            return
        if message["type"] != "http.response.body" or not self._begun or self._ended:
            raise RuntimeError(f"{message['type']} out of order")
        whole = not message.get("more_body", False)
        piece = self._head + self._framed(message.get("body", b""), whole=whole)
        self._head = b""
        if piece:
            self._connection.transport.write(piece)
        if whole:
            self._end()

    def _begin(self, status: int, headers: Headers) -> None:
        """Writes the answer's head. A body without a length goes in chunks, or to the end of the connection."""
        names = dict(headers)
        if names.get(b"connection", b"").lower() == b"close" or not self._body_whole:
            self.keep_alive = False
        lines = [STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status]
        lines += [b"%b: %b\r\n" % pair for pair in (*self._connection.default_headers, *headers)]
        if self.scope["method"] == "HEAD" or status in BODILESS:
            self._left = 0
        elif length := names.get(b"content-length"):
            self._left = int(length)
        elif self.scope["http_version"] == "1.1":
            self._chunked = True
            lines.append(b"transfer-encoding: chunked\r\n")
        else:
            self.keep_alive = False
        if not self.keep_alive and b"connection" not in names:
            lines.append(b"connection: close\r\n")
        head = b"".join(lines)
        if not head.count(b"\r") == head.count(b"\n") == len(lines):
            raise RuntimeError("a header of an answer holds a line break")
        self._begun, self._head = True, head + b"\r\n"

    def _framed(self, body: bytes, *, whole: bool) -> bytes:
        """A piece of the answer's body as it goes over the wire."""
        if self._chunked:
            chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            return chunk + b"0\r\n\r\n" if whole else chunk
        if self._left is None:
            return body
        if self.scope["method"] == "HEAD":
            return b""
        self._left -= len(body)
        if self._left < 0 or (whole and self._left):
            raise RuntimeError("an answer is not as long as its content-length")
        return body

    def _end(self) -> None:
        self._ended = True
        self._body.clear()  # what nobody has read is not kept for whoever still holds this
        self._tell()
        self._connection.answered(self)


def rejection(why: Unreadable) -> bytes:
    """A whole answer in the API's error shape, after which the connection ends."""
    code = CODES.get(why.status, "invalid_request")
    request_id = new_request_id()
    body = orjson.dumps({"error": {"code": code, "message": str(why)}, "request_id": request_id})
    head = f"content-type: application/json\r\nx-request-id: {request_id}\r\nx-content-type-options: nosniff\r\n"
    head += f"cache-control: no-store\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    head = ALLOW + head if why.status == 405 else head
    return STATUS_LINES[why.status] + head.encode() + body
