"""What the ledger kept of decisions, read for a replay: the last ones of a scope, or one."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from omni_app.routing.types import KeyKind
from omni_app.storage.by_id import row_of
from omni_app.storage.tables import LOG_OF_REQUEST, RequestRow, RoutingLog

AT_A_TIME = 100
"""Rows that are turned from JSON into values between two looks at other work."""
OF_THE_REQUEST = (
    RequestRow.request_id,
    RequestRow.created_at,
    RequestRow.key_kind,
    RequestRow.task,
    RequestRow.model,
    RequestRow.success,
    RequestRow.cost,
    RequestRow.tokens_input,
    RequestRow.tokens_output,
    RequestRow.tokens_cached,
    RequestRow.tokens_cache_write,
    RequestRow.images,
)
OF_THE_DECISION = (
    RoutingLog.task_scores,
    RoutingLog.features,
    RoutingLog.policy_version,
    RoutingLog.registry_version,
    RoutingLog.snapshot_id,
)


@dataclass(frozen=True, slots=True)
class KeptDecision:
    """A request with what its decision was made from (columns: `tables.RequestRow`, `tables.RoutingLog`).

    `features` is None where the routing log is not kept any more, or never was.
    """

    request_id: str
    created_at: datetime
    key_kind: KeyKind
    task: str
    model: str
    success: bool
    cost: int
    tokens_input: int
    tokens_output: int
    tokens_cached: int
    tokens_cache_write: int
    images: int
    task_scores: dict[str, float] | None
    features: dict[str, Any] | None
    policy_version: str | None
    registry_version: str | None
    snapshot_id: str | None


async def last_decisions(
    session: AsyncSession, *, org_id: UUID, mode: KeyKind, limit: int, key_id: UUID | None = None
) -> list[KeptDecision]:
    """The org's, or one key's, last requests, newest first. One query; other work runs between its rows."""
    query = _query(org_id).where(col(RequestRow.key_kind) == mode)
    if key_id is not None:
        query = query.where(col(RequestRow.key_id) == key_id)
    query = query.order_by(col(RequestRow.created_at).desc(), col(RequestRow.request_id).desc()).limit(limit)
    rows = await session.stream(query.execution_options(yield_per=AT_A_TIME))
    return [KeptDecision(*row) async for part in rows.partitions() for row in part]


async def kept_decision(session: AsyncSession, *, org_id: UUID, request_id: str) -> KeptDecision | None:
    """One request's; None when the org has no such request."""
    row = await row_of(session, _query(org_id), request_id)
    return None if row is None else KeptDecision(*row)


def _query(org_id: UUID) -> Select[Any]:
    columns: Sequence[Any] = (*OF_THE_REQUEST, *OF_THE_DECISION)
    query = select(*columns).select_from(RequestRow)
    return query.outerjoin(RoutingLog, LOG_OF_REQUEST).where(col(RequestRow.org_id) == org_id)
