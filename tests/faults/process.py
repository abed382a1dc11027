"""The process ends: killed, asked to, its workers replaced. Plays of `make chaos`."""

import argparse
import asyncio
import random
from collections import Counter
from pathlib import Path

from omni_app.serve import LAST_STEPS_S
from tests.faults.rig import account, call_on, killed_under_load, patient_client, restarted_under_load, rigged, say

CALLERS = 20
RESTART_REQUESTS = 2_000
"""More than the callers can send until the second restart is over."""


async def kills(folder: Path, arguments: argparse.Namespace) -> bool:
    """Kills at random moments of a load with so many in flight; the last start settles what was left, and serves on."""
    async with rigged(folder, delay_s=arguments.delay_s) as rig:
        draws, waiting = random.Random(arguments.seed), await rig.asks(arguments.requests)
        share = arguments.requests // (arguments.kills + 1)
        for _ in range(arguments.kills):
            calls, wait_s = draws.randint(1, share), draws.uniform(0, 2 * arguments.delay_s)
            await killed_under_load(rig, waiting, at_once=arguments.in_flight, calls=calls, wait_s=wait_s)
        await rig.start()
        async with patient_client() as client:
            await call_on(rig, client, waiting, at_once=arguments.in_flight)
        await rig.until_settled()
        await rig.terminate()
        told, outcomes = account(rig), Counter(one.told for one in rig.outcomes)
        say(f"{arguments.kills} x kill -9, {arguments.in_flight} in flight: {dict(outcomes)}, {told}")
        return told.balanced and len(rig.outcomes) == arguments.requests


async def stop(folder: Path, arguments: argparse.Namespace) -> bool:
    """One SIGTERM with all requests in flight."""
    async with rigged(folder, delay_s=arguments.delay_s) as rig:
        await rig.start()
        async with patient_client() as client:
            sent = [asyncio.create_task(rig.send(client, ask)) for ask in await rig.asks(arguments.in_flight)]
            await rig.until_called(arguments.in_flight)
            code, took_s = await rig.terminate()
            outcomes = Counter(one.told for one in await asyncio.gather(*sent))
        told = account(rig)
        say(f"SIGTERM, {arguments.in_flight} in flight: {dict(outcomes)}, exit {code} after {took_s:.1f} s, {told}")
        return (
            told.balanced
            and not told.unknown
            and set(outcomes) == {"200", "done"}
            and took_s < rig.settings.stop_grace_sec + LAST_STEPS_S
        )


async def restarts(folder: Path, arguments: argparse.Namespace) -> bool:
    """Two restarts of all workers (SIGHUP) under a steady load."""
    async with rigged(folder, delay_s=arguments.delay_s) as rig:
        rig.workers_wanted = arguments.workers
        await rig.start()
        await restarted_under_load(rig, await rig.asks(RESTART_REQUESTS), at_once=CALLERS, restarts=2)
        await rig.terminate()
        outcomes, told = Counter(one.told for one in rig.outcomes), account(rig)
        say(f"2 x SIGHUP, {arguments.workers} workers, {CALLERS} callers: {dict(outcomes)}, {told}")
        return told.balanced and set(outcomes) == {"200", "done"}
