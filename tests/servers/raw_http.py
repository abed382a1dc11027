"""HTTP by hand on 127.0.0.1: a server that can break every rule, because it writes each byte itself."""

import asyncio
import json
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Call:
    """One request as it came in. `headers` have lower-case names; `body` is the JSON value, or None."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    raw: bytes

    @property
    def body(self) -> Any:
        try:
            return json.loads(self.raw)
        except ValueError:
            return None


@dataclass(frozen=True, slots=True)
class Answer:
    """A well-formed answer."""

    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "application/json"),)

    @property
    def head(self) -> bytes:
        return head(self.status, (*self.headers, ("Content-Length", str(len(self.body)))))


def json_answer(value: Any, status: int = 200, headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    return Answer(status, json.dumps(value).encode(), (("Content-Type", "application/json"), *headers))


def head(status: int, headers: tuple[tuple[str, str], ...]) -> bytes:
    reasons = {one.value: one.phrase for one in HTTPStatus}
    lines = [f"HTTP/1.1 {status} {reasons.get(status, 'Odd')}", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*lines, "", ""]).encode()


@dataclass(slots=True)
class Connection:
    """One client's connection, with the means to treat it badly. `served`: calls answered on it so far."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    served: int = 0

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, answer: Answer) -> None:
        await self.send(answer.head + answer.body)

    def close(self) -> None:
        """An orderly end (FIN)."""
        self.writer.close()

    def reset(self) -> None:
        """A rude end (RST)."""
        linger_0 = struct.pack("ii", 1, 0)
        with suppress(OSError):  # the client was quicker
            self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_0)
        self.writer.transport.abort()

    async def until_gone(self) -> None:
        """Says nothing more, until the client goes away."""
        with suppress(ConnectionError):
            while await self.reader.read(65_536):
                pass
        self.close()

    async def call(self) -> Call | None:
        """The next request; None when the client has gone."""
        try:
            raw_head = await self.reader.readuntil(b"\r\n\r\n")
            request_line, *lines = raw_head.decode("latin-1").rstrip().split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            raw = await self.reader.readexactly(int(headers.get("content-length", 0)))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        method, target, _ = request_line.split(" ", 2)
        parts = urlsplit(target)
        return Call(method, parts.path, parts.query, headers, raw)


Respond = Callable[[Call, Connection], Awaitable[None]]


@dataclass
class RawServer:
    """Serves on a port of 127.0.0.1, 0 for any, from `start` to `stop`; `connections` counts those that were opened."""

    respond: Respond
    port: int = 0
    idle_s: float | None = None
    """A connection on which nothing comes for so long is closed; None: never."""
    connections: int = 0
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def open_connections(self) -> int:
        return len(self._tasks)

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, limit=32 * 2**20, backlog=4096)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.ensure_future(self._serve(Connection(reader, writer)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _next(self, connection: Connection) -> Call | None:
        try:
            async with asyncio.timeout(self.idle_s):
                return await connection.call()
        except TimeoutError:
            return None

    async def _serve(self, connection: Connection) -> None:
        try:
            with suppress(ConnectionError):
                while not connection.writer.is_closing() and (call := await self._next(connection)):
                    await self.respond(call, connection)
                    connection.served += 1
        finally:
            connection.close()
