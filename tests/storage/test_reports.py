"""Reports over any range: roll-ups and rows together are the rows alone, on both databases."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from alembic import command
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event, select
from sqlmodel import SQLModel

from omni_app.routing.cost import TokenSums, actual_cost
from omni_app.routing.types import Price
from omni_app.storage import ledger, reports
from omni_app.storage.database import Database, _alembic_config, sync_url
from omni_app.storage.ledger import RequestRecord
from omni_app.storage.reports import EXACT_UP_TO, Comparable, Line, Overhead, Scope, Totals, UsageGroup, UsageReport
from omni_app.storage.rollups import BUCKET_BASE, bucket_latency_ms, latency_bucket
from omni_app.storage.tables import LatencyRollup, UsageRollup
from tests.cases import batch, batches
from tests.routing.test_cost import PRICES
from tests.storage.facts import KEY, NOON, ORG, attempt, record

START = datetime(2026, 3, 9, tzinfo=UTC)
SPAN = timedelta(days=3)
instants = st.integers(0, 4 * 86_400_000_000).map(lambda us: START + timedelta(microseconds=us))
TOKENS = st.integers(-3, 10**6)
"""Providers have sent counts below zero, and more cached tokens than there were."""
rows = st.lists(
    st.builds(
        replace,
        st.just(record()),
        model=st.sampled_from(["", "openai/gpt-4o", "anthropic/opus"]),
        provider=st.sampled_from(["", "openai", "anthropic"]),
        task=st.sampled_from(["chat", "coding"]),
        key_id=st.sampled_from([KEY, UUID(int=7)]),
        premium_model=st.sampled_from(["", "anthropic/opus"]),
        cost=st.integers(0, 10**13),
        failed_cost=st.integers(0, 10**12),
        premium_cost=st.integers(0, 10**14),
        tokens_input=TOKENS,
        tokens_output=TOKENS,
        tokens_cached=TOKENS,
        tokens_cache_write=TOKENS,
        images=st.sampled_from([0, 0, 0, 2]),
        routing_us=st.sampled_from([0, 80, 1_234]),
        latency_ms=st.integers(0, 600_000),
        success=st.booleans(),
        rescued=st.booleans(),
        created_at=instants,
    ),
    min_size=1,
    max_size=10,
)


RangeCase = tuple[list[RequestRecord], tuple[datetime, datetime], Price]
"""An org's rows, the ends of a range in any order, and any price."""


async def write(database: Database, records: Iterable[RequestRecord]) -> None:
    async with database.session() as session:
        await ledger.insert_records(session, list(records))
        await session.commit()


def money(groups: Iterable[UsageGroup | RequestRecord]) -> tuple[int, int]:
    listed = list(groups)
    return sum(one.cost for one in listed), sum(one.premium_cost for one in listed)


@pytest.mark.invariants
@batches()
@given(orgs=batch(st.tuples(rows, st.tuples(instants, instants), PRICES)))
async def test_any_range_adds_up_as_its_rows_do(database: Database, orgs: list[RangeCase]) -> None:
    found = [(of_a_new_org(rows), edges, price) for rows, edges, price in orgs]
    await write(database, [row for rows, _, _ in found for row in rows])
    async with database.session() as session:
        for rows, edges, price in found:
            start, end = min(edges), max(edges)
            inside = [row for row in rows if start <= row.created_at < end]
            span = {"org_id": rows[0].org_id, "start": start, "end": end, "mode": "live"}
            report = await reports.usage(session, **span)  # type: ignore[arg-type]
            headline = await reports.totals(session, **span)  # type: ignore[arg-type]
            hours = await reports.series(session, **span, bucket="hour")  # type: ignore[arg-type]
            lines = await reports.lines(session, **span, bucket="hour", by="key")  # type: ignore[arg-type]
            adds_up(inside, report, headline, hours=hours, lines=lines)
            costs_at_any_price(price, inside, report)


def of_a_new_org(found: list[RequestRecord]) -> list[RequestRecord]:
    """The database is one for all examples."""
    org = uuid4()
    return [replace(row, org_id=org, request_id=uuid4().hex) for row in found]


def adds_up(
    inside: Sequence[RequestRecord],
    report: UsageReport,
    headline: Totals,
    *,
    hours: Sequence[UsageGroup],
    lines: Sequence[Line],
) -> None:
    """Whatever is added up from rows and roll-ups is what the rows are."""
    assert money(inside) == (report.total_cost, report.premium_cost) == (headline.cost, headline.premium_cost)
    assert money(inside) == money(report.by_day) == money(hours) == money(line.group for line in lines)
    assert headline.requests == len(inside) == sum(one.requests for one in hours)
    assert (headline.successful, headline.rescued) == (
        sum(row.success for row in inside),
        sum(row.rescued for row in inside),
    )
    assert {one.key for one in hours} == {f"{row.created_at:%Y-%m-%dT%H}:00:00Z" for row in inside}
    assert len({(line.at, line.name) for line in lines}) == len(lines)
    assert {line.name for line in lines} == {str(row.key_id) for row in inside}
    assert set(headline.premium_models) == {row.premium_model for row in inside} - {""}
    routed = [row.routing_us for row in inside if row.routing_us]
    overhead = Overhead(sum(row.failed_cost for row in inside), len(routed), sum(routed))
    assert overhead == report.overhead == headline.overhead
    assert overhead == sum((line.group.overhead for line in lines), Overhead())


def costs_at_any_price(price: Price, inside: Sequence[RequestRecord], report: UsageReport) -> None:
    """The sums of a range cost at any price what its texts cost one by one."""
    texts = [row for row in inside if row.premium_model and not row.images]
    for groups in (report.by_baseline, report.by_model, report.by_task, report.by_day):
        sums = sum((one.texts for one in groups), Comparable())
        assert actual_cost(price, sums.tokens) == sum(actual_cost(price, billed(row)) for row in texts)
        assert sums.premium_cost == sum(row.premium_cost for row in texts)


@pytest.mark.parametrize("around", [timedelta(seconds=1), SPAN], ids=["read from the rows", "read from the roll-ups"])
async def test_only_texts_that_have_a_baseline_are_compared(database: Database, around: timedelta) -> None:
    text = replace(record("a"), images=0, tokens_input=50, tokens_cached=80, tokens_cache_write=-4)
    failed = replace(record("d"), images=0, premium_model="", premium_cost=0, success=False, routing_us=70)
    await write(database, [text, record("b"), replace(record("c"), premium_model="", images=0), failed])
    async with database.session() as session:
        report = await reports.usage(session, org_id=ORG, start=NOON - around, end=NOON + around, mode="live")
    texts = sum((one.texts for one in report.by_baseline), Comparable())
    assert texts == Comparable(TokenSums(80, text.tokens_output, 80, 0), text.premium_cost)
    assert (report.overhead.routed, report.overhead.routing_us) == (1, 70)


@pytest.mark.parametrize("around", [timedelta(seconds=1), SPAN], ids=["read from the rows", "read from the roll-ups"])
async def test_the_breakdown_by_baseline_tells_who_answered(database: Database, around: timedelta) -> None:
    itself = replace(record("b"), model=record().premium_model)
    await write(database, [record("a"), itself, replace(record("c"), premium_model="")])
    async with database.session() as session:
        report = await reports.usage(session, org_id=ORG, start=NOON - around, end=NOON + around, mode="live")
    premium, model = record().premium_model, record().model
    told = [(group.key, group.model, group.requests) for group in report.by_baseline]
    assert told == [("", model, 1), (premium, premium, 1), (premium, model, 1)]
    assert report.premium_models == (premium,)


def billed(row: RequestRecord) -> TokenSums:
    return TokenSums(row.tokens_input, row.tokens_output, row.tokens_cached, row.tokens_cache_write)


async def test_a_row_that_comes_twice_is_counted_once(database: Database) -> None:
    for _ in range(3):
        await write(database, [record("a"), record("a"), record("b")])
    async with database.session() as session:
        report = await reports.usage(session, org_id=ORG, start=NOON - SPAN, end=NOON + SPAN, mode="live")
    assert report.total_requests == 2


@pytest.mark.parametrize("latency_ms", [1, 2, 7, 99, 812, 5_000, 61_234, 3_600_000])
def test_a_bucket_tells_a_latency_within_two_percent(latency_ms: int) -> None:
    assert bucket_latency_ms(latency_bucket(latency_ms)) == pytest.approx(latency_ms, rel=BUCKET_BASE**0.5 - 1 + 1e-9)
    assert BUCKET_BASE**0.5 - 1 < 0.02


async def test_percentiles_of_many_are_within_two_percent_of_the_exact_ones(database: Database) -> None:
    many = [
        replace(record(f"r{n}"), latency_ms=20 + n * 3, created_at=NOON - timedelta(minutes=n % 2_000))
        for n in range(EXACT_UP_TO + 500)
    ]
    await write(database, many)
    inside = sorted(row.latency_ms for row in many if row.created_at >= NOON - timedelta(hours=30, minutes=7))
    assert len(inside) > EXACT_UP_TO
    async with database.session() as session:
        found = await reports.totals(
            session,
            org_id=ORG,
            start=NOON - timedelta(hours=30, minutes=7),
            end=NOON + timedelta(seconds=1),
            mode="live",
        )
        models = await reports.model_report(
            session, org_id=ORG, start=NOON - timedelta(days=9), end=NOON + timedelta(days=9), mode="live"
        )
    assert found.p50_ms == pytest.approx(inside[len(inside) // 2], rel=0.021)
    assert found.p95_ms == pytest.approx(inside[len(inside) * 95 // 100], rel=0.021)
    assert [one.group.requests for one in models] == [len(many)]
    assert models[0].p50_ms == pytest.approx(many[len(many) // 2].latency_ms, rel=0.021)


async def test_a_month_of_many_rows_is_answered_from_few(sqlite_database: Database) -> None:
    """What the million-row benchmark shows, small: whole hours and days are never read row by row."""
    hours = 24 * 30
    await write(
        sqlite_database,
        (
            replace(record(f"r{hour}-{n}"), created_at=NOON.replace(minute=1) + timedelta(hours=hour, minutes=n))
            for hour in range(hours)
            for n in range(5)
        ),
    )
    scope = Scope(ORG, "live", NOON - timedelta(hours=1), NOON + timedelta(hours=hours + 1))
    read_rows, whole_hours, whole_days = scope.pieces()
    assert sum((end - start for start, end in read_rows), timedelta()) < timedelta(hours=2)
    assert sum((end - start for start, end in whole_hours), timedelta()) < timedelta(hours=48)
    assert whole_days[1] - whole_days[0] > timedelta(days=28)
    statements: list[str] = []
    event.listen(sqlite_database.engine.sync_engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    async with sqlite_database.session() as session:
        found = await reports.totals(session, org_id=ORG, start=scope.start, end=scope.end, mode="live")
    assert found.requests == hours * 5
    assert len(statements) <= 4


async def test_what_stands_side_by_side_is_of_one_moment(database: Database) -> None:
    await write(database, [record("a")])
    scope = {"org_id": ORG, "mode": "live", "start": NOON - SPAN, "end": NOON + SPAN}
    async with database.consistent_reading() as session:
        before = await reports.totals(session, **scope)  # type: ignore[arg-type]
        await write(database, [record("b")])
        groups = await reports.series(session, **scope, bucket="day")  # type: ignore[arg-type]
        newest = await ledger.recent_requests(session, org_id=ORG, mode="live", limit=9)
    assert before.requests == sum(one.requests for one in groups) == len(newest) == 1
    async with database.reading() as session:
        assert (await reports.totals(session, **scope)).requests == 2  # type: ignore[arg-type]


async def test_the_migration_sums_what_was_there_as_the_writer_does(
    owned_database: Database, database_url: str
) -> None:
    written = [
        replace(record("a"), cost=10**13 + 1, images=0, tokens_cached=2_000, routing_us=90),
        replace(record("b"), created_at=NOON - timedelta(hours=30), model="anthropic/opus", latency_ms=61_234),
        replace(
            record("c"),
            created_at=NOON - timedelta(minutes=12),
            success=False,
            rescued=True,
            latency_ms=0,
            failed_cost=record().cost,
        ),
        replace(record("d"), org_id=uuid4(), key_kind="test", created_at=NOON.replace(minute=59, second=59)),
    ]
    await write(owned_database, written)
    before = [await rows_of(owned_database, table) for table in (UsageRollup, LatencyRollup)]
    config = _alembic_config(sync_url(database_url))
    command.downgrade(config, "0002")
    command.upgrade(config, "head")
    assert [await rows_of(owned_database, table) for table in (UsageRollup, LatencyRollup)] == before
    assert [len(table) for table in before] == [14, 12], "a and c share their day; c has no latency; as many are wide"


async def test_the_migration_finds_what_failed_attempts_cost(owned_database: Database, database_url: str) -> None:
    rescued = replace(record("a"), cost=500, failed_cost=155, attempts=3, rescued=True)
    failed = replace(record("b"), cost=70, failed_cost=70, success=False)
    costs = [replace(attempt("a", place), cost=cost) for place, cost in enumerate((100, 55, 345))]
    async with owned_database.session() as session:
        await ledger.insert_records(session, [rescued, failed, record("c")], costs)
        await session.commit()
    config = _alembic_config(sync_url(database_url))
    command.downgrade(config, "0005")
    command.upgrade(config, "head")
    async with owned_database.session() as session:
        found = await ledger.recent_requests(session, org_id=ORG, mode="live")
        report = await reports.usage(session, org_id=ORG, start=NOON - SPAN, end=NOON + SPAN, mode="live")
    assert {row.request_id: row.failed_cost for row in found} == {"a": 155, "b": 70, "c": 0}
    assert report.overhead.failed_cost == 225


async def rows_of(database: Database, table: type[SQLModel]) -> list[tuple[Any, ...]]:
    columns = table.__table__.columns  # type: ignore[attr-defined]
    async with database.session() as session:
        return sorted(map(tuple, await session.execute(select(*columns))), key=str)
