"""What one worker holds and knows of the limits that it shares with others: leases, and what was used of them when.

A lease is a part of a window that Redis has counted as taken already: its worker gives it out from memory. Times are
the worker's own (a monotonic clock); a lease's time begins when it was asked for, so it is over here before it is in
Redis. What was used within a moment is one `Use`, which counts from the last of it: a little later than it was.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from omni_app.limits.base import Quota
from omni_app.limits.scripts import Grant
from omni_app.records import record

LEASE_S = 10.0
LEASE_PART = 4
"""Of its window at most: what an idle worker holds is soon free again, whatever becomes of the worker."""
MOMENTS = 64
"""In a window."""
FULL_S = 1.0
"""A refusal of a request is taken to hold so long at most without Redis being asked. Tokens come back at any moment."""
WISH = 2
"""A lease is for so many times what was used of the one before."""


@dataclass(slots=True, eq=False)
class Lease:
    """`left` of it may still be given out, until `until_s`; below zero when more came of it than was held."""

    name: str
    left: int
    until_s: float


@dataclass(slots=True, eq=False)
class Use:
    """What was used within a moment. `told_ms`: as when Redis counts it; 0 while it has not heard of it."""

    began_s: float
    at_s: float
    amount: int
    lease: Lease | None = None
    told_ms: int = 0


@dataclass(slots=True, eq=False)
class Share:
    """A subject's. `beside`: what Redis had besides this lease when it was last asked, at `heard_s`."""

    quota: Quota
    lease: Lease | None = None
    beside: int = 0
    heard_s: float | None = None
    spent: int = 0
    """Since Redis was last asked."""
    uses: list[Use] = field(default_factory=list)
    """Of the lease."""
    alone: deque[Use] = field(default_factory=deque)
    """Uses without Redis' leave, while it was away; it has not heard of them."""
    corrections: list[tuple[int, int]] = field(default_factory=list)
    """As when, and how much more (or less) it was than Redis was told."""
    asking: bool = False
    """A lease is on its way."""
    seen_s: float = 0.0
    full_until_s: float = 0.0
    """Redis has refused one more, and would until then; `free_at_s` is when it will have room for it."""
    free_at_s: float = 0.0
    waited_in_vain_s: float = -LEASE_S
    """When a request last waited for other workers' leases, and nothing came of it."""

    lease_s: float = field(init=False)
    """How long a lease lasts."""
    moment_s: float = field(init=False)

    def __post_init__(self) -> None:
        self.lease_s = min(LEASE_S, self.quota.window_s / LEASE_PART)
        self.moment_s = self.quota.window_s / MOMENTS

    @property
    def remaining(self) -> int:
        """What is left for all, as far as this worker knows."""
        return max(0, self.beside + (self.lease.left if self.lease else 0))

    def left_after(self, amount: int, now_s: float) -> int:
        """What would be left for all beside `amount` of the lease; below zero when the lease does not suffice, or more
        was used than there was.
        """
        lease = self.lease
        if lease is None or lease.left < amount or now_s >= lease.until_s:
            return -1
        return self.beside + lease.left - amount

    def take(self, amount: int, now_s: float) -> Use:
        """Gives out a part of the lease, which suffices."""
        lease, uses = self.lease, self.uses
        assert lease is not None  # noqa: S101 see `left_after`
        lease.left -= amount
        self.spent += amount
        use = uses[-1] if uses else None
        if use is None or now_s - use.began_s >= self.moment_s:
            use = Use(now_s, now_s, amount, lease)
            uses.append(use)
        else:
            use.at_s = now_s
            use.amount += amount
        return use

    def take_alone(self, amount: int, now_s: float) -> Use:
        """Without a lease."""
        if not self.alone or now_s - self.alone[-1].began_s >= self.moment_s:
            self.alone.append(Use(now_s, now_s, 0))
        use = self.alone[-1]
        use.at_s = now_s
        use.amount += amount
        return use

    def correct(self, use: Use, more: int) -> bool:
        """What was used came to `more`, or to less. Whether Redis has to hear of it."""
        if use.told_ms:
            self.corrections.append((use.told_ms, more))
            self.full_until_s = 0.0
            self.beside -= more
            return True
        use.amount += more
        if use.lease is not None:
            use.lease.left -= more
        return False

    def close(self) -> tuple[str, list[Use]]:
        """Ends the lease: its name, empty without one, and its uses."""
        name, uses = self.lease.name if self.lease else "", self.uses
        self.beside += self.lease.left if self.lease else 0
        self.lease, self.uses = None, []
        return name, uses

    def heard(self, grant: Grant, *, asked_s: float) -> None:
        """What Redis answered to what was asked then."""
        self.beside, self.heard_s, self.spent = grant.room - grant.amount, asked_s, 0
        if grant.amount:
            self.lease = Lease(grant.name, grant.amount, asked_s + self.lease_s)

    def left_alone(self, amount: int, *, workers: int, now_s: float) -> int:
        """What this worker may take by itself, without Redis: its part of what remained when Redis was last heard in
        this window, else of the limit. A part is never too small for `amount`, as long as that remained.
        """
        while self.alone and self.alone[0].at_s <= now_s - self.quota.window_s:
            self.alone.popleft()
        if now_s >= self.known_until_s:
            most = max(amount, self.quota.limit // workers)
        else:
            most = max(amount, self.beside // workers) if self.beside >= amount else 0
        return most - sum(use.amount for use in self.alone)

    def is_full(self, amount: int, now_s: float) -> bool:
        """Whether Redis, which nobody has to ask for it, would refuse this request."""
        return now_s < self.full_until_s and amount == 1

    def was_full(self, *, now_s: float, wait_s: float) -> None:
        """Redis has refused one more, and nobody holds a lease: what others give back may make room before the time."""
        self.free_at_s = now_s + wait_s
        self.full_until_s = now_s + min(wait_s, FULL_S)

    def wait_alone_s(self, amount: int, *, workers: int, now_s: float) -> float:
        """Seconds until this worker may take it by itself: 0 = now."""
        over = amount - self.left_alone(amount, workers=workers, now_s=now_s)
        if over <= 0:
            return 0.0
        for use in self.alone:
            over -= use.amount
            if over <= 0:
                return use.at_s + self.quota.window_s - now_s
        return max(self.known_until_s - now_s, 0.0) or self.quota.window_s

    @property
    def known_until_s(self) -> float:
        """Until then what Redis said last bounds what may be used."""
        return 0.0 if self.heard_s is None else self.heard_s + self.quota.window_s


@record(frozen=True, slots=True)
class Taken:
    """What one decision took: of each subject what, and how much of each."""

    uses: Sequence[tuple[Share, Use]]
    amount: int

    def settle(self, amount: int) -> Iterator[Share]:
        """It came to this much; the shares of which Redis has to hear."""
        if amount != self.amount:
            for share, use in self.uses:
                if share.correct(use, amount - self.amount):
                    yield share
