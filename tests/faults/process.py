"""The process ends: killed, asked to, its workers replaced. Plays of `make chaos`."""

import argparse
import asyncio
import random
from collections import Counter
from pathlib import Path

from omni_app.serve import LAST_STEPS_S
from tests.faults.rig import account, killed_under_load, patient_client, restarted_under_load, rigged, say

CALLERS = 20
RESTART_REQUESTS = 2_000
"""More than the callers can send until the second restart is over."""


async def kills(folder: Path, arguments: argparse.Namespace) -> bool:
    """Kills at random moments, each with all requests in flight; the next start settles what was left."""
    async with rigged(folder, delay_s=arguments.delay_s) as rig:
        draws = random.Random(arguments.seed)
        for _ in range(arguments.kills):
            asks = await rig.asks(arguments.in_flight)
            calls, wait_s = draws.randint(1, arguments.in_flight), draws.uniform(0, 2 * arguments.delay_s)
            await killed_under_load(rig, asks, calls=calls, wait_s=wait_s)
        await rig.start()
        await rig.until_settled()
        await rig.terminate()
        told = account(rig)
        say(f"{arguments.kills} x kill -9, {arguments.in_flight} requests sent before each: {told}")
        return told.balanced


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
    """Two restarts of the worker (SIGHUP) under a steady load."""
    async with rigged(folder, delay_s=arguments.delay_s) as rig:
        await rig.start()
        await restarted_under_load(rig, await rig.asks(RESTART_REQUESTS), at_once=CALLERS, restarts=2)
        await rig.terminate()
        outcomes, told = Counter(one.told for one in rig.outcomes), account(rig)
        say(f"2 x SIGHUP, {CALLERS} callers: {dict(outcomes)}, {told}")
        return told.balanced and set(outcomes) == {"200", "done"}
