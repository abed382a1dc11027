"""How long the pages' figures take over many ledger rows: `make bench-pages` (ROWS=1000000).

Rows are generated through the ledger's own insert, in chunks, over 30 days, for one org with five keys, on a fresh
SQLite file. Printed are the medians of several runs, beside the same over 1 % of the rows, as ratios.
"""

import argparse
import asyncio
import random
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy.ext.asyncio import AsyncSession

from omni_app.storage import ledger, reports
from omni_app.storage.database import Database, upgrade
from omni_app.storage.ledger import RequestRecord

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
SPAN = timedelta(days=30)
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
    """What the pages and the API read for thirty days."""
    span: dict[str, Any] = {"org_id": ORG, "start": NOW - SPAN, "end": NOW, "mode": "live"}

    async def overview(session: AsyncSession) -> None:
        await reports.totals(session, **span)
        start, end = reports.period_before(span["start"], span["end"])
        await reports.totals(session, **span | {"start": start, "end": end})
        await reports.series(session, **span, bucket="day")
        await ledger.recent_requests(session, org_id=ORG, mode="live", limit=10)

    return {
        "Overview": overview,
        "Usage by model and day": lambda session: reports.lines(session, **span, bucket="day", by="model"),
        "Models": lambda session: reports.model_report(session, **span),
        "Requests, newest 50": lambda session: ledger.recent_requests(session, org_id=ORG, mode="live", limit=50),
        "GET /v1/usage": lambda session: reports.usage(session, **span),
    }


async def measured(database: Database) -> dict[str, float]:
    """Milliseconds of each, the median of several runs."""
    found = {}
    for name, query in queries().items():
        times = []
        for _ in range(RUNS):
            started_s = time.perf_counter()
            async with database.session() as session:
                await query(session)
            times.append((time.perf_counter() - started_s) * 1000)
        found[name] = median(times)
    return found


async def over(count: int) -> dict[str, float]:
    """Fills a fresh file with so many rows and measures."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / f'{uuid4().hex}.db'}"
        await asyncio.to_thread(upgrade, url)
        database = Database(url)
        took_s = await fill(database, count)
        print(f"{count:,} rows written in {took_s:.1f} s: {count / took_s:,.0f} rows/s, roll-ups included", flush=True)
        found = await measured(database)
        await database.close()
        return found


async def run(count: int) -> None:
    """Both sizes, side by side."""
    small, large = await over(max(1_000, count // 100)), await over(count)
    print(f"\n{'query, 30 days':28}{'1 % of the rows':>18}{'all rows':>12}{'ratio':>8}")
    for name, ms in large.items():
        print(f"{name:28}{small[name]:>15.1f} ms{ms:>9.1f} ms{ms / small[name]:>8.2f}")


def main() -> None:
    """`python -m bench.pages --rows 1000000`."""
    command = argparse.ArgumentParser(description=__doc__)
    command.add_argument("--rows", type=int, default=1_000_000)
    asyncio.run(run(command.parse_args().rows))


if __name__ == "__main__":
    main()
