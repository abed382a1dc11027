"""The process ends: asked to (SIGTERM) or not (kill -9), with requests in flight. `make chaos` is the long form."""

import asyncio
from collections import Counter
from pathlib import Path

from omni_app.serve import LAST_STEPS_S
from tests.faults.rig import account, killed_under_load, patient_client, restarted_under_load, rigged

IN_FLIGHT = 30


async def test_after_kills_every_call_at_the_provider_is_in_the_ledger_once(tmp_path: Path) -> None:
    async with rigged(tmp_path, delay_s=0.3) as rig:
        for wait_s in (0.0, 0.2, 0.4):
            asks = await rig.asks(IN_FLIGHT)
            await killed_under_load(rig, asks, at_once=IN_FLIGHT, calls=IN_FLIGHT // 2, wait_s=wait_s)
        await rig.start()
        await rig.until_settled()
        code, _ = await rig.terminate()
        told = account(rig)
    assert code == 0
    assert told.balanced, told
    assert told.unknown > 0 and told.calls >= 3 * IN_FLIGHT // 2, told


async def test_what_is_in_flight_is_answered_after_a_stop_was_asked_for(tmp_path: Path) -> None:
    async with rigged(tmp_path, delay_s=1.0) as rig, patient_client() as client:
        await rig.start()
        sent = [asyncio.create_task(rig.send(client, ask)) for ask in await rig.asks(20)]
        await rig.until_called(20)
        code, took_s = await rig.terminate()
        outcomes = Counter(one.told for one in await asyncio.gather(*sent))
        told = account(rig)
    assert outcomes == {"200": 10, "done": 10}
    assert (code, told.balanced, told.attempts, told.unknown) == (0, True, 20, 0), told
    assert took_s < 15 + LAST_STEPS_S


async def test_what_outlasts_the_grace_is_told_so_and_recorded(tmp_path: Path) -> None:
    async with rigged(tmp_path, delay_s=20.0, grace_s=1) as rig, patient_client() as client:
        rig.upstream.fault = "mid_hang"
        await rig.start()
        plain, streams = (asks := await rig.asks(20))[::2], asks[1::2]
        sent = [asyncio.create_task(rig.send(client, ask)) for ask in plain]
        await rig.until_called(10)
        rig.upstream.delay_s = 0.0
        sent += [asyncio.create_task(rig.send(client, ask)) for ask in streams]
        await rig.until_called(20)
        await asyncio.sleep(0.5)
        code, took_s = await rig.terminate()
        outcomes = Counter(one.told for one in await asyncio.gather(*sent))
        told = account(rig)
    assert outcomes == {"503 try again": 10, "error event": 10}
    assert (code, told.balanced, told.attempts, told.unknown) == (0, True, 20, 0), told
    assert took_s < 1 + LAST_STEPS_S


async def test_workers_are_replaced_under_load_without_an_error(tmp_path: Path) -> None:
    async with rigged(tmp_path, delay_s=0.3) as rig:
        rig.workers_wanted = 2
        await rig.start()
        await restarted_under_load(rig, await rig.asks(1_000), at_once=8, restarts=1)
        await rig.terminate()
        outcomes, told = Counter(one.told for one in rig.outcomes), account(rig)
    assert set(outcomes) == {"200", "done"}, outcomes
    assert told.balanced and not told.unknown, told
