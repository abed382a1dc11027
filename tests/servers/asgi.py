"""Any ASGI app on a real port of 127.0.0.1, in the test's own event loop."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from granian.constants import Interfaces
from granian.server.embed import Server

from tests.product import free_port

START_DEADLINE_S = 10


@asynccontextmanager
async def serving(app: Any, *, port: int = 0) -> AsyncIterator[str]:
    """Gives the base URL of the served app; `port` 0 takes a free one."""
    port = port or free_port()
    server = Server(app, address="127.0.0.1", port=port, interface=Interfaces.ASGI, log_enabled=False)
    task = asyncio.create_task(server.serve())
    try:
        await answers(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.stop()
        with suppress(asyncio.CancelledError):
            await task


async def answers(port: int) -> None:
    """Returns when somebody listens."""
    async with asyncio.timeout(START_DEADLINE_S):
        while True:
            with suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.01)
