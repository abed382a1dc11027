"""Budgets: what a key or an org may spend in a period, who set it, and how far it is used.

What a period has cost is always the ledger's own sum (`omni_app.storage.leases` keeps it up to date in the transaction
that writes the rows), so a budget and the usage pages cannot disagree. Periods are UTC.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from sqlalchemy import BigInteger, ColumnElement, and_, delete, func, inspect, literal, select, text
from sqlalchemy import cast as sql_cast
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from omni_app.routing.types import KeyKind
from omni_app.storage.meta import REVOCATIONS, bump
from omni_app.storage.tables import Budget, BudgetLease, BudgetWindow, RequestRow

BOOKS_LOCK = 6_417_902
"""Postgres advisory lock: shared by whoever writes ledger rows, exclusive to whoever opens a period."""

Period = Literal["day", "week", "month", "total"]
PERIODS: tuple[Period, ...] = ("day", "week", "month", "total")
PERIOD_OF: Mapping[str, Period] = {one: one for one in PERIODS}


@dataclass(frozen=True, slots=True)
class BudgetTerms:
    """One budget as a worker keeps it in memory; `key_id` None = the whole org's, which counts live keys only."""

    id: UUID
    key_id: UUID | None
    period: Period
    limit: int
    """Pico-dollars."""
    since: datetime
    """When it was set: where a `total` begins."""

    def starts_at(self, moment: datetime) -> datetime:
        """The beginning of the period that holds `moment` (UTC; weeks begin on Monday)."""
        midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
        match self.period:
            case "day":
                return midnight
            case "week":
                return midnight - timedelta(days=midnight.weekday())
            case "month":
                return midnight.replace(day=1)
            case "total":
                return self.since

    def ends_at(self, moment: datetime) -> datetime | None:
        """When the period that holds `moment` is over and the budget is whole again; None for a total."""
        start = self.starts_at(moment)
        match self.period:
            case "day":
                return start + timedelta(days=1)
            case "week":
                return start + timedelta(days=7)
            case "month":
                return (start + timedelta(days=32)).replace(day=1)
            case "total":
                return None

    def holds_for(self, *, key_id: UUID, kind: KeyKind) -> bool:
        """Whether a request of this key counts: its own budget always, the org's when the key is a live one."""
        return self.key_id == key_id if self.key_id is not None else kind == "live"


async def budgets_of(session: AsyncSession, *, org_ids: Collection[UUID]) -> dict[UUID, tuple[BudgetTerms, ...]]:
    """Org -> the budgets of the org and of its keys; an org without any is missing."""
    found: dict[UUID, tuple[BudgetTerms, ...]] = {}
    query = select(Budget).where(col(Budget.org_id).in_(org_ids)).order_by(col(Budget.created_at), col(Budget.id))
    for row in await session.scalars(query):
        found[row.org_id] = (*found.get(row.org_id, ()), terms_of(row))
    return found


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a budget is used in the period of this moment; pico-dollars."""

    terms: BudgetTerms
    spent: int
    """The sum of the period's ledger rows."""
    reserved: int
    """Held for requests on their way, and by workers for the next ones."""

    @property
    def left(self) -> int:
        """Never below zero, though a limit may be lowered to less than is spent."""
        return max(0, self.terms.limit - self.spent - self.reserved)


async def standings(session: AsyncSession, *, org_id: UUID, now: datetime) -> list[Standing]:
    """Every budget of the org and of its keys, oldest first. Two queries."""
    found = (await budgets_of(session, org_ids=[org_id])).get(org_id, ())
    query = select(BudgetWindow).where(col(BudgetWindow.budget_id).in_([terms.id for terms in found]))
    starts = {terms.starts_at(now) for terms in found}
    rows = await session.scalars(query.where(col(BudgetWindow.starts_at).in_(starts))) if found else ()
    windows = {(row.budget_id, row.starts_at): (row.spent, row.leased) for row in rows}
    # A period without a row has not been asked for yet: nothing is spent of it.
    return [Standing(terms, *windows.get((terms.id, terms.starts_at(now)), (0, 0))) for terms in found]


def that_hold(terms: Iterable[BudgetTerms], *, key_id: UUID, kind: KeyKind) -> tuple[BudgetTerms, ...]:
    """Those of an org's budgets that a request of this key counts against."""
    return tuple(one for one in terms if one.holds_for(key_id=key_id, kind=kind))


def terms_of(row: Budget) -> BudgetTerms:
    """The terms of a budget's row."""
    period = PERIOD_OF.get(row.period, "total")
    return BudgetTerms(row.id, row.key_id, period, row.limit_pico, row.created_at)


async def set_budget(
    session: AsyncSession, *, org_id: UUID, key_id: UUID | None, period: Period, limit: int, now: datetime
) -> BudgetTerms:
    """Gives a key (or the org, `key_id=None`) this budget in place of the one it had. The caller commits.

    A new limit for the same period goes on from what is spent already. Every worker follows within a second; what is
    on its way at that moment is not held against a new budget, and counts as spent when it ends.
    """
    await lock_books(session, shared=False)  # before the periods' rows, as whoever books
    had = await _row_of(session, org_id=org_id, key_id=key_id)
    if had is not None and had.period == period:
        had.limit_pico = limit
        row = had
    else:
        if had is not None:
            await _forget(session, had.id)
        row = Budget(org_id=org_id, key_id=key_id, period=period, limit_pico=limit, created_at=now)
        session.add(row)
    await session.flush()
    await open_window(session, terms_of(row), org_id=org_id, starts_at=terms_of(row).starts_at(now))
    await bump(session, REVOCATIONS)
    return terms_of(row)


async def remove_budget(session: AsyncSession, *, org_id: UUID, key_id: UUID | None) -> bool:
    """Takes the budget of a key, or of the org, away. False when there was none. The caller commits."""
    await lock_books(session, shared=False)
    had = await _row_of(session, org_id=org_id, key_id=key_id)
    if had is None:
        return False
    await _forget(session, had.id)
    await bump(session, REVOCATIONS)
    return True


async def _row_of(session: AsyncSession, *, org_id: UUID, key_id: UUID | None) -> Budget | None:
    whose = col(Budget.key_id).is_(None) if key_id is None else col(Budget.key_id) == key_id
    query = select(Budget).where(col(Budget.org_id) == org_id, whose).order_by(col(Budget.created_at)).limit(1)
    return (await session.scalars(query.with_for_update())).first()


async def _forget(session: AsyncSession, budget_id: UUID) -> None:
    await session.execute(delete(BudgetWindow).where(col(BudgetWindow.budget_id) == budget_id))
    await session.execute(delete(BudgetLease).where(col(BudgetLease.budget_id) == budget_id))
    await session.execute(delete(Budget).where(col(Budget.id) == budget_id))


def counted(terms: BudgetTerms, *, org_id: UUID, start: datetime, end: datetime | None) -> ColumnElement[bool]:
    """The ledger rows that a period of this budget consists of."""
    whose = col(RequestRow.key_kind) == "live" if terms.key_id is None else col(RequestRow.key_id) == terms.key_id
    scope = and_(col(RequestRow.org_id) == org_id, whose, col(RequestRow.created_at) >= start)
    return scope if end is None else and_(scope, col(RequestRow.created_at) < end)


async def open_window(session: AsyncSession, terms: BudgetTerms, *, org_id: UUID, starts_at: datetime) -> None:
    """A period's row, with what the ledger already holds of it; nothing when it is there.

    No ledger row is written meanwhile: each one is either in the sum or booked after it.
    """
    await lock_books(session, shared=False)
    columns = {one.name: one.type for one in inspect(BudgetWindow).local_table.columns}
    total = select(
        literal(terms.id, columns["budget_id"]),
        literal(starts_at, columns["starts_at"]),
        sql_cast(func.coalesce(func.sum(col(RequestRow.cost) + col(RequestRow.markup)), 0), BigInteger),
        literal(0, columns["leased"]),
    ).where(counted(terms, org_id=org_id, start=starts_at, end=terms.ends_at(starts_at)))
    dialect = session.get_bind().dialect.name
    made = (postgresql if dialect == "postgresql" else sqlite).insert(BudgetWindow)
    await session.execute(
        made.from_select(["budget_id", "starts_at", "spent", "leased"], total).on_conflict_do_nothing()
    )


async def lock_books(session: AsyncSession, *, shared: bool) -> None:
    """Until the transaction ends. SQLite has one writer at a time: there it is enough to begin to write."""
    if session.get_bind().dialect.name == "postgresql":
        name = "pg_advisory_xact_lock_shared" if shared else "pg_advisory_xact_lock"
        await session.execute(text(f"SELECT {name}(:number)"), {"number": BOOKS_LOCK})
    else:
        await session.execute(text("UPDATE budget_windows SET spent = spent WHERE budget_id IS NULL"))
