"""Server-sent events: one task makes them, one sends them, and the client going away ends both.

The first event is waited for before the status is sent, so that an early error is a plain HTTP error. Only when it
takes longer than `KEEP_ALIVE_S` the answer begins without it, with comments that keep the connection open.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing, suppress

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from omni_app.deadline import Deadline
from omni_app.errors import OmniError

KEEP_ALIVE_S = 5.0
KEEP_ALIVE = b": keep-alive\n\n"
QUEUED_EVENTS = 64
"""A client that reads slowly holds the provider back after this many events."""
HEADERS = ((b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no"))

Events = AsyncGenerator[bytes, None]


class Line:
    """The events between the task that makes them and the one that sends them.

    What is there when the sender looks goes out in one piece: each piece costs the server more than an event costs us.
    Nothing is held back for it.
    """

    __slots__ = ("_news", "_room", "ended", "error", "events")

    def __init__(self) -> None:
        self.events: list[bytes] = []
        self.ended = False
        self.error: OmniError | None = None
        """What broke it off, when it has ended."""
        self._news = asyncio.Event()
        self._room = asyncio.Event()

    async def fill(self, events: Events) -> None:
        """Puts every event in the line, as fast as they are taken."""
        try:
            async with aclosing(events) as made:
                async for one in made:
                    self.events.append(one)
                    self._news.set()
                    if len(self.events) >= QUEUED_EVENTS:
                        self._room.clear()
                        await self._room.wait()
        except OmniError as error:
            self.error = error
        self.ended = True
        self._news.set()

    async def filled(self, within_s: float) -> None:
        """Returns when there is an event to take, at the end, or when the time is over."""
        if not self.events and not self.ended:
            self._news.clear()
            with suppress(TimeoutError), Deadline(within_s):
                await self._news.wait()

    def take(self) -> bytes:
        """All that is there."""
        taken = b"".join(self.events)
        self.events.clear()
        self._room.set()
        return taken


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
        self._line = Line()
        self._producer: asyncio.Task[None] | None = None
        self.background = None

    async def opened(self) -> "EventStream":
        """Itself, once the first event is there or has kept waiting too long. Raises an error that comes first."""
        self._producer = asyncio.create_task(self._line.fill(self._events))
        try:
            await self._line.filled(self._keep_alive_s)
        except asyncio.CancelledError:
            self._producer.cancel()
            raise
        if self._line.error is not None and not self._line.events:
            await self._producer
            raise self._line.error
        return self

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
        line = self._line
        while line.events or not line.ended:
            await send({"type": "http.response.body", "body": line.take() or KEEP_ALIVE, "more_body": True})
            await line.filled(self._keep_alive_s)
        scope["omni_broken"] = line.error is not None
        last = self._on_error(line.error) if line.error is not None else b""
        await send({"type": "http.response.body", "body": last})


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
