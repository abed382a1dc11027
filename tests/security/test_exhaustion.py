"""What would use the server up is refused or cut off in time, and costs it no memory. On the real server.

`make security` shows besides what a healthy client notices of it.
"""

import asyncio
from collections.abc import Mapping

import pytest

from tests.security.attacks import LARGE, SLACK_S, SLOW, SOCKETS, WITHIN_S, Attack, End
from tests.security.processes import MOST_BYTES, Product, watched


def assert_over(ends: dict[str, End]) -> None:
    late = WITHIN_S + SLACK_S
    wrong = {name: end for name, end in ends.items() if not end.over or end.served or end.after_s > late}
    assert wrong == {}


async def test_requests_that_do_not_end_are_cut_off(product_process: Product) -> None:
    async with watched(product_process) as memory:
        ends = await asyncio.gather(*(attack(product_process) for attack in SLOW.values()))
    assert_over(dict(zip(SLOW, ends, strict=True)))
    assert memory.grown_bytes < MOST_BYTES


@pytest.mark.parametrize("attacks", [LARGE, SOCKETS], ids=["heads and bodies", "sockets"])
async def test_what_is_too_much_is_refused(product_process: Product, attacks: Mapping[str, Attack]) -> None:
    ends, grown = {}, {}
    for name, attack in attacks.items():
        async with watched(product_process) as memory:
            ends[name] = await attack(product_process)
        grown[name] = memory.grown_bytes
    assert_over(ends)
    assert {name: size for name, size in grown.items() if size >= MOST_BYTES} == {}


async def test_what_a_flood_says_is_not_logged(product_process: Product) -> None:
    assert "Traceback" not in product_process.log
    assert max(map(len, product_process.log.splitlines()), default=0) < 1_000
