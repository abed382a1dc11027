"""What letting go of old rows costs those who write beside it: `make bench-retention` (ROWS=40000), on Postgres.

Old requests, attempts and routing logs are there; the hourly round lets them go while a drainer's batches go on: in
pieces from the default partitions, then, with the same rows in a month of their own, the month whole. Printed are how
long such a transaction took, and the batches' times alone and beside it.
"""

import argparse
import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from statistics import median

from sqlalchemy import event

from bench.drain import NOON, ORGS, requests
from omni_app.storage import ledger
from omni_app.storage.database import Database, upgrade
from omni_app.storage.partitions import make_months
from omni_app.storage.retention import AT_ONCE, REQUESTS_KEPT, Retention
from omni_app.storage.tables import Org
from tests.servers.postgres import running_postgres

BATCH = 300
AGE = REQUESTS_KEPT + timedelta(days=31)
"""Its month is over."""
PIECES = ("DELETE FROM requests", "DELETE FROM attempts", "DELETE FROM routing_logs")


async def fill(database: Database, count: int) -> None:
    """Rows that are over."""
    async with database.session() as session:
        session.add_all(Org(id=org, name="bench") for org in ORGS)
        await session.commit()
    old = [(replace(record, created_at=record.created_at - AGE), attempt) for _, attempt, record in requests(count)]
    for start in range(0, count, 5_000):
        piece = old[start : start + 5_000]
        async with database.session() as session:
            attempts = [replace(attempt, created_at=NOON - AGE) for _, attempt in piece]
            await ledger.insert_records(session, [record for record, _ in piece], attempts)
            await session.commit()


async def write_until(database: Database, stop: asyncio.Event, prefix: str) -> list[float]:
    """Milliseconds of each batch that a drainer would write."""
    times: list[float] = []
    batch = list(requests(BATCH))
    while not stop.is_set():
        name = f"{prefix}{len(times)}_"
        records = [replace(record, request_id=name + record.request_id) for _, _, record in batch]
        attempts = [replace(attempt, request_id=name + attempt.request_id) for _, attempt, _ in batch]
        began_s = time.perf_counter()
        async with database.session() as session:
            await ledger.insert_records(session, records, attempts)
            await session.commit()
        times.append(1000 * (time.perf_counter() - began_s))
        await asyncio.sleep(0.25)
    return times


def told(name: str, times: Sequence[float]) -> None:
    """One line."""
    ordered = sorted(times)
    print(f"{name:42}{len(times):5} times, median {median(times):7.1f} ms, most {ordered[-1]:7.1f} ms", flush=True)


async def play(url: str, count: int, *, by_month: bool) -> None:
    """Batches alone, then beside the deletion."""
    await asyncio.to_thread(upgrade, url)
    database = Database(url, patience_s=None)
    if by_month:
        await make_months(database, now=NOON - AGE)
    await fill(database, count)
    stop = asyncio.Event()
    alone = asyncio.create_task(write_until(database, stop, "a"))
    await asyncio.sleep(5)
    stop.set()
    told(f"a batch of {BATCH} requests, alone", await alone)
    pieces: list[float] = []
    begun: list[float] = []

    def begins(_conn: object, _cursor: object, statement: str, *_more: object) -> None:
        if statement.startswith("DROP TABLE" if by_month else PIECES):
            begun.append(time.perf_counter())

    def ends(_conn: object) -> None:
        if begun:
            pieces.append(1000 * (time.perf_counter() - begun[0]))
            begun.clear()

    deleting = Database(url, patience_s=None)
    event.listen(deleting.engine.sync_engine, "before_cursor_execute", begins)
    event.listen(deleting.engine.sync_engine, "commit", ends)
    stop = asyncio.Event()
    beside = asyncio.create_task(write_until(database, stop, "b"))
    began_s = time.perf_counter()
    await Retention(deleting).clean(now=NOON)
    took_s = time.perf_counter() - began_s
    stop.set()
    told("the same, beside the deletion", await beside)
    told("the months of a table" if by_month else f"a piece of at most {AT_ONCE:,} rows", pieces)
    print(f"{3 * count:,} rows are gone in {took_s:.1f} s")
    await deleting.close()
    await database.close()


def main() -> None:
    """`python -m bench.retention --rows 40000`."""
    command = argparse.ArgumentParser(description=__doc__)
    command.add_argument("--rows", type=int, default=40_000, help="requests; attempts and routing logs come with them")
    count = command.parse_args().rows
    with running_postgres() as server:
        for by_month in (False, True):
            asyncio.run(play(server.create(f"retention_{by_month}".lower()), count, by_month=by_month))


if __name__ == "__main__":
    main()
