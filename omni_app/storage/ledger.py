"""The ledger: what every request cost and saved, written once; and its rows, one by one.

Sums are in `omni_app.storage.reports`. Money is integer pico-dollars; a saving is always `premium_cost - cost`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter, itemgetter
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    false,
    or_,
    select,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from omni_app.records import record
from omni_app.routing.types import KeyKind
from omni_app.storage.bulk import insert_new
from omni_app.storage.by_id import row_of
from omni_app.storage.rollups import add_to_rollups
from omni_app.storage.snapshots import SnapshotRecord
from omni_app.storage.tables import LOG_OF_REQUEST, AttemptRow, RequestRow, RoutingLog, SnapshotRow, UsageRollup

UNKNOWN_OUTCOME = "unknown_outcome"
"""Error code of a request that was admitted by a process that died before it could say how it ended."""


@record(frozen=True, slots=True)
class AttemptRecord:
    """One call at one provider, as the spool and the table keep it."""

    request_id: str
    position: int
    model: str
    provider: str
    outcome: str
    detail: str
    latency_ms: int
    tokens_input: int
    tokens_output: int
    cost: int
    created_at: datetime
    started_ms: int = 0
    byok: bool = False
    overrun: int = 0


@record(frozen=True, slots=True)
class RoutingRecord:
    """Why a request went where it went."""

    considered_models: list[dict[str, Any]]
    task_scores: dict[str, float]
    final_model: str
    reason: str
    features: dict[str, Any]
    policy_version: str
    registry_version: str
    snapshot_id: str


@record(frozen=True, slots=True)
class RequestRecord:
    """One request, as the spool and the table keep it (columns: `omni_app.storage.tables.RequestRow`)."""

    request_id: str
    org_id: UUID
    key_id: UUID
    key_kind: KeyKind
    endpoint: str
    task: str
    created_at: datetime
    model: str = ""
    provider: str = ""
    simulated: bool = False
    tokens_input: int = 0
    tokens_output: int = 0
    tokens_cached: int = 0
    tokens_cache_write: int = 0
    tokens_reasoning: int = 0
    images: int = 0
    estimated: bool = False
    cost: int = 0
    failed_cost: int = 0
    premium_cost: int = 0
    byok_cost: int = 0
    overrun: int = 0
    markup: int = 0
    markup_bp: int = 0
    premium_model: str = ""
    price_version: str = ""
    latency_ms: int = 0
    routing_us: int = 0
    first_token_ms: int | None = None
    attempts: int = 0
    rescued: bool = False
    success: bool = False
    error_code: str = ""
    session_id: str = ""
    step_id: str = ""
    routing: RoutingRecord | None = None

    @property
    def savings(self) -> int:
        return self.premium_cost - self.cost

    @property
    def billed(self) -> int:
        """The cost with its markup: what budgets count."""
        return self.cost + self.markup


async def insert_records(
    session: AsyncSession,
    records: Sequence[RequestRecord],
    attempts: Sequence[AttemptRecord] = (),
    snapshots: Sequence[SnapshotRecord] = (),
) -> set[str]:
    """Writes a batch and adds it to the roll-ups; what is already there stays as it is. The caller commits.

    Whoever writes, writes each table in the order of its key: two that read the same spool cannot lock each other out.
    Gives the ids of the requests that were not there.
    """
    await insert_new(session, SnapshotRow, sorted(map(_values, snapshots), key=itemgetter("id")))
    await insert_new(session, AttemptRow, sorted(map(_values, attempts), key=itemgetter("request_id", "position")))
    once = {record.request_id: record for record in sorted(records, key=attrgetter("request_id"))}
    new = await _insert_requests(session, list(once.values()))
    await add_to_rollups(session, [once[request_id] for request_id in new])
    routed = [_routing_values(one, one.routing) for one in once.values() if one.routing]
    await insert_new(session, RoutingLog, routed)
    return new


async def _insert_requests(session: AsyncSession, records: Sequence[RequestRecord]) -> set[str]:
    """The ids of those that were not there."""
    rows = {record.request_id: request_values(record) for record in records}
    if await insert_new(session, RequestRow, list(rows.values())) == len(rows):
        return set(rows)
    # Some were: a row that is ours has the id that was made for it just now.
    query = select(col(RequestRow.request_id), col(RequestRow.id)).where(col(RequestRow.request_id).in_(rows))
    return {row.request_id for row in await session.execute(query) if row.id == rows[row.request_id]["id"]}


PICK: dict[type[Any], Callable[[Any], tuple[Any, ...]]] = {
    kind: attrgetter(*kind.__slots__) for kind in (AttemptRecord, RequestRecord, RoutingRecord, SnapshotRecord)
}


def _values(record: AttemptRecord | RequestRecord | RoutingRecord | SnapshotRecord) -> dict[str, Any]:
    """The record's fields by name. Shallow on purpose: `asdict` copies every nested value, and rows are many."""
    kind = type(record)
    return dict(zip(kind.__slots__, PICK[kind](record), strict=True))


def request_values(record: RequestRecord) -> dict[str, Any]:
    """A new row of `requests`."""
    values = _values(record)
    del values["routing"]
    values["id"] = uuid4()
    return values


def _routing_values(record: RequestRecord, routing: RoutingRecord) -> dict[str, Any]:
    values = _values(routing)
    values |= {"request_id": record.request_id, "org_id": record.org_id, "created_at": record.created_at}
    return values


# Single requests


@dataclass(frozen=True, slots=True)
class RequestDetail:
    """A request with its attempts in order and its routing log (None for one that was never decided)."""

    request: RequestRecord
    attempts: Sequence[AttemptRecord]


def _record(row: RequestRow, routing: RoutingLog | None = None) -> RequestRecord:
    values = {name: getattr(row, name) for name in RequestRecord.__slots__ if name != "routing"}
    log = {name: getattr(routing, name) for name in RoutingRecord.__slots__} if routing else None
    return RequestRecord(**values, routing=RoutingRecord(**log) if log else None)


def _newest(org_id: UUID, mode: str) -> Select[RequestRow]:
    return (
        select(RequestRow)
        .where(col(RequestRow.org_id) == org_id, col(RequestRow.key_kind) == mode)
        .order_by(col(RequestRow.created_at).desc(), col(RequestRow.request_id).desc())
    )


async def recent_requests(
    session: AsyncSession, *, org_id: UUID, mode: str, limit: int = 50, after: str | None = None
) -> list[RequestRecord]:
    """Newest first, at most `limit`; `after` is the last request id of the page before."""
    query = _newest(org_id, mode)
    if after:
        mark = await row_of(session, select(RequestRow).where(col(RequestRow.org_id) == org_id), after)
        if mark is None:
            return []
        (last,) = mark
        older = col(RequestRow.created_at) < last.created_at
        same = and_(col(RequestRow.created_at) == last.created_at, col(RequestRow.request_id) < after)
        query = query.where(or_(older, same))
    return [_record(row) for row in await session.scalars(query.limit(limit))]


async def request_detail(session: AsyncSession, *, org_id: UUID, request_id: str) -> RequestDetail | None:
    """One request of this org; None when there is none, or it is another org's."""
    query = select(RequestRow, RoutingLog).outerjoin(RoutingLog, LOG_OF_REQUEST).where(col(RequestRow.org_id) == org_id)
    found = await row_of(session, query, request_id)
    if found is None:
        return None
    row, routing = found
    attempts = await attempts_of(session, moments={request_id: row.created_at})
    return RequestDetail(request=_record(row, routing), attempts=attempts.get(request_id, []))


async def attempts_of(session: AsyncSession, *, moments: Mapping[str, datetime]) -> dict[str, list[AttemptRecord]]:
    """Request id -> its attempts in order; a request without one is missing. `moments`: request id -> its instant."""
    found: dict[str, list[AttemptRecord]] = {}
    query = select(AttemptRow).where(_written_at(AttemptRow, moments)).order_by(col(AttemptRow.position))
    for row in await session.scalars(query):
        attempt = AttemptRecord(**{name: getattr(row, name) for name in AttemptRecord.__slots__})
        found.setdefault(row.request_id, []).append(attempt)
    return found


async def registry_versions_of(session: AsyncSession, *, moments: Mapping[str, datetime]) -> dict[str, str]:
    """Request id -> the version of the registry that it was decided under; missing when its routing log is gone.

    `moments`: request id -> its instant.
    """
    log = RoutingLog
    query = select(col(log.request_id), col(log.registry_version)).where(_written_at(log, moments))
    return {row.request_id: row.registry_version for row in await session.execute(query)}


def _written_at(table: type[AttemptRow | RoutingLog], moments: Mapping[str, datetime]) -> ColumnElement[bool]:
    """Rows of these requests. They have their request's instant: Postgres asks the months of those alone."""
    if not moments:
        return false()
    first, last = min(moments.values()), max(moments.values())
    return and_(col(table.request_id).in_(moments), col(table.created_at).between(first, last))


async def first_request_after(
    session: AsyncSession, *, org_id: UUID, key_kind: str, since: datetime
) -> RequestRecord | None:
    """The org's first request from `since` on: what the first-run page waits for."""
    query = (
        select(RequestRow)
        .where(
            col(RequestRow.org_id) == org_id,
            col(RequestRow.key_kind) == key_kind,
            col(RequestRow.created_at) >= since,
        )
        .order_by(col(RequestRow.created_at))
        .limit(1)
    )
    row = (await session.scalars(query)).first()
    return _record(row) if row else None


async def default_mode(session: AsyncSession, *, org_id: UUID) -> KeyKind:
    """What pages open on: live as soon as there are live rows, else test. Their sums say so, whatever the month."""
    cell = UsageRollup
    sums = select(col(cell.key_kind)).where(col(cell.org_id) == org_id, col(cell.key_kind) == "live").limit(1)
    return "live" if (await session.scalars(sums)).first() is not None else "test"
