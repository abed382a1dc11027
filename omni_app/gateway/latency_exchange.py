"""Workers tell each other what they measured, through the database and in the background.

Each writes its own histograms and puts those of all the others together. A worker that begins hears what is stored,
of workers that are gone as well: it fades like everything else. No request ever waits for this; while the database is
away each worker goes on with what it knows.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from sqlalchemy.ext.asyncio import AsyncSession

from omni_app.gateway.latency import HALF_LIFE_S, Buckets, Latencies, Sample
from omni_app.routing.types import SizeClass
from omni_app.storage.database import DATABASE_ERRORS, Database
from omni_app.storage.latencies import (
    KeptBuckets,
    LatencyRecord,
    forget_latencies,
    latencies_of_others,
    write_latencies,
)
from omni_app.storage.pause import pause
from omni_app.storage.tables import utc_now

SHARE_S = 5.0
KEPT = timedelta(seconds=16 * HALF_LIFE_S)
"""After this nothing is left of what a worker wrote: even a full histogram weighs less than a hundredth of a sample."""
SIZES = frozenset(SizeClass)
DECIMALS = 4
SLICE = 5
"""Places that are worked on before other work gets its turn."""


@dataclass(slots=True)
class LatencyExchange:
    """One worker's part. `clock` is the one that `latencies` goes by; rows carry the wall's time."""

    database: Database
    latencies: Latencies
    worker_id: UUID = field(default_factory=uuid4)
    now: Callable[[], datetime] = utc_now
    clock: Callable[[], float] = time.monotonic

    async def run(self, stopping: asyncio.Event) -> None:
        """Tells and hears every few seconds, and once more before it stops."""
        while not stopping.is_set():
            with suppress(*DATABASE_ERRORS):
                await self.share()
            await pause(stopping, SHARE_S)
        with suppress(*DATABASE_ERRORS):
            await self.share()

    async def share(self) -> None:
        """One round. Raises what the database raises; what could not be told is told the next time."""
        news = self.latencies.news()
        try:
            async with self.database.session() as session:
                now = self.now()
                for begin in range(0, len(news), SLICE):
                    part = news[begin : begin + SLICE]
                    records = [_record(self.latencies.own(place, now_s=self.clock()), now) for place in part]
                    await write_latencies(session, records, worker_id=self.worker_id)
                await forget_latencies(session, before=now - KEPT)
                await session.commit()
                await self._hear(session)
        except BaseException:
            self.latencies.give_back(news)
            raise

    async def _hear(self, session: AsyncSession) -> None:
        now, now_s = self.now(), self.clock()
        heard: list[Sample] = []
        async for record in latencies_of_others(session, worker_id=self.worker_id):
            if record.size in SIZES:
                # A clock that runs ahead makes nothing younger than new.
                age_s = max(0.0, (now - record.measured_at).total_seconds())
                heard.append(_sample(record, now_s - age_s))
        self.latencies.hear(heard)
        for number, place in enumerate(self.latencies.places()):
            self.latencies.total(place, now_s=now_s)  # so that no request has to work it out
            if number % SLICE == SLICE - 1:
                await asyncio.sleep(0)


def _record(sample: Sample, now: datetime) -> LatencyRecord:
    model, size = sample.place
    return LatencyRecord(model, size.value, _kept(sample.total), _kept(sample.first_token), now)


def _sample(record: LatencyRecord, at_s: float) -> Sample:
    return Sample((record.model, SizeClass(record.size)), _buckets(record.total), _buckets(record.first_token), at_s)


def _kept(buckets: Buckets) -> KeptBuckets:
    found = {bucket: rounded for bucket, weight in buckets.items() if (rounded := round(weight, DECIMALS))}
    return {"buckets": list(found), "weights": list(found.values())}


def _buckets(kept: KeptBuckets) -> Buckets:
    return dict(zip(kept["buckets"], kept["weights"], strict=True))
