"""`Idempotency-Key` over several workers: one call, one charge, also when the worker that serves it is killed.

A play of `make chaos`. Three gateways are real processes over one Postgres; every duplicate goes to the next of them.
"""

import argparse
import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import create_engine, func, select, text
from sqlalchemy.pool import NullPool
from sqlmodel import col

from omni_app.api.idempotency import LAPSE_MARGIN
from omni_app.storage.database import sync_url
from omni_app.storage.ledger import UNKNOWN_OUTCOME
from omni_app.storage.tables import RequestRow
from tests.faults.rig import PATIENCE_S, POLL_S, say
from tests.faults.scale import HELLO, Fleet, fleet
from tests.servers.postgres import running_postgres

WORKERS, DUPLICATES = 3, 50
DELAY_S = 1.0
PROVIDER_TIMEOUT_S = 5
"""So that a dead worker's claim lapses after this and `LAPSE_MARGIN`."""
OTHER = HELLO | {"max_tokens": 51}


@dataclass(frozen=True, slots=True)
class Duplicates:
    """What a request came to that was sent many times."""

    statuses: Counter[int]
    bodies: set[bytes]
    """Of the whole answers."""
    patient: bool
    """Whether each refusal says when to come back."""
    calls: int
    """Of the provider."""

    @property
    def well(self) -> bool:
        """One call, and one answer for all who got one."""
        return self.calls == len(self.bodies) == 1 and self.statuses.keys() <= {200, 409} and self.patient


@dataclass(slots=True)
class Sender:
    """Sends requests under one name, to one gateway after the other."""

    made: Fleet
    secret: str
    name: str
    sent: int = 0
    alive: int = 0
    """The first gateway that is alive."""

    async def send(self, body: dict[str, Any], *, gateway: int | None = None) -> httpx.Response:
        """One request."""
        self.sent += 1
        alive = self.made.gateways[self.alive :]
        rig = alive[self.sent % len(alive)] if gateway is None else self.made.gateways[gateway]
        headers = {"Authorization": f"Bearer {self.secret}", "Idempotency-Key": self.name}
        return await self.made.client.post(f"{rig.base_url}/v1/chat/completions", json=body, headers=headers)

    async def insist(self, body: dict[str, Any], *, patience_s: float = PATIENCE_S) -> httpx.Response:
        """As a client does that minds `Retry-After`, at the gateways in turn."""
        async with asyncio.timeout(patience_s):
            while True:
                answer = await self.send(body)
                if answer.status_code != 409:
                    return answer
                await asyncio.sleep(float(answer.headers["retry-after"]))

    async def at_once(self, body: dict[str, Any], count: int, *, insist: bool = False) -> Duplicates:
        """So many duplicates."""
        before = len(self.calls)
        asks = ((self.insist if insist else self.send)(body) for _ in range(count))
        answers = await asyncio.gather(*asks)
        return Duplicates(
            Counter(one.status_code for one in answers),
            {one.content for one in answers if one.status_code == 200},
            all("retry-after" in one.headers for one in answers if one.status_code == 409),
            len(self.calls) - before,
        )

    @property
    def calls(self) -> Sequence[object]:
        """What the provider got."""
        return self.made.gateways[0].upstream.calls


async def sender(made: Fleet, org: str) -> Sender:
    """For a new org's key."""
    _, _, secret = await made.key(org=org)
    made.gateways[0].upstream.delay_s = DELAY_S
    return Sender(made, secret, f"order of {org}")


async def duplicated(made: Fleet, org: str, *, stream: bool, count: int = DUPLICATES) -> bool:
    """Duplicates at once: some wait, some are told to; then another body; then all of it again."""
    body = HELLO | {"stream": stream}
    one = await sender(made, org)
    first = await one.at_once(body, count)
    again = await one.at_once(body, count // 5)
    insisting = await Sender(made, one.secret, f"{one.name}, insisting").at_once(body, count, insist=True)
    other = await one.at_once(OTHER, 6)
    told = await made.until_drained(one.secret, 2)
    say(
        f"{org}: {count} at once {dict(first.statuses)}, {first.calls} call; again {dict(again.statuses)}, "
        f"{again.calls} calls; {count} that come back when told {dict(insisting.statuses)}, {insisting.calls} call; "
        f"another body {dict(other.statuses)}; {told[0]['total_requests']} rows"
    )
    return (
        first.well
        and insisting.well
        and insisting.statuses == {200: count}
        and again.statuses == {200: count // 5}
        and (again.bodies, again.calls) == (first.bodies, 0)
        and other.statuses == {422: 6}
        and {one["total_requests"] for one in told} == {2}
    )


async def killed(made: Fleet, *, lapse: bool) -> bool:
    """The worker that serves the request is killed at the provider: the key is held until the claim lapses.

    `lapse`: wait for it; else the claim is made older.
    """
    one = await sender(made, "killed")
    made.gateways[0].upstream.delay_s = PROVIDER_TIMEOUT_S - 1
    before = len(one.calls)
    serving = asyncio.create_task(one.send(HELLO, gateway=0))
    async with asyncio.timeout(PATIENCE_S):
        while len(one.calls) == before:  # noqa: ASYNC110 a list has no event
            await asyncio.sleep(POLL_S)
    killed_s = time.monotonic()
    made.gateways[0].kill()
    one.alive = 1
    await asyncio.wait((serving,))
    assert isinstance(serving.exception(), httpx.TransportError)
    held = Counter([(await one.send(HELLO)).status_code for _ in range(6)])
    other = await one.send(OTHER)
    made.gateways[0].upstream.delay_s = 0.1
    if not lapse:
        age(made, PROVIDER_TIMEOUT_S + LAPSE_MARGIN.total_seconds())
    patience_s = 2 * (PROVIDER_TIMEOUT_S + LAPSE_MARGIN.total_seconds())
    answers = await asyncio.gather(*(one.insist(HELLO, patience_s=patience_s) for _ in range(10)))
    free_s = time.monotonic() - killed_s
    await made.gateways[0].start()
    told = await made.until_drained(one.secret, 2)
    say(
        f"killed at the provider: {dict(held)} to duplicates, {other.status_code} to another body; after "
        f"{free_s:.0f} s {dict(Counter(one.status_code for one in answers))} with "
        f"{len({one.content for one in answers})} answer; {len(one.calls) - before} calls, "
        f"{told[0]['total_requests']} rows, {unknown(made)} of unknown outcome"
    )
    return (
        held == {409: 6}
        and other.status_code == 422
        and {one.status_code for one in answers} == {200}
        and len({one.content for one in answers}) == 1
        and len(one.calls) - before == 2 == told[0]["total_requests"]
        and unknown(made) == 1
    )


async def a_day_later(made: Fleet) -> bool:
    """After 24 hours, and not before, the key is free again."""
    one = await sender(made, "a day")
    first = await one.at_once(HELLO, 1)
    age(made, 24 * 3600 - 60)
    same = await one.at_once(HELLO, 6)
    age(made, 61)
    anew = await one.at_once(HELLO, 12)
    say(f"23:59 h later {same.calls} calls, 24:00 h later {anew.calls} call by {dict(anew.statuses)}")
    return (same.bodies, same.calls) == (first.bodies, 0) and anew.well and anew.bodies != first.bodies


def age(made: Fleet, seconds: float) -> None:
    """What is kept was kept so much earlier."""
    older = "created_at = created_at - make_interval(secs => :s), expires_at = expires_at - make_interval(secs => :s)"
    engine = create_engine(sync_url(made.gateways[0].settings.database), poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE idempotent_answers SET {older}"), {"s": seconds})
    engine.dispose()


def unknown(made: Fleet) -> int:
    """Rows of which nobody knows what they came to."""
    engine = create_engine(sync_url(made.gateways[0].settings.database), poolclass=NullPool)
    with engine.connect() as connection:
        query = select(func.count()).select_from(RequestRow).where(col(RequestRow.error_code) == UNKNOWN_OUTCOME)
        found = connection.scalar(query) or 0
    engine.dispose()
    return found


async def played(folder: Path, url: str, *, count: int, lapse: bool) -> bool:
    """All of it over one database."""
    environment = {"PROVIDER_TIMEOUT_SEC": str(PROVIDER_TIMEOUT_S)}
    async with fleet(folder, url, "", size=WORKERS, environment=environment) as made:
        well = await duplicated(made, "plain", stream=False, count=count)
        well &= await duplicated(made, "streams", stream=True, count=count)
        well &= await a_day_later(made)
        return well & await killed(made, lapse=lapse)


async def play(folder: Path, arguments: argparse.Namespace) -> bool:
    """The long form waits until a dead worker's claim lapses."""
    with running_postgres() as postgres:
        return await played(folder, postgres.create("idempotency"), count=DUPLICATES, lapse=True)
