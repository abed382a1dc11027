"""What the ledger tells of an agent session: its last answered steps."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from omni_app.routing.types import KeyKind
from omni_app.storage.tables import IN_SESSION, LOG_OF_REQUEST, RequestRow, RoutingLog, in_words

OF_THE_STEP = (
    RequestRow.created_at,
    RequestRow.model,
    RequestRow.tokens_input,
    RequestRow.tokens_cached,
    RequestRow.tokens_cache_write,
    RequestRow.estimated,
    RoutingLog.features,
)


@dataclass(frozen=True, slots=True)
class KeptStep:
    """One answered step (columns: `tables.RequestRow`); `features` is None where its routing log is not kept."""

    created_at: datetime
    model: str
    tokens_input: int
    tokens_cached: int
    tokens_cache_write: int
    estimated: bool
    features: dict[str, Any] | None


async def last_steps(
    session: AsyncSession, *, org_id: UUID, mode: KeyKind, session_id: str, limit: int
) -> Sequence[KeptStep]:
    """The last answered steps of one session, oldest first, at most `limit`. One query.

    The mode is kept from being a column for an index: SQLite would take one that has it, and read the org's whole log.
    """
    row = RequestRow
    columns: Sequence[Any] = OF_THE_STEP
    query = (
        select(*columns)
        .select_from(row)
        .outerjoin(RoutingLog, LOG_OF_REQUEST)
        .where(in_words(IN_SESSION), col(row.org_id) == org_id, col(row.session_id) == session_id)
        .where(col(row.key_kind).concat("") == mode, col(row.success).is_(True))
        .order_by(col(row.created_at).desc(), col(row.request_id).desc())
        .limit(limit)
    )
    return [KeptStep(*found) for found in await session.execute(query)][::-1]
