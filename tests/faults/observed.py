"""The API as `omni_app.asgi` makes it, in a process that tells of itself.

On SIGUSR1 it writes to the file `$OBSERVED` how many tasks its loop has, what they are, and how many objects the
garbage collector follows. Only for tests: the product has no such door.
"""

import asyncio
import gc
import json
import os
import signal
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from omni_app import asgi


def create() -> ASGIApp:
    """The same app; the signal is heeded once the server is up."""
    product = asgi.create()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            heed()
        await product(scope, receive, send)

    return app


def heed() -> None:
    """From now on SIGUSR1 is answered, between two steps of the loop."""
    loop, path = asyncio.get_running_loop(), Path(os.environ["OBSERVED"])

    def write() -> None:
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(seen()))
        fresh.rename(path)

    def on_signal(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(write)

    signal.signal(signal.SIGUSR1, on_signal)


def seen() -> dict[str, Any]:
    """This process at this moment."""
    tasks = Counter(getattr(task.get_coro(), "__qualname__", "?") for task in asyncio.all_tasks())
    return {"tasks": tasks.total(), "by_coroutine": tasks, "objects": len(gc.get_objects())}
