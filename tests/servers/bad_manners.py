"""What a server can do wrong around a good answer, whatever it speaks: by name, for every fake provider."""

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache

from tests.servers.raw_http import Answer, Connection, head

DRIP_S = 0.02
HUGE_BYTES = 50_000_000
BOMB_BYTES = 50_000_000
JSON = ("Content-Type", "application/json")


async def closes(connection: Connection, good: Answer) -> None:
    connection.close()


async def resets(connection: Connection, good: Answer) -> None:
    connection.reset()


async def hangs(connection: Connection, good: Answer) -> None:
    await connection.until_gone()


async def drips(connection: Connection, good: Answer) -> None:
    """The head at once, then a byte each 20 ms."""
    await connection.send(good.head)
    for byte in good.body:
        await connection.send(bytes([byte]))
        await asyncio.sleep(DRIP_S)


async def drips_the_head(connection: Connection, good: Answer) -> None:
    for byte in good.head + good.body:
        await connection.send(bytes([byte]))
        await asyncio.sleep(DRIP_S)


async def stalls(connection: Connection, good: Answer) -> None:
    """Half of the body, then nothing."""
    await connection.send(good.head + good.body[: len(good.body) // 2])
    await connection.until_gone()


async def cuts(connection: Connection, good: Answer) -> None:
    """Half of the announced body, then an orderly end."""
    await connection.send(good.head + good.body[: len(good.body) // 2])
    connection.close()


async def cuts_with_reset(connection: Connection, good: Answer) -> None:
    await connection.send(good.head + good.body[: len(good.body) // 2])
    await asyncio.sleep(DRIP_S)
    connection.reset()


async def cuts_unannounced(connection: Connection, good: Answer) -> None:
    """Half of a body whose end is the connection's."""
    await connection.send(head(200, (JSON, ("Connection", "close"))) + good.body[: len(good.body) // 2])
    connection.close()


async def cuts_chunks(connection: Connection, good: Answer) -> None:
    """A chunked body without its last chunk."""
    chunk = f"{len(good.body):x}\r\n".encode() + good.body + b"\r\n"
    await connection.send(head(200, (JSON, ("Transfer-Encoding", "chunked"))) + chunk)
    connection.close()


async def is_huge(connection: Connection, good: Answer) -> None:
    await connection.send(head(200, (JSON, ("Content-Length", str(HUGE_BYTES)))))
    for _ in range(HUGE_BYTES // 100_000):
        await connection.send(b" " * 100_000)


async def is_a_gzip_bomb(connection: Connection, good: Answer) -> None:
    await connection.answer(Answer(200, gzip_bomb(), (JSON, ("Content-Encoding", "gzip"))))


async def lies_about_gzip(connection: Connection, good: Answer) -> None:
    await connection.answer(Answer(200, good.body, (JSON, ("Content-Encoding", "gzip"))))


async def is_not_http(connection: Connection, good: Answer) -> None:
    await connection.send(b"220 mail.example.org ESMTP ready\r\n")
    connection.close()


async def closes_when_reused(connection: Connection, good: Answer) -> None:
    """Answers, keeps the connection, and drops it as the next request comes in."""
    if connection.served:
        connection.close()
    else:
        await connection.answer(good)


async def closes_after_answer(connection: Connection, good: Answer) -> None:
    """Promises to keep the connection, and closes it."""
    await connection.answer(good)
    connection.close()


def body(data: bytes, media_type: str = "application/json") -> Callable[[Connection, Answer], Awaitable[None]]:
    """Status 200 with something else in place of the answer."""

    async def send(connection: Connection, good: Answer) -> None:
        await connection.answer(Answer(200, data, (("Content-Type", media_type),)))

    return send


@lru_cache(maxsize=1)
def gzip_bomb() -> bytes:
    """A quarter of a megabyte that unpacks to 50 MB of spaces."""
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    million = b" " * 1_000_000
    return b"".join(packer.compress(million) for _ in range(BOMB_BYTES // len(million))) + packer.flush()


BAD_MANNERS: Mapping[str, Callable[[Connection, Answer], Awaitable[None]]] = {
    "close": closes,
    "rst": resets,
    "hang": hangs,
    "drip": drips,
    "drip_head": drips_the_head,
    "stall": stalls,
    "cut": cuts,
    "cut_rst": cuts_with_reset,
    "cut_unannounced": cuts_unannounced,
    "cut_chunked": cuts_chunks,
    "huge": is_huge,
    "gzip_bomb": is_a_gzip_bomb,
    "not_gzip": lies_about_gzip,
    "not_http": is_not_http,
    "stale": closes_when_reused,
    "close_after": closes_after_answer,
    "html": body(b"<!doctype html><title>Bad gateway</title><h1>Something went wrong</h1>", "text/html"),
    "empty": body(b""),
    "blank": body(b" \r\n"),
    "garbage": body(b"\x00\x01\x02{]"),
    "bad_utf8": body(b'{"choices": [{"message": {"role": "assistant", "content": "\xff\xfe"}}]}'),
    "not_an_object": body(b'["an", "answer"]'),
    "null": body(b"null"),
    "deep": body(b"[" * 100_000),
}
