"""The ledger: written once, summed to the last digit, and nobody sees another org's or the other mode's rows."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncSession

from omni_app.storage import ledger, reports
from omni_app.storage.database import Database
from omni_app.storage.ledger import RequestRecord
from omni_app.storage.reports import NO_MODEL, UsageGroup, UsageReport
from tests.cases import batch, batches
from tests.storage.facts import NOON, ORG, attempt, record

MIDNIGHT = datetime(2025, 3, 10, tzinfo=UTC)
DAY = timedelta(days=1)
TICK = timedelta(microseconds=1)


async def write(database: Database, records: Sequence[RequestRecord]) -> None:
    async with database.session() as session:
        await ledger.insert_records(session, records)
        await session.commit()


async def usage(
    database: Database,
    start: datetime = MIDNIGHT,
    end: datetime = MIDNIGHT + DAY,
    *,
    org: UUID = ORG,
    mode: str = "live",
) -> UsageReport:
    async with database.session() as session:
        return await reports.usage(session, org_id=org, start=start, end=end, mode=mode)


# Writing


async def test_a_request_is_read_back_as_it_was_written_with_its_attempts_in_order(database: Database) -> None:
    attempts = [attempt(position=place) for place in (2, 0, 1)]
    async with database.session() as session:
        await ledger.insert_records(session, [record()], attempts)
        await session.commit()
        detail = await ledger.request_detail(session, org_id=ORG, request_id="req_1")
    assert detail is not None
    assert detail.request == record()
    assert detail.attempts == sorted(attempts, key=lambda one: one.position)


async def test_writing_the_same_batch_again_changes_nothing(database: Database) -> None:
    for cost in (5, 7):
        async with database.session() as session:
            await ledger.insert_records(
                session,
                [replace(record(name), cost=cost) for name in ("req_1", "req_2")],
                [replace(attempt(), cost=cost), attempt("req_2")],
            )
            await session.commit()
    report = await usage(database)
    assert (report.total_requests, report.total_cost) == (2, 10)
    async with database.session() as session:
        detail = await ledger.request_detail(session, org_id=ORG, request_id="req_1")
    assert detail is not None and [one.cost for one in detail.attempts] == [5]


async def test_one_batch_may_hold_a_request_twice(database: Database) -> None:
    await write(database, [record(), record(), record("req_2")])
    assert (await usage(database)).total_requests == 2


async def test_a_request_that_was_never_decided_has_no_routing_log(database: Database) -> None:
    refused = replace(record(), routing=None, model="", success=False, error_code="no_eligible_model")
    await write(database, [refused])
    async with database.session() as session:
        detail = await ledger.request_detail(session, org_id=ORG, request_id="req_1")
    assert detail is not None and detail.request == refused and detail.attempts == []


# Sums

records = st.lists(
    st.builds(
        lambda **values: replace(record(), routing=None, **values),
        model=st.sampled_from(["", "a/one", "b/two", "none"]),
        task=st.sampled_from(["coding", "chat", "math"]),
        cost=st.integers(0, 10**14),
        premium_cost=st.integers(0, 10**14),
        tokens_input=st.integers(0, 10**9),
        tokens_output=st.integers(0, 10**9),
        latency_ms=st.integers(0, 600_000),
        success=st.booleans(),
        key_kind=st.sampled_from(["live", "live", "test"]),
        created_at=st.sampled_from([-1, 0, 1, 2])
        .flatmap(lambda day: st.sampled_from([MIDNIGHT + day * DAY, MIDNIGHT + day * DAY - TICK]))
        .map(lambda moment: moment.astimezone(timezone(timedelta(hours=5, minutes=30)))),
    ),
    max_size=40,
)


def sums(rows: Iterable[RequestRecord | UsageGroup]) -> tuple[int, int, int, int, int]:
    """Figures of rows or of groups: requests, cost, premium cost, tokens in and out."""
    listed = list(rows)
    return (
        sum(row.requests if isinstance(row, UsageGroup) else 1 for row in listed),
        sum(row.cost for row in listed),
        sum(row.premium_cost for row in listed),
        sum(row.tokens_input for row in listed),
        sum(row.tokens_output for row in listed),
    )


def grouped(rows: Iterable[RequestRecord], key: Callable[[RequestRecord], str]) -> dict[str, tuple[int, ...]]:
    """The same, by plain Python."""
    groups: dict[str, list[RequestRecord]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return {name: sums(group) for name, group in groups.items()}


@pytest.mark.invariants
@batches()
@given(orgs=batch(records))
async def test_every_breakdown_adds_up_to_the_totals_to_the_last_digit(
    database: Database, orgs: list[list[RequestRecord]]
) -> None:
    found = [of_a_new_org(rows) for rows in orgs]
    await write(database, [row for rows in found for row in rows])
    async with database.session() as session:
        for rows in filter(None, found):
            await adds_up(session, rows)


def of_a_new_org(rows: list[RequestRecord]) -> list[RequestRecord]:
    """The database is one for all examples."""
    org = uuid4()
    return [replace(row, org_id=org, request_id=uuid4().hex) for row in rows]


async def adds_up(session: AsyncSession, rows: list[RequestRecord]) -> None:
    start, end = MIDNIGHT, MIDNIGHT + 2 * DAY
    scope = [row for row in rows if row.key_kind == "live" and start <= row.created_at < end]
    whose = {"org_id": rows[0].org_id, "start": start, "end": end, "mode": "live"}
    report = await reports.usage(session, **whose)  # type: ignore[arg-type]
    headline = await reports.totals(session, **whose)  # type: ignore[arg-type]
    totals = (
        report.total_requests,
        report.total_cost,
        report.premium_cost,
        report.tokens_input,
        report.tokens_output,
    )
    assert totals == sums(scope) == sums(report.by_model) == sums(report.by_task) == sums(report.by_day)
    assert report.estimated_savings == sum(row.savings for row in scope) == sum(one.savings for one in report.by_task)
    assert report.successful_requests == sum(row.success for row in scope)
    for groups, key in (
        (report.by_model, lambda row: row.model or NO_MODEL),
        (report.by_task, lambda row: row.task),
        (report.by_day, lambda row: f"{row.created_at.astimezone(UTC):%Y-%m-%d}"),
    ):
        assert {one.key: sums([one]) for one in groups} == grouped(scope, key)
        assert all(type(one.cost) is int and type(one.tokens_input) is int for one in groups)
    assert (headline.requests, headline.successful) == (report.total_requests, report.successful_requests)
    assert (headline.cost, headline.premium_cost) == (report.total_cost, report.premium_cost)
    assert headline.savings == report.estimated_savings


async def test_a_report_adds_up_while_requests_are_being_written(database: Database) -> None:
    async def keep_writing() -> None:
        for number in range(100_000):
            await write(database, [replace(record(f"req_{number}"), cost=number)])

    writing = asyncio.create_task(keep_writing())
    try:
        for _ in range(25):
            report = await usage(database)
            totals = {sums(groups) for groups in (report.by_model, report.by_task, report.by_day)}
            assert len(totals) == 1 and report.successful_requests == report.total_requests
    finally:
        writing.cancel()
        with suppress(asyncio.CancelledError):
            await writing


async def test_an_empty_range_has_zeros_and_no_lines(database: Database) -> None:
    report = await usage(database)
    assert (report.total_requests, report.total_cost, report.estimated_savings) == (0, 0, 0)
    assert not report.by_model and not report.by_task and not report.by_day
    async with database.session() as session:
        headline = await reports.totals(session, org_id=ORG, start=MIDNIGHT, end=MIDNIGHT + DAY, mode="live")
    assert (headline.requests, headline.cost, headline.p50_ms, headline.p95_ms) == (0, 0, None, None)
    assert headline.error_rate == 0.0 and headline.saved_share is None


async def test_the_start_of_a_range_counts_and_its_end_does_not(database: Database) -> None:
    moments = {
        "before": MIDNIGHT - TICK,
        "start": MIDNIGHT,
        "last": MIDNIGHT + DAY - TICK,
        "end": MIDNIGHT + DAY,
    }
    await write(database, [replace(record(name), created_at=moment) for name, moment in moments.items()])
    assert (await usage(database)).total_requests == 2
    assert [(await usage(database, MIDNIGHT + n * DAY, MIDNIGHT + (n + 1) * DAY)).total_requests for n in (-1, 1)] == [
        1,
        1,
    ]
    assert (await usage(database, MIDNIGHT, MIDNIGHT)).total_requests == 0


async def test_days_are_utc_days_wherever_the_range_or_the_server_is(database: Database) -> None:
    moments = [MIDNIGHT - TICK, MIDNIGHT, MIDNIGHT + timedelta(hours=23, minutes=59, seconds=59.999999)]
    await write(database, [replace(record(str(n)), created_at=one) for n, one in enumerate(moments)])
    away = timezone(timedelta(hours=-8))
    report = await usage(database, (MIDNIGHT - DAY).astimezone(away), (MIDNIGHT + DAY).astimezone(away))
    assert [(one.key, one.requests) for one in report.by_day] == [("2025-03-09", 1), ("2025-03-10", 2)]


async def test_an_org_sees_its_own_rows_only(database: Database) -> None:
    stranger = uuid4()
    await write(database, [record(), replace(record("req_2"), org_id=stranger)])
    assert (await usage(database)).total_requests == 1
    async with database.session() as session:
        mine = await ledger.recent_requests(session, org_id=ORG, mode="live")
        assert [one.request_id for one in mine] == ["req_1"]
        assert await ledger.request_detail(session, org_id=stranger, request_id="req_1") is None
        assert await ledger.recent_requests(session, org_id=stranger, mode="live", after="req_1") == []
        assert await ledger.default_mode(session, org_id=uuid4()) == "test"
        theirs = await ledger.first_request_after(session, org_id=stranger, key_kind="live", since=MIDNIGHT)
        assert theirs is not None and theirs.request_id == "req_2"


async def test_live_and_test_rows_never_mix(database: Database) -> None:
    await write(database, [record(), replace(record("req_2"), key_kind="test", latency_ms=5)])
    assert (await usage(database)).total_requests == 1
    assert (await usage(database, mode="test")).total_requests == 1
    span = {"org_id": ORG, "start": MIDNIGHT, "end": MIDNIGHT + DAY}
    async with database.session() as session:
        assert [one.request_id for one in await ledger.recent_requests(session, org_id=ORG, mode="test")] == ["req_2"]
        tested = await reports.totals(session, **span, mode="test")  # type: ignore[arg-type]
        assert (tested.p50_ms, tested.p95_ms) == (5, 5)
        live = await reports.series(session, **span, mode="live", bucket="day")  # type: ignore[arg-type]
        assert [one.requests for one in live] == [1]


async def test_pages_open_on_live_as_soon_as_there_is_a_live_request(database: Database) -> None:
    async with database.session() as session:
        assert await ledger.default_mode(session, org_id=ORG) == "test"
    await write(database, [replace(record("req_1"), key_kind="test")])
    async with database.session() as session:
        assert await ledger.default_mode(session, org_id=ORG) == "test"
    await write(database, [record("req_2")])
    async with database.session() as session:
        assert await ledger.default_mode(session, org_id=ORG) == "live"


async def test_totals_count_rescues_and_simulations_and_name_the_baselines(database: Database) -> None:
    await write(
        database,
        [
            replace(record("1"), rescued=True, premium_model="b", cost=30, premium_cost=100),
            replace(record("2"), simulated=True, premium_model="a", cost=10, premium_cost=60),
            replace(record("3"), success=False, error_code="provider_error", premium_model="", cost=8, premium_cost=0),
            replace(record("4"), premium_model="b", cost=0, premium_cost=0),
        ],
    )
    async with database.session() as session:
        found = await reports.totals(session, org_id=ORG, start=MIDNIGHT, end=MIDNIGHT + DAY, mode="live")
    assert (found.requests, found.successful, found.rescued, found.simulated) == (4, 3, 1, 1)
    assert (found.cost, found.premium_cost, found.savings) == (48, 160, 112)
    assert found.premium_models == ("a", "b")
    assert found.error_rate == 0.25 and found.saved_share == 0.7


async def test_percentiles_are_the_nearest_rank_of_the_answered_requests(database: Database) -> None:
    rows = [replace(record(str(ms)), routing=None, latency_ms=ms) for ms in range(100, 0, -1)]
    slow = replace(record("failed"), latency_ms=99_999, success=False)
    await write(database, [*rows, slow])

    span = {"start": MIDNIGHT, "end": MIDNIGHT + DAY}
    async with database.session() as session:
        found = await reports.totals(session, org_id=ORG, mode="live", **span)
        nothing = await reports.totals(session, org_id=uuid4(), mode="live", **span)
        named = await reports.model_report(session, org_id=ORG, mode="live", **span)
    assert (found.p50_ms, found.p95_ms) == (50, 95)
    assert (nothing.p50_ms, nothing.p95_ms) == (None, None)
    assert [(one.group.key, one.p50_ms, one.p95_ms) for one in named] == [("openai/gpt-4o", 50, 95)]
    counts = {float(ms): 1 for ms in range(1, 101)}
    assert reports.percentiles(counts, (0.0, 0.01, 0.07, 0.29, 0.99, 1.0)) == (1, 1, 7, 29, 99, 100)


async def test_average_latencies_are_those_of_answered_requests(database: Database) -> None:
    await write(
        database,
        [
            replace(record("1"), latency_ms=100),
            replace(record("2"), latency_ms=201),
            replace(record("3"), latency_ms=30_000, success=False),
            replace(record("4"), latency_ms=30_000, success=False, model=""),
        ],
    )
    lines = {one.key: one.avg_latency_ms for one in (await usage(database)).by_model}
    assert lines == {"openai/gpt-4o": 150, NO_MODEL: None}


async def test_lines_come_dearest_first_and_days_in_order(database: Database) -> None:
    rows = [
        replace(record(str(n)), model=model, cost=cost, created_at=NOON - n * DAY)
        for n, (model, cost) in enumerate([("a/cheap", 1), ("b/dear", 50), ("c/middle", 20)])
    ]
    await write(database, rows)
    report = await usage(database, MIDNIGHT - 5 * DAY)
    assert [one.key for one in report.by_model] == ["b/dear", "c/middle", "a/cheap"]
    assert [one.key for one in report.by_day] == ["2025-03-08", "2025-03-09", "2025-03-10"]


@pytest.mark.parametrize(
    ("bucket", "keys"),
    [
        ("minute", ["2025-02-28T23:59:00Z", "2025-03-01T00:00:00Z", "2025-03-01T13:07:00Z", "2025-03-01T13:08:00Z"]),
        ("hour", ["2025-02-28T23:00:00Z", "2025-03-01T00:00:00Z", "2025-03-01T13:00:00Z"]),
        ("day", ["2025-02-28", "2025-03-01"]),
        ("month", ["2025-02", "2025-03"]),
    ],
)
async def test_a_series_has_a_group_per_bucket_with_requests_oldest_first(
    database: Database, bucket: str, keys: list[str]
) -> None:
    march = datetime(2025, 3, 1, tzinfo=UTC)
    moments = [march + timedelta(hours=13, minutes=8), march - TICK, march, march + timedelta(hours=13, minutes=7.99)]
    await write(database, [replace(record(str(n)), created_at=one) for n, one in enumerate(moments)])
    async with database.session() as session:
        start, end = march - DAY, march + DAY
        found = await reports.series(session, org_id=ORG, start=start, end=end, mode="live", bucket=bucket)
    assert [one.key for one in found] == keys
    assert sum(one.requests for one in found) == 4


# Single requests


async def test_pages_of_recent_requests_hold_every_request_once_newest_first(database: Database) -> None:
    rows = [replace(record(f"req_{n:02}"), created_at=NOON + timedelta(seconds=n // 3)) for n in range(25)]
    await write(database, rows)
    seen: list[RequestRecord] = []
    async with database.session() as session:
        for _ in range(10):
            after = seen[-1].request_id if seen else None
            page = await ledger.recent_requests(session, org_id=ORG, mode="live", limit=7, after=after)
            seen += page
            if len(page) < 7:
                break
            # What arrives meanwhile must not shift the pages.
            newer = replace(record(uuid4().hex), created_at=NOON + timedelta(hours=1, seconds=len(seen)))
            await ledger.insert_records(session, [newer])
        assert await ledger.recent_requests(session, org_id=ORG, mode="live", after="req_unknown") == []
    assert [one.request_id for one in seen] == [f"req_{n:02}" for n in reversed(range(25))]
    assert max(Counter(one.request_id for one in seen).values()) == 1


async def test_the_first_request_from_a_moment_on_is_the_oldest_one_of_its_kind(database: Database) -> None:
    await write(
        database,
        [
            replace(record("early"), created_at=NOON - TICK),
            replace(record("later"), created_at=NOON + 2 * TICK),
            replace(record("first"), created_at=NOON),
            replace(record("other"), created_at=NOON, key_kind="test"),
        ],
    )
    async with database.session() as session:
        found = await ledger.first_request_after(session, org_id=ORG, key_kind="live", since=NOON)
        assert found is not None and found.request_id == "first"
        assert await ledger.first_request_after(session, org_id=ORG, key_kind="live", since=NOON + DAY) is None


def test_the_period_before_has_the_same_length_and_touches() -> None:
    assert reports.period_before(MIDNIGHT, MIDNIGHT + 7 * DAY) == (MIDNIGHT - 7 * DAY, MIDNIGHT)
