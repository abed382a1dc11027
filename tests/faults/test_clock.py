"""The wall clock is set under a running server. `make chaos ARGS="--play clock"` is the long form."""

import asyncio
import os
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest

from omni_app.storage.tables import utc_now
from tests.faults.clock import (
    HOUR_S,
    Clock,
    around_midnight,
    asked,
    days_of,
    expires,
    has_daily,
    served_while_it_is_set,
    spent_up,
    times_of,
)
from tests.faults.rig import account, patient_client, rigged
from tests.system import libfaketime

DAILY = 700_000_000
"""Pico-dollars: enough for a small request or a few of them, not for twenty."""


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    """Where the library is missing: a failure in CI, elsewhere a skip that says why."""
    if libfaketime() is None and not os.environ.get("CI"):
        pytest.skip("libfaketime: install the package faketime")
    return Clock(tmp_path / "clock")


async def test_durations_know_nothing_of_a_clock_that_is_set(clock: Clock, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    async with rigged(tmp_path / "data", delay_s=1.0, environment=clock.environment) as rig:
        await rig.start()
        for ahead_s in (HOUR_S, -HOUR_S):
            await served_while_it_is_set(rig, clock, await rig.asks(10), ahead_s)
        await rig.until_settled()
        await rig.terminate()
        outcomes, told, times = Counter(one.told for one in rig.outcomes), account(rig), times_of(rig)
    assert outcomes == {"200": 10, "done": 10}
    assert told.balanced and not told.unknown, told
    assert times.negative == 0
    assert 1_000 <= times.shortest_ms <= times.longest_ms <= max(one.took_s for one in rig.outcomes) * 1000


async def test_what_has_an_end_ends_by_the_clock_and_days_begin_at_midnight_utc(clock: Clock, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    async with rigged(tmp_path / "data", delay_s=0.1, environment=clock.environment) as rig, patient_client() as client:
        expiring, repeated, daily = await rig.asks(3)
        await expires(rig, expiring, utc_now() + timedelta(minutes=30))
        await has_daily(rig, daily, DAILY)
        await rig.start()

        good = []
        for ahead_s in (0, HOUR_S, -HOUR_S):
            await clock.set(rig, ahead_s)
            good.append((await asked(client, rig, expiring)).status_code)

        await clock.set(rig, 0)
        rig.upstream.delay_s = 3.0
        first = asyncio.create_task(asked(client, rig, repeated, name="once"))
        await rig.until_called(len(rig.upstream.calls) + 1)
        rig.upstream.delay_s = 0.1
        await clock.set(rig, HOUR_S)
        in_flight = (await asked(client, rig, repeated, name="once")).status_code
        await first
        kept = []
        for ahead_s in (HOUR_S, -HOUR_S, 23 * HOUR_S, 26 * HOUR_S):
            await clock.set(rig, ahead_s)
            kept.append((await asked(client, rig, repeated, name="once")).headers.get("idempotent-replayed"))

        before, after = around_midnight()
        await clock.set_to(rig, before)
        spent = await spent_up(client, rig, daily)
        await clock.set_to(rig, after)
        anew = (await asked(client, rig, daily)).status_code
        await clock.set_to(rig, before)
        back = (await asked(client, rig, daily)).status_code
        await clock.set(rig, 0)
        await rig.terminate()
        rows, sums = days_of(rig)
        calls = rig.called()[repeated.mark]

    assert good == [200, 401, 200], "30 minutes are left, over, and left again"
    assert in_flight == 409, "this very process still serves it"
    assert kept == ["true", "true", "true", None] and calls == 2
    assert spent[:1] == [200] and spent[-1] == 402
    assert (anew, back) == (200, 402)
    assert rows == sums and rows[f"{after:%F}"] >= 1
