"""The disk is full: that of the spool, of SQLite, of both. The short form takes room away from a running process
(RLIMIT_FSIZE, which needs no rights); the play of `make chaos` fills real small disks (tmpfs, so it runs as root).
"""

import argparse
import asyncio
import random
import resource
import subprocess
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import httpx

from tests.faults.rig import PATIENCE_S, POLL_S, Ask, Rig, account, call_on, patient_client, rigged, say

CALLERS = 20
DISK_BYTES = 16_000_000
FILLINGS = 5
FULL_S = 2.0
"""How long a disk stays full, once the server says so."""


@contextmanager
def files_no_longer_than(process: int, length: int) -> Iterator[None]:
    """No file of another process may grow beyond this length, as on a full disk."""
    soft, hard = resource.prlimit(process, resource.RLIMIT_FSIZE)
    resource.prlimit(process, resource.RLIMIT_FSIZE, (length, hard))
    try:
        yield
    finally:
        resource.prlimit(process, resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def small_disk(folder: Path, size: int = DISK_BYTES) -> Iterator[Path]:
    """A disk of this many bytes at `folder`."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@contextmanager
def filled(disk: Path) -> Iterator[None]:
    """Somebody else takes every byte that is left."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"\1" * 4096)
    try:
        yield
    finally:
        filler.unlink()


async def until_ready_is(rig: Rig, status: int) -> float:
    """Returns when `/ready` answers so; gives the seconds it took."""
    began_s = time.monotonic()
    async with asyncio.timeout(PATIENCE_S):
        while (await rig.ready())[0] != status:  # noqa: ASYNC110 another process does the work
            await asyncio.sleep(POLL_S)
    return time.monotonic() - began_s


TRY_AGAIN = "503 try again"


async def play(folder: Path, arguments: argparse.Namespace) -> bool:
    """Spool and SQLite on one disk that fills up again and again; the same with a kill; SQLite's disk alone."""
    well = await _filled_again_and_again(folder / "one", arguments)
    well &= await _killed_while_full(folder / "killed", arguments)
    return well & await _database_alone(folder / "apart", arguments)


async def _filled_again_and_again(folder: Path, arguments: argparse.Namespace) -> bool:
    unready_s, ready_s, refused = [], [], []
    with small_disk(folder) as disk:
        async with rigged(disk, delay_s=arguments.delay_s) as rig, patient_client() as client:
            await rig.start()
            for late in await rig.asks(FILLINGS):
                async with loaded(rig, client, await rig.asks(arguments.in_flight)):
                    with filled(disk):
                        unready_s.append(await until_ready_is(rig, 503))
                        await asyncio.sleep(FULL_S)
                        refused.append(await refusal_s(rig, client, late))
                    ready_s.append(await until_ready_is(rig, 200))
            await rig.until_settled()
            await rig.terminate()
            told, outcomes = account(rig), Counter(one.told for one in rig.outcomes)
    say(
        f"{FILLINGS} x one disk of all full: {dict(outcomes)}, /ready 503 after <= {max(unready_s):.2f} s, 200"
        f" <= {max(ready_s):.2f} s after room came, a refusal takes <= {max(refused) * 1000:.0f} ms, {told}"
    )
    return told.balanced and not told.unknown and set(outcomes) == {"200", "done", TRY_AGAIN}


async def _killed_while_full(folder: Path, arguments: argparse.Namespace) -> bool:
    draws = random.Random(arguments.seed)
    with small_disk(folder) as disk:
        async with rigged(disk, delay_s=arguments.delay_s) as rig, patient_client() as client:
            for _ in range(FILLINGS):
                await rig.start()
                async with loaded(rig, client, await rig.asks(arguments.in_flight)):
                    with filled(disk):
                        await until_ready_is(rig, 503)
                        await asyncio.sleep(draws.uniform(0, 2 * arguments.delay_s))
                        rig.kill()
            await rig.start()
            await rig.until_settled()
            await rig.terminate()
            told, outcomes = account(rig), Counter(one.told for one in rig.outcomes)
    say(f"{FILLINGS} x kill -9 while that disk is full: {dict(outcomes)}, {told}")
    return told.balanced


async def _database_alone(folder: Path, arguments: argparse.Namespace) -> bool:
    with small_disk(folder) as disk:
        elsewhere = {"DATABASE_URL": f"sqlite:///{disk / 'omni.db'}"}
        data = folder.with_name("spool")
        data.mkdir()
        async with rigged(data, delay_s=arguments.delay_s, environment=elsewhere) as rig, patient_client() as client:
            await rig.start()
            asks = await rig.asks(arguments.in_flight)
            for ask in asks:  # keys that are known are served without the database
                await client.get(f"{rig.base_url}/v1/models", headers={"X-API-Key": ask.secret})
            async with loaded(rig, client, asks):
                with filled(disk):
                    unready_s = await until_ready_is(rig, 503)
                    await asyncio.sleep(FULL_S)
                    _, checks = await rig.ready()
                ready_s = await until_ready_is(rig, 200)
            await rig.until_settled()
            await rig.terminate()
            told, outcomes = account(rig), Counter(one.told for one in rig.outcomes)
    say(
        f"SQLite's disk alone full: {dict(outcomes)}, {checks['ledger']['waiting_mb']} MB waited, /ready 503 "
        f"after {unready_s:.2f} s, 200 {ready_s:.2f} s after room came, {told}"
    )
    return told.balanced and not told.unknown and set(outcomes) <= {"200", "done", TRY_AGAIN}


@asynccontextmanager
async def loaded(rig: Rig, client: httpx.AsyncClient, asks: list[Ask]) -> AsyncIterator[None]:
    """`CALLERS` callers, from the moment when each has a call at the provider; ends when all was sent."""
    calls = len(rig.upstream.calls)
    async with asyncio.TaskGroup() as group:
        group.create_task(call_on(rig, client, asks, at_once=CALLERS))
        await rig.until_called(calls + CALLERS)
        yield


async def refusal_s(rig: Rig, client: httpx.AsyncClient, ask: Ask) -> float:
    """How long it takes to be refused."""
    began_s = time.monotonic()
    await rig.send(client, ask)
    return time.monotonic() - began_s
