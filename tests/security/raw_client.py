"""Bytes as they are, to a real server on 127.0.0.1, and what comes back."""

import asyncio
import re
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")


@dataclass(frozen=True, slots=True)
class Heard:
    """All that came back. `closed`: by the server, within the time that was given; `after_s`: when it was over."""

    data: bytes
    closed: bool
    after_s: float

    @property
    def statuses(self) -> list[int]:
        return [int(one) for one in STATUS.findall(self.data)]


@asynccontextmanager
async def connected(
    address: str, *, room: int | None = None
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to `http://host:port`, or over TLS to `https://host:port`, whoever that is.

    `room`: of what comes no more than about so much is taken before it is read.
    """
    parts = urlsplit(address)
    ours = socket.socket()
    if room is not None:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    ours.setblocking(False)
    await asyncio.get_running_loop().sock_connect(ours, (parts.hostname, parts.port))
    tls = _tls(parts.scheme)
    reader, writer = await asyncio.open_connection(
        sock=ours, ssl=tls, server_hostname=parts.hostname if tls else None, limit=room or 65_536
    )
    try:
        yield reader, writer
    finally:
        writer.transport.abort()  # what is not sent yet is not waited for


def _tls(scheme: str) -> ssl.SSLContext | None:
    if scheme != "https":
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


async def say(
    address: str, data: bytes, *, within_s: float, then: bytes = b"", each_s: float = 1.0, to_the_end: bool = True
) -> Heard:
    """Sends these bytes, then `then` again and again, and listens until the server closes or the time is up.

    Without `to_the_end`: or until a refusal has come.
    """
    began_s, heard, closed = asyncio.get_running_loop().time(), b"", False
    async with connected(address) as (reader, writer):
        dripping = asyncio.create_task(_drip(writer, data, then, each_s))
        try:
            async with asyncio.timeout(within_s):
                while came := await reader.read(65_536):
                    heard += came
                    if not to_the_end and any(int(one) >= 400 for one in STATUS.findall(heard)):
                        break
                else:
                    closed = True
        except TimeoutError:
            pass
        except ConnectionError:
            closed = True
        dripping.cancel()
    return Heard(heard, closed, asyncio.get_running_loop().time() - began_s)


async def say_in_pieces(address: str, *pieces: bytes, within_s: float, each_s: float = 0.05) -> Heard:
    """Sends them one after the other, so that each comes by itself, and listens for so long after the last."""
    began_s = asyncio.get_running_loop().time()
    async with connected(address) as (reader, writer):
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(each_s)
        heard, closed = bytearray(), False
        try:
            async with asyncio.timeout(within_s):
                while came := await reader.read(65_536):
                    heard += came
                closed = True
        except TimeoutError:
            pass
    return Heard(bytes(heard), closed, asyncio.get_running_loop().time() - began_s)


async def _drip(writer: asyncio.StreamWriter, data: bytes, then: bytes, each_s: float) -> None:
    try:
        writer.write(data)
        await writer.drain()
        while then:
            await asyncio.sleep(each_s)
            writer.write(then)
            await writer.drain()
    except ConnectionError:
        return
