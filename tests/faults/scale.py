"""Several gateways over one Postgres and one Redis, behind a proxy: what holds across them, and what they do together.

`make scale` is the long form: two dashboards beside the gateways, then the throughput of 1, 2 and 4 gateways. All of it
shares this machine with the provider, the proxy, Postgres, Redis and the load, so the throughput says little; the CPU
time that a request takes of the gateways, beside it, says how far machines go.
"""

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import uvloop

from omni_app.money import pico
from omni_app.serve import BUILD, server_command, server_environment
from omni_app.storage import accounts, budgets, keys
from omni_app.storage.budgets import standings
from omni_app.storage.database import Database
from omni_app.storage.tables import ApiKeyRow, utc_now
from tests.faults.load import Plan, Step, loaded
from tests.faults.rig import MODEL, PATIENCE_S, POLL_S, Rig, rigged, say
from tests.product import ROOT, free_port, stop, wait_until_ready
from tests.servers.postgres import Postgres, running_postgres
from tests.servers.proxy import proxying
from tests.servers.upstash import TOKEN, UpstashServer, running_redis

METRICS_TOKEN = "a-token-for-the-metrics"
OWNER = {"email": "ada@example.com", "password": "seven lamps on a quiet harbour", "org_name": "Engines"}
FROM_OUR_PAGE = {"Sec-Fetch-Site": "same-origin"}
HELLO = {"model": MODEL, "messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 50}
LIMIT = 20
SIZES = (1, 2, 4)
CALLERS, SECONDS, WARM_UP_S = 32, 8.0, 2.0


@dataclass(slots=True)
class Fleet:
    """Gateways that share all but their spools; `address` is the proxy's."""

    gateways: Sequence[Rig]
    database: Database
    address: str = ""
    client: httpx.AsyncClient = field(
        default_factory=lambda: httpx.AsyncClient(
            timeout=PATIENCE_S, limits=httpx.Limits(max_connections=None, max_keepalive_connections=0)
        )
    )
    """A connection for each request, so that they go round."""

    async def key(self, *, org: str = "Acme", limit: int | None = None) -> tuple[UUID, UUID, str]:
        """A new live key: its id, its org's, its secret."""
        hasher = keys.KeyHasher(self.gateways[0].settings.key_pepper)
        async with self.database.session() as session:
            org_id = await accounts.org_named(session, org)
            key, secret = await keys.create_key(session, org_id=org_id, name="k", kind="live", hasher=hasher)
            if limit is not None:
                row = await session.get_one(ApiKeyRow, key.id)
                row.rate_limit = limit
            await session.commit()
        return key.id, org_id, secret

    async def ask(self, secret: str) -> httpx.Response:
        """One request, of whichever gateway has its turn."""
        url = f"{self.address}/v1/chat/completions"
        return await self.client.post(url, json=HELLO, headers={"Authorization": f"Bearer {secret}"})

    async def knock(self, secret: str) -> set[int]:
        """What each gateway answers to a key, without a row in the ledger."""
        headers = {"Authorization": f"Bearer {secret}"}
        return {
            (await self.client.get(f"{one.base_url}/v1/models", headers=headers)).status_code for one in self.gateways
        }

    async def ask_often(self, secret: str, count: int, *, at_once: int) -> list[httpx.Response]:
        """So many requests by so many callers."""
        places = asyncio.Semaphore(at_once)

        async def one() -> httpx.Response:
            async with places:
                return await self.ask(secret)

        return list(await asyncio.gather(*(one() for _ in range(count))))

    async def usage(self, secret: str) -> list[dict[str, Any]]:
        """What each gateway says of the org."""
        headers = {"Authorization": f"Bearer {secret}"}
        urls = [f"{one.base_url}/v1/usage?mode=live" for one in self.gateways]
        return [(await self.client.get(url, headers=headers)).json() for url in urls]

    async def until_drained(self, secret: str, count: int) -> list[dict[str, Any]]:
        """`usage`, once so many requests are written and all gateways say the same, or the time is up."""
        deadline_s = time.monotonic() + PATIENCE_S / 4
        told = await self.usage(secret)
        while time.monotonic() < deadline_s and not (
            told[0]["total_requests"] >= count and all(one["by_model"] == told[0]["by_model"] for one in told)
        ):
            await asyncio.sleep(POLL_S)
            told = await self.usage(secret)
        return told

    async def cpu_s(self) -> float:
        """What all gateways have used since they began, by their own figures."""
        total = 0.0
        for one in self.gateways:
            answer = await self.client.get(
                f"{one.base_url}/metrics", headers={"Authorization": f"Bearer {METRICS_TOKEN}"}
            )
            lines = [line for line in answer.text.splitlines() if line.startswith("process_cpu_seconds_total")]
            total += sum(float(line.rpartition(" ")[2]) for line in lines)
        return total


@asynccontextmanager
async def fleet(
    folder: Path,
    url: str,
    redis_url: str,
    *,
    size: int,
    environment: Mapping[str, str] | None = None,
    own_environments: Sequence[Mapping[str, str]] = (),
) -> AsyncIterator[Fleet]:
    """So many gateways and a proxy before them; at the end the ledger is held against itself.

    `environment`: further settings, or other ones. `own_environments`: what the gateways after the first have beside.
    """
    shared = {
        "DATABASE_URL": url,
        "UPSTASH_REDIS_REST_URL": redis_url,
        "UPSTASH_REDIS_REST_TOKEN": TOKEN if redis_url else "",
        "OMNI_SECRET_KEY": "s" * 40,
        "OMNI_KEY_PEPPER": "p" * 40,
        "METRICS_TOKEN": METRICS_TOKEN,
        "RATE_LIMIT_WORKERS": str(size),
        "RATE_LIMIT_WINDOW_SEC": "3600",
        **(environment or {}),
    }
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(rigged(folder / "0", delay_s=0, environment=shared))
        rigs = [first, *(beside(first, folder / str(number)) for number in range(1, size))]
        stack.callback(end, rigs[1:])
        for rig, own in zip(rigs[1:], own_environments, strict=False):
            rig.environment |= own
        for rig in rigs:
            rig.folder.mkdir(parents=True, exist_ok=True)
            rig.server = rig.spawn()
        for rig in rigs:
            assert rig.server is not None
            await asyncio.to_thread(wait_until_ready, rig.base_url, rig.server, rig.log_file)
        database = Database(url)
        stack.push_async_callback(database.close)
        made = Fleet(rigs, database)
        stack.push_async_callback(made.client.aclose)
        made.address = await stack.enter_async_context(proxying([rig.settings.port for rig in rigs]))
        yield made


def beside(first: Rig, folder: Path) -> Rig:
    """Another gateway with the settings of the first, but for its port and its own data folder."""
    port = free_port()
    settings = first.settings.model_copy(update={"port": port, "omni_data_dir": folder})
    environment = first.environment | {"PORT": str(port), "OMNI_DATA_DIR": str(folder)}
    return replace(first, folder=folder, settings=settings, environment=environment, server=None, outcomes=[])


def end(rigs: Sequence[Rig]) -> None:
    """Stops what runs."""
    for rig in rigs:
        if rig.server is not None and rig.server.poll() is None:
            stop(rig.server)


@contextmanager
def sharing() -> Iterator[tuple[Postgres, str, int]]:
    """A Postgres, and a Redis by Upstash's protocol and by its own port."""
    with running_postgres() as postgres, running_redis() as port:
        upstash = UpstashServer(port)
        upstash.start()
        try:
            yield postgres, upstash.url, port
        finally:
            upstash.stop()


# ---------------------------------------------------------------------------------------------- what holds across them


async def limit_is_one(fleet: Fleet, *, limit: int) -> Counter[int]:
    """Statuses of three times as many requests as a key may make, through all gateways."""
    _, _, secret = await fleet.key(limit=limit)
    answers = await fleet.ask_often(secret, 3 * limit, at_once=8)
    return Counter(one.status_code for one in answers)


async def budget_is_one(fleet: Fleet, *, fits: int) -> tuple[Counter[int], int, int]:
    """Statuses of three times as many requests as a budget has money for; what was spent of it, and its limit."""
    _, org_id, secret = await fleet.key(org="Thrifty")
    cost = pico(str((await fleet.ask(secret)).json()["omni"]["cost"]))
    limit = cost * fits
    async with fleet.database.session() as session:
        await budgets.set_budget(session, org_id=org_id, key_id=None, period="day", limit=limit, now=utc_now())
        await session.commit()
    await until_followed()
    answers = await fleet.ask_often(secret, 3 * fits, at_once=8)
    statuses = Counter(one.status_code for one in answers)
    await fleet.until_drained(secret, 1 + statuses.total())
    async with fleet.database.session() as session:
        (standing,) = await standings(session, org_id=org_id, now=utc_now())
    return statuses, standing.spent - cost, limit - cost


async def revoked_within_s(fleet: Fleet) -> float:
    """From the revocation of a key that all gateways know until all of them refuse it."""
    key_id, org_id, secret = await fleet.key()
    assert await fleet.knock(secret) == {200}
    async with fleet.database.session() as session:
        assert await keys.revoke_key(session, org_id=org_id, key_id=key_id)
        await session.commit()
    began_s = time.monotonic()
    while await fleet.knock(secret) != {401}:
        assert time.monotonic() - began_s < PATIENCE_S
    return time.monotonic() - began_s


async def until_followed() -> None:
    """Every worker has looked at the revocation version again."""
    await asyncio.sleep(3 * keys.POLL_S)


# ------------------------------------------------------------------------------------------------------- the long form


@contextmanager
def dashboards(first: Rig, folder: Path, redis_port: int) -> Iterator[list[str]]:
    """Two processes of the whole app beside the gateways; their addresses. Raises `SystemExit` when it is not built."""
    if not BUILD.is_dir():
        sys.exit("the web app is not built here: `make run` once, then again")
    servers, addresses = [], []
    try:
        for number in range(2):
            port = free_port()
            home = folder / f"dashboard-{number}"
            home.mkdir()
            settings = first.settings.model_copy(update={"port": port, "omni_data_dir": home})
            compiled = server_environment(settings, compiled=True)
            environment = first.environment | {name: compiled[name] for name in compiled if "REFLEX" in name}
            environment |= {"PORT": str(port), "OMNI_DATA_DIR": str(home)}
            environment["REFLEX_REDIS_URL"] = f"redis://127.0.0.1:{redis_port}"
            log_file = home / "serve.log"
            with log_file.open("wb") as log:
                servers.append(
                    subprocess.Popen(server_command(settings), cwd=ROOT, env=environment, stdout=log, stderr=log)
                )
            addresses.append(f"http://127.0.0.1:{port}")
            wait_until_ready(addresses[-1], servers[-1], log_file)
        yield addresses
    finally:
        for server in servers:
            stop(server)


async def dashboards_agree(fleet: Fleet, addresses: Sequence[str]) -> str:
    """Signs up at one, works at both: session, key, figures. Gives what was seen, in words."""
    here, there = addresses
    signed = await fleet.client.post(f"{here}/auth/signup", data=OWNER, headers=FROM_OUR_PAGE | {"Origin": here})
    cookie = {"Cookie": signed.headers["set-cookie"].partition(";")[0]}
    made = await fleet.client.post(
        f"{there}/auth/keys", json={"name": "k", "kind": "live"}, headers=FROM_OUR_PAGE | {"Origin": there} | cookie
    )
    assert made.status_code == 201, made.text
    secret = made.json()["key"]
    count = 2 * len(fleet.gateways)
    answers = [await fleet.ask(secret) for _ in range(count)]
    assert {one.status_code for one in answers} == {200}
    told = await fleet.until_drained(secret, count)
    tables = {(await fleet.client.get(f"{one}/auth/usage.csv?bucket=day", headers=cookie)).text for one in addresses}
    pages = [await fleet.client.get(f"{one}/overview/", headers=cookie) for one in addresses]
    assert len(tables) == 1 and f",{count},{count}," in tables.pop(), "the dashboards' figures differ"
    assert all(one["total_requests"] == count for one in told)
    assert [one.status_code for one in pages] == [200, 200]
    return f"signed up at one, key made at the other, {count} requests: both and all gateways tell {count}"


async def throughput(fleet: Fleet, *, seconds: float) -> tuple[float, float, int]:
    """Requests a second, CPU microseconds of the gateways a request, and answers that were not 200."""
    _, _, secret = await fleet.key()
    plan = Plan(f"{fleet.address}/v1/chat/completions", secret, HELLO, [Step(0, seconds, CALLERS)])
    await loaded(replace(plan, steps=[Step(0, WARM_UP_S, CALLERS)]))
    before_s = await fleet.cpu_s()
    outcome = await loaded(plan)
    used_s = await fleet.cpu_s() - before_s
    served = sum(one.status == 200 for one in outcome.replies)
    return served / seconds, 1e6 * used_s / max(1, served), len(outcome.replies) - served


async def play(seconds: float) -> None:
    """The whole of it."""
    with sharing() as (postgres, redis_url, redis_port), tempfile.TemporaryDirectory(prefix="omni-scale-") as name:
        async with fleet(Path(name) / "alone", postgres.create("scale_alone"), "", size=1) as made:
            rate, cpu_us, others = await throughput(made, seconds=seconds)
            say(f"1 gateway without Redis: {rate:.0f} requests/s, {cpu_us:.0f} µs CPU a request, {others} not served")
        for size in SIZES:
            folder = Path(name) / str(size)
            url = postgres.create(f"scale_{size}")
            async with fleet(folder, url, redis_url, size=size) as made:
                rate, cpu_us, others = await throughput(made, seconds=seconds)
                say(f"{size} gateways: {rate:.0f} requests/s, {cpu_us:.0f} µs CPU a request, {others} not served")
                if size == SIZES[1]:
                    with dashboards(made.gateways[0], folder, redis_port) as addresses:
                        say(f"dashboards: {await dashboards_agree(made, addresses)}")
                if size == SIZES[-1]:
                    say(f"limit of {LIMIT}: {dict(await limit_is_one(made, limit=LIMIT))}")
                    statuses, spent, limit = await budget_is_one(made, fits=30)
                    say(f"budget: {dict(statuses)}, {spent} of {limit} pico-dollars spent")
                    assert spent <= limit
                    say(f"revoked everywhere within {await revoked_within_s(made):.2f} s")


def main() -> None:
    """`python -m tests.faults.scale`."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=SECONDS, help="of load for each number of gateways")
    uvloop.run(play(options.parse_args().seconds))


if __name__ == "__main__":
    main()
