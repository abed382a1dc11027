"""Ways to use up a server: each with what is sent, and when it was over.

Short in the tests; `make security` also keeps each up for a while, beside a healthy client (`exhaustion.py`).
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from tests.security.processes import Product
from tests.security.raw_client import Heard, say
from tests.security.websocket_client import BINARY, MORE, TEXT, greeted, opened
from tests.servers.bad_manners import gzip_bomb

WITHIN_S = 10.0
"""What has to be over by then,"""
SLACK_S = 5.0
"""give or take what a busy machine adds to a deadline of 10 s."""
IDLE = 300
GREEDY = "198.51.100.9"
"""Whose sockets are used up."""
PING = '42/_event,["event",{"name":"reflex___state____state.hydrate","payload":{},"router_data":{"pathname":"/"}}]'


@dataclass(frozen=True, slots=True)
class End:
    """How an attack ended. `served`: whether it got what it asked for."""

    over: bool
    served: bool
    after_s: float


Attack = Callable[[Product], Awaitable[End]]


def _post(product: Product, *headers: str, path: str = "/v1/chat") -> bytes:
    who = f"X-API-Key: {product.key}"
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Origin: {product.address}", who, "Content-Type: application/json"]
    return ("\r\n".join([*lines, *headers]) + "\r\n\r\n").encode()


def _whole(product: Product, body: bytes, *headers: str) -> bytes:
    return _post(product, f"Content-Length: {len(body)}", *headers) + body


async def _told(product: Product, data: bytes, *, then: bytes = b"") -> End:
    heard: Heard = await say(product.address, data, within_s=WITHIN_S + SLACK_S, then=then, to_the_end=False)
    refused = any(one >= 400 for one in heard.statuses)
    return End(heard.closed or refused, 200 in heard.statuses, heard.after_s)


# --------------------------------------------------------------------------------------------------- of connections


async def silence(product: Product) -> End:
    return await _told(product, b"")


async def a_head_without_end(product: Product) -> End:
    return await _told(product, b"GET /health HTTP/1.1\r\n", then=b"X-A: b\r\n")


async def lines_after_the_answer(product: Product) -> End:
    heard = await say(
        product.address, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n", within_s=WITHIN_S + SLACK_S, then=b"\r\n"
    )
    return End(heard.closed, False, heard.after_s)


async def idle_connections(product: Product) -> End:
    """Half of them have said nothing, half have had an answer."""
    asked = (b"", b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    waits = [say(product.address, asked[one % 2], within_s=WITHIN_S + SLACK_S) for one in range(IDLE)]
    heard = await asyncio.gather(*waits)
    return End(all(one.closed for one in heard), False, max(one.after_s for one in heard))


# ---------------------------------------------------------------------------------------------- of heads and bodies


async def a_header_of_a_megabyte(product: Product) -> End:
    return await _told(product, _post(product, "X-A: " + "a" * 1_000_000))


async def ten_thousand_headers(product: Product) -> End:
    return await _told(product, _post(product, *(f"X-{one}: a" for one in range(10_000))))


async def a_path_of_300_kb(product: Product) -> End:
    return await _told(product, _post(product, path="/v1/" + "a" * 300_000))


async def a_body_that_never_comes(product: Product) -> End:
    return await _told(product, _post(product, "Content-Length: 5000"))


async def a_body_that_drips(product: Product) -> End:
    return await _told(product, _post(product, "Content-Length: 5000"), then=b"a")


async def a_form_that_drips(product: Product) -> End:
    form = [f"POST /auth/login HTTP/1.1\r\nHost: x\r\nOrigin: {product.address}"]
    form += ["Content-Type: application/x-www-form-urlencoded", "Content-Length: 5000\r\n\r\n"]
    return await _told(product, "\r\n".join(form).encode(), then=b"a")


async def a_body_of_a_gigabyte(product: Product) -> End:
    return await _told(product, _post(product, "Content-Length: 1000000000") + b"a" * 1_000_000)


async def chunks_without_end(product: Product) -> End:
    chunk = b"f4240\r\n" + b"a" * 1_000_000 + b"\r\n"
    return await _told(product, _post(product, "Transfer-Encoding: chunked") + chunk * 12, then=chunk)


async def a_deep_body(product: Product) -> End:
    return await _told(product, _whole(product, b"[" * 1_000_000 + b"]" * 1_000_000))


async def a_wide_body(product: Product) -> End:
    body = b'{"messages": [' + b'{"role":"user","content":""},' * 300_000 + b"1]}"
    return await _told(product, _whole(product, body))


async def a_number_of_a_megabyte(product: Product) -> End:
    return await _told(product, _whole(product, b'{"messages": [], "seed": ' + b"9" * 1_000_000 + b"}"))


async def a_gzip_bomb(product: Product) -> End:
    return await _told(product, _whole(product, gzip_bomb(), "Content-Encoding: gzip"))


async def many_keys_in_an_object(product: Product) -> End:
    body = json.dumps({f"k{one}": one for one in range(100_000)}).encode()
    return await _told(product, _whole(product, body))


# ------------------------------------------------------------------------------------------------------ of websockets


async def _over(product: Product, send: Callable[[int], Awaitable[None]], count: int) -> End:
    """`count` at once; over when each of them is."""
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    ends = await asyncio.gather(*(_one_over(send, one) for one in range(count)))
    return End(all(ends), False, loop.time() - began_s)


async def _one_over(send: Callable[[int], Awaitable[None]], one: int) -> bool:
    try:
        async with asyncio.timeout(WITHIN_S + SLACK_S):
            await send(one)
    except TimeoutError:
        return False
    except (ConnectionError, asyncio.IncompleteReadError):
        return True
    return True


async def sockets_that_say_nothing(product: Product) -> End:
    async def one(number: int) -> None:
        async with opened(product.address, f"silent-{number}") as socket:
            await socket.until_closed()

    return await _over(product, one, 20)


async def a_flood_of_events(product: Product) -> End:
    async def one(number: int) -> None:
        async with opened(product.address, f"flood-{number}") as socket:
            await greeted(socket)
            for _ in range(5_000):
                await socket.send(PING)
            await socket.until_closed()

    return await _over(product, one, 3)


async def a_message_of_15_megabytes(product: Product) -> End:
    async def one(number: int) -> None:
        async with opened(product.address, f"long-{number}") as socket:
            await greeted(socket)
            await socket.send("4" + "a" * 15_000_000)
            await socket.until_closed()

    return await _over(product, one, 1)


async def messages_without_end(product: Product) -> End:
    """In pieces: the server puts up to 64 MiB together before anybody is told of them. Over a line of 1 Gbit/s."""

    async def one(number: int) -> None:
        async with opened(product.address, f"endless-{number}") as socket:
            await greeted(socket)
            await socket.send("4" + "a" * 999_999, opcode=TEXT, final=False)
            for _ in range(60):
                await socket.send("a" * 1_000_000, opcode=MORE, final=False)
                await asyncio.sleep(0.1)
            await socket.until_closed()

    return await _over(product, one, 10)


async def bytes_instead_of_text(product: Product) -> End:
    async def one(number: int) -> None:
        async with opened(product.address, f"binary-{number}") as socket:
            await greeted(socket)
            await socket.send(b"\x04" * 1_000, opcode=BINARY)
            await socket.until_closed()

    return await _over(product, one, 3)


async def more_sockets_than_may_be(product: Product) -> End:
    """Of 260 at once the last ones are refused; those before end with their client."""
    loop = asyncio.get_running_loop()
    began_s, told = loop.time(), []

    async def one(number: int) -> None:
        async with opened(product.address, f"many-{number}", peer=GREEDY) as socket:
            told.append(socket.status)
            await asyncio.sleep(1)

    await asyncio.gather(*(one(number) for number in range(260)))
    return End(403 in told and told.count(101) <= 200, False, loop.time() - began_s)


SLOW: Mapping[str, Attack] = {
    "silent connections": silence,
    "a head without end": a_head_without_end,
    "lines after the answer": lines_after_the_answer,
    f"{IDLE} idle connections": idle_connections,
    "a body that never comes": a_body_that_never_comes,
    "a body that drips": a_body_that_drips,
    "a form that drips": a_form_that_drips,
}
LARGE: Mapping[str, Attack] = {
    "a header of 1 MB": a_header_of_a_megabyte,
    "10,000 headers": ten_thousand_headers,
    "a path of 300 kB": a_path_of_300_kb,
    "a body of 1 GB": a_body_of_a_gigabyte,
    "chunks without end": chunks_without_end,
    "a million brackets": a_deep_body,
    "300,000 empty messages": a_wide_body,
    "a number of 1 MB": a_number_of_a_megabyte,
    "100,000 keys": many_keys_in_an_object,
    "a gzip bomb": a_gzip_bomb,
}
SOCKETS: Mapping[str, Attack] = {
    "sockets that say nothing": sockets_that_say_nothing,
    "a flood of events": a_flood_of_events,
    "a message of 15 MB": a_message_of_15_megabytes,
    "messages without end": messages_without_end,
    "bytes instead of text": bytes_instead_of_text,
    "more sockets than may be": more_sockets_than_may_be,
}
ATTACKS = {**SLOW, **LARGE, **SOCKETS}
