"""Many writers on one org's ledger and budgets at the same time: Postgres never has to break a deadlock."""

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import text

from omni_app.storage import budgets, leases
from omni_app.storage.budgets import BudgetTerms
from omni_app.storage.database import Database
from omni_app.storage.leases import LeaseRef, Outstanding
from omni_app.storage.spool import Drainer, Spool
from tests.storage.facts import KEY, NOON, ORG, admission, attempt, record

WRITERS, ROUNDS, ROWS, REQUESTS = 32, 2, 8, 40
MODELS = ("openai/gpt-4.1", "anthropic/claude-opus-4-5", "openai/gpt-4o-mini")


def note(spool: Spool, draws: random.Random) -> None:
    """Some requests that others note too, in an order of its own, on both sides of a day's end."""
    for number in draws.sample(range(REQUESTS), ROWS):
        name, at = f"req_{number:03}", NOON + timedelta(hours=2 * (number % 10))
        spool.admit(replace(admission(name), created_at=at))
        spool.attempt(replace(attempt(name), created_at=at))
        spool.finish(replace(record(name), created_at=at, model=MODELS[number % 3]))


async def lend(database: Database, terms: BudgetTerms) -> None:
    """A worker takes some of a budget, and gives it back."""
    lease = LeaseRef(uuid4(), terms.id, terms.starts_at(NOON))
    async with database.session() as session:
        until = NOON + timedelta(hours=1)
        await leases.take(session, terms, org_id=ORG, lease=lease, least=1, most=1_000, now=NOON, expires_at=until)
        await session.commit()
    async with database.session() as session:
        await leases.give_back(session, lease, amount=1)
        await session.commit()


@pytest.fixture
async def roomy(postgres_url: str) -> AsyncIterator[Database]:
    """A connection for each writer, and all the time they want."""
    database = Database(postgres_url, patience_s=None, pool_size=WRITERS)
    yield database
    await database.close()


async def test_thirty_two_writers_on_one_org_meet_in_no_deadlock(
    roomy: Database, postgres_url: str, tmp_path: Path
) -> None:
    async with roomy.session() as session:
        limits = [
            await budgets.set_budget(session, org_id=ORG, key_id=key, period="day", limit=10**18, now=NOON)
            for key in (None, KEY)
        ]
        await session.commit()

    async def writer(number: int) -> None:
        spool, draws = Spool(tmp_path / str(number)), random.Random(number)
        drainer = Drainer(spool, roomy)
        for _ in range(ROUNDS):
            note(spool, draws)
            await drainer.flush()
            for terms in draws.sample(limits, 2):
                await lend(roomy, terms)
        spool.close()

    await asyncio.gather(*(writer(number) for number in range(WRITERS)))
    with psycopg.connect(postgres_url) as connection:
        (deadlocks,) = connection.execute(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        ).fetchall()
        (rows,) = connection.execute("SELECT count(*) FROM requests").fetchall()
    assert deadlocks == (0,)
    assert rows == (REQUESTS,)


async def waits(database: Database) -> None:
    """Returns when somebody waits for a lock."""
    query = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    async with asyncio.timeout(10):
        while True:
            async with database.session() as session:
                if await session.scalar(query):
                    return
            await asyncio.sleep(0.01)


async def test_a_budget_changes_its_period_while_rows_are_booked(roomy: Database) -> None:
    async with roomy.session() as session:
        await budgets.set_budget(session, org_id=ORG, key_id=KEY, period="day", limit=10**18, now=NOON)
        await session.commit()

    async def changed() -> None:
        async with roomy.session() as session:
            await budgets.set_budget(session, org_id=ORG, key_id=KEY, period="week", limit=10**18, now=NOON)
            await session.commit()

    async with roomy.session() as session:
        found = await leases.budgets_to_book(session, [record("req_1")])
        changing = asyncio.create_task(changed())
        await waits(roomy)
        await leases.book(session, [record("req_1")], budgets=found, outstanding=Outstanding())
        await session.commit()
    await changing


async def test_a_budget_is_removed_while_rows_of_two_days_are_booked(roomy: Database) -> None:
    """The row of the later day was made first, and so is deleted first."""
    days = [record("req_1"), replace(record("req_2"), created_at=NOON + timedelta(days=1))]
    async with roomy.session() as session:
        terms = await budgets.set_budget(
            session, org_id=ORG, key_id=KEY, period="day", limit=10**18, now=NOON + timedelta(days=1)
        )
        await budgets.open_window(session, terms, org_id=ORG, starts_at=terms.starts_at(NOON))
        await session.commit()

    async def removed() -> None:
        async with roomy.session() as session:
            await budgets.remove_budget(session, org_id=ORG, key_id=KEY)
            await session.commit()

    async with roomy.session() as session:
        found = await leases.budgets_to_book(session, days)
        await leases.book(session, days[:1], budgets=found, outstanding=Outstanding())
        removing = asyncio.create_task(removed())
        await waits(roomy)
        await leases.book(session, days[1:], budgets=found, outstanding=Outstanding())
        await session.commit()
    await removing


async def test_leases_are_renewed_while_rows_are_booked_to_them(roomy: Database) -> None:
    """In the order of their periods, whichever of them was made first."""
    async with roomy.session() as session:
        both = [
            await budgets.set_budget(session, org_id=ORG, key_id=key, period="day", limit=10**18, now=NOON)
            for key in (None, KEY)
        ]
        first, second = (LeaseRef(uuid4(), one.id, one.starts_at(NOON)) for one in sorted(both, key=lambda one: one.id))
        for lease in (second, first):
            (terms,) = [one for one in both if one.id == lease.budget_id]
            await leases.take(session, terms, org_id=ORG, lease=lease, least=1, most=1_000, now=NOON, expires_at=NOON)
        await session.commit()

    async def renewed() -> None:
        async with roomy.session() as session:
            await leases.renew(session, lease_ids=[first.id, second.id], expires_at=NOON + timedelta(hours=1))
            await session.commit()

    async with roomy.session() as session:
        await leases.give_back(session, first, amount=1)
        renewing = asyncio.create_task(renewed())
        await waits(roomy)
        await leases.give_back(session, second, amount=1)
        await session.commit()
    await renewing
