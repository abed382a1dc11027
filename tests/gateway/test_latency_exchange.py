"""Workers that share what they measured: over both databases, at their start, and while the database is away."""

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import func, select

from omni_app.gateway.gateway import Gateway
from omni_app.gateway.latency import HALF_LIFE_S, MOST, NOTHING, Latencies, Measured
from omni_app.gateway.latency_exchange import KEPT, LatencyExchange
from omni_app.routing.types import LatencyPref, SizeClass
from omni_app.services import build_services
from omni_app.settings import Settings
from omni_app.storage.database import DATABASE_ERRORS, Database
from omni_app.storage.latencies import KeptBuckets, LatencyRecord, latencies_of_others, write_latencies
from omni_app.storage.tables import LatencyRow
from tests.gateway.scripted import CALLER, HELLO, ScriptedProvider, gateway
from tests.migrated import migrate
from tests.providers.asking import eventually
from tests.servers.postgres import Postgres

PLACE = ("alpha/small", SizeClass.SMALL_BRIEF)
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


@dataclass
class Clock:
    """Wall and monotonic time, moved by hand."""

    s: float = 1_000.0

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.s)

    def monotonic(self) -> float:
        return self.s


def worker(database: Database, clock: Clock, *samples_ms: int) -> LatencyExchange:
    """One that has measured these."""
    latencies = Latencies()
    for latency_ms in samples_ms:
        latencies.count(PLACE, total_ms=latency_ms, first_token_ms=latency_ms // 4, now_s=clock.s)
    return LatencyExchange(database, latencies, now=clock.now, clock=clock.monotonic)


def known(one: LatencyExchange) -> Measured | None:
    return one.latencies.measured(now_s=one.clock()).get(PLACE)


async def rows(database: Database) -> int:
    async with database.session() as session:
        return await session.scalar(select(func.count()).select_from(LatencyRow)) or 0


async def test_the_second_worker_decides_with_what_the_first_one_measured(database: Database, tmp_path: Path) -> None:
    def serving(name: str) -> tuple[Gateway, LatencyExchange]:
        made = gateway(tmp_path / name, ScriptedProvider("alpha", delay_s=0.3), ScriptedProvider("beta"))
        return made, LatencyExchange(database, made.latencies)

    (first, tells), (second, hears) = serving("first"), serving("second")
    fast = replace(HELLO, latency_pref=LatencyPref.FAST)
    for _ in range(5):
        first.latencies.count(PLACE, total_ms=50_000, first_token_ms=None, now_s=first.clock())
    assert second.decide(CALLER, fast).selected == PLACE[0]
    await tells.share()
    await hears.share()
    second.use_registry(second.registry)  # begins with a new snapshot at once
    assert second.decide(CALLER, fast).selected != PLACE[0]
    answer = await second.chat(CALLER, fast)
    await hears.share()
    await tells.share()
    told = first.latencies.measured(now_s=first.clock())
    assert told.keys() == {PLACE, (answer.model, SizeClass.SMALL_BRIEF)}
    for made in (first, second):
        made.spool.close()


async def test_workers_weigh_by_how_much_they_measured_and_count_nothing_twice(database: Database) -> None:
    clock = Clock()
    busy, quiet = worker(database, clock, *[1_000] * 30), worker(database, clock, *[2_000] * 10)
    idle = worker(database, clock)
    for _ in range(3):
        for one in (busy, quiet, idle):
            await one.share()
    for one in (busy, quiet, idle):
        told = known(one)
        assert told is not None and told.first_token is not None
        assert told.total.weight == pytest.approx(40, abs=0.01)
        assert told.total.average_ms == pytest.approx(1_250, rel=0.02)
        assert told.first_token.p50_ms == pytest.approx(250, rel=0.02)
    assert await rows(database) == 2, "a worker without measurements writes nothing"


async def test_a_worker_that_begins_knows_what_was_stored_and_what_a_dead_one_wrote_fades(database: Database) -> None:
    clock = Clock()
    await worker(database, clock, *[1_000] * 40).share()
    clock.s += HALF_LIFE_S
    born = worker(database, clock)
    await born.share()
    told = known(born)
    assert told is not None and told.total.weight == pytest.approx(20, abs=0.01)
    clock.s += 4 * HALF_LIFE_S
    assert born.latencies.expected_ms([], now_s=clock.s) == {}
    later = known(born)
    assert later is not None and later.total.weight == pytest.approx(40 / 32, abs=0.01)
    clock.s = 1_001 + KEPT.total_seconds()
    await born.share()
    assert (known(born), await rows(database)) == (None, 0)
    assert MOST * 0.5 ** (KEPT.total_seconds() / HALF_LIFE_S) < NOTHING


async def test_a_clock_that_runs_ahead_makes_nothing_heavier(sqlite_database: Database) -> None:
    ahead, right = Clock(s=90_000.0), Clock()
    await worker(sqlite_database, ahead, *[1_000] * 10).share()
    one = worker(sqlite_database, right)
    await one.share()
    told = known(one)
    assert told is not None and told.total.weight == pytest.approx(10)


async def test_a_size_that_this_version_does_not_know_is_left_alone(sqlite_database: Database) -> None:
    clock = Clock()
    nine, none = KeptBuckets(buckets=[100], weights=[9.0]), KeptBuckets(buckets=[], weights=[])
    async with sqlite_database.session() as session:
        record = LatencyRecord("alpha/small", "gigantic", nine, none, clock.now())
        await write_latencies(session, [record], worker_id=uuid4())
        await session.commit()
        assert [one async for one in latencies_of_others(session, worker_id=uuid4())] == [record]
    one = worker(sqlite_database, clock)
    await one.share()
    assert one.latencies.measured(now_s=clock.s) == {}


async def test_with_the_database_away_a_worker_goes_on_and_tells_later(postgres: Postgres, postgres_name: str) -> None:
    database, clock = Database(postgres.url(postgres_name)), Clock()
    one, other = worker(database, clock, *[1_000] * 10), worker(database, clock, *[3_000] * 10)
    await one.share()
    await other.share()
    postgres.take_away(postgres_name)
    one.latencies.count(PLACE, total_ms=1_000, first_token_ms=None, now_s=clock.s)
    with pytest.raises(DATABASE_ERRORS):
        await one.share()
    kept = known(one)
    assert kept is not None and kept.total.weight == pytest.approx(11)
    postgres.give_back(postgres_name)
    await one.share()
    await other.share()
    for worker_ in (one, other):
        told = known(worker_)
        assert told is not None and told.total.weight == pytest.approx(21, abs=0.01)
    await database.close()


async def test_a_server_that_stops_has_told_and_the_next_one_begins_with_it(tmp_path: Path) -> None:
    settings = Settings(omni_data_dir=tmp_path, local_model="off")
    migrate(settings.database, seeded=True)
    first = build_services(settings)
    await first.start()
    await asyncio.sleep(0)
    for _ in range(10):
        first.gateway.latencies.count(PLACE, total_ms=400, first_token_ms=None, now_s=first.gateway.clock())
    await first.stop()
    second = build_services(settings)
    await second.start()
    latencies, clock = second.gateway.latencies, second.gateway.clock
    await eventually(lambda: PLACE in latencies.measured(now_s=clock()))
    assert latencies.measured(now_s=clock())[PLACE].total.weight == pytest.approx(10, abs=0.1)
    await second.stop()
