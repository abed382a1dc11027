"""Sixty-four callers at once on an almost spent budget, before two workers over Postgres. A play of `make chaos`.

Once with a provider that keeps to `max_tokens`, and once with one that counts far more.
"""

import argparse
import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from omni_app.storage import accounts, budgets
from omni_app.storage.budgets import Standing
from omni_app.storage.database import Database
from omni_app.storage.tables import utc_now
from tests.faults.rig import MODEL, PATIENCE_S, POLL_S, Rig, patient_client, rigged, say
from tests.servers.postgres import running_cluster

CALLERS, WORKERS, RUNS = 64, 2, 5
FITS = 10
MAX_TOKENS = 100
HONEST: Mapping[str, int] = {"prompt_tokens": 12, "completion_tokens": MAX_TOKENS}
DEFIANT: Mapping[str, int] = {"prompt_tokens": 12, "completion_tokens": 100 * MAX_TOKENS}
WORST = 1_400_000_000
"""Pico-dollars, a little more than a request's worst case with `MODEL`: its prompt's bound and `MAX_TOKENS`."""
LIMIT = FITS * WORST


@dataclass(frozen=True, slots=True)
class Run:
    """What came of one run. Amounts in pico-dollars."""

    told: Counter[int]
    calls: int
    """At the provider."""
    spent: int
    held: int

    @property
    def kept(self) -> bool:
        """Whether the budget held, some got through, and no refused request had reached the provider."""
        answered = self.told[200]
        return 0 < self.spent <= LIMIT and not self.held and 0 < answered == self.calls and self.told[402] > 0


@asynccontextmanager
async def staged(folder: Path, *, delay_s: float) -> AsyncIterator[Rig]:
    """Several workers of one server over a Postgres of their own."""
    with running_cluster() as cluster:
        environment = {"DATABASE_URL": cluster.server.create("omni")}
        async with rigged(folder, delay_s=delay_s, environment=environment) as rig:
            rig.workers_wanted = WORKERS
            await rig.start()
            yield rig
            await rig.terminate()


async def crowded(rig: Rig, org: str, *, counts: Mapping[str, int]) -> Run:
    """A new org with a budget for `FITS` requests, and everybody at once."""
    asks = await rig.asks(CALLERS, org=org)
    database = Database(rig.settings.database)
    async with database.session() as session:
        org_id = await accounts.org_named(session, org)
        await budgets.set_budget(session, org_id=org_id, key_id=None, period="total", limit=LIMIT, now=utc_now())
        await session.commit()
    rig.upstream.usage, before = counts, len(rig.upstream.calls)
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Hello!"}], "max_tokens": MAX_TOKENS}
    async with patient_client() as client:
        url = f"{rig.base_url}/v1/chat/completions"
        answers = await asyncio.gather(
            *(client.post(url, json=body, headers={"Authorization": f"Bearer {ask.secret}"}) for ask in asks)
        )
    standing = await settled(database, org, told := Counter(answer.status_code for answer in answers))
    await database.close()
    return Run(told, len(rig.upstream.calls) - before, standing.spent, standing.reserved)


async def settled(database: Database, org: str, told: Counter[int]) -> Standing:
    """How the budget stands once each answer is booked and nothing is held, or the time is up."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            async with database.session() as session:
                org_id = await accounts.org_named(session, org)
                (standing,) = await budgets.standings(session, org_id=org_id, now=utc_now())
            if not standing.reserved and (standing.spent or not told[200]):
                return standing
            await asyncio.sleep(POLL_S)


async def play(folder: Path, arguments: argparse.Namespace) -> bool:
    """Five runs with each provider; the server is a new one after each that has left the provider alone."""
    runs: list[Run] = []
    async with staged(folder, delay_s=arguments.delay_s) as rig:
        for name, counts in (("honest", HONEST), ("defiant", DEFIANT)):
            for number in range(RUNS):
                run = await crowded(rig, f"{name} {number}", counts=counts)
                say(
                    f"{name} provider, {CALLERS} at once, {WORKERS} workers: {dict(run.told)}, {run.calls} calls, "
                    f"spent {run.spent} of {LIMIT} pico-dollars, {run.held} held"
                )
                runs.append(run)
                if counts is DEFIANT:
                    await rig.terminate()
                    await rig.start()
    return all(run.kept for run in runs)
