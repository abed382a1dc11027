"""The primary provider is broken in every way; the other one answers. `make chaos` is the long form."""

from pathlib import Path

import pytest

from tests.faults.providers import (
    DEADLINE_S,
    NOWHERE,
    PLAYED,
    PRIMARIES,
    SLOW,
    broken,
    kept,
    late_s,
    staged,
)

QUICK = tuple(fault for fault in PLAYED if fault not in SLOW | {"huge", "gzip_bomb"})
NOISE_S = 1.0
"""What a busy machine may add to a deadline."""


@pytest.mark.parametrize("part", range(6))
async def test_with_the_primary_broken_every_request_is_answered_and_the_ledger_agrees(
    part: int, tmp_path: Path
) -> None:
    async with staged(tmp_path) as stage:
        for primary, fault in zip(PRIMARIES, QUICK[part * len(PRIMARIES) :], strict=False):
            secret = await stage.key(primary)
            stage.rig.upstream.fault = ""
            assert all(one.answered and not one.fallbacks for one in await stage.asked(secret, 2, at_once=1)), primary
            stage.rig.upstream.fault = fault
            before = len(stage.rig.upstream.calls)
            told = await stage.asked(secret, 6, at_once=3)
            assert kept(fault, told), (fault, told)
            assert len(stage.rig.upstream.calls) > before, fault
        assert await stage.settled(arrives=True)


def test_the_parts_hold_every_quick_fault() -> None:
    assert 5 * len(PRIMARIES) < len(QUICK) <= 6 * len(PRIMARIES)


@pytest.mark.parametrize("fault", NOWHERE)
async def test_where_no_provider_is_the_other_one_answers(fault: str, tmp_path: Path) -> None:
    _, told, agrees = await broken(tmp_path, fault, count=12, at_once=4)
    assert kept(fault, told), told
    assert agrees and max(one.fallbacks for one in told) == 1


async def test_a_provider_that_hangs_leaves_time_for_the_other_one(tmp_path: Path) -> None:
    _, told, agrees = await broken(tmp_path, "hang", count=12, at_once=6)
    assert kept("hang", told), told
    assert agrees and late_s(told) < NOISE_S
    assert 0.5 < max(one.took_s for one in told) < DEADLINE_S
