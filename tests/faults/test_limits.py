"""Four gateways, one limit: the short form of the play `limits` of `make chaos`."""

from pathlib import Path

from tests.faults.limits import exact, staged, switched


async def test_four_gateways_let_in_what_the_limits_say_to_the_request_and_little_more_without_redis(
    postgres_url: str, tmp_path: Path
) -> None:
    async with staged(tmp_path, postgres_url) as stage:
        assert await exact(stage, "exact", count=240)
        assert await switched(stage, "switch", before=40, count=160)
