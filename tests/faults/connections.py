"""What stands between the product and its Postgres: a pooler, a switch to another server, a pool that is too small.

Plays of `make chaos`.
"""

import argparse
import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import chain, cycle, islice
from pathlib import Path
from statistics import quantiles

import httpx

from tests.faults.outage import CALM, NAME, called_for, known, until_drained
from tests.faults.rig import Account, Ask, Outcome, Rig, account, call_on, patient_client, rigged, say
from tests.product import free_port
from tests.servers.pgbouncer import pooled
from tests.servers.postgres import Cluster, Postgres, running_cluster
from tests.servers.proxy import Switch, passing_on_apart

COMPLAINTS = ("prepared statement", "Traceback", "deadlock")
"""What a server that cannot live behind a pooler would log."""


def complaints(rig: Rig) -> list[str]:
    """Lines of the server's log that tell of trouble with the pooler."""
    return [line for line in rig.log_file.read_text().splitlines() if any(one in line for one in COMPLAINTS)]


# A transaction pooler, as Supabase's


async def behind_a_pooler(folder: Path, *, requests: int, at_once: int, delay_s: float) -> tuple[Account, list[str]]:
    """Migrates and serves through pgbouncer, with fewer server connections than the product opens."""
    with running_cluster() as cluster:
        cluster.server.create(NAME)
        with pooled(cluster.server, NAME) as url:
            async with rigged(folder, delay_s=delay_s, environment={"DATABASE_URL": url}) as rig:
                await rig.start()
                async with patient_client() as client:
                    await call_on(rig, client, await rig.asks(requests), at_once=at_once)
                await until_drained(rig)
                await rig.terminate()
                assert {one.told for one in rig.outcomes} <= set(CALM), Counter(one.told for one in rig.outcomes)
                return account(rig), complaints(rig)


async def pooler(folder: Path, arguments: argparse.Namespace) -> bool:
    """`--requests` requests with keys that nobody has seen, through a transaction pooler."""
    told, said = await behind_a_pooler(
        folder, requests=arguments.requests, at_once=arguments.at_once, delay_s=arguments.delay_s
    )
    say(f"through pgbouncer, one transaction a connection: {told}; complaints in the log: {said}")
    return told.balanced and not told.unknown and not said


# A failover


@dataclass(slots=True)
class Failing:
    """A Postgres behind a switch, and the port that it moves to."""

    cluster: Cluster
    switch: Switch
    rig: Rig

    async def fail_over(self) -> None:
        """Ends the server at once; one at another port takes over its data, and the switch follows."""
        await asyncio.to_thread(self.cluster.crash)
        self.cluster.server = Postgres(free_port())
        await asyncio.to_thread(self.cluster.come_back)
        self.switch.port = self.cluster.server.port


@asynccontextmanager
async def switched(folder: Path, *, delay_s: float) -> AsyncIterator[Failing]:
    """The product running, its Postgres behind a switch."""
    with running_cluster() as cluster:
        switch = Switch(cluster.server.port)
        cluster.server.create(NAME)
        with passing_on_apart(iter(switch)) as port:
            environment = {"DATABASE_URL": Postgres(port).url(NAME)}
            async with rigged(folder, delay_s=delay_s, environment=environment) as rig:
                await rig.start()
                yield Failing(cluster, switch, rig)


async def failed_over_under_load(stage: Failing, *, seconds: float, at_once: int, asks: int) -> list[Outcome]:
    """Callers with known keys, before, at and after the switch; what they were told."""
    waiting = await known(stage.rig, asks)
    load = asyncio.create_task(called_for(stage.rig, waiting, seconds=seconds, at_once=at_once))
    await asyncio.sleep(seconds / 3)
    await stage.fail_over()
    return await load


async def failover(folder: Path, arguments: argparse.Namespace) -> bool:
    """Postgres fails over under load, after a third of 30 s."""
    async with switched(folder, delay_s=arguments.delay_s) as stage:
        asks = round(30 * arguments.at_once / arguments.delay_s) + 100
        seen = await failed_over_under_load(stage, seconds=30, at_once=arguments.at_once, asks=asks)
        drained_s = await until_drained(stage.rig)
        await stage.rig.terminate()
        told = account(stage.rig)
    outcomes = Counter(one.told for one in seen)
    say(f"failover under load: {dict(outcomes)}; drained {drained_s:.1f} s after the load; {told}")
    return set(outcomes) <= set(CALM) and told.balanced and not told.unknown


# A pool that is too small


@dataclass(frozen=True, slots=True)
class Crowded:
    """What was told over an exhausted pool."""

    readers: Sequence[tuple[int, float]]
    """Of `/v1/usage`, which asks the database each time: statuses and seconds."""
    served: Sequence[Outcome]
    """Requests meanwhile."""

    @property
    def slowest_s(self) -> float:
        """Of the readers."""
        return max(took_s for _, took_s in self.readers)


async def crowded(folder: Path, *, readers: int, rounds: int) -> tuple[Crowded, Account]:
    """`readers` at once over a pool of two, each one reading after the other; requests of known keys beside them."""
    with running_cluster() as cluster:
        environment = {"DATABASE_URL": cluster.server.create(NAME), "DATABASE_POOL_SIZE": "2"}
        async with rigged(folder, delay_s=0.1, environment=environment) as rig:
            await rig.start()
            asks = await known(rig, 100)
            limits = httpx.Limits(max_connections=None)
            async with httpx.AsyncClient(base_url=rig.base_url, timeout=60, limits=limits) as client:
                load = asyncio.create_task(called_for(rig, list(asks), seconds=2, at_once=4))
                told = await asyncio.gather(*(_read(client, ask, rounds) for ask in islice(cycle(asks), readers)))
                served = await load
            await until_drained(rig)
            await rig.terminate()
            return Crowded(list(chain.from_iterable(told)), served), account(rig)


async def _read(client: httpx.AsyncClient, ask: Ask, rounds: int) -> list[tuple[int, float]]:
    found: list[tuple[int, float]] = []
    for _ in range(rounds):
        answer = await client.get("/v1/usage", headers={"Authorization": f"Bearer {ask.secret}"})
        found.append((answer.status_code, answer.elapsed.total_seconds()))
    return found


async def exhausted(folder: Path, arguments: argparse.Namespace) -> bool:
    """200 readers over a pool of two, of which one is for them."""
    seen, told = await crowded(folder, readers=200, rounds=10)
    statuses = Counter(status for status, _ in seen.readers)
    p99_s = quantiles((took_s for _, took_s in seen.readers), n=100)[-1]
    served = Counter(one.told for one in seen.served)
    say(
        f"200 readers over two connections: {dict(statuses)}, p99 {p99_s:.2f} s, slowest {seen.slowest_s:.2f} s;"
        f" requests of known keys beside them {dict(served)}; {told}"
    )
    return set(statuses) <= {200, 503} and seen.slowest_s < 15 and set(served) <= set(CALM) and told.balanced
