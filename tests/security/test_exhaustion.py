"""What would use the server up is refused or cut off in time, and costs it no memory. On the real server.

`make security` shows besides what a healthy client notices of it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.security.attacks import HTTP, SLACK_S, SOCKETS, WITHIN_S, Attack, End
from tests.security.processes import Product

MOST_BYTES = 32 * 2**20


@dataclass
class Highest:
    """The most memory that was seen, beyond what there was before."""

    grown_bytes: int = 0


@asynccontextmanager
async def watched(product: Product) -> AsyncIterator[Highest]:
    highest, before = Highest(), product.resident_bytes()

    async def watch() -> None:
        while True:
            highest.grown_bytes = max(highest.grown_bytes, product.resident_bytes() - before)
            await asyncio.sleep(0.05)

    watching = asyncio.create_task(watch())
    yield highest
    watching.cancel()


def assert_over(ends: dict[str, End]) -> None:
    late = WITHIN_S + SLACK_S
    wrong = {name: end for name, end in ends.items() if not end.over or end.served or end.after_s > late}
    assert wrong == {}


async def all_at_once(product: Product, attacks: dict[str, Attack]) -> dict[str, End]:
    ends = await asyncio.gather(*(attack(product) for attack in attacks.values()))
    return dict(zip(attacks, ends, strict=True))


async def test_requests_that_do_not_end_and_bodies_that_are_too_much_are_refused(product_process: Product) -> None:
    async with watched(product_process) as memory:
        assert_over(await all_at_once(product_process, dict(HTTP)))
    assert memory.grown_bytes < MOST_BYTES


async def test_floods_of_a_tab_are_cut_off(product_process: Product) -> None:
    async with watched(product_process) as memory:
        ends = {name: await attack(product_process) for name, attack in SOCKETS.items()}
    assert_over(ends)
    assert memory.grown_bytes < MOST_BYTES


async def test_what_a_flood_says_is_not_logged(product_process: Product) -> None:
    assert "Traceback" not in product_process.log
    assert max(map(len, product_process.log.splitlines()), default=0) < 1_000
