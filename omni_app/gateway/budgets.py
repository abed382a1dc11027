"""Budgets at work: a request's worst case is reserved before a provider is called, what it did cost is settled after.

A worker decides in memory, from the leases that it holds (`omni_app.storage.leases`); only when a lease is too small
the database is asked for more. Near its limit a budget is given out request by request, and what is left over goes
back at once. So all workers together never spend more than the limit.
"""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from omni_app.errors import BudgetExceeded, Unavailable
from omni_app.gateway.types import Caller
from omni_app.money import usd_text
from omni_app.storage import leases
from omni_app.storage.budgets import BudgetTerms
from omni_app.storage.database import DATABASE_ERRORS, Database
from omni_app.storage.leases import LeaseRef, Outstanding, Taken
from omni_app.storage.pause import pause
from omni_app.storage.tables import utc_now

LEASE_S = 900.0
"""How long the database keeps a lease that nobody renews, at the least: the worker is dead, or cut off from it."""
USABLE_S = 600.0
"""How long a worker may begin requests on a lease that it could not renew; the rest is for those on their way."""
BOOKED_WITHIN_S = 60.0
"""A request that has ended is in the ledger's table by then, or its worker is as good as dead."""
RENEW_S = 60.0
IDLE_S = 2.0
"""A lease that no request has asked for this long is given back."""
TEND_S = 1.0
TIGHT_S = 0.05
"""As `TEND_S`, once something is left over of a budget that is near its limit."""
STEP_S = 5.0
"""A wall clock that moves by this much more or less than the monotonic one was set."""
TAKE_S = 3.0
"""A request waits no longer than this for the database to give its budget out."""
AWAY_S = 1.0
"""After the database did not answer, nobody asks it again for this long."""
NEVER = datetime.min.replace(tzinfo=UTC)
AWAY = "this key has a budget, and the database that keeps it does not answer; try again in a moment"


@dataclass(slots=True, eq=False)
class Lease:
    """What this worker may spend of one period of one budget, from memory. All amounts in pico-dollars."""

    ref: LeaseRef
    limit: int
    usable_until_s: float
    touched_s: float
    granted: int = 0
    used: int = 0
    reserved: int = 0
    tight: bool = False
    """Whether the budget was near its limit when this lease last grew."""
    doubtful: bool = False
    """Whether the database may have heard something else than we did: then it is never renewed."""
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def free(self) -> int:
        """What no request has spent or may spend."""
        return self.granted - self.used - self.reserved


@dataclass(slots=True)
class Reservation:
    """What one request may cost at most, held in each budget that it counts against."""

    request_id: str
    amount: int
    leases: Sequence[Lease]
    _outstanding: Outstanding

    def covers(self, cost: int) -> bool:
        """Whether the request may come to cost this much. Grows from what the leases have free; never waits."""
        more = cost - self.amount
        if more > 0 and all(lease.free >= more for lease in self.leases):
            self.amount += more
            for lease in self.leases:
                lease.reserved += more
        return cost <= self.amount

    def settle(self, cost: int) -> None:
        """Gives up what was reserved and keeps what the request did cost, until its row is in the ledger's table."""
        for lease in self.leases:
            lease.reserved -= self.amount
            lease.used += cost
        if cost and self.leases:
            self._outstanding.note(self.request_id, tuple(lease.ref for lease in self.leases))
        self.leases, self.amount = (), 0


@dataclass(slots=True)
class Budgets:
    """One worker's leases. `outstanding` is shared with the drainer, which books what is settled here."""

    database: Database
    outstanding: Outstanding = field(default_factory=Outstanding)
    lease_s: float = LEASE_S
    now: Callable[[], datetime] = utc_now
    clock: Callable[[], float] = time.monotonic
    _leases: dict[tuple[UUID, datetime], Lease] = field(default_factory=dict)
    _left_over: asyncio.Event = field(default_factory=asyncio.Event)
    _away_until_s: float = 0.0
    _renewed_s: float = 0.0
    _wall_ahead_s: float = -math.inf
    _wall_trusted_from_s: float = 0.0

    async def reserve(self, caller: Caller, *, request_id: str, least: int, most: int, at: datetime) -> Reservation:
        """Holds `most` in each of the caller's budgets; less, down to `least`, where no more is left.

        `at` is the instant that the ledger's row will carry. Raises `BudgetExceeded` when one of the budgets does not
        cover `least`; `Unavailable` when no lease covers it and the database is away.
        """
        held = Reservation(request_id, most, (), self.outstanding)
        amounts: list[int] = []
        try:
            for terms in caller.budgets:
                lease, amount = await self._hold(terms, caller.org_id, least=least, most=held.amount, at=at)
                held.leases = (*held.leases, lease)
                amounts.append(amount)
                held.amount = amount
        except BaseException:
            for lease, amount in zip(held.leases, amounts, strict=True):
                self._let_go(lease, amount)
            raise
        for lease, amount in zip(held.leases, amounts, strict=True):
            self._let_go(lease, amount - held.amount)
        return held

    def settle(self, held: Reservation, cost: int) -> None:
        """The request is over, and its attempts did cost this much together."""
        tight = any(lease.tight for lease in held.leases)
        held.settle(cost)
        if tight:
            self._left_over.set()

    def _let_go(self, lease: Lease, amount: int) -> None:
        lease.reserved -= amount
        if lease.tight:
            self._left_over.set()

    async def _hold(
        self, terms: BudgetTerms, org_id: UUID, *, least: int, most: int, at: datetime
    ) -> tuple[Lease, int]:
        lease = self._lease(terms, at)
        if lease.free < most or lease.limit != terms.limit:
            async with lease.asking:
                if lease.limit != terms.limit:
                    await self._give_back(lease)
                    lease.limit = terms.limit
                return lease, await self._grow(lease, terms, org_id, least=least, most=most, at=at)
        lease.reserved += most
        return lease, most

    def _lease(self, terms: BudgetTerms, at: datetime) -> Lease:
        """The lease for the period that holds this instant; a new one, still empty, where there is none to use."""
        key, now_s = (terms.id, terms.starts_at(at)), self.clock()
        lease = self._leases.get(key)
        if lease is None or now_s >= lease.usable_until_s:
            lease = Lease(LeaseRef(uuid4(), *key), terms.limit, usable_until_s=now_s + USABLE_S, touched_s=now_s)
            self._leases[key] = lease
        lease.touched_s = now_s
        return lease

    async def _grow(
        self, lease: Lease, terms: BudgetTerms, org_id: UUID, *, least: int, most: int, at: datetime
    ) -> int:
        """Holds what is free, then what the database gives of what is missing: `least` together, or it raises.

        What is free is held before the database is asked: nobody else takes it meanwhile.
        """
        amount = min(most, lease.free)
        lease.reserved += amount
        if amount == most:
            return amount
        try:
            taken = await self._take(lease, terms, org_id, least=least - amount, most=most - amount)
            if taken is not None and taken.granted is None:
                raise exceeded(terms, taken, own=lease.free + amount, needed=least, at=at)
        except BaseException:
            lease.reserved -= amount
            raise
        if taken is not None:
            lease.granted += taken.granted or 0
            lease.tight = taken.tight
        more = min(most - amount, lease.free)
        lease.reserved += more
        return amount + more

    async def _take(self, lease: Lease, terms: BudgetTerms, org_id: UUID, *, least: int, most: int) -> Taken | None:
        """None when the lease is all there is to go by, and it is enough: the database is away, or the budget gone."""
        try:
            if self.clock() < self._away_until_s:
                raise TimeoutError
            async with asyncio.timeout(TAKE_S), self.database.session() as session:
                taken = await leases.take(
                    session, terms, org_id=org_id, lease=lease.ref, least=least, most=most, now=self._lapsed_by(),
                    expires_at=self.now() + timedelta(seconds=self.lease_s),
                )  # fmt: skip
                await session.commit()
        except asyncio.CancelledError:
            lease.doubtful = True
            raise
        except DATABASE_ERRORS as error:
            if self.clock() >= self._away_until_s:
                self._away_until_s, lease.doubtful = self.clock() + AWAY_S, True
            if least <= 0:
                return None
            raise Unavailable(AWAY, headers={"Retry-After": "2"}) from error
        if taken is None:  # removed: this request is the last that still believes in it
            lease.granted += max(0, most)
        return taken

    async def run(self, stopping: asyncio.Event) -> None:
        """Looks after the leases until it is to stop, then gives all of them back."""
        while not stopping.is_set():
            await self._wait(stopping)
            with suppress(*DATABASE_ERRORS):  # they live on until they lapse; requests tell
                await self.tend()
        with suppress(*DATABASE_ERRORS):
            await self.close()

    async def _wait(self, stopping: asyncio.Event) -> None:
        stop, left_over = asyncio.create_task(stopping.wait()), asyncio.create_task(self._left_over.wait())
        await asyncio.wait({stop, left_over}, timeout=TEND_S, return_when=asyncio.FIRST_COMPLETED)
        for waiting in (stop, left_over):
            waiting.cancel()
        await asyncio.gather(stop, left_over, return_exceptions=True)
        if self._left_over.is_set():
            await pause(stopping, TIGHT_S)

    async def tend(self) -> None:
        """Gives back what is not needed, renews the rest, ends what others left. Raises what the database raises."""
        self._left_over.clear()
        self._watch_wall()
        now_s = self.clock()
        for key, lease in list(self._leases.items()):
            idle = now_s - lease.touched_s >= IDLE_S
            if (idle or lease.tight) and lease.free > 0 and not lease.asking.locked():
                async with lease.asking:
                    await self._give_back(lease)
            if self.clock() - lease.touched_s >= IDLE_S and not lease.reserved and lease.free <= 0:
                self._leases.pop(key, None)
        if now_s - self._renewed_s >= RENEW_S:
            await self._renew(now_s)

    async def _renew(self, now_s: float) -> None:
        self._renewed_s = now_s
        kept = [lease for lease in self._leases.values() if not lease.doubtful and now_s < lease.usable_until_s]
        async with self.database.session() as session:
            expires_at = self.now() + timedelta(seconds=self.lease_s)
            await leases.renew(session, lease_ids=[lease.ref.id for lease in kept], expires_at=expires_at)
            await session.commit()  # to sweep is to lock periods, and these come before leases
            await leases.sweep(session, now=self._lapsed_by())
            await session.commit()
        for lease in kept:
            lease.usable_until_s = now_s + USABLE_S

    def _lapsed_by(self) -> datetime:
        """A lease that was to end by this instant is nobody's.

        None is for a while after the start and after the wall clock was set: until its worker has renewed it, a lease
        ends by the clock as it was.
        """
        self._watch_wall()
        return self.now() if self.clock() >= self._wall_trusted_from_s else NEVER

    def _watch_wall(self) -> None:
        ahead_s = self.now().timestamp() - self.clock()
        if abs(ahead_s - self._wall_ahead_s) > STEP_S:
            self._wall_ahead_s, self._wall_trusted_from_s = ahead_s, self.clock() + 2 * RENEW_S

    async def close(self) -> None:
        """Gives everything back that no request holds. Raises what the database raises."""
        for lease in list(self._leases.values()):
            async with lease.asking:
                await self._give_back(lease)

    async def _give_back(self, lease: Lease) -> None:
        """What a lease has free is the others' again. It is out of our hands first: if we cannot tell whether the
        database heard of it, it is nobody's until the lease lapses.
        """
        amount = lease.free
        if amount <= 0:
            return
        lease.granted -= amount
        try:
            async with self.database.session() as session:
                await leases.give_back(session, lease.ref, amount=amount)
                await session.commit()
        except DATABASE_ERRORS:
            lease.doubtful = True
            raise


def lease_for(longest_s: float) -> float:
    """How long the database has to keep a lease where a request may take `longest_s`: one that began in the last second
    that the lease was usable ends, and is booked, before the lease lapses.
    """
    return max(LEASE_S, USABLE_S + longest_s + BOOKED_WITHIN_S)


def exceeded(terms: BudgetTerms, taken: Taken, *, own: int, needed: int, at: datetime) -> BudgetExceeded:
    """The 402: which budget, its limit, what is left, when it is whole again, what the request would need."""
    whose = "the org's" if terms.key_id is None else "this key's"
    limit, left = usd_text(taken.limit), max(0, taken.limit - taken.spent - taken.leased + own)
    span = "in total" if terms.period == "total" else f"a {terms.period}"
    held = taken.leased - own
    on_their_way = f", ${usd_text(held)} is held for requests on their way" if held > 0 else ""
    ends = terms.ends_at(at)
    reset = "it does not start anew" if ends is None else f"it starts anew at {ends:%Y-%m-%d %H:%M} UTC"
    return BudgetExceeded(
        f"{whose} budget of ${limit} {span} has ${usd_text(left)} left{on_their_way}; "
        f"this request could cost up to ${usd_text(needed)}; {reset}",
        headers={"x-should-retry": "false"},
    )
