"""Rate limits in one process: an exact log of what each subject took of late."""

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from omni_app.limits.base import Quota, Verdict

MAX_SUBJECTS = 50_000
"""Subjects kept; the ones that have been quiet for longest are forgotten first."""


@dataclass(slots=True)
class Entry:
    """What one decision took, the same in each log. `at_s`: when, on the limiter's clock."""

    at_s: float
    amount: int
    logs: Sequence["Log"]


@dataclass(slots=True)
class Log:
    """A subject's window: what was taken in it, oldest first."""

    window_s: float
    seen_s: float
    entries: deque[Entry] = field(default_factory=deque)
    used: int = 0

    def slide(self, now_s: float) -> None:
        """Lets go what has left the window."""
        self.seen_s = now_s
        while self.entries and self.entries[0].at_s <= now_s - self.window_s:
            self.used -= self.entries.popleft().amount

    def wait_s(self, amount: int, *, limit: int, now_s: float) -> float:
        """Seconds until the limit has room for `amount`; a whole window when it never has."""
        over = self.used + amount - limit
        if over <= 0:
            return 0.0
        for entry in self.entries:
            over -= entry.amount
            if over <= 0:
                return entry.at_s + self.window_s - now_s
        return self.window_s


@dataclass(slots=True)
class MemoryLimiter:
    """A sliding window: never more than the limit in any window, however the requests fall. `clock` in seconds."""

    clock: Callable[[], float] = time.monotonic
    mode: str = "memory"
    _logs: OrderedDict[str, Log] = field(default_factory=OrderedDict)

    async def take(self, *quotas: Quota, amount: int = 1) -> Verdict:
        """Counts `amount` against each of the quotas, or nothing."""
        return self.count(*quotas, amount=amount)

    def count(self, *quotas: Quota, amount: int = 1) -> Verdict:
        """As `take`, without waiting for anything."""
        now_s = self.clock()
        logs: list[Log] = []
        tightest, remaining = 0, -1
        for number, quota in enumerate(quotas):
            log = self._log(quota, now_s)
            logs.append(log)
            left = quota.limit - log.used - amount
            if left < 0:
                return self._refusal(quotas, amount, now_s)
            if remaining < 0 or left < remaining:
                tightest, remaining = number, left
        entry = Entry(now_s, amount, logs)
        for log in logs:
            log.entries.append(entry)
            log.used += amount
        limit = quotas[tightest].limit
        wait_s = 0.0 if remaining else logs[tightest].wait_s(1, limit=limit, now_s=now_s)
        return Verdict(True, limit, remaining, wait_s, self.mode, entry)

    def _refusal(self, quotas: Sequence[Quota], amount: int, now_s: float) -> Verdict:
        """Of the quotas without room, the one that takes longest to have some."""
        logs = [(quota, self._log(quota, now_s)) for quota in quotas]
        waits = [
            (log.wait_s(amount, limit=quota.limit, now_s=now_s), quota, log)
            for quota, log in logs
            if log.used + amount > quota.limit
        ]
        wait_s, quota, log = max(waits, key=lambda one: one[0])
        return Verdict(False, quota.limit, max(0, quota.limit - log.used), wait_s, self.mode)

    def settle(self, verdict: Verdict, amount: int) -> None:
        """What was taken came to this much; what has left the window stays as it was."""
        entry, now_s = verdict.taken, self.clock()
        if not isinstance(entry, Entry):
            return
        for log in entry.logs:
            log.slide(now_s)
            if entry.at_s > now_s - log.window_s:
                log.used += amount - entry.amount
        entry.amount = amount

    def _log(self, quota: Quota, now_s: float) -> Log:
        log = self._logs.get(quota.subject)
        if log is None:
            self._forget(now_s)
            log = self._logs[quota.subject] = Log(quota.window_s, now_s)
        else:
            self._logs.move_to_end(quota.subject)
            log.seen_s = now_s
            if log.entries and log.entries[0].at_s <= now_s - log.window_s:
                log.slide(now_s)
        return log

    def _forget(self, now_s: float) -> None:
        """Makes room for one more subject. Who was not seen for a whole window has nothing counted any more."""
        while self._logs:
            quietest = next(iter(self._logs.values()))
            if len(self._logs) < MAX_SUBJECTS and now_s - quietest.seen_s < quietest.window_s:
                return
            self._logs.popitem(last=False)

    async def ping(self) -> str:
        """Always well."""
        return ""

    def use_token(self, token: str) -> None:
        """Nobody is shown one."""

    async def aclose(self) -> None:
        """Nothing to close."""
