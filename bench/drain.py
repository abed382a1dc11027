"""How fast the ledger takes what the spool holds: `make bench-drain` (REQUESTS=20000).

A spool is filled as the gateway does it (admission, attempt, finish with its routing log: three rows a request), its
writer goes away, and another process' drainer reads it into a fresh database: the way after an outage, from the file.
Printed are requests and rows a second, over SQLite and, where its programs are there, Postgres.
"""

import argparse
import asyncio
import cProfile
import json
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from sqlalchemy import text

from omni_app import collector
from omni_app.storage.database import Database, upgrade
from omni_app.storage.ledger import AttemptRecord, RequestRecord, RoutingRecord
from omni_app.storage.spool import Admission, Drainer, Spool
from tests.servers.postgres import PostgresMissing, running_postgres

ORGS = [UUID(int=number) for number in range(1, 5)]
KEYS = 5
MODELS = ("openai/gpt-5.4", "openai/gpt-5.4-nano", "anthropic/claude-opus-5", "groq/llama-4", "deepseek/v4")
TASKS = ("chat", "coding", "reasoning", "summarization", "translation", "agent_step")
ROWS_A_REQUEST = 3
NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)


def requests(count: int) -> Iterator[tuple[Admission, AttemptRecord, RequestRecord]]:
    """Requests of one hour, of a few orgs."""
    draw = random.Random(20_261_130)
    for number in range(count):
        request_id, at = f"req_{number:012x}", NOON + timedelta(hours=1) * number / count
        org, model, task = draw.choice(ORGS), draw.choice(MODELS), draw.choice(TASKS)
        key, provider = UUID(int=100 + draw.randrange(KEYS)), model.partition("/")[0]
        tokens_in, tokens_out, cost = draw.randrange(10, 3_000), draw.randrange(1, 800), draw.randrange(10**7, 10**10)
        latency_ms = int(draw.lognormvariate(7, 0.8))
        admission = Admission(request_id, org, key, "live", "chat", task, at)
        attempt = AttemptRecord(request_id, 0, model, provider, "ok", "", latency_ms, tokens_in, tokens_out, cost, at)
        record = RequestRecord(
            request_id=request_id, org_id=org, key_id=key, key_kind="live", endpoint="chat", task=task, created_at=at,
            model=model, provider=provider, tokens_input=tokens_in, tokens_output=tokens_out, cost=cost,
            premium_cost=cost * 12, premium_model="anthropic/claude-opus-5", price_version="litellm-1",
            latency_ms=latency_ms, routing_us=90, attempts=1, success=True, routing=routing(model, draw),
        )  # fmt: skip
        yield admission, attempt, record


def routing(model: str, draw: random.Random) -> RoutingRecord:
    """A routing log as large as a real one: five candidates with their terms."""
    terms = ("cost", "latency", "task", "quality")
    considered = [
        {
            "model": one,
            "score": draw.random(),
            "terms": {name: draw.random() for name in terms},
            "expected_cost": 123_456,
        }
        for one in MODELS
    ]
    scores = dict.fromkeys(TASKS, 0.1)
    features = {"tokens": 812, "bound": 2_044, "signals": ["code fence", "question"], "difficulty": 0.31}
    return RoutingRecord(considered, scores, model, "best score for chat", features, "default-1", "r" * 16, "s" * 16)


def fill(folder: Path, count: int) -> int:
    """A spool whose writer is gone; gives its bytes."""
    spool = Spool(folder)
    for admission, attempt, record in requests(count):
        spool.admit(admission)
        spool.attempt(attempt)
        spool.finish(record)
    spool.close()
    for path in folder.glob("*.log"):  # another process' number: this one lives
        path.rename(path.with_name(path.name.replace(f"-{path.stem.split('-')[1]}-", "-0-")))
    return sum(path.stat().st_size for path in folder.glob("*.log"))


async def drained(url: str, folder: Path, count: int, *, profile: str = "") -> tuple[float, float]:
    """Seconds that the drain of the whole spool takes, and seconds of CPU of this process (SQLite's work included)."""
    await asyncio.to_thread(upgrade, url)
    size = fill(folder, count)
    database = Database(url, patience_s=None)
    drainer = Drainer(Spool(folder), database)
    measuring = cProfile.Profile()
    if profile:
        measuring.enable()
    began_s, cpu_s = time.perf_counter(), time.process_time()
    await drainer.replay()
    took_s, cpu_s = time.perf_counter() - began_s, time.process_time() - cpu_s
    if profile:
        measuring.disable()
        measuring.dump_stats(profile)
    async with database.session() as session:
        held = await session.scalar(text("SELECT count(*) FROM requests"))
        summed = await session.scalar(text("SELECT sum(requests) FROM usage_rollups WHERE grain = 'day'"))
    await database.close()
    if not held == summed == count:
        raise RuntimeError(f"{held} requests and {summed} in the roll-ups, of {count}")
    print(f"  ({size / count:,.0f} bytes a request in the spool)", flush=True)
    return took_s, cpu_s


@contextmanager
def databases(folder: Path) -> Iterator[dict[str, str]]:
    """Name -> the address of a fresh database."""
    found = {"SQLite": f"sqlite:///{folder / 'drain.db'}"}
    with suppress(PostgresMissing), running_postgres() as server:
        yield found | {"Postgres": server.create("drain")}
        return
    yield found


def main() -> None:
    """`python -m bench.drain --requests 20000`."""
    command = argparse.ArgumentParser(description=__doc__)
    command.add_argument("--requests", type=int, default=20_000)
    command.add_argument("--json", action="store_true", help="for machines")
    command.add_argument("--only", default="", help="SQLite or Postgres")
    command.add_argument("--profile", default="", metavar="FILE", help="what cProfile saw, for pstats")
    options = command.parse_args()
    figures = {}
    collector.rest()  # as in a server
    with tempfile.TemporaryDirectory(prefix="omni-drain-") as name, databases(Path(name)) as urls:
        for database, url in urls.items():
            if options.only not in ("", database):
                continue
            spool = Path(name) / f"spool-{database}"
            took_s, cpu_s = asyncio.run(drained(url, spool, options.requests, profile=options.profile))
            rows = ROWS_A_REQUEST * options.requests
            figures[database] = {"rows_per_s": round(rows / took_s), "cpu_us_a_row": round(1e6 * cpu_s / rows, 1)}
            print(
                f"{database}: {options.requests / took_s:,.0f} requests/s, {rows / took_s:,.0f} rows/s; "
                f"CPU of this process {1e6 * cpu_s / rows:.1f} µs a row, so {rows / cpu_s:,.0f} rows a CPU second",
                flush=True,
            )
    if options.json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
