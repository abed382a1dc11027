"""A deadline for a block of code, as `asyncio.timeout`, at a third of its cost: it is on the path of every request."""

import asyncio
from types import TracebackType


class Deadline:
    """`with Deadline(seconds):` cancels what its task waits for in the block, and raises `TimeoutError` out of it.

    `with`, not `async with`: nothing is waited for in entering or leaving. A cancellation from elsewhere stays one, as
    in `asyncio.timeout`, whose rules these are.
    """

    __slots__ = ("_cancelling", "_loop", "_seconds", "_struck", "_task", "_timer")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._struck = False

    def __enter__(self) -> "Deadline":
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 a coroutine runs in a task
        self._task, self._loop = task, task.get_loop()
        self._cancelling = task.cancelling()
        self._timer = self._loop.call_later(self._seconds, self._strike)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        if self._struck and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def extend(self, until_s: float) -> None:
        """The block may last until then, in the loop's time."""
        if not self._struck:
            self._timer.cancel()
            self._timer = self._loop.call_at(until_s, self._strike)

    def _strike(self) -> None:
        self._struck = True
        self._task.cancel()
