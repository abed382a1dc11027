"""A deadline that does not blame others for our own delay."""

import asyncio
from types import TracebackType

TICKS = 20


class LoopTimeout:
    """As `asyncio.timeout`, but counts only time in which this loop keeps up with its work. Raises `TimeoutError`.

    What takes several turns of the loop (a connection's handshakes) looks slow when the turns are long because we are
    busy, though the other side answered at once. So the loop counts ticks of `seconds / TICKS`, one after the other: a
    tick that comes late counts no more than one in time.
    """

    __slots__ = ("_deadline", "_left", "_next", "_pace_s")

    def __init__(self, seconds: float) -> None:
        self._pace_s = seconds / TICKS
        self._left = TICKS
        self._deadline = asyncio.timeout(None)
        self._next: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> None:
        await self._deadline.__aenter__()
        self._tick()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._next is not None:
            self._next.cancel()
        await self._deadline.__aexit__(kind, error, trace)

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        if self._left:
            self._left -= 1
            self._next = loop.call_later(self._pace_s, self._tick)
        else:
            self._deadline.reschedule(loop.time())
