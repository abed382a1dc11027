"""Server-sent events: one task makes and sends them, one listens, and the client going away ends both.

The first event is waited for before the status is sent, so that an early error is a plain HTTP error. Only when it
takes longer than `KEEP_ALIVE_S` the answer begins without it, with comments that keep the connection open.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing, suppress

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from omni_app.deadline import Deadline
from omni_app.errors import OmniError, stopping

KEEP_ALIVE_S = 5.0
KEEP_ALIVE = b": keep-alive\n\n"
HEADERS = ((b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no"))

Events = AsyncGenerator[bytes, None]


class EventStream(Response):
    """An answer made of `events`, each of them whole bytes. `on_error` writes the last event of one that broke.

    `headers_of` gives the headers when the first event is there (who answers is known only then). The task that makes
    the events hands each to the server itself: without a queue, a client that reads slowly holds the provider back.
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
        self._loop = asyncio.get_running_loop()
        self._producer: asyncio.Task[None]
        self._known = asyncio.Event()
        """How it begins: with an event, with its end, or with an error."""
        self._begun: asyncio.Future[Send] = self._loop.create_future()
        self._sent_s = 0.0
        self._error: OmniError | None = None
        self.background = None

    async def opened(self) -> "EventStream":
        """Itself, once the first event is there or has kept waiting too long. Raises an error that comes first."""
        self._producer = asyncio.create_task(self._produce())
        try:
            with suppress(TimeoutError), Deadline(self._keep_alive_s):
                await self._known.wait()
        except asyncio.CancelledError:
            self._producer.cancel()
            raise
        if self._producer.done():
            self._producer.result()
        if self._error is not None:
            raise self._error
        return self

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        listener = asyncio.create_task(_gone(receive))
        try:
            await self._begin(send)
            if await self._over(listener, send):
                self._producer.result()
                scope["omni_broken"] = self._error is not None
                last = self._on_error(self._error) if self._error is not None else b""
                await send({"type": "http.response.body", "body": last})
        finally:
            for task in (listener, self._producer):
                if not task.done():
                    task.cancel()
                    with suppress(asyncio.CancelledError):
                        await task

    async def _produce(self) -> None:
        """Every event, as it comes, from when the answer has begun on."""
        try:
            async with aclosing(self._events) as made:
                async for one in made:
                    self._known.set()
                    await self._tell(one, send=self._begun.result() if self._begun.done() else await self._begun)
        except OmniError as error:
            self._error = error
        except asyncio.CancelledError:
            self._error = stopping()  # by the end of the process, while it sent: nobody else lets the client know
        finally:
            self._known.set()

    async def _begin(self, send: Send) -> None:
        headers = [*HEADERS, *((name.encode(), value.encode()) for name, value in self._headers_of().items())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if not self._known.is_set():
            await self._tell(KEEP_ALIVE, send=send)
        if not self._begun.done():  # a producer that was cancelled took it along
            self._begun.set_result(send)

    async def _tell(self, piece: bytes, *, send: Send) -> None:
        self._sent_s = self._loop.time()
        await send({"type": "http.response.body", "body": piece, "more_body": True})

    async def _over(self, listener: asyncio.Task[None], send: Send) -> bool:
        """Whether all events have been sent; False when the client has gone away."""
        while True:
            silent_s = self._loop.time() - self._sent_s
            done, _ = await asyncio.wait(
                (self._producer, listener),
                timeout=max(0.0, self._keep_alive_s - silent_s),
                return_when=asyncio.FIRST_COMPLETED,
            )
            if done:
                return self._producer in done
            if self._loop.time() - self._sent_s >= self._keep_alive_s:
                await self._tell(KEEP_ALIVE, send=send)


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
