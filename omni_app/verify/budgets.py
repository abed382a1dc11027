"""Budgets against the ledger: what a period says is spent and leased, and leases that should have ended."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta

from sqlalchemy import and_, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from omni_app.storage.budgets import counted, terms_of
from omni_app.storage.tables import Budget, BudgetLease, BudgetWindow, RequestRow
from omni_app.verify.findings import Finding
from omni_app.verify.reading import AT_ONCE, streamed

SWEPT_WITHIN = timedelta(minutes=5)
"""Every worker ends lapsed leases each minute (`gateway.budgets.RENEW_S`); the rest is for one that is held up."""
LET_GO = "the period began before the oldest rows that are kept"
NOBODY = "it has lapsed, and no request was served since: the next worker ends it"
OVER = (
    "no violation, for a limit may be lowered, a provider may write more than it was told, "
    "and what a dead worker had spent is booked late, after its lease has lapsed"
)


async def periods(session: AsyncSession, *, kept_since: datetime) -> list[Finding]:
    """Of every period: `spent` is the sum of its rows, `leased` that of its leases."""
    spent = Finding("a budget's period has spent what its rows are billed")
    leased = Finding("a budget's period has leased what its leases hold")
    over = 0
    async for window, budget in _windows(session):
        await _spent(session, spent, window, budget, kept_since=kept_since)
        leased.equal(_name(window, budget), kept=window.leased, computed=await _held(session, window))
        over += budget is not None and window.spent > budget.limit_pico
    if over:
        spent.notes.append(f"{over} over the limit: {OVER}")
    await _without_window(session, leased)
    return [spent, leased]


async def _windows(session: AsyncSession) -> AsyncIterator[tuple[BudgetWindow, Budget | None]]:
    """Every period with its budget, a page at a time; the budget is None when it is gone."""
    columns = (col(BudgetWindow.budget_id), col(BudgetWindow.starts_at))
    query = select(BudgetWindow, Budget).outerjoin(Budget, col(Budget.id) == col(BudgetWindow.budget_id))
    query = query.order_by(*columns).limit(AT_ONCE)
    wanted = query
    while page := (await session.execute(wanted)).all():
        for window, budget in page:
            yield window, budget
        last = page[-1][0]
        session.expunge_all()
        wanted = query.where(tuple_(*columns) > (last.budget_id, last.starts_at))


def _name(window: BudgetWindow, budget: Budget | None) -> str:
    return f"{budget.period if budget else 'budget'} of {window.budget_id} from {window.starts_at:%Y-%m-%d %H:%M}"


async def _spent(
    session: AsyncSession, finding: Finding, row: BudgetWindow, budget: Budget | None, *, kept_since: datetime
) -> None:
    where = _name(row, budget)
    if budget is None:
        finding.holds(where, true=False, told="there is no such budget")
    elif row.starts_at < kept_since:
        finding.skip(LET_GO)
    else:
        terms = terms_of(budget)
        which = counted(terms, org_id=budget.org_id, start=row.starts_at, end=terms.ends_at(row.starts_at))
        sum_of_rows = await session.scalar(
            select(func.coalesce(func.sum(col(RequestRow.cost) + col(RequestRow.markup)), 0)).where(which)
        )
        finding.equal(where, kept=row.spent, computed=int(sum_of_rows or 0))


async def _held(session: AsyncSession, row: BudgetWindow) -> int:
    of_it = and_(col(BudgetLease.budget_id) == row.budget_id, col(BudgetLease.starts_at) == row.starts_at)
    return int(await session.scalar(select(func.coalesce(func.sum(col(BudgetLease.amount)), 0)).where(of_it)) or 0)


async def _without_window(session: AsyncSession, finding: Finding) -> None:
    of_it = and_(
        col(BudgetWindow.budget_id) == col(BudgetLease.budget_id),
        col(BudgetWindow.starts_at) == col(BudgetLease.starts_at),
    )
    alone = select(col(BudgetLease.id)).where(~select(BudgetWindow).where(of_it).exists())
    async for (lease_id,) in streamed(session, alone):
        finding.holds(f"lease {lease_id}", true=False, told="there is no such period")


async def deadlines(session: AsyncSession, *, now: datetime) -> Finding:
    """A lease that nobody renews is ended, once there is a worker to do it: requests served since tell of one."""
    finding = Finding("no lease outlives its deadline")
    served = select(func.max(col(RequestRow.created_at))).where(col(RequestRow.created_at) <= now - SWEPT_WITHIN)
    served_at = await session.scalar(served)
    query = select(col(BudgetLease.id), col(BudgetLease.expires_at))
    async for lease_id, expires_at in streamed(session, query):
        if expires_at + SWEPT_WITHIN > now:
            finding.holds(str(lease_id), true=True)
        elif served_at is None or served_at <= expires_at + SWEPT_WITHIN:
            finding.skip(NOBODY)
        else:
            finding.holds(f"lease {lease_id}", true=False, told=f"lapsed at {expires_at:%Y-%m-%d %H:%M:%S} UTC")
    return finding
