"""Turns on the event loop: what wants to work on it does so a little at a time, answers before new requests.

One thread does all of a worker's work. When more becomes ready than it can do, the loop's round gets longer, and with
it everything that waits: timers strike late, connections seem to time out, streams stutter. So the two places where
much work can become ready at once take turns: the pieces that providers answer, and the requests that come. In each
round they go on for about `SLICE_S`; the others wait in line. Answers come first, so that what is under way is finished
before more is begun. Without a line nothing waits, and a turn costs about a microsecond.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

SLICE_S = 0.003
"""Of a round: short beside the 10 ms between two tokens of a fast model, long beside the round's own cost. At 2 ms a
worker that is full serves a tenth less, at 4 ms refusals can take longer than the 50 ms of the promise (measured)."""
WEIGHT = 1 / 64
"""Of the newest round in the pace: one that was held up by something else does not count for much."""
FIRST_PACE_S = 0.001
"""Until rounds have been measured. Stated."""

Place = asyncio.Future[None]


@dataclass(slots=True)
class Turns:
    """One loop's. `clock` in seconds; `call_soon` calls back in the loop's next round, None = the running loop's."""

    clock: Callable[[], float] = time.monotonic
    call_soon: Callable[[Callable[[], None]], object] | None = None
    pace_s: float = FIRST_PACE_S
    """How long one turn takes to come: a round's time, by its turns."""
    cost_s: float = FIRST_PACE_S
    """How long one turn takes. The rest of a round is for what takes no turns: refusals, bytes, timers. Were that
    counted too, a worker that refuses much would give the few that it serves ever fewer turns."""
    _answers: deque[Place] = field(default_factory=deque)
    _requests: deque[Place] = field(default_factory=deque)
    _round_s: float | None = None
    """When this round began; None while nobody wants a turn."""
    _given_s: float | None = None
    """When the first of this round's turns was taken, where they were given to a line."""
    _taken: int = 0
    """Turns in this round."""

    @property
    def waiting(self) -> int:
        """How many are in line."""
        return len(self._answers) + len(self._requests)

    def wait_s(self, coming: int = 0) -> float:
        """How long a request that comes now, behind `coming` others, would be kept by the line: each one in it takes a
        turn to begin and one for its answer.
        """
        return (len(self._answers) + 2 * (len(self._requests) + coming)) * self.pace_s

    async def to_answer(self) -> None:
        """A turn for a piece of an answer. Returns when it has come."""
        if not self._free():
            await self._place_in(self._answers)

    async def to_begin(self) -> None:
        """A turn for a new request. Returns when it has come."""
        if not self._free():
            await self._place_in(self._requests)

    def _free(self) -> bool:
        """Whether nobody is in line and the round is young."""
        if self._round_s is None:
            self._round_s, self._given_s, self._taken = self.clock(), None, 1
            self._soon(self._round)
            return True
        if self._answers or self._requests or self.clock() - self._round_s >= SLICE_S:
            return False
        self._taken += 1
        return True

    def _place_in(self, line: deque[Place]) -> Place:
        place: Place = asyncio.get_running_loop().create_future()
        line.append(place)
        return place

    def _soon(self, callback: Callable[[], None]) -> None:
        (self.call_soon or asyncio.get_running_loop().call_soon)(callback)

    def _give(self) -> None:
        """Those who have got a turn go on from here, one after the other."""
        self._given_s = self.clock()

    def _round(self) -> None:
        """The loop got round: as many of the line have their turn as fit into a slice."""
        now_s = self.clock()
        if self._round_s is not None and self._taken:
            self.pace_s += ((now_s - self._round_s) / self._taken - self.pace_s) * WEIGHT
            if self._given_s is not None:
                self.cost_s += ((now_s - self._given_s) / self._taken - self.cost_s) * WEIGHT
        self._round_s, self._given_s, self._taken = now_s, None, 0
        room = max(1, int(SLICE_S / self.cost_s))
        if self.waiting:
            self._soon(self._give)
        for line in (self._answers, self._requests):
            while line and self._taken < room:
                place = line.popleft()
                if not place.done():  # else given up
                    place.set_result(None)
                    self._taken += 1
        if self._taken:
            self._soon(self._round)
        else:
            self._round_s = None
