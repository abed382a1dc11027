"""Rate limits in one process: an exact log of each subject's recent requests."""

import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from omni_app.limits.base import Verdict

MAX_SUBJECTS = 50_000
"""Subjects kept; the ones that have been quiet for longest are forgotten first."""


@dataclass(slots=True)
class MemoryLimiter:
    """A sliding window: never more than the limit in any window, however the requests fall. `clock` in seconds."""

    clock: Callable[[], float] = time.monotonic
    mode: str = "memory"
    _hits: OrderedDict[str, deque[float]] = field(default_factory=OrderedDict)

    async def hit(self, subject: str, *, limit: int, window_s: float) -> Verdict:
        """Counts one request unless it is over the limit."""
        return self.count(subject, limit=limit, window_s=window_s)

    def count(self, subject: str, *, limit: int, window_s: float) -> Verdict:
        """As `hit`, without waiting for anything."""
        now_s = self.clock()
        hits = self._hits.setdefault(subject, deque())
        self._hits.move_to_end(subject)
        while hits and hits[0] <= now_s - window_s:
            hits.popleft()
        allowed = len(hits) < limit
        if allowed:
            hits.append(now_s)
        while len(self._hits) > MAX_SUBJECTS:
            self._hits.popitem(last=False)
        remaining = max(0, limit - len(hits))
        # The first that must leave: not the oldest when the limit was higher a moment ago.
        reset_s = 0.0 if remaining or not hits else hits[len(hits) - max(1, limit)] + window_s - now_s
        return Verdict(allowed=allowed, limit=limit, remaining=remaining, reset_s=reset_s, mode=self.mode)

    async def ping(self) -> str:
        """Always well."""
        return ""

    async def aclose(self) -> None:
        """Nothing to close."""
