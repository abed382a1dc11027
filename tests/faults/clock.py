"""The wall clock is set under a running server (libfaketime); the monotonic one runs on. A play of `make chaos`."""

import argparse
import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from pathlib import Path
from uuid import UUID

import httpx
from sqlalchemy import create_engine, func, select, update
from sqlalchemy.pool import NullPool
from sqlmodel import col

from omni_app.storage import accounts, budgets
from omni_app.storage.database import Database, sync_url
from omni_app.storage.tables import ApiKeyRow, AttemptRow, RequestRow, UsageRollup, utc_now
from tests.faults.rig import MODEL, PATIENCE_S, POLL_S, Ask, Rig, account, patient_client, rigged, say
from tests.system import libfaketime

HOUR_S = 3_600
NEAR_S = 30
STEPS_S = (HOUR_S, -HOUR_S, 0, -HOUR_S, HOUR_S)
"""What the clock is ahead by, one after the other."""
FAR_FROM_UTC = "America/New_York"


@dataclass(frozen=True, slots=True)
class Clock:
    """The wall clock of processes with this environment: the machine's, and ahead by what was set."""

    file: Path

    @property
    def environment(self) -> dict[str, str]:
        """Raises `FileNotFoundError` where the library is not installed."""
        if (library := libfaketime()) is None:
            raise FileNotFoundError("libfaketime: install the package faketime")
        self.write(0)
        return {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",  # that one makes threads wait twenty times as long for each other
            "TZ": FAR_FROM_UTC,
        }

    async def set_to(self, rig: Rig, moment: datetime) -> None:
        """From now on it is this instant, and goes on from there."""
        await self.set(rig, (moment - utc_now()).total_seconds())

    async def set(self, rig: Rig, ahead_s: float) -> None:
        """Returns when the server's requests have their ids by it: it is ahead by this much from then on."""
        self.write(ahead_s)
        async with httpx.AsyncClient() as client, asyncio.timeout(PATIENCE_S):
            while True:
                request_id = (await client.get(f"{rig.base_url}/health")).headers["x-request-id"]
                if abs(said_s(request_id) - utc_now().timestamp() - ahead_s) < NEAR_S:
                    return
                await asyncio.sleep(POLL_S)

    def write(self, ahead_s: float) -> None:
        """Sets it, and waits for nobody."""
        new = self.file.with_suffix(".new")
        new.write_text(f"{ahead_s:+.0f}")
        new.replace(self.file)


def said_s(request_id: str) -> float:
    """When the id was made, in seconds since 1970: it begins with milliseconds."""
    return int(request_id.removeprefix("req_")[:12], 16) / 1000


@dataclass(frozen=True, slots=True)
class Times:
    """Of all rows: the shortest and longest durations in ms, and how many are below zero."""

    shortest_ms: int
    longest_ms: int
    negative: int


def times_of(rig: Rig) -> Times:
    """What the ledger says of durations."""
    columns = [
        col(RequestRow.latency_ms), col(RequestRow.first_token_ms), col(RequestRow.routing_us),
        col(AttemptRow.latency_ms), col(AttemptRow.started_ms),
    ]  # fmt: skip
    engine = create_engine(sync_url(rig.settings.database), poolclass=NullPool)
    with engine.connect() as connection:
        negative = sum(connection.scalar(select(func.count()).where(column < 0)) or 0 for column in columns)
        shortest, longest = connection.execute(
            select(func.min(col(RequestRow.latency_ms)), func.max(col(RequestRow.latency_ms)))
        ).one()
    engine.dispose()
    return Times(shortest, longest, negative)


def days_of(rig: Rig) -> tuple[Counter[str], Counter[str]]:
    """Requests by UTC day: of the rows, and of the roll-ups."""
    engine = create_engine(sync_url(rig.settings.database), poolclass=NullPool)
    with engine.connect() as connection:
        rows = Counter(f"{moment:%F}" for moment in connection.scalars(select(col(RequestRow.created_at))))
        of_day = select(col(UsageRollup.starts_at), col(UsageRollup.requests)).where(col(UsageRollup.grain) == "day")
        sums: Counter[str] = Counter()
        for starts_at, count in connection.execute(of_day):
            sums[f"{starts_at:%F}"] += count
    engine.dispose()
    return rows, sums


async def served_while_it_is_set(rig: Rig, clock: Clock, asks: Sequence[Ask], ahead_s: float) -> None:
    """Sends all at once, and sets the clock when the provider has all of them and has not answered."""
    calls = len(rig.upstream.calls)
    async with patient_client() as client:
        sent = [asyncio.create_task(rig.send(client, ask)) for ask in asks]
        await rig.until_called(calls + len(asks))
        await clock.set(rig, ahead_s)
        await asyncio.gather(*sent)


async def asked(client: httpx.AsyncClient, rig: Rig, ask: Ask, *, name: str = "") -> httpx.Response:
    """A small plain request; `name`: its Idempotency-Key."""
    body = {"model": MODEL, "messages": [{"role": "user", "content": ask.mark}], "max_tokens": 10}
    headers = {"X-API-Key": ask.secret} | ({"Idempotency-Key": name} if name else {})
    return await client.post(f"{rig.base_url}/v1/chat/completions", json=body, headers=headers)


async def expires(rig: Rig, ask: Ask, at: datetime) -> None:
    """The request's key is good until then. Before the server starts."""
    database = Database(rig.settings.database)
    async with database.session() as session:
        await session.execute(update(ApiKeyRow).where(col(ApiKeyRow.id) == UUID(ask.mark)).values(expires_at=at))
        await session.commit()
    await database.close()


async def has_daily(rig: Rig, ask: Ask, limit: int) -> None:
    """The request's key may spend this much a day, in pico-dollars."""
    database = Database(rig.settings.database)
    async with database.session() as session:
        org_id = await accounts.org_named(session, "Acme")
        await budgets.set_budget(
            session, org_id=org_id, key_id=UUID(ask.mark), period="day", limit=limit, now=utc_now()
        )
        await session.commit()
    await database.close()


async def spent_up(client: httpx.AsyncClient, rig: Rig, ask: Ask) -> list[int]:
    """The statuses of requests, one after the other, until one is not 200."""
    statuses = [200]
    while statuses[-1] == 200 and len(statuses) < 20:
        statuses.append((await asked(client, rig, ask)).status_code)
    return statuses[1:]


def around_midnight() -> tuple[datetime, datetime]:
    """A minute before and a minute after the next midnight, UTC."""
    now = utc_now()
    midnight = datetime.combine(now.date(), time.min, tzinfo=now.tzinfo) + timedelta(days=1)
    return midnight - timedelta(minutes=1), midnight + timedelta(minutes=1)


async def play(folder: Path, arguments: argparse.Namespace) -> bool:
    """The clock is set again and again, an hour forward and back, with all requests in flight."""
    data, clock = folder / "data", Clock(folder / "clock")
    data.mkdir()
    async with rigged(data, delay_s=arguments.delay_s, environment=clock.environment) as rig:
        await rig.start()
        for ahead_s in STEPS_S * 2:
            await served_while_it_is_set(rig, clock, await rig.asks(arguments.in_flight), ahead_s)
        await clock.set(rig, 0)
        await rig.until_settled()
        await rig.terminate()
        told, times, outcomes = account(rig), times_of(rig), Counter(one.told for one in rig.outcomes)
        rows, sums = days_of(rig)
    slowest_ms = round(max(one.took_s for one in rig.outcomes) * 1000)
    say(
        f"clock set {2 * len(STEPS_S)} x by up to 2 h, {arguments.in_flight} in flight each time: {dict(outcomes)}, "
        f"latencies {times.shortest_ms} to {times.longest_ms} ms (callers: at most {slowest_ms}), {times.negative} "
        f"negative durations, rows by UTC day {dict(rows)} and roll-ups {dict(sums)}, {told}"
    )
    return (
        told.balanced
        and not told.unknown
        and set(outcomes) == {"200", "done"}
        and not times.negative
        and times.longest_ms <= slowest_ms
        and rows == sums
    )
