"""The operational states that decisions were made in: kept once each, so that a decision can be replayed."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from omni_app.storage.tables import SnapshotRow


@dataclass(frozen=True, slots=True)
class SnapshotRecord:
    """A `routing.types.Snapshot` as the spool and the table keep it.

    `latency_ms`: deployment id -> size class -> ms; in rows of an earlier version -> ms, whatever the size.
    `unavailable`: deployment id, or the name of a provider for all its deployments -> why it could not be called.
    `expected_output`: task -> median output tokens of our own traffic.
    """

    id: str
    latency_ms: dict[str, dict[str, float] | float]
    unavailable: dict[str, str]
    today: str
    created_at: datetime
    expected_output: dict[str, int] = field(default_factory=dict)


async def read_snapshots(session: AsyncSession, *, ids: Collection[str]) -> dict[str, SnapshotRecord]:
    """Id -> the state; one that is not kept any more is missing."""
    rows = await session.scalars(select(SnapshotRow).where(col(SnapshotRow.id).in_(ids)))
    return {row.id: SnapshotRecord(**{name: getattr(row, name) for name in SnapshotRecord.__slots__}) for row in rows}
