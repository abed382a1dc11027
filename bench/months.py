"""What partitions by month cost those who read: `make bench-months` (ARGS="--rows 300000"), on Postgres.

So many requests, with attempts and routing logs, lie evenly over fourteen months: once in tables by month, once in
tables in one piece, as they were before migration 0024. Printed is how long it takes to find requests by their id, or
the newest ones: the shortest of several runs, since whatever else the machine does only adds to it.
"""

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from alembic import command
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from omni_app.storage import agent_sessions, answer_lengths, ledger, replays
from omni_app.storage.database import Database, _alembic_config, sync_url, upgrade
from omni_app.storage.log_pages import LogFilter, log_page
from omni_app.storage.partitions import BY_MONTH, make_months
from omni_app.verify.requests import pages
from tests.servers.postgres import running_postgres
from tests.storage.facts import ORG, attempt, record

BEGIN, SPAN, MONTHS = datetime(2025, 10, 1, tzinfo=UTC), timedelta(days=425), 14
IN_ONE_PIECE = "0023"
RUNS = 40
COPIES = """
    INSERT INTO {table} ({columns}) SELECT {values}
    FROM (SELECT * FROM {table} LIMIT 1) AS one, generate_series(1, {rows}) AS n
"""
COPIED = {
    "id": "gen_random_uuid()",
    "request_id": "'req_' || lpad(to_hex({begin_ms} + n::bigint * {step_ms}), 12, '0') || lpad(to_hex(n), 20, '0')",
    "created_at": "one.created_at + n * interval '{step_ms} ms'",
    "session_id": "'s' || n % 3000",
}

Work = Callable[[AsyncSession], Awaitable[Any]]


def works(count: int) -> dict[str, Work]:
    """What is measured, by name."""
    step_ms, begin_ms = steps(count)
    middle = f"req_{begin_ms + count // 2 * step_ms:012x}{count // 2:020x}"
    live: dict[str, Any] = {"org_id": ORG, "mode": "live"}

    async def verify(session: AsyncSession) -> None:
        async for _ in pages(session):
            return

    return {
        "a request's page": lambda session: ledger.request_detail(session, org_id=ORG, request_id=middle),
        "its decision, to replay": lambda session: replays.kept_decision(session, org_id=ORG, request_id=middle),
        "one that is not there": lambda session: ledger.request_detail(session, org_id=ORG, request_id="req_"),
        "what pages open on": lambda session: ledger.default_mode(session, org_id=ORG),
        "the newest 50": lambda session: ledger.recent_requests(session, **live, limit=50),
        "a page of the log from a row on": lambda session: log_page(
            session, org_id=ORG, wanted=LogFilter("live"), limit=50, after=middle
        ),
        "a session's last steps": lambda session: agent_sessions.last_steps(session, **live, session_id="s7", limit=20),
        "the last 1,000 decisions": lambda session: replays.last_decisions(session, **live, limit=1_000),
        "the usual lengths of answers": answer_lengths.median_output_tokens,
        "the first 2,000 rows of `ledger verify`": verify,
    }


def steps(count: int) -> tuple[int, int]:
    """Milliseconds between two requests, and the first one's since 1970."""
    return int(SPAN.total_seconds() * 1000) // count, int(BEGIN.timestamp() * 1000)


async def fill(database: Database, count: int) -> None:
    """One request as the ledger writes it, and its copies."""
    async with database.session() as session:
        first = replace(record(), created_at=BEGIN)
        await ledger.insert_records(session, [first], [replace(attempt(), created_at=BEGIN)])
        await session.commit()
    step_ms, begin_ms = steps(count)
    copied = {name: value.format(step_ms=step_ms, begin_ms=begin_ms) for name, value in COPIED.items()}
    async with database.engine.begin() as connection:
        for table in BY_MONTH:
            columns = table.__table__.columns.keys()  # type: ignore[attr-defined]
            values = ", ".join(copied.get(name, f"one.{name}") for name in columns)
            named = {"table": table.__tablename__, "columns": ", ".join(columns), "values": values, "rows": count}
            await connection.execute(text(COPIES.format(**named)))
    async with database.engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(text("VACUUM ANALYZE"))


async def measured(url: str, count: int, *, by_month: bool) -> dict[str, float]:
    """Milliseconds of each, the shortest run."""
    await asyncio.to_thread(upgrade, url)
    database = Database(url, patience_s=None)
    if by_month:
        for month in range(MONTHS):
            await make_months(database, now=BEGIN + month * SPAN / MONTHS)
    else:
        await asyncio.to_thread(command.downgrade, _alembic_config(sync_url(url)), IN_ONE_PIECE)
    await fill(database, count)
    found = {}
    for name, work in works(count).items():
        times = []
        for _ in range(RUNS):
            async with database.session() as session:
                await session.connection()
                began_s = time.perf_counter()
                await work(session)
                times.append(1000 * (time.perf_counter() - began_s))
        found[name] = min(times)
    await database.close()
    return found


def main() -> None:
    """`python -m bench.months --rows 300000`."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rows", type=int, default=300_000, help="requests; attempts and routing logs come with them")
    count = options.parse_args().rows
    with running_postgres() as server:
        whole = asyncio.run(measured(server.create("whole"), count, by_month=False))
        months = asyncio.run(measured(server.create("months"), count, by_month=True))
    print(f"ms, the shortest of {RUNS} runs; {count:,} requests over {MONTHS} months")
    print(f"{'':42}{'in one piece':>14}{'by month':>10}")
    for name, one in whole.items():
        print(f"{name:42}{one:14.1f}{months[name]:10.1f}")


if __name__ == "__main__":
    main()
