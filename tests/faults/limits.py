"""Rate limits over four gateways, exact and with Redis gone. A play of `make chaos`.

The gateways are real processes over one Postgres and one Redis, which speaks Upstash's protocol from a process of its
own. Callers spread unevenly over gateways and keys, use both headers and say to be others.
"""

import argparse
import asyncio
import signal
import subprocess
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple

import httpx

from omni_app.limits.door import FAILURES_TO_OPEN
from tests.faults.clock import Clock
from tests.faults.rig import PATIENCE_S, Rig, say
from tests.faults.scale import HELLO, Fleet, fleet
from tests.servers.postgres import Postgres, running_postgres
from tests.servers.upstash import running_redis, upstash_apart, url_of

WORKERS = 4
LIMIT, KEYS_LIMIT = 100, 40
UNEVEN = (10, 5, 3, 2)
"""Of twenty requests, how many go to each gateway."""
WINDOW_S = 3
SKEW_S = 300
FOUND_OUT = WORKERS * FAILURES_TO_OPEN
"""So many requests find out that Redis is away; the others wait for nothing."""


class Told(NamedTuple):
    """One answer: when it was asked for and there, its status, and who counted."""

    sent_s: float
    answered_s: float
    status: int
    mode: str

    @property
    def took_ms(self) -> float:
        return (self.answered_s - self.sent_s) * 1000


@dataclass(slots=True)
class Stage:
    """Four gateways, and the process between them and Redis."""

    made: Fleet
    shim: "subprocess.Popen[bytes]"

    async def ask(self, gateway: Rig, secret: str, number: int, client: httpx.AsyncClient) -> Told:
        """One request, by either header, from an address that it makes up."""
        headers = {"X-API-Key": secret} if number % 2 else {"Authorization": f"Bearer {secret}"}
        headers |= {"X-Forwarded-For": f"10.1.2.{number % 250}", "Forwarded": f"for=10.9.9.{number % 250}"}
        sent_s = time.monotonic()
        answer = await client.post(f"{gateway.base_url}/v1/chat/completions", json=HELLO, headers=headers)
        mode = answer.headers.get("x-ratelimit-mode", "")
        return Told(sent_s, time.monotonic(), answer.status_code, mode)

    async def burst(self, secrets: Sequence[str], count: int) -> list[Told]:
        """So many requests at once, unevenly over the gateways, in turn with each key."""
        spread = [gateway for gateway, part in zip(self.made.gateways, UNEVEN, strict=True) for _ in range(part)]
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        async with httpx.AsyncClient(timeout=PATIENCE_S, limits=limits) as client:
            asks = (
                self.ask(spread[number % len(spread)], secrets[number % len(secrets)], number, client)
                for number in range(count)
            )
            return list(await asyncio.gather(*asks))

    async def one_by_one(self, secret: str, count: int) -> list[Told]:
        """So many requests, one after the other, at each gateway in turn, over connections that stay."""
        async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
            gateways = self.made.gateways
            return [await self.ask(gateways[n % len(gateways)], secret, n, client) for n in range(count)]


@asynccontextmanager
async def staged(
    folder: Path,
    url: str,
    *,
    environment: Mapping[str, str] | None = None,
    own_environments: Sequence[Mapping[str, str]] = (),
) -> AsyncIterator[Stage]:
    """Four gateways with a limit of `LIMIT` an org, in the order of `UNEVEN`."""
    settings = {"RATE_LIMIT_MAX": str(LIMIT), "RATE_LIMIT_WINDOW_SEC": "60", **(environment or {})}
    with running_redis() as redis_port, upstash_apart(redis_port) as shim:
        address = url_of(shim)
        async with fleet(
            folder, url, address, size=WORKERS, environment=settings, own_environments=own_environments
        ) as made:
            yield Stage(made, shim)


def statuses(told: Sequence[Told]) -> Counter[int]:
    """Status -> answers."""
    return Counter(one.status for one in told)


async def keys_of(made: Fleet, org: str) -> list[str]:
    """A key with a limit of its own, and two without."""
    return [(await made.key(org=org, limit=limit))[2] for limit in (KEYS_LIMIT, None, None)]


class Exactly(NamedTuple):
    """Whether as many were let in as the limits say, and whether all were counted by Redis: else it was too slow."""

    to_the_request: bool
    shared: bool


async def exact(stage: Stage, org: str, *, count: int) -> Exactly:
    """A burst by a key beyond its own limit, then one by its org beyond the org's: what is let in is the limits."""
    own, *others = await keys_of(stage.made, org)
    by_key = await stage.burst([own], count)
    by_org = await stage.burst([own, *others], count)
    modes = Counter(one.mode for one in (*by_key, *by_org))
    slowest_ms = max(one.took_ms for one in (*by_key, *by_org))
    say(
        f"{org}: {count} at once by a key with a limit of {KEYS_LIMIT}: {dict(statuses(by_key))}; then {count} by all "
        f"keys of the org with {LIMIT}: {dict(statuses(by_org))}; counted by {dict(modes)}, slowest {slowest_ms:.0f} ms"
    )
    by_limits = [{200: KEYS_LIMIT, 429: count - KEYS_LIMIT}, {200: LIMIT - KEYS_LIMIT, 429: count - LIMIT + KEYS_LIMIT}]
    return Exactly([statuses(by_key), statuses(by_org)] == by_limits, set(modes) == {"shared"})


async def edges(stage: Stage, *, windows: int) -> bool:
    """Bursts around the edges of windows: in no window of any position more than the limit."""
    secrets, told = await keys_of(stage.made, "edges"), list[Told]()
    for _ in range(windows):
        told += await stage.burst(secrets[1:], LIMIT * 3 // 2)
        await asyncio.sleep(WINDOW_S * 0.4)
    passed = [one for one in told if one.status == 200]
    most = max(
        sum(one.sent_s >= first.sent_s and one.answered_s < first.sent_s + WINDOW_S for one in passed)
        for first in passed
    )
    whole = 1 + int((told[-1].answered_s - told[0].sent_s) / WINDOW_S)
    say(f"edges: {len(passed)} of {len(told)} let in over {whole} windows begun, at most {most} of {LIMIT} in one")
    return most <= LIMIT and len(passed) > LIMIT and statuses(told).keys() == {200, 429}


async def without_redis(stage: Stage, name: str, *, count: int, healthy: Sequence[Told]) -> bool:
    """Requests within the limit, one by one, while Redis is away: all answered, and how much later than before."""
    _, _, secret = await stage.made.key(org=name)
    told = await stage.one_by_one(secret, count)
    found_out, afterwards = told[:FOUND_OUT], told[FOUND_OUT:]
    usual = cuts_ms(healthy)
    waited = [one.took_ms - usual[49] for one in found_out]
    added = [late - early for late, early in zip(cuts_ms(afterwards), usual, strict=True)]
    say(
        f"{name}: {dict(statuses(told))}, counted by {dict(Counter(one.mode for one in told))}; the first "
        f"{len(found_out)} took {median(waited):+.0f} ms at the median, {max(waited):+.0f} ms at most, the others "
        f"{added[49]:+.1f} ms at p50 and "
        f"{added[98]:+.1f} ms at p99 (before: {usual[49]:.1f} and {usual[98]:.1f} ms)"
    )
    return statuses(told) == {200: count}


def cuts_ms(told: Sequence[Told]) -> list[float]:
    """The percentiles 1 to 99."""
    return quantiles((one.took_ms for one in told), n=100, method="inclusive")


async def switched(stage: Stage, org: str, *, before: int, count: int) -> bool:
    """Redis is killed when a part of the limit is used: what is let in beside the limit is at most a share."""
    _, _, secret = await stage.made.key(org=org)
    told = await stage.one_by_one(secret, before)
    stage.shim.kill()
    told += await stage.burst([secret], count)
    passed = statuses(told)[200]
    say(f"{org}: {before} let in, then Redis is killed and {count} come at once: {passed} of {LIMIT} let in altogether")
    return before <= passed <= LIMIT + LIMIT // WORKERS


async def play(folder: Path, arguments: argparse.Namespace) -> bool:
    """All of it."""
    with running_postgres() as postgres:
        return (
            await _exact(folder / "exact", postgres)
            & await _edges(folder / "edges", postgres)
            & await _skewed(folder / "skewed", postgres)
            & await _away(folder / "away", postgres)
        )


async def _exact(folder: Path, postgres: Postgres) -> bool:
    async with staged(folder, postgres.create("limits_exact")) as stage:
        return all([all(await exact(stage, f"exact {number}", count=500)) for number in range(3)])


async def _edges(folder: Path, postgres: Postgres) -> bool:
    environment = {"RATE_LIMIT_WINDOW_SEC": str(WINDOW_S)}
    async with staged(folder, postgres.create("limits_edges"), environment=environment) as stage:
        return await edges(stage, windows=8)


async def _skewed(folder: Path, postgres: Postgres) -> bool:
    """The second gateway's wall clock is five minutes ahead, the third's behind."""
    folder.mkdir(parents=True)
    own = []
    for ahead_s in (SKEW_S, -SKEW_S):
        clock = Clock(folder / f"clock{ahead_s}")
        own.append(clock.environment)
        clock.write(ahead_s)
    async with staged(folder, postgres.create("limits_skewed"), own_environments=own) as stage:
        return all(await exact(stage, "clocks 5 min ahead and behind", count=500))


async def _away(folder: Path, postgres: Postgres) -> bool:
    within = LIMIT // WORKERS * WORKERS
    url = postgres.create("limits_away")
    async with staged(folder / "stopped", url) as stage:
        healthy = await stage.one_by_one((await stage.made.key(org="healthy"))[2], within)
        stage.shim.send_signal(signal.SIGSTOP)
        well = await without_redis(stage, "Redis stopped (SIGSTOP)", count=within, healthy=healthy)
    async with staged(folder / "killed", url) as stage:
        stage.shim.kill()
        well &= await without_redis(stage, "Redis dead", count=within, healthy=healthy)
    async with staged(folder / "token", url, environment={"UPSTASH_REDIS_REST_TOKEN": "wrong"}) as stage:
        well &= await without_redis(stage, "a wrong token", count=within, healthy=healthy)
    async with staged(folder / "switch", url) as stage:
        return well & await switched(stage, "switch", before=60, count=300)
