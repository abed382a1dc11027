"""The floor for a gateway in CPython: takes a request, sends its body on, hands the answer back. Nothing else.

`python -m bench.bare PORT UPSTREAM_PORT`: no ASGI, no JSON, no log; uvloop, `asyncio.Protocol` and httptools on both
sides. What a gateway that does something costs is told as a multiple of this.
"""

import asyncio
import sys
from collections import deque

import httptools
import uvloop

HEAD = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"
)


class Upstream(asyncio.Protocol):
    """A connection to the upstream; what it answers goes to the caller as it comes."""

    def __init__(self, idle: deque["Upstream"]) -> None:
        self._idle = idle
        self.caller: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def ask(self, body: bytes, caller: asyncio.Transport) -> None:
        """Sends one request on; the answer's bytes are the caller's."""
        self.caller = caller
        self._parser = httptools.HttpResponseParser(self)
        self.transport.write(HEAD % len(body) + body)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        if self.caller is not None:
            self.caller.write(data)
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        """The connection is free for the next one."""
        self.caller = None
        self._idle.append(self)


class Caller(asyncio.Protocol):
    """A connection of a caller; one request after the other."""

    def __init__(self, idle: deque[Upstream], port: int) -> None:
        self._idle, self._port = idle, port
        self._body: list[bytes] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, data: bytes) -> None:
        """A piece of the request."""
        self._body.append(data)

    def on_message_complete(self) -> None:
        """The request is whole."""
        body, self._body = b"".join(self._body), []
        if self._idle:
            self._idle.pop().ask(body, self._transport)  # type: ignore[arg-type]
        else:
            task = asyncio.get_running_loop().create_task(self._connect(body))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _connect(self, body: bytes) -> None:
        loop = asyncio.get_running_loop()
        _, upstream = await loop.create_connection(lambda: Upstream(self._idle), "127.0.0.1", self._port)
        upstream.ask(body, self._transport)  # type: ignore[arg-type]


async def main(port: int, upstream_port: int) -> None:
    """Serves until it is killed."""
    idle: deque[Upstream] = deque()
    server = await asyncio.get_running_loop().create_server(lambda: Caller(idle, upstream_port), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2])))
