"""Measured latencies as workers tell each other: each writes its own rows and reads those of the others."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypedDict
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from omni_app.storage.tables import LatencyRow

AT_ONCE = 10


class KeptBuckets(TypedDict):
    """A histogram as it is kept: buckets of `storage.rollups.latency_bucket`, and beside them the weight of each."""

    buckets: list[int]
    weights: list[float]


@dataclass(frozen=True, slots=True)
class LatencyRecord:
    """What one worker knew at `measured_at` of a deployment and size class.

    `total` and `first_token`: how many samples are in which bucket, older ones counting less.
    """

    model: str
    size: str
    total: KeptBuckets
    first_token: KeptBuckets
    measured_at: datetime


async def write_latencies(session: AsyncSession, records: Sequence[LatencyRecord], *, worker_id: UUID) -> None:
    """Puts these in the place of what this worker had written of the same. The caller commits."""
    if not records:
        return
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    new = insert(LatencyRow)
    fields = {name: new.excluded[name] for name in ("total", "first_token", "measured_at")}
    rows: list[dict[str, Any]] = [
        {name: getattr(record, name) for name in record.__slots__} | {"worker_id": worker_id} for record in records
    ]
    await session.execute(new.on_conflict_do_update(index_elements=["worker_id", "model", "size"], set_=fields), rows)


async def latencies_of_others(session: AsyncSession, *, worker_id: UUID) -> AsyncIterator[LatencyRecord]:
    """What all workers but this one have written, read in pieces: other work gets its turn in between."""
    columns = [col(getattr(LatencyRow, name)) for name in LatencyRecord.__slots__]
    query = select(*columns).where(col(LatencyRow.worker_id) != worker_id)
    async for row in await session.stream(query.execution_options(yield_per=AT_ONCE)):
        yield LatencyRecord(*row)


async def forget_latencies(session: AsyncSession, *, before: datetime) -> None:
    """Deletes what was measured before this instant, whoever wrote it. The caller commits."""
    await session.execute(delete(LatencyRow).where(col(LatencyRow.measured_at) < before))
