"""Postgres crashes, hangs, or comes up late, under load. `make chaos` is the long form."""

from pathlib import Path

from tests.faults.outage import (
    called_for,
    crashed_under_load,
    known,
    staged,
    started_before_its_database,
    until_drained,
)
from tests.faults.rig import account


async def test_while_postgres_is_away_known_keys_are_served_and_no_row_is_lost(tmp_path: Path) -> None:
    async with staged(tmp_path, delay_s=0.2) as stage:
        asks = await known(stage.rig, 130)
        seen = await crashed_under_load(stage, asks, calm_s=0.5, away_s=3, at_once=4)
        await stage.rig.terminate()
        told = account(stage.rig)
    assert seen.served, seen
    assert told.balanced and not told.unknown and told.calls > 20, told
    assert seen.drained_s < 10


async def test_a_postgres_that_hangs_delays_nobody(tmp_path: Path) -> None:
    async with staged(tmp_path, delay_s=0.2) as stage:
        asks = await known(stage.rig, 100)
        stage.cluster.stall()
        try:
            frozen = await called_for(stage.rig, asks, seconds=3, at_once=4)
        finally:
            stage.cluster.go_on()
        assert await until_drained(stage.rig) < 10
        await stage.rig.terminate()
        told = account(stage.rig)
    assert {one.told for one in frozen} == {"200", "done"}
    assert len(frozen) > 20 and max(one.took_s for one in frozen) < 3
    assert told.balanced and not told.unknown, told


async def test_a_server_that_is_there_before_its_database_says_so_and_goes_on_by_itself(tmp_path: Path) -> None:
    async with staged(tmp_path, delay_s=0.2, at_start=False) as stage:
        told, ready_s = await started_before_its_database(stage)
    assert told == (200, 503, 503)
    assert ready_s < 5
