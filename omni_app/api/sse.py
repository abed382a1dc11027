"""Server-sent events: one task makes them, one sends them, and the client going away ends both.

The first event is waited for before the status is sent, so that an early error is a plain HTTP error. Only when it
takes longer than `KEEP_ALIVE_S` the answer begins without it, with comments that keep the connection open.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing, suppress

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from omni_app.errors import OmniError

KEEP_ALIVE_S = 5.0
KEEP_ALIVE = b": keep-alive\n\n"
QUEUED_EVENTS = 64
"""A client that reads slowly holds the provider back after this many events."""
HEADERS = ((b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no"))

Events = AsyncGenerator[bytes, None]


class EventStream(Response):
    """An answer made of `events`, each of them whole bytes. `on_error` writes the last event of one that broke.

    `headers_of` gives the headers when the first event is there (who answers is known only then).
    """

    def __init__(
        self,
        events: Events,
        *,
        on_error: Callable[[OmniError], bytes],
        headers_of: Callable[[], Mapping[str, str]],
        keep_alive_s: float = KEEP_ALIVE_S,
    ) -> None:
        self._events = events
        self._on_error = on_error
        self._headers_of = headers_of
        self._keep_alive_s = keep_alive_s
        self._queue: asyncio.Queue[bytes | OmniError | None] = asyncio.Queue(QUEUED_EVENTS)
        self._producer: asyncio.Task[None] | None = None
        self._first: bytes | None = KEEP_ALIVE
        self.background = None

    async def opened(self) -> "EventStream":
        """Itself, once the first event is there or has kept waiting too long. Raises an error that comes first."""
        self._producer = asyncio.create_task(self._produce())
        try:
            async with asyncio.timeout(self._keep_alive_s):
                first = await self._queue.get()
        except TimeoutError:
            return self
        except asyncio.CancelledError:
            self._producer.cancel()
            raise
        if isinstance(first, OmniError):
            await self._producer
            raise first
        self._first = first
        return self

    async def _produce(self) -> None:
        """Makes every event in one task of its own; None is the end."""
        try:
            async with aclosing(self._events) as events:
                async for event in events:
                    await self._queue.put(event)
        except OmniError as error:
            await self._queue.put(error)
        else:
            await self._queue.put(None)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sender = asyncio.create_task(self._send(scope, send))
        listener = asyncio.create_task(_gone(receive))
        try:
            await asyncio.wait({sender, listener}, return_when=asyncio.FIRST_COMPLETED)
            if sender.done():
                sender.result()
        finally:
            for task in (sender, listener, self._producer):
                if task is not None and not task.done():
                    task.cancel()
                    with suppress(asyncio.CancelledError):
                        await task

    async def _send(self, scope: Scope, send: Send) -> None:
        headers = [*HEADERS, *((name.encode(), value.encode()) for name, value in self._headers_of().items())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        event: bytes | OmniError | None = self._first
        while isinstance(event, bytes):
            await send({"type": "http.response.body", "body": event, "more_body": True})
            event = await self._next()
        scope["omni_broken"] = event is not None
        last = self._on_error(event) if event is not None else b""
        await send({"type": "http.response.body", "body": last})

    async def _next(self) -> bytes | OmniError | None:
        try:
            async with asyncio.timeout(self._keep_alive_s):
                return await self._queue.get()
        except TimeoutError:
            return KEEP_ALIVE


async def _gone(receive: Receive) -> None:
    """Returns when the client has gone away."""
    while (await receive())["type"] != "http.disconnect":
        pass


def event(name: str, data: bytes) -> bytes:
    """A named event."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), data)


def data_event(data: bytes) -> bytes:
    """An event without a name, as OpenAI sends them."""
    return b"data: %b\n\n" % data
