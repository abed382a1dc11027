"""Passwords that wait for their turn to be hashed, for as long as a test wants."""

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from omni_app.storage import passwords


@asynccontextmanager
async def nothing_is_hashed() -> AsyncIterator[None]:
    """Both threads that hash have something else to do; whoever comes stands in line behind that."""
    go_on = threading.Event()
    for _ in range(passwords.AT_ONCE):
        passwords._workers.submit(go_on.wait)
    try:
        yield
    finally:
        go_on.set()
