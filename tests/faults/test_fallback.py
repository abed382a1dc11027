"""What a fallback costs, and deadlines: the short form of the play `fallback` of `make chaos`."""

from pathlib import Path

from tests.faults.fallback import Cost, cost_of, late_s
from tests.faults.providers import PRIMARIES, staged

BUSY_P50_MS = 50.0
"""What a busy test machine may add; `make chaos` holds 5 ms."""
BUSY_LATE_S = 1.0


async def test_a_fallback_costs_little_and_deadlines_hold_when_everybody_hangs(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        every = Cost()
        for primary, fault in zip(PRIMARIES, ("refused", "rst", "500", "garbage"), strict=False):
            cost = await cost_of(stage, await stage.key(primary), fault, pairs=8)
            assert not cost.failed, fault
            every.broken_ms += cost.broken_ms
            every.well_ms += cost.well_ms
        assert every.added(50) < BUSY_P50_MS
        late, told = await late_s(stage, await stage.key(PRIMARIES[7]), "hang", both=True, count=1)
        assert late < BUSY_LATE_S and {one.status for one in told} <= {200, 504}, told
