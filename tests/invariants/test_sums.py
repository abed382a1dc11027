"""Sums: the same in the API, in SQL and on the pages, untouched by other orgs, whatever the order of writing."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from omni_app.api.responses import json_response
from omni_app.api.usage import usage_body
from omni_app.money import PICO_PER_USD
from omni_app.registry import packaged_registry
from omni_app.routing.band import Band
from omni_app.storage import budgets, leases, ledger, reports
from omni_app.storage.database import Database
from omni_app.storage.leases import Outstanding
from omni_app.storage.ledger import RequestRecord
from omni_app.storage.retention import purge_org
from omni_app.storage.tables import BudgetWindow, UsageRollup
from omni_app.ui.pages import overview, usage
from omni_app.ui.usage_view import added, line_row
from tests.cases import batch, batches
from tests.storage.test_reports import SPAN, START, rows, write

pytestmark = pytest.mark.invariants

END = START + 2 * SPAN
ALL: dict[str, Any] = {"start": START, "end": END, "mode": "live"}
FIGURES = "SELECT count(*), coalesce(sum(cost), 0), coalesce(sum(premium_cost), 0) FROM requests WHERE org_id = :org"


def of(org: UUID, found: Iterable[RequestRecord]) -> list[RequestRecord]:
    """These rows as this org's own."""
    return [replace(row, org_id=org, request_id=uuid4().hex) for row in found]


def pico(dollars: Any) -> int:
    """An amount of the API or of a page's `title`, to the pico-dollar."""
    amount = Decimal(str(dollars).replace("$", "").replace(",", "")) * PICO_PER_USD
    assert amount == int(amount)
    return int(amount)


async def in_sql(session: AsyncSession, org: UUID) -> tuple[int, int, int]:
    """Requests, cost and the baseline's cost, asked of the database by hand."""
    name = org.hex if session.get_bind().dialect.name == "sqlite" else str(org)
    found = (await session.execute(text(FIGURES), {"org": name})).one()
    return int(found[0]), int(found[1]), int(found[2])


@batches()
@given(orgs=batch(rows))
async def test_api_sql_and_pages_say_the_same_to_the_last_digit(
    database: Database, orgs: list[list[RequestRecord]]
) -> None:
    found = {uuid4(): rows for rows in orgs}
    await write(database, [row for org, rows in found.items() for row in of(org, rows)])
    async with database.session() as session:
        for org in found:
            requests, cost, premium = await in_sql(session, org)
            report = await reports.usage(session, org_id=org, **ALL)
            told = json.loads(
                bytes(json_response(usage_body(report, packaged_registry(), [], mode="live")).body), parse_float=Decimal
            )
            assert (told["total_requests"], pico(told["total_cost"])) == (requests, cost)
            assert (pico(told["premium_cost"]), pico(told["estimated_savings"])) == (premium, premium - cost)
            for name in ("by_model", "by_task", "by_day"):
                assert sum(pico(line["cost"]) for line in told[name]) == cost
                assert sum(pico(line["savings"]) for line in told[name]) == premium - cost
            totals = await reports.totals(session, org_id=org, **ALL)
            shown = overview.figures(totals, totals, Band(0, 0))
            assert (pico(shown["spend_exact"]), pico(shown["saved_exact"])) == (cost, premium - cost)
            lines = await reports.lines(session, org_id=org, bucket="day", by="key", **ALL)
            shown = usage.figures(list(added(lines).values()))
            assert (pico(shown["cost_exact"]), pico(shown["saved_exact"])) == (cost, premium - cost)
            assert sum(pico(line_row(line, "key")["cost_exact"]) for line in lines) == cost


# Orgs


@dataclass(frozen=True)
class Neighbours:
    """An org's rows, what is written for another one, and what that one does besides."""

    mine: list[RequestRecord]
    theirs: list[RequestRecord]
    limit: int
    gone: bool


async def view(session: AsyncSession, org: UUID) -> Sequence[Any]:
    """An org's sums, and how far its budget is used."""
    report = await reports.usage(session, org_id=org, **ALL)
    return report, await budgets.standings(session, org_id=org, now=START)


async def book(session: AsyncSession, records: list[RequestRecord]) -> None:
    """As the drainer writes them."""
    terms = await leases.budgets_to_book(session, records)
    await ledger.insert_records(session, records)
    await leases.book(session, records, budgets=terms, outstanding=Outstanding())


async def budget(session: AsyncSession, org: UUID, limit: int) -> None:
    await budgets.set_budget(session, org_id=org, key_id=None, period="month", limit=limit, now=START)


@batches()
@given(pairs=batch(st.builds(Neighbours, rows, rows, st.integers(0, 10**15), st.booleans())))
async def test_nothing_that_another_org_does_changes_an_org_s_sums(database: Database, pairs: list[Neighbours]) -> None:
    mine, theirs = [uuid4() for _ in pairs], [uuid4() for _ in pairs]
    async with database.session() as session:
        for org in mine:
            await budget(session, org, 10**15)
        await book(session, [row for org, pair in zip(mine, pairs, strict=True) for row in of(org, pair.mine)])
        before = [await view(session, org) for org in mine]
        for org, pair in zip(theirs, pairs, strict=True):
            await budget(session, org, pair.limit)
        await book(session, [row for org, pair in zip(theirs, pairs, strict=True) for row in of(org, pair.theirs)])
        for org, pair in zip(theirs, pairs, strict=True):
            if pair.gone:
                await purge_org(session, org_id=org)
        assert [await view(session, org) for org in mine] == before
        for org, pair in zip(theirs, pairs, strict=True):
            assert (await in_sql(session, org))[0] == (0 if pair.gone else len(pair.theirs))
        await session.commit()


# Order


@dataclass(frozen=True)
class Writing:
    """Rows, another order of them, and where each order is cut into batches."""

    rows: list[RequestRecord]
    shuffled: list[int]
    cuts: tuple[set[int], set[int]]


def writings(found: list[RequestRecord]) -> st.SearchStrategy[Writing]:
    """The ways to write these rows."""
    cuts = st.sets(st.integers(1, len(found)), max_size=3)
    return st.builds(Writing, st.just(found), st.permutations(range(len(found))), st.tuples(cuts, cuts))


def parts(found: Sequence[RequestRecord], cuts: set[int]) -> list[list[RequestRecord]]:
    edges = [0, *sorted(cuts), len(found)]
    return [list(found[a:b]) for a, b in pairwise(edges)]


async def cells(session: AsyncSession, org: UUID) -> list[tuple[Any, ...]]:
    """The org's roll-ups without its name."""
    columns = [column for column in UsageRollup.__table__.columns if column.name != "org_id"]  # type: ignore[attr-defined]
    found = await session.execute(select(*columns).where(col(UsageRollup.org_id) == org))
    return sorted((tuple(row) for row in found), key=str)


async def spent(session: AsyncSession, org: UUID) -> int:
    window = col(BudgetWindow.budget_id).in_(
        [one.id for one in (await budgets.budgets_of(session, org_ids=[org]))[org]]
    )
    return int(await session.scalar(select(col(BudgetWindow.spent)).where(window)) or 0)


@batches()
@given(ways=batch(rows.flatmap(writings)))
async def test_neither_order_nor_batches_nor_repeats_change_a_sum(database: Database, ways: list[Writing]) -> None:
    async with database.session() as session:
        for way in ways:
            straight, mixed = uuid4(), uuid4()
            for org in (straight, mixed):
                await budget(session, org, 10**15)
            first, second = of(straight, way.rows), of(mixed, way.rows)
            for part in parts(first, way.cuts[0]):
                await book(session, part)
            for part in parts([second[place] for place in way.shuffled], way.cuts[1]):
                await book(session, part)
            await ledger.insert_records(session, second[::2])
            assert await cells(session, straight) == await cells(session, mixed)
            assert await spent(session, straight) == await spent(session, mixed) == sum(row.cost for row in way.rows)
            one, other = [await reports.usage(session, org_id=org, **ALL) for org in (straight, mixed)]
            assert one == other and one.total_requests == len(way.rows)
        await session.commit()
