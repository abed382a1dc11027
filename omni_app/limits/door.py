"""The way to Redis: a script at a time, within a tenth of a second where Redis is not slow at all times, and a breaker
that opens when there is no answer.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

from upstash_redis.asyncio import Redis

from omni_app.pace import LoopTimeout

log = logging.getLogger(__name__)

TIMEOUT_S = 0.08
"""With what it takes to notice, a request waits for a Redis that is away for less than 0.11 s."""
USUAL_TIMES, LONGEST_S = 4, 0.5
"""A Redis that is always slow is given so many times what it takes of late, so long at most: it is not away."""
WEIGHT = 1 / 8
"""Of the newest answer in what they take of late."""
AT_ONCE = 16
"""Calls in flight. A burst waits for its turn here: in the client its own queue would look like a slow Redis."""
FAILURES_TO_OPEN = 3
PAUSE_S = 5.0
PREFIX = "omni:limit:"
CONTESTED = "omni:limits-contested"


class Door:
    """Runs scripts about subjects. `is_open`: whether the breaker is, so that nobody is to ask."""

    def __init__(self, redis: Redis, *, timeout_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._redis = redis
        self._timeout_s = timeout_s
        self._usual_s = 0.0
        self._clock = clock
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._failures = 0
        self._ask_again_s = 0.0
        self.is_open = False
        self.ahead_ms: float | None = None
        """Redis' clock less ours, or a little more than that; None until it was heard."""

    def turn(self) -> asyncio.Semaphore:
        """To be held during `run`."""
        return self._turns

    async def run(self, script: str, subjects: Sequence[str], arguments: Sequence[object]) -> list[Any] | None:
        """What a script gave, Redis' time first; None when it did not answer as it should. Never raises.

        Time in which this process kept its own loop busy is not held against Redis.
        """
        keys = [*(PREFIX + subject for subject in subjects), CONTESTED]
        asked_s = self._clock()
        try:
            async with LoopTimeout(max(self._timeout_s, min(LONGEST_S, USUAL_TIMES * self._usual_s))):
                answer = list(await self._redis.eval(script, keys=keys, args=[str(one) for one in arguments]))
            self.ahead_ms = int(answer[0]) - asked_s * 1000
        except Exception as error:  # noqa: BLE001 whatever Redis, its proxy or the client does, requests go on
            self._failed(error)
            return None
        self._usual_s += (self._clock() - asked_s - self._usual_s) * WEIGHT
        self._failures, self.is_open = 0, False
        return answer

    def _failed(self, error: Exception) -> None:
        self._failures += 1
        if self._failures >= FAILURES_TO_OPEN and not self.is_open:
            self.is_open, self._ask_again_s = True, self._clock() + PAUSE_S
            log.warning("Redis does not answer (%s): limits are enforced per worker", type(error).__name__)

    def may_look(self) -> bool:
        """Whether the pause is over, so that Redis is asked once more; a new one begins."""
        if self._clock() < self._ask_again_s:
            return False
        self._ask_again_s = self._clock() + PAUSE_S
        return True

    def use_token(self, token: str) -> None:
        """From the next call on. The client has no word for it: what each call sends is changed."""
        self._redis._headers["Authorization"] = f"Bearer {token}"

    async def aclose(self) -> None:
        """Closes the HTTP session."""
        await self._redis.close()


def new_id() -> str:
    """What marks the entries of one call."""
    return uuid4().hex
