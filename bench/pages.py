"""How long the pages' figures take over many ledger rows: `make bench-pages` (ROWS=1000000).

Rows are generated through the ledger's own insert, in chunks, over 30 days, for one org with five keys, on a fresh
SQLite file (and Postgres, `--postgres`). More than that many (`--generated`) are there as the roll-ups that they would
leave. Printed are the medians of several runs, beside the same over 1 % of the rows.
"""

import argparse
import asyncio
import contextlib
import random
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from omni_app.storage import ledger, reports
from omni_app.storage.bulk import insert_new
from omni_app.storage.database import Database, is_sqlite, upgrade
from omni_app.storage.ledger import RequestRecord, request_values
from omni_app.storage.partitions import make_months
from omni_app.storage.rollups import SUMS, latency_cells, start_of, usage_cells
from omni_app.storage.tables import LatencyRollup, RequestRow, UsageRollup
from omni_app.ui.view import View
from tests.servers.postgres import running_postgres

ORG = UUID("00000000-0000-4000-8000-000000000001")
KEYS = [UUID(int=number) for number in range(1, 6)]
MODELS = [
    ("openai/gpt-5.4", "openai"),
    ("openai/gpt-5.4-nano", "openai"),
    ("anthropic/claude-opus-5", "anthropic"),
    ("anthropic/claude-haiku-5-5", "anthropic"),
    ("groq/llama-4", "groq"),
    ("deepseek/v4", "deepseek"),
]
TASKS = ("chat", "coding", "reasoning", "summarization", "translation", "agent_step")
NOW = datetime(2026, 11, 1, 13, 37, tzinfo=UTC)
TODAY = NOW.replace(hour=0, minute=0)
SPAN, DAY, HOUR = timedelta(days=30), timedelta(days=1), timedelta(hours=1)
CHUNK = 5_000
RUNS = 7

Query = Callable[[AsyncSession], Awaitable[Any]]


def rows(count: int) -> Iterator[RequestRecord]:
    """Requests evenly over the span, oldest first, in another order of models for each seed."""
    draw = random.Random(20_261_101)
    for number in range(count):
        model, provider = MODELS[int(draw.triangular(0, len(MODELS) - 0.001, 0))]
        cost = draw.randrange(10**7, 10**10)
        success = draw.random() > 0.01
        yield RequestRecord(
            request_id=f"req_{number:012x}",
            org_id=ORG,
            key_id=draw.choice(KEYS),
            key_kind="live",
            endpoint="chat",
            task=draw.choice(TASKS),
            created_at=NOW - SPAN + SPAN * number / count,
            model=model if success else "",
            provider=provider if success else "",
            tokens_input=draw.randrange(10, 3_000),
            tokens_output=draw.randrange(1, 800),
            cost=cost,
            premium_cost=cost * 12,
            premium_model="anthropic/claude-opus-5",
            latency_ms=int(draw.lognormvariate(7, 0.8)),
            attempts=1,
            success=success,
            error_code="" if success else "provider_error",
        )


SAMPLE = list(rows(2_000))
"""Enough requests for every key, model, task and most latencies of an hour."""


async def fill(database: Database, count: int) -> float:
    """Writes the rows; gives the seconds it took."""
    started_s = time.perf_counter()
    batch: list[RequestRecord] = []
    for row in rows(count):
        batch.append(row)
        if len(batch) == CHUNK:
            await write(database, batch)
            batch = []
    await write(database, batch)
    return time.perf_counter() - started_s


async def write(database: Database, batch: list[RequestRecord]) -> None:
    """One chunk, committed."""
    async with database.session() as session:
        await ledger.insert_records(session, batch)
        await session.commit()


def queries() -> dict[str, Query]:
    """What the pages and the API read for thirty days: the pages until the end of the day that has begun."""
    whole: dict[str, Any] = {"org_id": ORG, "start": TODAY - 29 * DAY, "end": TODAY + DAY, "mode": "live"}
    exact: dict[str, Any] = whole | {"start": NOW - SPAN, "end": NOW}
    view = View("live", "30d", "day", whole["start"], NOW)

    async def overview(session: AsyncSession) -> None:
        await reports.totals(session, **whole)
        start, end = view.before
        await reports.totals(session, **whole | {"start": start, "end": end})
        await reports.series(session, **whole, bucket="day")
        await ledger.recent_requests(session, org_id=ORG, mode="live", limit=10)

    return {
        "Overview": overview,
        "Usage by model and day": lambda session: reports.lines(session, **whole, bucket="day", by="model"),
        "Usage by key and day": lambda session: reports.lines(session, **whole, bucket="day", by="key"),
        "Models": lambda session: reports.model_report(session, **whole),
        "Requests, newest 50": lambda session: ledger.recent_requests(session, org_id=ORG, mode="live", limit=50),
        "GET /v1/usage, to the second": lambda session: reports.usage(session, **exact),
    }


async def measured(database: Database) -> dict[str, tuple[float, float]]:
    """Milliseconds of each on the wall and of this process' CPU, the medians of several runs."""
    found = {}
    for name, query in queries().items():
        times = []
        for _ in range(RUNS):
            async with database.session() as session:
                await session.connection()
                started_s, cpu_s = time.perf_counter(), time.process_time()
                await query(session)
                times.append((time.perf_counter() - started_s, time.process_time() - cpu_s))
        found[name] = (1000 * median(wall for wall, _ in times), 1000 * median(cpu for _, cpu in times))
    return found


async def over(url: str, count: int, *, generated: bool = False) -> dict[str, tuple[float, float]]:
    """Fills a fresh database with so many rows, or their roll-ups, and measures."""
    await asyncio.to_thread(upgrade, url)
    database = Database(url, patience_s=None)
    await make_months(database, now=NOW - SPAN)
    if generated:
        await generate(database, count)
    else:
        took_s = await fill(database, count)
        print(f"{count:,} rows written in {took_s:.1f} s: {count / took_s:,.0f} rows/s, roll-ups included", flush=True)
    async with database.session() as session:
        if not is_sqlite(url):
            await session.execute(text("ANALYZE"))
            await session.commit()
    found = await measured(database)
    await database.close()
    return found


async def generate(database: Database, count: int) -> None:
    """The roll-ups that so many requests leave, the same in each hour, and the newest requests themselves."""
    hours = int(SPAN.total_seconds() // 3600)
    times = count // hours // len(SAMPLE)
    records = [replace(one, created_at=NOW) for one in SAMPLE]
    for table, cells, sums in (
        (UsageRollup, usage_cells(records), SUMS),
        (LatencyRollup, latency_cells(records), ("answered",)),
    ):
        for number in range(hours):
            at = start_of(NOW, "hour") - HOUR * number
            of_day = 24 if number and at.hour == 0 else at.hour + 1 if number == 0 else 0  # today has not ended
            moved = [
                raised(cell, sums, times * (1 if hourly else of_day))
                | {"starts_at": at if hourly else start_of(at, "day")}
                for cell in cells
                if (hourly := cell["grain"] in ("hour", "hall")) or of_day
            ]
            async with database.session() as session:
                await insert_new(session, table, moved)
                await session.commit()
    newest = [replace(one, created_at=NOW - timedelta(seconds=number)) for number, one in enumerate(rows(CHUNK))]
    async with database.session() as session:
        await insert_new(session, RequestRow, [request_values(one) for one in newest])
        await session.commit()


def raised(cell: dict[str, Any], sums: tuple[str, ...], times: int) -> dict[str, Any]:
    """A cell as if its requests had come so many times."""
    return cell | {name: times * cell[name] for name in sums}


async def run(options: argparse.Namespace) -> None:
    """Each size beside the smallest, on one database after the other."""
    count = options.rows
    sizes = [(max(1_000, count // 100), False), (count, False)]
    sizes += [(size, True) for size in options.generated]
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        fresh: dict[str, Callable[[], str]] = {"SQLite": lambda: f"sqlite:///{Path(folder) / f'{uuid4().hex}.db'}"}
        if options.postgres:
            server = stack.enter_context(running_postgres())
            fresh["Postgres"] = lambda: server.create(f"pages_{uuid4().hex}")
        for name, url in fresh.items():
            found = [await over(url(), size, generated=generated) for size, generated in sizes]
            print(f"\n{name}, ms on the wall (of this process' CPU); from 30 days of so many rows")
            heads = (f"{size:,}{' generated' * generated}" for size, generated in sizes)
            print(f"{'':30}" + "".join(f"{head:>26}" for head in heads))
            for query in queries():
                figures = (f"{one[query][0]:.1f} ({one[query][1]:.1f})" for one in found)
                print(f"{query:30}" + "".join(f"{figure:>26}" for figure in figures), flush=True)


def main() -> None:
    """`python -m bench.pages --rows 1000000 --generated 10000000 100000000 --postgres`."""
    command = argparse.ArgumentParser(description=__doc__)
    command.add_argument("--rows", type=int, default=1_000_000)
    command.add_argument(
        "--generated", type=int, nargs="*", default=[], metavar="ROWS", help="roll-ups alone, as of so many rows"
    )
    command.add_argument("--postgres", action="store_true", help="beside SQLite")
    asyncio.run(run(command.parse_args()))


if __name__ == "__main__":
    main()
