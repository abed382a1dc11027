"""Bodies that come too slowly, or never: over real sockets."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from omni_app.api.app import create_api
from omni_app.api.json_body import BODY_S
from tests.api.conftest import HELLO, Running, run, settings_for
from tests.servers.asgi import serving

STEP_S = 0.5


@pytest.fixture
async def product(tmp_path: Path) -> AsyncIterator[Running]:
    async for running in run(settings_for(tmp_path)):
        yield running


async def sent_slowly(product: Running, url: str, body: bytes, *, piece: int) -> tuple[bytes, float]:
    """The answer's first line to a body of which `piece` bytes go out each `STEP_S`, and the seconds until it came."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /v1/chat HTTP/1.1\r\nHost: {host}\r\nX-API-Key: {product.key}\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode())
    began_s = asyncio.get_running_loop().time()
    answer = asyncio.create_task(reader.readline())
    while body and piece and not answer.done():
        writer.write(body[:piece])
        body = body[piece:]
        await asyncio.wait({answer}, timeout=STEP_S)
    async with asyncio.timeout(3 * BODY_S):
        line = await answer
    took_s = asyncio.get_running_loop().time() - began_s
    writer.close()
    return line, took_s


async def test_a_body_that_drips_or_never_comes_is_refused_in_time_and_a_slow_line_is_served(product: Running) -> None:
    body = json.dumps(HELLO | {"metadata": {"pad": "x" * 30_000}}).encode()
    async with serving(create_api(product.services)) as url:
        drips, silent, slow = await asyncio.gather(
            sent_slowly(product, url, body, piece=1),
            sent_slowly(product, url, body, piece=0),
            sent_slowly(product, url, body, piece=2_500),
        )
    assert [drips[0].split()[1], silent[0].split()[1], slow[0].split()[1]] == [b"408", b"408", b"200"]
    assert BODY_S - 0.5 < silent[1] < BODY_S + 3 and BODY_S - 0.5 < drips[1] < BODY_S + 3
    assert slow[1] > 5
