"""Budgets: what is held and let go comes to what was spent, and never to more than the limit."""

import shutil
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_app.errors import BudgetExceeded
from omni_app.gateway.budgets import Budgets, Reservation
from omni_app.gateway.types import Caller
from omni_app.storage import budgets as budget_rows
from omni_app.storage.budgets import Period
from omni_app.storage.database import Database
from omni_app.storage.ledger import RequestRecord
from omni_app.storage.spool import Drainer, Spool
from omni_app.verify import budgets as checks
from tests.cases import batch, batches
from tests.storage.facts import NOON, record

pytestmark = pytest.mark.invariants


@dataclass(frozen=True)
class Ask:
    """One request: what it may cost at most, which part of that it did cost, and whether it ends at once or last."""

    worst: int
    percent: int
    at_once: bool

    @property
    def cost(self) -> int:
        return self.worst * self.percent // 100


@dataclass(frozen=True)
class Plan:
    """One budget and what is asked of it, in order."""

    limit: int
    period: Period
    asks: list[Ask]


PLANS = st.builds(
    Plan,
    st.integers(0, 10**6),
    st.sampled_from(budget_rows.PERIODS),
    st.lists(st.builds(Ask, st.integers(0, 400_000), st.integers(0, 100), st.booleans()), min_size=1, max_size=6),
)


@batches()
@given(plans=batch(PLANS))
async def test_reserving_settling_and_giving_back_comes_to_what_was_spent(
    migrated_sqlite: Path, plans: list[Plan]
) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copyfile(migrated_sqlite, folder / "omni.db")
        database = Database(f"sqlite:///{folder / 'omni.db'}", patience_s=None)
        budgets, spool = Budgets(database, now=lambda: NOON), Spool(folder / "spool")
        callers = [await limited(database, plan) for plan in plans]
        costs = [await spend(budgets, spool, caller, plan) for caller, plan in zip(callers, plans, strict=True)]
        await Drainer(spool, database, budgets.outstanding).flush()
        spool.close()
        async with database.session() as session:
            standing = [(await budget_rows.standings(session, org_id=one.org_id, now=NOON))[0] for one in callers]
        assert [one.spent for one in standing] == costs, "what is on its way is let go, what was spent is booked"
        await budgets.close()
        async with database.session() as session:
            standing = [(await budget_rows.standings(session, org_id=one.org_id, now=NOON))[0] for one in callers]
            found = await checks.periods(session, kept_since=NOON - timedelta(days=400))
            late = await checks.deadlines(session, now=NOON)
        await database.close()
    assert [(one.spent, one.reserved) for one in standing] == [(cost, 0) for cost in costs]
    assert all(cost <= plan.limit for cost, plan in zip(costs, plans, strict=True))
    assert [one.violations for one in (*found, late)] == [0, 0, 0]
    assert found[0].checked == len(plans)


async def limited(database: Database, plan: Plan) -> Caller:
    """A new org's key with the plan's budget."""
    caller = Caller(org_id=uuid4(), key_id=uuid4(), kind="live")
    async with database.session() as session:
        terms = await budget_rows.set_budget(
            session, org_id=caller.org_id, key_id=caller.key_id, period=plan.period, limit=plan.limit, now=NOON
        )
        await session.commit()
    return replace(caller, budgets=(terms,))


async def spend(budgets: Budgets, spool: Spool, caller: Caller, plan: Plan) -> int:
    """Plays the plan; gives what it cost. What fits is not refused, and what is refused does not fit."""
    spent = 0
    held: list[tuple[Reservation, RequestRecord]] = []
    for ask in plan.asks:
        row = replace(record(uuid4().hex), org_id=caller.org_id, key_id=caller.key_id, cost=ask.cost, created_at=NOON)
        left = plan.limit - spent - sum(one.amount for one, _ in held)
        try:
            reserved = await budgets.reserve(
                caller, request_id=row.request_id, least=ask.worst, most=ask.worst, at=NOON
            )
        except BudgetExceeded:
            assert ask.worst > left
            continue
        assert ask.worst <= left
        held.append((reserved, row))
        if ask.at_once:
            spent += end(budgets, spool, *held.pop())
    return spent + sum(end(budgets, spool, *one) for one in held)


def end(budgets: Budgets, spool: Spool, reserved: Reservation, row: RequestRecord) -> int:
    """Settles first, as the gateway does."""
    budgets.settle(reserved, row.cost)
    spool.finish(row)
    return row.cost
