"""Rate limits shared by all workers, in Upstash's Redis: one atomic script per decision, on Redis's own clock.

When Redis is away or slow, a breaker opens and each worker enforces its share of the limit by itself
(`mode: local`): neither open nor closed. Redis is asked again after a pause, by the worker itself: once the breaker is
open no request waits for Redis until it has answered.

A share is the limit divided by the workers, rounded down, and at least one request: together they stay within the
limit, unless it is smaller than that. What Redis had counted before is not known to them, and what they count is
not known to Redis: in a window in which Redis goes or comes, up to twice the limit is allowed.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from upstash_redis.asyncio import Redis

from omni_app.limits.base import Quota, Verdict
from omni_app.limits.memory import MemoryLimiter

log = logging.getLogger(__name__)

TIMEOUT_S = 0.1
AT_ONCE = 16
"""Calls in flight. A burst waits for its turn here: in the client its own queue would look like a slow Redis."""
FAILURES_TO_OPEN = 3
PAUSE_S = 5.0

# A subject's window is one sorted set: "id:amount" by the millisecond it was taken, and "=", whose score is what they
# come to, below zero: always the first, and gone with the rest. KEYS: the subjects; ARGV: amount, id, and for each
# subject its limit and its window in milliseconds. Gives {allowed, which subject is the tightest, what remains of it,
# milliseconds to wait}; the wait is for the amount when it was refused, else for one more.
TAKE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local amount, entry = tonumber(ARGV[1]), ARGV[2] .. ':' .. ARGV[1]
local function weight(one) return tonumber(string.match(one, '%d+$')) end

local function used_in(key, window)
  repeat
    local gone = redis.call('ZRANGEBYSCORE', key, '(0', now - window, 'LIMIT', 0, 1000)
    local sum = 0
    for _, one in ipairs(gone) do sum = sum + weight(one) end
    if #gone > 0 then
      redis.call('ZREMRANGEBYRANK', key, 1, #gone)
      redis.call('ZINCRBY', key, sum, '=')
    end
  until #gone < 1000
  return -tonumber(redis.call('ZSCORE', key, '=') or '0')
end

local function wait_for(log, wanted)
  local over, rank = log.used + wanted - log.limit, 1
  while over > 0 do
    local some = redis.call('ZRANGE', log.key, rank, rank + 99, 'WITHSCORES')
    if #some == 0 then return log.window end
    for n = 1, #some, 2 do
      over = over - weight(some[n])
      if over <= 0 then return tonumber(some[n + 1]) + log.window - now end
    end
    rank = rank + 100
  end
  return 0
end

local logs, allowed = {}, 1
for n, key in ipairs(KEYS) do
  local limit, window = tonumber(ARGV[2 * n + 1]), tonumber(ARGV[2 * n + 2])
  logs[n] = {key = key, limit = limit, window = window, used = used_in(key, window)}
  if logs[n].used + amount > limit then allowed = 0 end
end
local tightest, remaining, wait = 0, 0, -1
for n, log in ipairs(logs) do
  if allowed == 1 then
    redis.call('ZADD', log.key, now, entry)
    redis.call('ZINCRBY', log.key, -amount, '=')
    redis.call('PEXPIRE', log.key, log.window)
    log.used = log.used + amount
    if tightest == 0 or log.limit - log.used < remaining then
      tightest, remaining = n, log.limit - log.used
    end
  elseif log.used + amount > log.limit and wait_for(log, amount) > wait then
    tightest, remaining, wait = n, log.limit - log.used, wait_for(log, amount)
  end
end
if allowed == 1 and tightest > 0 then wait = wait_for(logs[tightest], 1) end
return {allowed, tightest, remaining, wait}
"""

# ARGV: the id, the amount that was taken, and what it came to. What has left the window stays as it was.
SETTLE = """
for _, key in ipairs(KEYS) do
  local at = redis.call('ZSCORE', key, ARGV[1] .. ':' .. ARGV[2])
  if at then
    redis.call('ZREM', key, ARGV[1] .. ':' .. ARGV[2])
    redis.call('ZADD', key, at, ARGV[1] .. ':' .. ARGV[3])
    redis.call('ZINCRBY', key, ARGV[2] - ARGV[3], '=')
  end
end
return 1
"""


@dataclass(frozen=True, slots=True)
class Taken:
    """An entry in Redis."""

    id: str
    amount: int
    keys: tuple[str, ...]


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
        self._open = False
        self._ask_again_s = 0.0
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._background: set[asyncio.Task[Any]] = set()

    async def take(self, *quotas: Quota, amount: int = 1) -> Verdict:
        """Counts `amount` against each of the quotas, or nothing. Never raises."""
        async with self._turns:
            if self._open:
                self._look_for_redis()
                return self._share(quotas, amount)
            return await self._ask(quotas, amount) or self._share(quotas, amount)

    async def _ask(self, quotas: Sequence[Quota], amount: int) -> Verdict | None:
        """Redis's verdict; None when it gave none."""
        taken = Taken(uuid4().hex, amount, tuple(f"omni:limit:{quota.subject}" for quota in quotas))
        terms = [str(value) for quota in quotas for value in (quota.limit, round(quota.window_s * 1000))]
        answer = await self._run(TAKE, taken.keys, [str(amount), taken.id, *terms])
        if answer is None:
            return None
        allowed, tightest, remaining, wait_ms = answer
        limit = quotas[tightest - 1].limit
        return Verdict(bool(allowed), limit, max(0, remaining), wait_ms / 1000, "shared", taken if allowed else None)

    async def _run(self, script: str, keys: Sequence[str], arguments: Sequence[str]) -> list[int] | None:
        """What a script gave; None when Redis did not answer as it should. The breaker hears of it."""
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await self._redis.eval(script, keys=list(keys), args=list(arguments))
            values = [int(value) for value in (answer if isinstance(answer, list) else [answer])]
        except Exception as error:  # noqa: BLE001 whatever Redis, its proxy or the client does, requests go on
            self._failed(error)
            return None
        self._failures, self._open = 0, False
        return values

    def _failed(self, error: Exception) -> None:
        self._failures += 1
        if self._failures >= FAILURES_TO_OPEN and not self._open:
            self._open, self._ask_again_s = True, self._clock() + PAUSE_S
            log.warning("Redis does not answer (%s): limits are enforced per worker", type(error).__name__)

    def _look_for_redis(self) -> None:
        """Asks Redis once more when the pause is over, beside the requests."""
        if self._clock() >= self._ask_again_s:
            self._ask_again_s = self._clock() + PAUSE_S
            self._beside(self._run(TAKE, (), ["1", ""]))

    def _share(self, quotas: Sequence[Quota], amount: int) -> Verdict:
        shares = (replace(quota, limit=max(amount, quota.limit // self._workers)) for quota in quotas)
        return self._local.count(*shares, amount=amount)

    def settle(self, verdict: Verdict, amount: int) -> None:
        """What was taken came to this much. What Redis does not hear of stays as it was taken."""
        taken = verdict.taken
        if not isinstance(taken, Taken):
            self._local.settle(verdict, amount)
        elif not self._open and amount != taken.amount:
            self._beside(self._settle(taken, amount))

    async def _settle(self, taken: Taken, amount: int) -> None:
        async with self._turns:
            await self._run(SETTLE, taken.keys, [taken.id, str(taken.amount), str(amount)])

    def _beside(self, work: Coroutine[Any, Any, object]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def ping(self) -> str:
        """Always empty: without Redis requests go on, by local limits."""
        return ""

    async def aclose(self) -> None:
        """Closes the HTTP session, once Redis has heard of what was settled."""
        await asyncio.gather(*self._background)
        await self._redis.close()
