"""Budgets and their leases in both databases: periods, what is given out, and that spending is the ledger's own sum."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select
from sqlmodel import col

from omni_app.storage import budgets, leases, ledger
from omni_app.storage.budgets import BudgetTerms, Period
from omni_app.storage.database import Database
from omni_app.storage.leases import LeaseRef, Outstanding, Taken
from omni_app.storage.ledger import RequestRecord
from omni_app.storage.meta import REVOCATIONS, read_meta
from omni_app.storage.spool import Drainer, Spool
from omni_app.storage.tables import BudgetLease, BudgetWindow, RequestRow
from tests.storage import facts
from tests.storage.facts import KEY, NOON, ORG

LATER = timedelta(minutes=15)
WEDNESDAY = datetime(2026, 12, 30, 23, 59, 59, 999_999, tzinfo=UTC)


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type, misc]


def terms(period: Period, since: datetime = NOON) -> BudgetTerms:
    return BudgetTerms(uuid4(), KEY, period, 1_000, since)


@pytest.mark.parametrize(
    ("period", "moment", "start", "end"),
    [
        ("day", WEDNESDAY, utc(2026, 12, 30), utc(2026, 12, 31)),
        ("day", utc(2026, 12, 31), utc(2026, 12, 31), utc(2027, 1, 1)),
        ("week", WEDNESDAY, utc(2026, 12, 28), utc(2027, 1, 4)),
        ("week", utc(2027, 1, 3, 23, 59), utc(2026, 12, 28), utc(2027, 1, 4)),
        ("week", utc(2027, 1, 4), utc(2027, 1, 4), utc(2027, 1, 11)),
        ("month", WEDNESDAY, utc(2026, 12, 1), utc(2027, 1, 1)),
        ("month", utc(2028, 2, 29, 12), utc(2028, 2, 1), utc(2028, 3, 1)),
        ("total", WEDNESDAY, NOON, None),
    ],
)
def test_a_period_begins_and_ends_in_utc(
    period: Period, moment: datetime, start: datetime, end: datetime | None
) -> None:
    budget = terms(period)
    assert (budget.starts_at(moment), budget.ends_at(moment)) == (start, end)
    if end is not None:
        assert budget.starts_at(end) == end, "the next one begins where this one ends"


def test_an_org_s_budget_holds_for_live_keys_and_a_key_s_for_itself() -> None:
    of_the_org, of_the_key = replace(terms("day"), key_id=None), terms("day")
    both = (of_the_org, of_the_key)
    assert budgets.that_hold(both, key_id=KEY, kind="live") == both
    assert budgets.that_hold(both, key_id=KEY, kind="test") == (of_the_key,)
    assert budgets.that_hold(both, key_id=uuid4(), kind="live") == (of_the_org,)
    assert budgets.that_hold(both, key_id=uuid4(), kind="test") == ()


async def make(
    database: Database, limit: int, *, period: Period = "month", key_id: UUID | None = KEY, now: datetime = NOON
) -> BudgetTerms:
    async with database.session() as session:
        made = await budgets.set_budget(session, org_id=ORG, key_id=key_id, period=period, limit=limit, now=now)
        await session.commit()
    return made


async def ask(
    database: Database,
    budget: BudgetTerms,
    lease: LeaseRef,
    least: int,
    most: int | None = None,
    *,
    now: datetime = NOON,
) -> Taken:
    async with database.session() as session:
        taken = await leases.take(
            session, budget, org_id=ORG, lease=lease, least=least, most=least if most is None else most, now=now,
            expires_at=now + LATER,
        )  # fmt: skip
        await session.commit()
    assert taken is not None
    return taken


def new_lease(budget: BudgetTerms, at: datetime = NOON) -> LeaseRef:
    return LeaseRef(uuid4(), budget.id, budget.starts_at(at))


async def window(database: Database, budget: BudgetTerms, at: datetime = NOON) -> tuple[int, int]:
    """Spent and leased; and the leases add up to what is leased."""
    where = (col(BudgetWindow.budget_id) == budget.id, col(BudgetWindow.starts_at) == budget.starts_at(at))
    of_it = (col(BudgetLease.budget_id) == budget.id, col(BudgetLease.starts_at) == budget.starts_at(at))
    async with database.session() as session:
        row = (await session.scalars(select(BudgetWindow).where(*where))).one()
        held = await session.scalar(select(func.coalesce(func.sum(col(BudgetLease.amount)), 0)).where(*of_it))
    assert row.leased == held
    return row.spent, row.leased


def costing(cost: int, *, at: datetime = NOON, key_id: UUID = KEY) -> RequestRecord:
    record = facts.record(f"req_{uuid4().hex}")
    return replace(record, cost=cost, premium_cost=cost, created_at=at, key_id=key_id)


async def test_budgets_are_found_by_org_with_their_terms(database: Database) -> None:
    mine, ours = await make(database, 500, period="day"), await make(database, 900, key_id=None)
    async with database.session() as session:
        found = await budgets.budgets_of(session, org_ids=[ORG, uuid4()])
        assert found.keys() == {ORG}
        assert set(found[ORG]) == {mine, ours}
        assert await read_meta(session, REVOCATIONS) == "2", "every worker hears of it"
        assert await budgets.remove_budget(session, org_id=ORG, key_id=KEY)
        assert not await budgets.remove_budget(session, org_id=ORG, key_id=KEY)
        assert not await budgets.remove_budget(session, org_id=uuid4(), key_id=None)
        assert await budgets.budgets_of(session, org_ids=[ORG]) == {ORG: (ours,)}


async def test_a_new_limit_goes_on_from_what_is_spent_and_another_period_starts_from_the_ledger(
    database: Database,
) -> None:
    async with database.session() as session:
        await ledger.insert_records(session, [costing(300), costing(50, at=NOON - timedelta(days=2))])
        await session.commit()
    budget = await make(database, 1_000)
    await ask(database, budget, new_lease(budget), 100)
    raised = await make(database, 2_000)
    assert raised == replace(budget, limit=2_000)
    assert await window(database, raised) == (350, 100)
    daily = await make(database, 2_000, period="day")
    assert daily.id != budget.id
    await ask(database, daily, new_lease(daily), 100)
    assert await window(database, daily) == (300, 100)


@given(left=st.integers(-(10**6), 10**15), least=st.integers(0, 10**12), more=st.integers(0, 10**12))
def test_what_is_given_fits_into_what_is_left_and_covers_what_is_needed(left: int, least: int, more: int) -> None:
    granted, _ = leases.share(left, least=least, most=least + more)
    if left < least:
        assert granted is None
    else:
        assert granted is not None and least <= granted <= max(0, left)


async def test_far_from_the_limit_a_lease_holds_some_to_spare_and_near_it_only_what_is_asked(
    database: Database,
) -> None:
    budget = await make(database, 10_000)
    lease = new_lease(budget)
    assert await ask(database, budget, lease, 10) == Taken(10 + 9_990 // 16, False, 10_000, 0, 0)
    assert (await ask(database, budget, lease, 9_000)).granted == 9_000
    near = await ask(database, budget, lease, 100, 5_000)
    assert (near.granted, near.tight) == (100, True)
    refused = await ask(database, budget, new_lease(budget), 500)
    assert refused.granted is None
    assert refused.limit - refused.spent - refused.leased == 10_000 - 634 - 9_000 - 100


@pytest.mark.parametrize("callers", [64])
async def test_many_at_once_are_given_no_more_than_there_is_and_all_that_fits(database: Database, callers: int) -> None:
    budget = await make(database, 1_055)
    taken = await asyncio.gather(*(ask(database, budget, new_lease(budget), 100) for _ in range(callers)))
    assert sorted(one.granted or 0 for one in taken) == [0] * (callers - 10) + [100] * 10
    assert await window(database, budget) == (0, 1_000)


async def test_what_is_given_back_is_there_again_and_only_once(database: Database) -> None:
    budget = await make(database, 1_000)
    lease = new_lease(budget)
    await ask(database, budget, lease, 900)
    async with database.session() as session:
        await leases.give_back(session, lease, amount=250)
        await leases.give_back(session, replace(lease, id=uuid4()), amount=250)
        await session.commit()
    assert await window(database, budget) == (0, 650)


async def test_a_lease_that_nobody_renews_ends_and_the_next_request_gets_what_it_held(database: Database) -> None:
    budget = await make(database, 1_000)
    dead, alive = new_lease(budget), new_lease(budget)
    await ask(database, budget, dead, 600)
    await ask(database, budget, alive, 300)
    assert (await ask(database, budget, alive, 200, now=NOON + LATER / 2)).granted is None
    async with database.session() as session:
        await leases.renew(session, lease_ids=[alive.id], expires_at=NOON + 2 * LATER)
        await session.commit()
    assert (await ask(database, budget, alive, 200, now=NOON + LATER)).granted == 200
    assert await window(database, budget) == (0, 500)
    async with database.session() as session:
        assert await leases.sweep(session, now=NOON + 3 * LATER) == 500
        await session.commit()
    assert await window(database, budget) == (0, 0)


@pytest.fixture
async def drainer(database: Database, tmp_path: Path) -> AsyncIterator[Drainer]:
    spool = Spool(tmp_path / "spool")
    yield Drainer(spool, database)
    spool.close()


async def drain(drainer: Drainer, records: Sequence[RequestRecord]) -> None:
    for record in records:
        drainer._spool.finish(record)
    await drainer.flush()


async def ledger_sum(database: Database) -> int:
    async with database.session() as session:
        return int(await session.scalar(select(func.sum(col(RequestRow.cost)))) or 0)


async def test_a_row_becomes_spending_with_its_commit_and_leaves_its_lease(
    database: Database, drainer: Drainer
) -> None:
    budget, whole = await make(database, 1_000), await make(database, 1_100, key_id=None)
    mine, ours = new_lease(budget), new_lease(whole)
    await ask(database, budget, mine, 700)
    await ask(database, whole, ours, 700)
    record = costing(180)
    drainer._outstanding.note(record.request_id, (mine, ours))
    await drain(drainer, [record, costing(40), costing(7, key_id=uuid4())])
    assert await window(database, budget) == (220, 520), "40 were spent without a lease of ours"
    assert await window(database, whole) == (227, 520)
    assert await ledger_sum(database) == 227
    assert drainer._outstanding.leases == {}


async def test_a_row_that_is_written_twice_is_spent_once(database: Database, drainer: Drainer) -> None:
    budget = await make(database, 1_000)
    lease = new_lease(budget)
    await ask(database, budget, lease, 500)
    records = [costing(10) for _ in range(20)]
    for record in records:
        drainer._outstanding.note(record.request_id, (lease,))
    await drain(drainer, records)
    drainer._outstanding.note(records[0].request_id, (lease,))
    await drain(drainer, records)
    assert await window(database, budget) == (200, 300)


async def test_a_period_opens_with_what_the_ledger_holds_and_nothing_falls_between(
    database: Database, tmp_path: Path
) -> None:
    """Rows are drained while sixteen workers open the period: each row is in the opening sum or booked after it."""
    budget = await make(database, 10**15, now=NOON - timedelta(days=31))
    spools = [Spool(tmp_path / str(number)) for number in range(4)]
    drainers = [Drainer(spool, database) for spool in spools]

    async def write(drainer: Drainer) -> None:
        for _ in range(10):
            await drain(drainer, [costing(1), costing(1)])

    openings = (ask(database, budget, new_lease(budget), 1) for _ in range(16))
    await asyncio.gather(*(write(one) for one in drainers), *openings)
    spent, _ = await window(database, budget)
    assert spent == await ledger_sum(database) == 80
    for spool in spools:
        spool.close()


async def test_a_total_counts_from_when_it_was_set(database: Database, drainer: Drainer) -> None:
    before, after = costing(100, at=NOON - timedelta(seconds=1)), costing(30)
    await drain(drainer, [before])
    budget = await make(database, 1_000, period="total")
    await ask(database, budget, new_lease(budget), 1)
    await drain(drainer, [after, costing(5, at=NOON - timedelta(seconds=1))])
    assert (await window(database, budget))[0] == 30


async def test_each_row_counts_to_the_period_it_began_in(database: Database, drainer: Drainer) -> None:
    midnight = utc(2025, 3, 11)
    budget = await make(database, 1_000, period="day")
    await ask(database, budget, new_lease(budget), 1)
    await ask(database, budget, new_lease(budget, midnight), 1)
    await drain(drainer, [costing(10, at=midnight - timedelta(microseconds=1)), costing(20, at=midnight)])
    assert (await window(database, budget))[0] == 10
    assert (await window(database, budget, midnight))[0] == 20


async def test_rows_of_a_killed_worker_are_spent_when_its_spool_is_read(database: Database, tmp_path: Path) -> None:
    """kill -9 between the answer and the drain: held back until then, spent after, and never in between."""
    budget = await make(database, 1_000)
    dead = new_lease(budget)
    await ask(database, budget, dead, 400)
    spool = Spool(tmp_path)
    for cost in (60, 70):
        spool.finish(costing(cost))
    spool.close()  # the lock is gone, as with its process
    assert await window(database, budget) == (0, 400)
    await Drainer(Spool(tmp_path), database, Outstanding()).replay()
    assert await window(database, budget) == (130, 400), "too much is held back, for a while: never too little"
    async with database.session() as session:
        await leases.sweep(session, now=NOON + LATER)
        await session.commit()
    assert await window(database, budget) == (130, 0)


async def test_the_standings_are_the_ledger_s_sums_and_what_is_held(database: Database, drainer: Drainer) -> None:
    budget, whole = await make(database, 1_000), await make(database, 100, key_id=None, period="day")
    await ask(database, budget, new_lease(budget), 250)
    await drain(drainer, [costing(300), costing(7, at=NOON - timedelta(days=1))])
    async with database.session() as session:
        found = {one.terms: one for one in await budgets.standings(session, org_id=ORG, now=NOON)}
        assert await budgets.standings(session, org_id=uuid4(), now=NOON) == []
        tomorrow = await budgets.standings(session, org_id=ORG, now=NOON + timedelta(days=1))
    assert (found[budget].spent, found[budget].reserved, found[budget].left) == (307, 250, 443)
    assert (found[whole].spent, found[whole].left) == (300, 0)
    assert {one.terms: one.spent for one in tomorrow} == {budget: 307, whole: 0}
