"""What the gateway asks of a rate limiter."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Verdict:
    """The limiter's answer for one request.

    `reset_s`: seconds until at least one more request is allowed (0 when `allowed` and some remain).
    `mode`: `shared` (Redis), `memory` (one process by design) or `local` (Redis is away, this worker's share).
    """

    allowed: bool
    limit: int
    remaining: int
    reset_s: float
    mode: str


class Limiter(Protocol):
    """At most `limit` requests in any window of `window_s` seconds per subject: a sliding window, exact."""

    async def hit(self, subject: str, *, limit: int, window_s: float) -> Verdict:
        """Counts one request of `subject` unless it is over the limit. Never raises for a broken backend."""
        ...

    async def ping(self) -> str:
        """Empty when healthy, else the reason: for `/ready`."""
        ...

    async def aclose(self) -> None: ...
