"""Each way to use the server up, again and again beside a healthy client: what it costs, and what the client notices.

`make security` ends with it; by itself: `python -m tests.security.exhaustion`. Exit status 1 when an attack was not
over in time, cost more memory than it may, or the client's p99 doubled.
"""

import asyncio
import os
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles

from tests.product import running_product
from tests.security.attacks import ATTACKS, SLACK_S, WITHIN_S, Attack, End
from tests.security.processes import ENVIRONMENT, MOST_BYTES, Product, healthy_ms, watched

FOR_S = 12.0
MOST_TIMES = 2.0
RESTS_S = 6.0
"""Before each attack: an address gets its sockets back, and the client is alone."""


@dataclass(frozen=True, slots=True)
class Result:
    """What was seen of one attack. `longest`: the end of the one that took longest."""

    name: str
    rounds: int
    longest: End
    all_over: bool
    grown_bytes: int
    p99_ms: float

    def holds(self, idle_p99_ms: float) -> bool:
        in_time = self.all_over and self.longest.after_s <= WITHIN_S + SLACK_S
        return in_time and self.grown_bytes < MOST_BYTES and self.p99_ms < MOST_TIMES * idle_p99_ms

    def line(self, idle_p99_ms: float) -> str:
        verdict = "holds" if self.holds(idle_p99_ms) else "FAILS"
        cost = f"{self.grown_bytes / 2**20:6.1f} MiB  p99 {self.p99_ms:6.1f} ms ({self.p99_ms / idle_p99_ms:.1f} x)"
        over = f"over after {self.longest.after_s:5.1f} s" if self.all_over else "NOT over"
        return f"{verdict}  {self.name:28} {self.rounds:4} times  {over}  {cost}"


def stand_behind() -> None:
    """For the attackers: they would be on machines of their own, and take no processor from product and client."""
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def healthy(product: Product, for_s: float) -> list[float]:
    """In a process of its own: the attackers must not slow the clock that judges them."""
    return asyncio.run(healthy_ms(product, for_s=for_s))


def p99(took_ms: Sequence[float]) -> float:
    return quantiles(took_ms, n=100)[98]


async def attacked(product: Product, name: str, attack: Attack, pool: ProcessPoolExecutor) -> Result:
    """The attack again and again for `FOR_S`, and once at the least."""
    loop = asyncio.get_running_loop()
    ends: list[End] = []
    async with watched(product) as memory:
        client = loop.run_in_executor(pool, healthy, product, FOR_S)
        until_s = loop.time() + FOR_S
        while not ends or loop.time() < until_s:
            ends.append(await attack(product))
        p99_ms = p99(await client)
    longest = max(ends, key=lambda end: end.after_s)
    return Result(
        name, len(ends), longest, all(end.over and not end.served for end in ends), memory.grown_bytes, p99_ms
    )


async def everything(product: Product) -> bool:
    """Prints a line each; whether all of them hold.

    The client is alone before each attack too, and all of that is what its p99 is compared with: for some seconds alone
    it differs by half.
    """
    with ProcessPoolExecutor(1) as pool:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(pool, healthy, product, 2.0)  # a first round, to be warm
        stand_behind()
        alone_ms: list[float] = []
        results: list[Result] = []
        for name, attack in ATTACKS.items():
            alone_ms += await loop.run_in_executor(pool, healthy, product, RESTS_S)
            results.append(await attacked(product, name, attack, pool))
            print(f"{name}: p99 {results[-1].p99_ms:.1f} ms", flush=True)
    idle_ms = p99(alone_ms)
    print(f"\na healthy client alone: p99 {idle_ms:.1f} ms ({len(alone_ms)} requests)")
    for result in results:
        print(result.line(idle_ms))
    return all(result.holds(idle_ms) for result in results)


def main() -> int:
    """Starts the product and attacks it."""
    with tempfile.TemporaryDirectory() as folder, running_product(Path(folder), environment=ENVIRONMENT) as address:
        return int(not asyncio.run(everything(Product.with_account(address, Path(folder)))))


if __name__ == "__main__":
    sys.exit(main())
