"""More than a worker can do. `make chaos ARGS="--play overload"` is the long form, with figures."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from tests.faults.load import Step, loaded
from tests.faults.overload import PROVIDER_S, percentile_ms, plan
from tests.faults.rig import PATIENCE_S, POLL_S, Rig, patient_client, rigged

FLOOD_PER_S = 3_000
"""Several times what any worker in Python serves."""
BURST = 100
IDLE_CONNECTIONS = 1_100
"""More than the server takes unless it is told to."""


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rigged(tmp_path, delay_s=PROVIDER_S) as one:
        await one.start()
        yield one


async def probed(rig: Rig, done: asyncio.Event) -> set[int]:
    """What the probes are told until then."""
    told = set()
    async with httpx.AsyncClient(base_url=rig.base_url, timeout=5) as client:
        while not done.is_set():
            told |= {(await client.get(path)).status_code for path in ("/health", "/ready")}
            await asyncio.sleep(0.1)
    return told


async def until_recorded(rig: Rig) -> None:
    """Returns when the ledger has as many rows as the provider got calls."""
    async with asyncio.timeout(PATIENCE_S):
        while len(rig.ledger()) < len(rig.upstream.calls):  # noqa: ASYNC110 another process does the work
            await asyncio.sleep(POLL_S)


async def test_a_flood_is_shed_in_part_and_nothing_else_suffers(rig: Rig) -> None:
    ask, done = (await rig.asks(1))[0], asyncio.Event()
    probes = asyncio.create_task(probed(rig, done))
    outcome = await loaded(plan(rig, ask.secret, [Step(FLOOD_PER_S, 3.0, 1_500)]))
    done.set()
    served, shed = ([one for one in outcome.replies if one.status == status] for status in (200, 503))
    assert len(served) + len(shed) == len(outcome.replies) and outcome.unanswered == 0
    assert served and len(shed) > len(served)
    assert all(one.patient for one in shed)
    assert percentile_ms(shed, 0.5) < percentile_ms(served, 0.5) / 2, "saying no is quick"
    assert await probes == {200}

    async with httpx.AsyncClient(base_url=rig.base_url) as client:
        assert (await rig.send(client, ask)).told == "200", "as soon as the flood is over"
    await until_recorded(rig)
    rows = rig.ledger()
    assert {row.error_code for row in rows} == {""}, "no provider is blamed for our own haste"
    assert len(rows) == len(rig.upstream.calls) == len(served) + 1, "what was shed reached nobody"


async def test_a_burst_is_served_whole(rig: Rig) -> None:
    asks = await rig.asks(BURST)
    async with patient_client() as client:
        outcomes = await asyncio.gather(*(rig.send(client, ask) for ask in asks))
    assert Counter(one.told for one in outcomes) == {"200": BURST / 2, "done": BURST / 2}


async def test_connections_without_a_request_keep_nobody_out(rig: Rig) -> None:
    async with AsyncExitStack() as held:
        for _ in range(IDLE_CONNECTIONS):
            _, writer = await asyncio.open_connection("127.0.0.1", rig.settings.port)
            held.callback(writer.close)
        async with httpx.AsyncClient(base_url=rig.base_url, timeout=5) as client:
            assert (await client.get("/health")).status_code == 200
