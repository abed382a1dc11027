"""A pooler, a failover and a small pool between the product and its Postgres. `make chaos` is the long form."""

from collections import Counter
from pathlib import Path

from tests.faults.connections import behind_a_pooler, crowded, failed_over_under_load, switched
from tests.faults.outage import until_drained
from tests.faults.rig import account


async def test_a_transaction_pooler_is_as_good_as_postgres_itself(tmp_path: Path) -> None:
    told, complaints = await behind_a_pooler(tmp_path, requests=60, at_once=20, delay_s=0.05)
    assert told.balanced and not told.unknown and told.calls == 60, told
    assert not complaints


async def test_a_failover_is_not_noticed_by_known_keys(tmp_path: Path) -> None:
    async with switched(tmp_path, delay_s=0.2) as stage:
        seen = await failed_over_under_load(stage, seconds=3, at_once=4, asks=120)
        assert await until_drained(stage.rig) < 10
        await stage.rig.terminate()
        told = account(stage.rig)
    assert {one.told for one in seen} <= {"200", "done"} and len(seen) > 20
    assert told.balanced and not told.unknown, told


async def test_a_pool_of_two_serves_two_hundred_readers_in_time_and_requests_beside_them(tmp_path: Path) -> None:
    seen, told = await crowded(tmp_path, readers=200, rounds=1)
    assert Counter(status for status, _ in seen.readers).keys() <= {200, 503}
    assert seen.slowest_s < 15
    assert {one.told for one in seen.served} <= {"200", "done"}
    assert told.balanced, told
