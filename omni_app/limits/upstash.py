"""Rate limits shared by all workers, in Upstash's Redis: one atomic script per decision, on Redis's own clock.

When Redis is away or slow, a breaker opens and each worker enforces its share of the limit by itself
(`mode: local`): neither open nor closed. Redis is asked again after a pause.

A share is the limit divided by the workers, rounded down, and at least 1: together they stay within the limit, unless
it is smaller than the number of workers. What Redis had counted before is not known to them, and what they count is
not known to Redis: in a window in which Redis goes or comes, up to twice the limit is allowed.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from uuid import uuid4

from upstash_redis.asyncio import Redis

from omni_app.limits.base import Verdict
from omni_app.limits.memory import MemoryLimiter

log = logging.getLogger(__name__)

TIMEOUT_S = 0.1
AT_ONCE = 16
"""Calls in flight. A burst waits for its turn here: in the client its own queue would look like a slow Redis."""
FAILURES_TO_OPEN = 3
PAUSE_S = 5.0

# A sorted set of the window's requests. Gives {allowed, remaining, milliseconds until the next is allowed}.
SCRIPT = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local limit, window = tonumber(ARGV[1]), tonumber(ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - window)
local used = redis.call('ZCARD', KEYS[1])
local allowed = 0
if used < limit then
  redis.call('ZADD', KEYS[1], now, ARGV[3])
  redis.call('PEXPIRE', KEYS[1], window)
  used = used + 1
  allowed = 1
end
local wait = 0
if used >= limit then
  local first = used - limit
  local leaving = redis.call('ZRANGE', KEYS[1], first, first, 'WITHSCORES')
  wait = tonumber(leaving[2]) + window - now
end
return {allowed, limit - used, wait}
"""


class UpstashLimiter:
    """The limiter for many workers. `workers` is how many share the limit when Redis is away."""

    def __init__(
        self,
        redis: Redis,
        *,
        workers: int = 1,
        timeout_s: float = TIMEOUT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._redis = redis
        self._workers = workers
        self._timeout_s = timeout_s
        self._clock = clock
        self._local = MemoryLimiter(clock=clock, mode="local")
        self._failures = 0
        self._open_until_s = 0.0
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def hit(self, subject: str, *, limit: int, window_s: float) -> Verdict:
        """Counts one request of `subject` unless it is over the limit. Never raises."""
        async with self._turns:
            asked = None if self._is_open() else await self._ask(subject, limit=limit, window_s=window_s)
        return asked or self._share(subject, limit=limit, window_s=window_s)

    async def _ask(self, subject: str, *, limit: int, window_s: float) -> Verdict | None:
        """Redis's verdict; None when it gave none."""
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await self._redis.eval(
                    SCRIPT, keys=[f"omni:rate:{subject}"], args=[str(limit), str(round(window_s * 1000)), uuid4().hex]
                )
            allowed, remaining, wait_ms = (int(value) for value in answer)
        except Exception as error:  # noqa: BLE001 whatever Redis, its proxy or the client does, requests go on
            self._failed(error)
            return None
        self._failures = 0
        return Verdict(bool(allowed), limit, max(0, remaining), wait_ms / 1000, "shared")

    def _is_open(self) -> bool:
        return self._clock() < self._open_until_s

    def _failed(self, error: Exception) -> None:
        if self._is_open():  # this call was on its way already
            return
        self._failures += 1
        if self._failures >= FAILURES_TO_OPEN:
            self._failures = 0
            self._open_until_s = self._clock() + PAUSE_S
            log.warning("Redis does not answer (%s): limits are enforced per worker", type(error).__name__)

    def _share(self, subject: str, *, limit: int, window_s: float) -> Verdict:
        return self._local.count(subject, limit=max(1, limit // self._workers), window_s=window_s)

    async def ping(self) -> str:
        """Always empty: without Redis requests go on, by local limits."""
        return ""

    async def aclose(self) -> None:
        """Closes the HTTP session."""
        await self._redis.close()
