"""The operational states that decisions were made in: kept once each, so that a decision can be replayed."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from omni_app.storage.tables import SnapshotRow


@dataclass(frozen=True, slots=True)
class SnapshotRecord:
    """A `routing.types.Snapshot` as the spool and the table keep it.

    `unavailable`: deployment id, or the name of a provider for all its deployments -> why it could not be called.
    """

    id: str
    latency_ms: dict[str, float]
    unavailable: dict[str, str]
    today: str
    created_at: datetime


async def read_snapshots(session: AsyncSession, *, ids: Collection[str]) -> dict[str, SnapshotRecord]:
    """Id -> the state; one that is not kept any more is missing."""
    rows = await session.scalars(select(SnapshotRow).where(col(SnapshotRow.id).in_(ids)))
    return {row.id: SnapshotRecord(row.id, row.latency_ms, row.unavailable, row.today, row.created_at) for row in rows}
