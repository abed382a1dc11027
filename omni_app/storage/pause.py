"""Background work that ends between two steps: cancelled in the middle of one, a database driver is left half open."""

import asyncio
from contextlib import suppress


async def pause(stopping: asyncio.Event, seconds: float) -> None:
    """Waits, but no longer than until the work is to stop."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stopping.wait()
