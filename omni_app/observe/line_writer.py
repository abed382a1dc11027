"""Lines of JSON on standard output, made and written in a thread, a tenth of a second late at most.

A reader that stops holds up no request; what comes beyond a bound is counted and given up. A process that is killed may
lose the last tenth of a second.
"""

import asyncio
import os
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from omni_app.storage.pause import pause

FLUSH_S = 0.1
MOST_WAITING = 20_000
"""Lines; what comes beyond it is counted and given up."""
STDOUT = 1
Item = TypeVar("Item")


def write_to_stdout(lines: bytes) -> None:
    """All of it, however many calls that takes."""
    while lines:
        lines = lines[os.write(STDOUT, lines) :]


def write_with_copy(put: Callable[[bytes], None]) -> Callable[[bytes], None]:
    """To standard output, and before that to `put`: it has the lines also where nobody reads."""

    def write(lines: bytes) -> None:
        put(lines)
        write_to_stdout(lines)

    return write


class LineWriter(Generic[Item]):
    """Takes items on the event loop, makes a line of each with `line` and gives them to `write`, both in a thread."""

    def __init__(self, line: Callable[[Item], bytes], write: Callable[[bytes], None] = write_to_stdout) -> None:
        self._line = line
        self._write = write
        self._waiting: deque[Item] = deque()
        self.dropped = 0

    def hear(self, item: Item) -> None:
        """Puts one in line."""
        if len(self._waiting) >= MOST_WAITING:
            self.dropped += 1
        else:
            self._waiting.append(item)

    async def run(self, stopping: asyncio.Event) -> None:
        """Writes lines until it is to stop, then what is left."""
        while not stopping.is_set():
            await pause(stopping, FLUSH_S)
            await self.flush()

    async def flush(self) -> None:
        """Writes what is in line."""
        if self._waiting:
            batch = list(self._waiting)
            self._waiting.clear()
            await asyncio.to_thread(self._put, batch)

    def _put(self, batch: list[Item]) -> None:
        try:
            self._write(b"".join(map(self._line, batch)))
        except OSError:  # nobody reads
            self.dropped += len(batch)
