"""Any ASGI app on a real port of 127.0.0.1, in the test's own event loop, behind the product's own connections."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from typing import Any

import uvicorn

from omni_app.server.config import config_of
from omni_app.server.tls import Certificate
from tests.product import free_port

START_DEADLINE_S = 10
MOST_CONNECTIONS = 10_000


class InTheTest(uvicorn.Server):
    """Leaves the signals to the test."""

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        return nullcontext()


@asynccontextmanager
async def serving(
    app: Any, *, port: int = 0, certificate: Certificate | None = None, connections: int = MOST_CONNECTIONS
) -> AsyncIterator[str]:
    """Gives the base URL of the served app; `port` 0 takes a free one."""
    port = port or free_port()
    config = config_of(app, host="127.0.0.1", port=port, connections=connections, grace_s=1, certificate=certificate)
    server = InTheTest(config)
    task = asyncio.create_task(server.serve())
    try:
        async with asyncio.timeout(START_DEADLINE_S):
            while not server.started and not task.done():  # noqa: ASYNC110 uvicorn tells it so
                await asyncio.sleep(0.01)
        yield f"{'https' if certificate else 'http'}://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await task
