"""A deadline that does not blame others for our own delay."""

import asyncio
from types import TracebackType

TICKS = 20
LATE = 1.5
"""A tick that takes up to this part of its time is in time: timers are a millisecond or two late by themselves."""
LEAST = 0.25
"""So much of its time a tick counts, however late it is: what never comes is noticed all the same."""


class LoopTimeout:
    """As `asyncio.timeout`, but counts only time in which this loop keeps up with its work. Raises `TimeoutError`.

    What takes several turns of the loop (a connection's handshakes) looks slow when the turns are long because we are
    busy, though the other side answered at once. So the loop counts ticks of `seconds / TICKS`, one after the other,
    and the later a tick comes, the less it counts.
    """

    __slots__ = ("_deadline", "_left_s", "_next", "_pace_s", "_ticked_s")

    def __init__(self, seconds: float) -> None:
        self._left_s = seconds
        self._pace_s = seconds / TICKS
        self._deadline = asyncio.timeout(None)
        self._next: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> None:
        await self._deadline.__aenter__()
        loop = asyncio.get_running_loop()
        self._ticked_s = loop.time()
        self._next = loop.call_later(self._pace_s, self._tick)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._next is not None:
            self._next.cancel()
        await self._deadline.__aexit__(kind, error, trace)

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        late = (now_s - self._ticked_s) / self._pace_s
        self._left_s -= self._pace_s * (late if late <= LATE else max(1 / late, LEAST))
        self._ticked_s = now_s
        if self._left_s > 0:
            self._next = loop.call_later(min(self._pace_s, self._left_s), self._tick)
        else:
            self._deadline.reschedule(now_s)
