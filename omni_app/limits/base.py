"""What the gateway asks of a rate limiter."""

from typing import Protocol

from omni_app.records import record


@record(frozen=True, slots=True)
class Quota:
    """At most `limit` (requests, tokens) of one subject in any `window_s` seconds: a sliding window, exact."""

    subject: str
    limit: int
    window_s: float


@record(frozen=True, slots=True)
class Verdict:
    """The limiter's answer, as the tightest of the quotas gives it.

    `reset_s`: seconds until as much is allowed as was refused, or, when `allowed`, until at least one more is (0 when
    some remain). `mode`: `shared` (Redis), `memory` (one process by design) or `local` (Redis is away, this worker's
    share).
    """

    allowed: bool
    limit: int
    remaining: int
    reset_s: float
    mode: str
    taken: object = None
    """What `settle` needs to know; the limiter's own affair."""


class Limiter(Protocol):
    """Counts against quotas: one decision for all of them, and what one of them refuses counts in none."""

    def count(self, *quotas: Quota, amount: int = 1) -> Verdict | None:
        """Counts `amount` against each of the quotas, or nothing; None, and nothing counted, when that takes waiting.

        Called before `take` on the path of every request: some microseconds.
        """
        ...

    async def take(self, *quotas: Quota, amount: int = 1) -> Verdict:
        """As `count`, waiting where it has to. Never raises for a broken backend."""
        ...

    def settle(self, verdict: Verdict, amount: int) -> None:
        """What was taken came to this much: the difference goes back, or is added. Never waits."""
        ...

    async def ping(self) -> str:
        """Empty when healthy, else the reason: for `/ready`."""
        ...

    def use_token(self, token: str) -> None:
        """What the backend is shown from now on."""
        ...

    async def aclose(self) -> None: ...
