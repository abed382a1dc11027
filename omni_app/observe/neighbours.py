"""The workers of one machine, so that whichever is asked for figures can tell those of all.

Workers share a port, and a scrape reaches one of them. So each publishes its lines to a small file of its own in the
data directory, under the lowest number that no living process holds: a worker that is replaced takes over the number,
and its counters begin at zero, which Prometheus knows how to read. A lock, not the file, says who lives.
"""

import asyncio
import fcntl
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from omni_app.observe.metrics import Lines
from omni_app.storage.pause import pause

PUBLISH_S = 2.0
"""How old another worker's figures may be."""


class Neighbours:
    """This process's number among those of `directory`, and what the others published."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock: int | None = None
        self._number = 0

    @property
    def number(self) -> str:
        """Taken at first use, held until the process ends."""
        if self._lock is None:
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            while not self._take():
                self._number += 1
        return str(self._number)

    def _take(self) -> bool:
        descriptor = os.open(self._directory / f"{self._number}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return False
        self._lock = descriptor
        return True

    def publish(self, lines: Lines) -> None:
        """Leaves this worker's lines for the others. Raises `OSError`."""
        mine = self._directory / f"{self.number}.json"
        new = mine.with_suffix(".new")
        new.write_bytes(orjson.dumps(lines))
        new.rename(mine)

    def others(self) -> list[Lines]:
        """What the other living workers published last."""
        found: list[Lines] = []
        for lock in sorted(self._directory.glob("*.lock")):
            if lock.stem != self.number and _is_held(lock):
                with suppress(OSError, ValueError):
                    found.append(orjson.loads(lock.with_suffix(".json").read_bytes()))
        return found

    async def run(self, stopping: asyncio.Event, lines: Callable[[], Any]) -> None:
        """Publishes until it is to stop."""
        while not stopping.is_set():
            with suppress(OSError):  # a full disk: the figures are old, and say so by standing still
                await asyncio.to_thread(self.publish, lines())
            await pause(stopping, PUBLISH_S)

    def close(self) -> None:
        """Gives the number up."""
        if self._lock is not None:
            with suppress(OSError):
                (self._directory / f"{self._number}.json").unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = None


def _is_held(lock: Path) -> bool:
    with lock.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False
