"""Postgres goes away under load: it crashes, it hangs, it was never there. Plays of `make chaos`."""

import argparse
import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles

import httpx

from omni_app.storage.keys import generate_key
from tests.faults.rig import Ask, Outcome, Rig, account, call_on, patient_client, rigged, say
from tests.product import wait_until_ready
from tests.servers.postgres import Cluster, running_cluster

NAME = "omni"
CALM = ("200", "done")
RECOVERY_S = 60.0
POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Stage:
    """One database server, and the product before it."""

    cluster: Cluster
    rig: Rig


@asynccontextmanager
async def staged(folder: Path, *, delay_s: float, at_start: bool = True) -> AsyncIterator[Stage]:
    """A migrated Postgres and a running server; with `at_start=False` neither of them runs when this begins."""
    with running_cluster() as cluster:
        environment = {"DATABASE_URL": cluster.server.create(NAME)}
        async with rigged(folder, delay_s=delay_s, environment=environment) as rig:
            if at_start:
                await rig.start()
            else:
                cluster.crash()
            yield Stage(cluster, rig)


async def known(rig: Rig, count: int) -> list[Ask]:
    """Requests whose keys the server has seen."""
    asks = await rig.asks(count)
    async with httpx.AsyncClient(base_url=rig.base_url, timeout=30.0) as client:
        for ask in asks:
            answer = await client.get("/v1/models", headers={"Authorization": f"Bearer {ask.secret}"})
            assert answer.status_code == 200, answer.text
    return asks


async def called_for(rig: Rig, asks: list[Ask], *, seconds: float, at_once: int) -> list[Outcome]:
    """`at_once` callers for so long, each request with the next of `asks`; what they were told."""
    before, left = len(rig.outcomes), list(asks)

    async def end() -> None:
        await asyncio.sleep(seconds)
        asks[:] = left
        left.clear()

    async with patient_client() as client, asyncio.TaskGroup() as group:
        group.create_task(end())
        group.create_task(call_on(rig, client, left, at_once=at_once))
    assert asks, "there were too few requests for the time"
    return rig.outcomes[before:]


async def statuses(rig: Rig) -> tuple[int, int, int]:
    """What `/health`, `/ready` and a request with a key that nobody has seen are told."""
    headers = {"Authorization": f"Bearer {generate_key('live')}"}
    async with httpx.AsyncClient(base_url=rig.base_url, timeout=30.0) as client:
        answers = await asyncio.gather(
            client.get("/health"), client.get("/ready"), client.get("/v1/models", headers=headers)
        )
    health, ready, unknown = (answer.status_code for answer in answers)
    return health, ready, unknown


async def until_ready(rig: Rig) -> float:
    """Seconds until `/ready` says so."""
    began_s = time.monotonic()
    assert rig.server is not None
    await asyncio.to_thread(wait_until_ready, rig.base_url, rig.server, rig.log_file)
    return time.monotonic() - began_s


async def until_drained(rig: Rig) -> float:
    """Seconds until every call of the provider has its row. Raises `TimeoutError`."""
    began_s = time.monotonic()
    async with asyncio.timeout(RECOVERY_S):
        while rig.called().keys() - {row.mark for row in rig.ledger()}:  # noqa: ASYNC110 another process does the work
            await asyncio.sleep(POLL_S)
    return time.monotonic() - began_s


def p99_ms(outcomes: Sequence[Outcome]) -> float:
    """Of the time that callers waited."""
    return quantiles((one.took_s * 1000 for one in outcomes), n=100)[-1]


@dataclass(frozen=True, slots=True)
class Outage:
    """What was seen while the database was away."""

    calm: Sequence[Outcome]
    away: Sequence[Outcome]
    told: tuple[int, int, int]
    drained_s: float

    @property
    def served(self) -> bool:
        """Whether every request of a known key was answered, and every other one told to wait."""
        return {one.told for one in (*self.calm, *self.away)} <= set(CALM) and self.told == (200, 503, 503)


async def crashed_under_load(stage: Stage, asks: list[Ask], *, calm_s: float, away_s: float, at_once: int) -> Outage:
    """A calm stretch, then one without the database; then it comes back."""
    rig, cluster = stage.rig, stage.cluster
    calm = await called_for(rig, asks, seconds=calm_s, at_once=at_once)
    await asyncio.to_thread(cluster.crash)
    away = asyncio.create_task(called_for(rig, asks, seconds=away_s, at_once=at_once))
    await asyncio.sleep(away_s / 2)
    told = await statuses(rig)
    outcomes = await away
    await asyncio.to_thread(cluster.come_back)
    return Outage(calm, outcomes, told, await until_drained(rig))


async def crash(folder: Path, arguments: argparse.Namespace) -> bool:
    """Postgres is ended at once, stays away for `--away-s`, and comes back."""
    async with staged(folder, delay_s=arguments.delay_s) as stage:
        asks = await known(stage.rig, round(arguments.away_s * 2 * arguments.at_once / arguments.delay_s) + 100)
        seen = await crashed_under_load(
            stage, asks, calm_s=arguments.away_s / 4, away_s=arguments.away_s, at_once=arguments.at_once
        )
        await stage.rig.terminate()
        told = account(stage.rig)
    say(
        f"Postgres crashed and away for {arguments.away_s:g} s, {arguments.at_once} callers: {len(seen.away)} requests,"
        f" {dict(Counter(one.told for one in seen.away))}; p99 {p99_ms(seen.calm):.0f} ms before,"
        f" {p99_ms(seen.away):.0f} ms while it was away; health, ready, unknown key: {seen.told};"
        f" drained {seen.drained_s:.1f} s after it was back; {told}"
    )
    return seen.served and told.balanced and not told.unknown and seen.drained_s < 10


async def stall(folder: Path, arguments: argparse.Namespace) -> bool:
    """Postgres is frozen for 5 s: its connections stay open and nothing answers."""
    async with staged(folder, delay_s=arguments.delay_s) as stage:
        rig, cluster = stage.rig, stage.cluster
        asks = await known(rig, round(40 * arguments.at_once / arguments.delay_s) + 100)
        calm = await called_for(rig, asks, seconds=5, at_once=arguments.at_once)
        cluster.stall()
        try:
            away = await called_for(rig, asks, seconds=5, at_once=arguments.at_once)
        finally:
            cluster.go_on()
        drained_s = await until_drained(rig)
        await rig.terminate()
        told = account(rig)
    outcomes = Counter(one.told for one in away)
    say(
        f"Postgres frozen for 5 s, {arguments.at_once} callers: {len(away)} requests, {dict(outcomes)}; p99"
        f" {p99_ms(calm):.0f} ms before, {p99_ms(away):.0f} ms while it was; drained {drained_s:.1f} s after; {told}"
    )
    return set(outcomes) <= set(CALM) and told.balanced and not told.unknown and drained_s < 10


async def late(folder: Path, arguments: argparse.Namespace) -> bool:
    """The server is started before its database."""
    async with staged(folder, delay_s=arguments.delay_s, at_start=False) as stage:
        told, ready_s = await started_before_its_database(stage)
    say(f"started before Postgres: health, ready, unknown key: {told}; ready {ready_s:.1f} s after Postgres")
    return told == (200, 503, 503) and ready_s < 2


async def started_before_its_database(stage: Stage) -> tuple[tuple[int, int, int], float]:
    """What is told without the database, and the seconds from its start to `/ready`."""
    rig = stage.rig
    rig.server = rig.spawn()
    async with httpx.AsyncClient(base_url=rig.base_url) as client, asyncio.timeout(RECOVERY_S):
        while True:
            try:
                await client.get("/health")
                break
            except httpx.TransportError:
                await asyncio.sleep(POLL_S)
    told = await statuses(rig)
    await asyncio.to_thread(stage.cluster.come_back)
    return told, await until_ready(rig)
