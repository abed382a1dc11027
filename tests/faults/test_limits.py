"""Four gateways, one limit: the short form of the play `limits` of `make chaos`."""

from pathlib import Path

from tests.faults.limits import Exactly, exact, staged, switched

MORE_RUNS = 2
"""On a machine with much else to do Redis may be too slow for a burst, and what it did not count tells nothing."""


async def test_four_gateways_let_in_what_the_limits_say_to_the_request_and_little_more_without_redis(
    postgres_url: str, tmp_path: Path
) -> None:
    async with staged(tmp_path, postgres_url) as stage:
        found = await exact(stage, "exact", count=240)
        for run in range(MORE_RUNS):
            found = found if found.shared else await exact(stage, f"exact {run}", count=240)
        assert found == Exactly(to_the_request=True, shared=True)
        assert await switched(stage, "switch", before=40, count=160)
