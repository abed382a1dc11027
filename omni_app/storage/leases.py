"""Leases: slices of a budget that a worker may spend from memory, and the books in which they end.

For each period of a budget one row says what is `spent` (the sum of its ledger rows, no more and no less) and what is
`leased` (the sum of its leases). `spent + leased` never passes the limit when a lease grows, and a lease turns into
spending in the very transaction that writes the ledger's rows: so nothing is counted twice or not at all, whatever
dies in between. A lease that nobody renews lapses, and what its worker had spent is in the ledger or still in its
spool (docs/decisions/0010-budgets.md).
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import CursorResult, Update, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from omni_app.storage.budgets import BudgetTerms, budgets_of, lock_books, open_window, that_hold
from omni_app.storage.ledger import RequestRecord
from omni_app.storage.tables import Budget, BudgetLease, BudgetWindow

SPARE_SHARE = 16
"""Of what is left, a lease gets this part beyond what is asked for, so that most requests need no database …"""
SPARE_REQUESTS = 4
"""… unless that part is worth fewer requests than this: near its limit a budget is given out request by request."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of asking for more: `granted` None = refused. Figures of the period as they stood; pico-dollars."""

    granted: int | None
    tight: bool
    """Whether the budget is near its limit, so that nothing beyond what was asked for was given."""
    limit: int
    spent: int
    leased: int


@dataclass(frozen=True, slots=True)
class LeaseRef:
    """Which lease, of which period of which budget."""

    id: UUID
    budget_id: UUID
    starts_at: datetime


@dataclass(slots=True)
class Outstanding:
    """One worker's requests that are settled in memory but not yet in the ledger's table: id -> their leases."""

    leases: dict[str, tuple[LeaseRef, ...]] = field(default_factory=dict)

    def note(self, request_id: str, leases: tuple[LeaseRef, ...]) -> None:
        """Before the request's record is drained."""
        self.leases[request_id] = leases

    def forget(self, records: Iterable[RequestRecord]) -> None:
        """After their rows are committed."""
        for record in records:
            self.leases.pop(record.request_id, None)


# In every transaction the books are locked before periods' rows, a period's before its leases', and leases in the order
# of their periods: two workers cannot lock each other out.


async def take(
    session: AsyncSession,
    terms: BudgetTerms,
    *,
    org_id: UUID,
    lease: LeaseRef,
    least: int,
    most: int,
    now: datetime,
    expires_at: datetime,
) -> Taken | None:
    """Lets a lease grow by `most` and a spare part, near the limit by `least`; None when the budget is gone.

    The lease is made when it is new, and lives until `expires_at`. The caller commits.
    """
    found = await _hold(session, terms.id, lease.starts_at)
    limit = await session.scalar(select(col(Budget.limit_pico)).where(col(Budget.id) == terms.id))
    if limit is None:
        return None
    if found is None:
        await open_window(session, terms, org_id=org_id, starts_at=lease.starts_at)
        found = await _hold(session, terms.id, lease.starts_at) or (0, 0)
    spent, leased = found
    if limit - spent - leased < most:
        leased -= await _sweep_window(session, terms.id, lease.starts_at, now=now)
    granted, tight = share(limit - spent - leased, least=least, most=most)
    if granted:
        await _grow(session, lease, granted, expires_at=expires_at)
    return Taken(granted, tight, limit, spent, leased)


def share(left: int, *, least: int, most: int) -> tuple[int | None, bool]:
    """What to give of what is left, and whether the budget is near its limit; None = not even `least` is left."""
    if left < most:
        return (None if left < least else max(0, least)), True
    spare = (left - max(0, most)) // SPARE_SHARE
    return (max(0, most), True) if spare < SPARE_REQUESTS * most else (max(0, most) + spare, False)


async def _hold(session: AsyncSession, budget_id: UUID, starts_at: datetime) -> tuple[int, int] | None:
    """What is spent and leased of this period, its row locked until the transaction ends; None when it is not open."""
    hold = _window(budget_id, starts_at).values(leased=col(BudgetWindow.leased))
    found = (await session.execute(hold.returning(col(BudgetWindow.spent), col(BudgetWindow.leased)))).first()
    return None if found is None else (found[0], found[1])


def _window(budget_id: UUID, starts_at: datetime) -> Update:
    mine = (col(BudgetWindow.budget_id) == budget_id, col(BudgetWindow.starts_at) == starts_at)
    return update(BudgetWindow).where(*mine).execution_options(synchronize_session=False)


async def _grow(session: AsyncSession, lease: LeaseRef, amount: int, *, expires_at: datetime) -> None:
    await _add(session, lease.budget_id, lease.starts_at, leased=amount)
    more = update(BudgetLease).where(col(BudgetLease.id) == lease.id)
    more = more.values(amount=col(BudgetLease.amount) + amount, expires_at=expires_at)
    done = cast(CursorResult[Any], await session.execute(more.execution_options(synchronize_session=False)))
    if not done.rowcount:
        values = {"id": lease.id, "budget_id": lease.budget_id, "starts_at": lease.starts_at}
        await session.execute(insert(BudgetLease).values(**values, amount=amount, expires_at=expires_at))


async def give_back(session: AsyncSession, lease: LeaseRef, *, amount: int) -> None:
    """What a worker does not need is there for the others; nothing when the lease has lapsed. The caller commits."""
    await _add(session, lease.budget_id, lease.starts_at)
    less = update(BudgetLease).where(col(BudgetLease.id) == lease.id).values(amount=col(BudgetLease.amount) - amount)
    done = cast(CursorResult[Any], await session.execute(less.execution_options(synchronize_session=False)))
    if done.rowcount:
        await _add(session, lease.budget_id, lease.starts_at, leased=-amount)


async def renew(session: AsyncSession, *, lease_ids: Collection[UUID], expires_at: datetime) -> None:
    """Lets leases live on. The caller commits. They are locked in the order of their periods, as `book` does."""
    mine = col(BudgetLease.id).in_(lease_ids)
    in_order = select(col(BudgetLease.id)).where(mine).order_by(col(BudgetLease.budget_id), col(BudgetLease.starts_at))
    await session.execute(in_order.with_for_update())
    alive = update(BudgetLease).where(mine).values(expires_at=expires_at)
    await session.execute(alive.execution_options(synchronize_session=False))


async def sweep(session: AsyncSession, *, now: datetime) -> int:
    """Ends the leases that nobody renewed; gives how much that sets free, in pico-dollars. The caller commits.

    What a dead worker had spent is in the ledger; what is still in its spool is booked when that is read.
    """
    old = select(col(BudgetLease.budget_id), col(BudgetLease.starts_at)).where(col(BudgetLease.expires_at) <= now)
    freed = 0
    for budget_id, starts_at in sorted({(row[0], row[1]) for row in await session.execute(old)}, key=_in_order):
        await _hold(session, budget_id, starts_at)
        freed += await _sweep_window(session, budget_id, starts_at, now=now)
    return freed


async def _sweep_window(session: AsyncSession, budget_id: UUID, starts_at: datetime, *, now: datetime) -> int:
    """As `sweep`, of one period whose row is locked."""
    of = (col(BudgetLease.budget_id) == budget_id, col(BudgetLease.starts_at) == starts_at)
    old = delete(BudgetLease).where(*of, col(BudgetLease.expires_at) <= now)
    old = old.execution_options(synchronize_session=False)
    freed = sum(await session.scalars(old.returning(col(BudgetLease.amount))))
    if freed:
        await _add(session, budget_id, starts_at, leased=-freed)
    return freed


async def _add(session: AsyncSession, budget_id: UUID, starts_at: datetime, *, spent: int = 0, leased: int = 0) -> None:
    values = {"spent": col(BudgetWindow.spent) + spent, "leased": col(BudgetWindow.leased) + leased}
    await session.execute(_window(budget_id, starts_at).values(**values))


def _in_order(window: tuple[UUID, datetime]) -> tuple[str, datetime]:
    """One order of periods everywhere."""
    return str(window[0]), window[1]


# The books: ledger rows become spending


async def budgets_to_book(
    session: AsyncSession, records: Iterable[RequestRecord]
) -> Mapping[UUID, Sequence[BudgetTerms]]:
    """The budgets of the orgs whose rows are about to be written; no period is opened until the transaction ends."""
    org_ids = {record.org_id for record in records if record.cost}
    if not org_ids:
        return {}
    await lock_books(session, shared=True)
    return await budgets_of(session, org_ids=org_ids)


async def book(
    session: AsyncSession,
    records: Iterable[RequestRecord],
    *,
    budgets: Mapping[UUID, Sequence[BudgetTerms]],
    outstanding: Outstanding,
) -> None:
    """Adds newly written rows to what is spent, and takes them out of the leases that held them back."""
    spent: Counter[tuple[UUID, datetime]] = Counter()
    used: Counter[LeaseRef] = Counter()
    for record in records:
        for terms in that_hold(budgets.get(record.org_id, ()), key_id=record.key_id, kind=record.key_kind):
            starts_at = terms.starts_at(record.created_at)
            if record.created_at >= starts_at:  # a total holds for what began after it was set
                spent[terms.id, starts_at] += record.billed
        for lease in outstanding.leases.get(record.request_id, ()):
            used[lease] += record.billed
    by_window: defaultdict[tuple[UUID, datetime], list[LeaseRef]] = defaultdict(list)
    for lease in used:
        by_window[lease.budget_id, lease.starts_at].append(lease)
    for window in sorted({*spent, *by_window}, key=_in_order):
        await _add(session, *window, spent=spent[window])
        for lease in by_window[window]:
            await give_back(session, lease, amount=used[lease])
