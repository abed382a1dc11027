"""Connections that say their first words: a part of each round of the loop is theirs.

Who opens hundreds at one moment makes hundreds readable in one round, and whoever is being served would wait for all of
them (20 ms for 260 sockets that are refused). So newcomers have `SLICE_S` of a round; the others wait in line for the
next ones. Nobody else takes turns here: requests do so once they are understood (`omni_app.turns`).
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

SLICE_S = 0.0005
"""Of a round, and one newcomer at the least. Stated: a quarter of what requests and answers have."""

Step = Callable[[], None]


@dataclass(slots=True)
class Newcomers:
    """One loop's. `clock` in seconds; `call_soon` calls back in the loop's next round, None = the running loop's."""

    clock: Callable[[], float] = time.perf_counter
    call_soon: Callable[[Step], object] | None = None
    _line: deque[Step] = field(default_factory=deque)
    _spent_s: float = 0.0
    """Of this round's slice."""
    _counting: bool = False
    """Whether the next round is looked out for."""

    def go_on(self, step: Step) -> bool:
        """Takes a newcomer's step, now or when it is its turn; whether it was now."""
        if not self._counting:
            self._look_out()
        if self._line or self._spent_s >= SLICE_S:
            self._line.append(step)
            return False
        self._take(step)
        return True

    def _look_out(self) -> None:
        self._counting = True
        (self.call_soon or asyncio.get_running_loop().call_soon)(self._round)

    def _take(self, step: Step) -> None:
        began_s = self.clock()
        step()
        self._spent_s += self.clock() - began_s

    def _round(self) -> None:
        """The loop got round: as many of the line go on as fit into a slice."""
        self._spent_s, self._counting = 0.0, False
        if self._line:
            self._look_out()  # first: a step that fails must not end the line
            self._take(self._line.popleft())
        while self._line and self._spent_s < SLICE_S:
            self._take(self._line.popleft())
