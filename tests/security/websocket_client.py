"""A tab's websocket, frame by frame: also frames that no browser would send."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.security.raw_client import connected

TEXT, BINARY, MORE = 1, 2, 0
HELLO = "40/_event,"
KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="


@dataclass(frozen=True, slots=True)
class Socket:
    """An open socket, or one that was refused (`status` is not 101)."""

    status: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: str | bytes, *, opcode: int = TEXT, final: bool = True) -> None:
        """One frame; masked with zeros, as a client has to mask."""
        body = data.encode() if isinstance(data, str) else data
        self.writer.write(bytes([(0x80 if final else 0) | opcode]) + _length(len(body)) + bytes(4) + body)
        await self.writer.drain()

    async def text(self) -> str:
        """The next message of the server. Raises `IncompleteReadError` when it has closed, or says that it will."""
        first, length = await self.reader.readexactly(2)
        if length == 126:
            (length,) = struct.unpack(">H", await self.reader.readexactly(2))
        elif length == 127:
            (length,) = struct.unpack(">Q", await self.reader.readexactly(8))
        body = await self.reader.readexactly(length)
        if first & 0x0F == 8:
            raise asyncio.IncompleteReadError(body, None)
        return body.decode()

    async def until_closed(self) -> None:
        """Returns when the server has gone."""
        try:
            while True:
                await self.text()
        except (asyncio.IncompleteReadError, ConnectionError):
            return


def _length(size: int) -> bytes:
    if size < 126:
        return bytes([0x80 | size])
    return bytes([0x80 | 126]) + struct.pack(">H", size) if size < 65_536 else bytes([0xFF]) + struct.pack(">Q", size)


@asynccontextmanager
async def opened(address: str, token: str, *, cookie: str = "", peer: str = "198.51.100.1") -> AsyncIterator[Socket]:
    """A tab's socket, as far as the server lets it in; nothing is said yet. `peer`: whose it is (a proxy's word)."""
    async with connected(address) as (reader, writer):
        name = "__Host-omr_session" if address.startswith("https") else "omr_session"
        path = f"/_event/?EIO=4&transport=websocket&token={token}"
        lines = [f"GET {path} HTTP/1.1", "Host: x", f"Origin: {address}", "Connection: Upgrade", "Upgrade: websocket"]
        lines += ["Sec-WebSocket-Version: 13", KEY, f"Cookie: {name}={cookie}", f"X-Forwarded-For: {peer}"]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        head = await reader.readuntil(b"\r\n\r\n")
        yield Socket(int(head.split()[1]), reader, writer)


async def greeted(socket: Socket) -> None:
    """Says hello as a page does, without an event, and hears the answer."""
    await socket.text()
    await socket.send(HELLO)
    await socket.text()
