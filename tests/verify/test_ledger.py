"""The ledger held against itself: it holds as it was written, and whatever is changed in it is found."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from omni_app.storage.database import Database
from omni_app.storage.ledger import insert_records
from omni_app.storage.rollups import SUMS
from omni_app.storage.tables import RegistryVersion
from omni_app.verify import sums
from omni_app.verify.sums import GRAIN_NAMES, KEPT_GRAINS
from tests.storage.facts import NOON, attempt, record
from tests.verify.world import NEXT_DAY, verified, violations

SOON = NOON + timedelta(minutes=1)
YEARS_LATER = NOON + timedelta(days=800)
ONCE = "no request is there twice"
ORPHANS = "an attempt belongs to a request"
PRICE = "an answer costs its tokens at the price of its moment"
ANSWERED = "success AND cost > 0"
TAMPERED: Sequence[tuple[str, str, str]] = [
    ("a row twice", "a copy of the table without its keys", "no request is there twice"),
    ("a request gone", f"DELETE FROM requests WHERE {ANSWERED}", "an attempt belongs to a request"),
    ("an attempt gone", "DELETE FROM attempts WHERE position = 1", "a request has the attempts that it counts"),
    ("a gap", "UPDATE attempts SET position = 5 WHERE position = 1", "a request has the attempts that it counts"),
    ("attempts miscounted", "UPDATE requests SET attempts = attempts + 1", "a request has the attempts that it counts"),
    ("a cost", f"UPDATE requests SET cost = cost + 1 WHERE {ANSWERED}", "a request costs what its attempts cost"),
    ("an attempt's cost", "UPDATE attempts SET cost = cost - 1 WHERE cost > 0", "a request costs what its attempts"),
    ("a failed cost", f"UPDATE requests SET failed_cost = 1 WHERE {ANSWERED}", "the failed cost is that of"),
    ("a failure's cost", "UPDATE requests SET failed_cost = 1 WHERE NOT success", "the failed cost is that of"),
    (
        "an unknown outcome's cost",
        "UPDATE requests SET cost = 1, failed_cost = 1 WHERE error_code = 'unknown_outcome'",
        "a request of unknown outcome costs",
    ),
    ("a negative cost", "UPDATE attempts SET cost = -cost", "no cost is negative"),
    ("tokens", f"UPDATE requests SET tokens_output = 1 WHERE {ANSWERED}", "an answer costs its tokens"),
    ("cached tokens", "UPDATE requests SET tokens_cached = 1 WHERE tokens_cached > 0", "an answer costs its tokens"),
    ("written tokens", "UPDATE requests SET tokens_cache_write = 0", "an answer costs its tokens"),
    ("a price's version", "UPDATE requests SET price_version = 'v0' WHERE success", "an answer costs its tokens"),
    ("a routing log gone", "DELETE FROM routing_logs", "an answer costs its tokens"),
    ("a failed attempt's tokens", "UPDATE attempts SET tokens_input = 21 WHERE tokens_input = 20", "a failed attempt"),
    ("a baseline's cost", f"UPDATE requests SET premium_cost = 1 WHERE {ANSWERED}", "the baseline's cost is"),
    ("a failure's baseline", "UPDATE requests SET premium_cost = 1 WHERE NOT success", "the baseline's cost is"),
    ("another baseline", "UPDATE requests SET premium_model = 'beta/medium' WHERE success", "the baseline's cost is"),
    ("no baseline", f"UPDATE requests SET premium_model = '' WHERE {ANSWERED}", "the baseline's cost is"),
    ("a live row of a test key", "UPDATE requests SET key_kind = 'live'", "live and test are apart"),
    ("a live row simulated", f"UPDATE requests SET simulated = true WHERE {ANSWERED}", "live and test are apart"),
    ("a live row's provider", "UPDATE attempts SET provider = 'sandbox'", "live and test are apart"),
    ("another org", "UPDATE requests SET org_id = key_id", "live and test are apart, and a request is of its key's"),
    ("an hour gone", "DELETE FROM usage_rollups WHERE grain = 'hour'", "a roll-up of hours is the sum"),
    ("a day gone", "DELETE FROM usage_rollups WHERE grain = 'day'", "a roll-up of days is the sum"),
    ("an hour moved", "UPDATE requests SET task = 'coding' WHERE task <> 'coding'", "a roll-up of hours is the sum"),
    (
        "latencies of an hour",
        "UPDATE latency_rollups SET answered = 9 WHERE grain = 'hour'",
        "a roll-up of hours counts",
    ),
    (
        "latencies of a day",
        "UPDATE latency_rollups SET bucket = bucket + 999 WHERE grain = 'day'",
        "a roll-up of days counts",
    ),
    ("a wide day gone", "DELETE FROM usage_rollups WHERE grain = 'dall'", "the sums by model, task, day"),
    ("a wide hour gone", "DELETE FROM usage_rollups WHERE grain = 'hall'", "a roll-up of hours, wide is the sum"),
    (
        "wide latencies",
        "UPDATE latency_rollups SET answered = 9 WHERE grain = 'hall'",
        "a roll-up of hours, wide counts",
    ),
    ("a day's cost", "UPDATE usage_rollups SET cost = cost + 1 WHERE grain = 'day'", "the sums by model, task, day"),
    ("what is spent", "UPDATE budget_windows SET spent = spent + 1", "a budget's period has spent"),
    ("a budget gone", "DELETE FROM budgets", "a budget's period has spent"),
    ("what is leased", "UPDATE budget_windows SET leased = leased + 1", "a budget's period has leased"),
    ("a lease's amount", "UPDATE budget_leases SET amount = amount - 1", "a budget's period has leased"),
    ("a period gone", "DELETE FROM budget_windows", "a budget's period has leased"),
    ("a lease forgotten", "UPDATE budget_leases SET expires_at = '2025-03-01 00:00:00'", "no lease outlives"),
]


async def test_a_ledger_as_it_was_written_violates_nothing_and_everything_was_looked_at(ledger: Database) -> None:
    async with ledger.consistent_reading() as session:
        next_day, soon = await verified(session), await verified(session, now=SOON)
    assert violations(next_day) == violations(soon) == {}
    untouched = {name for name in next_day if not next_day[name].checked and not soon[name].checked}
    assert not untouched


@pytest.mark.parametrize(("statement", "invariant"), [one[1:] for one in TAMPERED], ids=[one[0] for one in TAMPERED])
async def test_what_is_changed_is_found(ledger: Database, statement: str, invariant: str) -> None:
    async with ledger.consistent_reading() as session:
        for one in double_a_row() if "copy" in statement else [statement]:
            await change(session, one)
        broken = violations(await verified(session))
    assert any(name.startswith(invariant) for name in broken), broken


def double_a_row() -> Sequence[str]:
    """No update can do it: the table's key forbids it."""
    return [
        "CREATE TABLE again AS SELECT * FROM requests",
        f"INSERT INTO again SELECT * FROM requests WHERE {ANSWERED}",
        "ALTER TABLE requests RENAME TO before",
        "ALTER TABLE again RENAME TO requests",
    ]


async def change(session: AsyncSession, statement: str) -> None:
    done = await session.execute(text(statement))
    assert done.rowcount  # type: ignore[attr-defined]


@pytest.mark.parametrize("grain", KEPT_GRAINS)
async def test_every_figure_of_a_roll_up_is_held_against_its_rows(ledger: Database, grain: str) -> None:
    async with ledger.consistent_reading() as session:
        scopes = await sums.scopes(session, start=NOON - timedelta(days=1), end=NEXT_DAY)
        raised = ", ".join(f"{name} = {name} + {amount}" for amount, name in enumerate(SUMS, start=1))
        await change(session, f"UPDATE usage_rollups SET {raised} WHERE grain = '{grain}'")
        told = violations({one.invariant: one for one in await sums.rollups(session, scopes)})
    assert list(told) == [f"a roll-up of {GRAIN_NAMES[grain]} is the sum of its rows"]
    every = ", ".join(f"{name} -{amount}" for amount, name in enumerate(SUMS, start=1))
    assert all(one.endswith(f"rows minus roll-up: {every}") for examples in told.values() for one in examples)


async def test_a_price_that_is_changed_afterwards_is_found(ledger: Database) -> None:
    async with ledger.consistent_reading() as session:
        kept = (await session.scalars(select(RegistryVersion))).one()
        kept.deployments = [one | {"price": one["price"] | {"output": 1}} for one in kept.deployments]
        await session.flush()
        told = violations(await verified(session))
    assert [name.partition(" ")[2][:20] for name in told] == [
        "answer costs its tok",
        "failed attempt costs",
        "baseline's cost is t",
    ]


async def test_a_price_list_that_is_gone_or_cannot_be_read_is_said(ledger: Database) -> None:
    for deployments in ([{"id": "alpha/small"}], []):
        async with ledger.consistent_reading() as session:
            kept = (await session.scalars(select(RegistryVersion))).one()
            kept.deployments = deployments
            await session.flush()
            found = await verified(session)
        assert violations(found) == {}
        assert found[PRICE].checked == 0
        assert found[PRICE].unchecked == {"the list of models of that time is not kept": 5}


async def test_without_its_routing_log_an_old_answer_has_no_price(ledger: Database) -> None:
    async with ledger.consistent_reading() as session:
        await change(session, "DELETE FROM routing_logs")
        found = await verified(session, now=NOON + timedelta(days=31))
    assert violations(found) == {}
    assert found[PRICE].unchecked == {"routing logs are kept for 30 days": 5}


async def test_what_retention_lets_go_of_is_no_violation(ledger: Database) -> None:
    async with ledger.consistent_reading() as session:
        half_gone = await verified(session, now=YEARS_LATER)
        for table in ("attempts", "requests", "routing_logs"):
            await change(session, f"DELETE FROM {table}")
        gone = await verified(session, now=YEARS_LATER)
    assert violations(half_gone) == violations(gone) == {}
    cells = gone["a roll-up of hours is the sum of its rows"]
    assert (cells.checked, cells.unchecked.total()) == (0, 6)
    assert gone["a budget's period has spent what its rows are billed"].unchecked.total() == 2


async def test_attempts_of_a_request_on_its_way_wait_for_it(ledger: Database) -> None:
    async with ledger.consistent_reading() as session:
        await insert_records(session, [], [attempt("req_later")])
        waiting = await verified(session, now=SOON, on_its_way=timedelta(minutes=2))
        late = await verified(session, now=SOON, on_its_way=timedelta(seconds=30))
    assert violations(waiting) == {}
    assert waiting[ORPHANS].unchecked == {"the request may still be on its way": 1}
    assert violations(late).keys() == {ORPHANS}


async def test_a_budget_over_its_limit_is_told_and_is_no_violation(ledger: Database) -> None:
    async with ledger.consistent_reading() as session:
        await change(session, "UPDATE budgets SET limit_pico = 1")
        found = await verified(session)
    assert violations(found) == {}
    (note,) = found["a budget's period has spent what its rows are billed"].notes
    assert note.startswith("2 over the limit: no violation")


async def test_beside_a_writer_every_look_is_of_one_moment(database: Database) -> None:
    async def keep_writing() -> None:
        for number in range(100_000):
            name = f"req_{number:06}"
            whole = replace(record(name), routing=None, premium_model="", premium_cost=attempt().cost, success=False)
            async with database.session() as session:
                await insert_records(session, [replace(whole, failed_cost=whole.cost, premium_cost=0)], [attempt(name)])
                await session.commit()

    writing = asyncio.create_task(keep_writing())
    seen = []
    try:
        for _ in range(10):
            async with database.consistent_reading() as session:
                found = await verified(session)
            assert violations(found) == {}
            seen.append(found[ONCE].checked)
            await asyncio.sleep(0.01)
    finally:
        writing.cancel()
        with suppress(asyncio.CancelledError):
            await writing
    assert seen[0] < seen[-1]
