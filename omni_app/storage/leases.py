"""Leases: slices of a budget that a worker may spend from memory, and the books in which they end.

For each period of a budget one row says what is `spent` (the sum of its ledger rows, no more and no less) and what is
`leased` (the sum of its leases). `spent + leased` never passes the limit when a lease grows, and a lease turns into
spending in the very transaction that writes the ledger's rows: so nothing is counted twice or not at all, whatever
dies in between. A lease that nobody renews lapses, and what its worker had spent is in the ledger or still in its
spool (docs/decisions/0010-budgets.md).
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import BigInteger, CursorResult, delete, func, insert, literal, select, text, update
from sqlalchemy import cast as sql_cast
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from omni_app.storage.budgets import BudgetTerms, budgets_of, counted, that_hold
from omni_app.storage.ledger import RequestRecord
from omni_app.storage.tables import Budget, BudgetLease, BudgetWindow, RequestRow, UtcDateTime

BOOKS_LOCK = 6_417_902
"""Postgres advisory lock: shared by whoever writes ledger rows, exclusive to whoever opens a period."""
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


@dataclass(slots=True)
class Outstanding:
    """One worker's requests that are settled in memory and not yet in the ledger's table: request id -> their leases."""

    leases: dict[str, tuple[UUID, ...]] = field(default_factory=dict)

    def note(self, request_id: str, lease_ids: tuple[UUID, ...]) -> None:
        """Before the request's record is written."""
        self.leases[request_id] = lease_ids

    def forget(self, records: Iterable[RequestRecord]) -> None:
        """After their rows are committed."""
        for record in records:
            self.leases.pop(record.request_id, None)


async def take(
    session: AsyncSession,
    terms: BudgetTerms,
    *,
    org_id: UUID,
    lease: BudgetLease,
    least: int,
    most: int,
    now: datetime,
) -> Taken | None:
    """Lets a lease grow by `most` and a spare part, near the limit by `least`; None when the budget is gone.

    `lease` says which one, of which period, and until when it lives from now on. The caller commits.
    """
    limit = await session.scalar(select(col(Budget.limit_pico)).where(col(Budget.id) == terms.id))
    if limit is None:
        return None
    spent, leased = await _held_window(session, terms, org_id=org_id, starts_at=lease.starts_at)
    if limit - spent - leased < most:
        leased -= await sweep(session, now=now, budget_id=terms.id)
    granted, tight = share(limit - spent - leased, least=least, most=most)
    if granted:
        await _grow(session, lease, granted)
    return Taken(granted, tight, limit, spent, leased)


def share(left: int, *, least: int, most: int) -> tuple[int | None, bool]:
    """What to give of what is left, and whether that is all there is to spare; None = not even `least` is left."""
    if left < most:
        return (None if left < least else max(0, least)), True
    spare = (left - max(0, most)) // SPARE_SHARE
    return (most, True) if spare < SPARE_REQUESTS * most else (most + spare, False)


async def _held_window(
    session: AsyncSession, terms: BudgetTerms, *, org_id: UUID, starts_at: datetime
) -> tuple[int, int]:
    """What is spent and leased of this period, its row locked until the transaction ends; opened when it is new."""
    mine = (col(BudgetWindow.budget_id) == terms.id, col(BudgetWindow.starts_at) == starts_at)
    hold = update(BudgetWindow).where(*mine).values(leased=col(BudgetWindow.leased))
    hold = hold.execution_options(synchronize_session=False)
    returning = hold.returning(col(BudgetWindow.spent), col(BudgetWindow.leased))
    found = (await session.execute(returning)).first()
    if found is None:
        await open_window(session, terms, org_id=org_id, starts_at=starts_at)
        found = (await session.execute(returning)).one()
    return found[0], found[1]


async def open_window(session: AsyncSession, terms: BudgetTerms, *, org_id: UUID, starts_at: datetime) -> None:
    """A period's row, with what the ledger already holds of it; nothing when it is there.

    No ledger row is written meanwhile: each one is either in the sum or booked after it.
    """
    await _lock_books(session, shared=False)
    rows = counted(terms, org_id=org_id, start=starts_at, end=terms.ends_at(starts_at))
    spent = sql_cast(func.coalesce(func.sum(col(RequestRow.cost)), 0), BigInteger)
    there = select(literal(1)).where(
        col(BudgetWindow.budget_id) == terms.id, col(BudgetWindow.starts_at) == starts_at
    )
    sum_up = select(
        literal(terms.id, BudgetWindow.__table__.c.budget_id.type),  # type: ignore[attr-defined]
        literal(starts_at, UtcDateTime()),
        spent,
        literal(0, BigInteger()),
    )
    columns = ["budget_id", "starts_at", "spent", "leased"]
    await session.execute(
        insert(BudgetWindow).from_select(columns, sum_up.where(rows).having(~there.exists()), include_defaults=False)
    )


async def _grow(session: AsyncSession, lease: BudgetLease, amount: int) -> None:
    window = (col(BudgetWindow.budget_id) == lease.budget_id, col(BudgetWindow.starts_at) == lease.starts_at)
    await session.execute(update(BudgetWindow).where(*window).values(leased=col(BudgetWindow.leased) + amount))
    more = update(BudgetLease).where(col(BudgetLease.id) == lease.id)
    more = more.values(amount=col(BudgetLease.amount) + amount, expires_at=lease.expires_at)
    done = cast(CursorResult[Any], await session.execute(more))
    if not done.rowcount:
        values = {"id": lease.id, "budget_id": lease.budget_id, "starts_at": lease.starts_at}
        await session.execute(insert(BudgetLease).values(**values, amount=amount, expires_at=lease.expires_at))


async def give_back(session: AsyncSession, *, lease_id: UUID, amount: int) -> None:
    """What a worker does not need is there for the others. The caller commits."""
    await _shrink(session, lease_id, amount)


async def renew(session: AsyncSession, *, lease_ids: Collection[UUID], expires_at: datetime) -> set[UUID]:
    """Lets leases live on; gives those that were still there. The caller commits."""
    alive = update(BudgetLease).where(col(BudgetLease.id).in_(lease_ids)).values(expires_at=expires_at)
    alive = alive.execution_options(synchronize_session=False)
    return set(await session.scalars(alive.returning(col(BudgetLease.id))))


async def sweep(session: AsyncSession, *, now: datetime, budget_id: UUID | None = None) -> int:
    """Ends the leases that nobody renewed; gives how much that sets free, in pico-dollars. The caller commits.

    What a dead worker had spent is in the ledger; what is still in its spool is booked when that is read.
    """
    old = delete(BudgetLease).where(col(BudgetLease.expires_at) <= now)
    if budget_id is not None:
        old = old.where(col(BudgetLease.budget_id) == budget_id)
    old = old.execution_options(synchronize_session=False)
    gone = await session.execute(
        old.returning(col(BudgetLease.budget_id), col(BudgetLease.starts_at), col(BudgetLease.amount))
    )
    freed: Counter[tuple[UUID, datetime]] = Counter()
    for budget, starts_at, amount in gone.all():
        freed[budget, starts_at] += amount
    for (budget, starts_at), amount in sorted(freed.items(), key=_in_order):
        await _add(session, budget, starts_at, leased=-amount)
    return sum(freed.values())


async def _shrink(session: AsyncSession, lease_id: UUID, amount: int) -> None:
    """Takes from a lease and from its period; nothing when the lease has lapsed."""
    less = update(BudgetLease).where(col(BudgetLease.id) == lease_id).values(amount=col(BudgetLease.amount) - amount)
    less = less.execution_options(synchronize_session=False)
    of = (await session.execute(less.returning(col(BudgetLease.budget_id), col(BudgetLease.starts_at)))).first()
    if of is not None:
        await _add(session, of[0], of[1], leased=-amount)


async def _add(
    session: AsyncSession, budget_id: UUID, starts_at: datetime, *, spent: int = 0, leased: int = 0
) -> None:
    window = (col(BudgetWindow.budget_id) == budget_id, col(BudgetWindow.starts_at) == starts_at)
    values = {"spent": col(BudgetWindow.spent) + spent, "leased": col(BudgetWindow.leased) + leased}
    await session.execute(update(BudgetWindow).where(*window).values(**values))


def _in_order(item: tuple[tuple[UUID, datetime], int]) -> tuple[str, datetime]:
    """One order everywhere: two workers cannot lock each other out."""
    (budget_id, starts_at), _ = item
    return str(budget_id), starts_at


# The books: ledger rows become spending


async def budgets_to_book(session: AsyncSession, records: Sequence[RequestRecord]) -> dict[UUID, tuple[BudgetTerms, ...]]:
    """The budgets of the orgs whose rows are about to be written; no period is opened until the transaction ends."""
    org_ids = {record.org_id for record in records if record.cost}
    if not org_ids:
        return {}
    await _lock_books(session, shared=True)
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
    used: Counter[UUID] = Counter()
    for record in records:
        for terms in that_hold(budgets.get(record.org_id, ()), key_id=record.key_id, kind=record.key_kind):
            spent[terms.id, terms.starts_at(record.created_at)] += record.cost
        for lease_id in outstanding.leases.get(record.request_id, ()):
            used[lease_id] += record.cost
    for (budget_id, starts_at), amount in sorted(spent.items(), key=_in_order):
        await _add(session, budget_id, starts_at, spent=amount)
    for lease_id in sorted(used, key=str):
        await _shrink(session, lease_id, used[lease_id])


async def _lock_books(session: AsyncSession, *, shared: bool) -> None:
    """Until the transaction ends. SQLite has one writer at a time: there it is enough to begin to write."""
    if session.get_bind().dialect.name == "postgresql":
        name = "pg_advisory_xact_lock_shared" if shared else "pg_advisory_xact_lock"
        await session.execute(text(f"SELECT {name}(:number)"), {"number": BOOKS_LOCK})
    else:
        await session.execute(text("UPDATE budget_windows SET spent = spent WHERE budget_id IS NULL"))
