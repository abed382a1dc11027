"""The ledger: what every request cost and saved, written once, summed exactly.

The API, the pages and the command line call these functions and no others, so their figures cannot disagree.
Money is integer pico-dollars; a saving is always `premium_cost - cost`, of a row as of a sum.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from math import ceil
from operator import itemgetter
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import (
    ColumnElement,
    Label,
    Select,
    SQLColumnExpression,
    and_,
    case,
    func,
    literal,
    or_,
    select,
    union_all,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import SQLModel, col

from omni_app.routing.types import KeyKind
from omni_app.storage.snapshots import SnapshotRecord
from omni_app.storage.tables import AttemptRow, RequestRow, RoutingLog, SnapshotRow

UNKNOWN_OUTCOME = "unknown_outcome"
"""Error code of a request that was admitted by a process that died before it could say how it ended."""


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
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
    premium_cost: int = 0
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


async def insert_records(
    session: AsyncSession,
    records: Sequence[RequestRecord],
    attempts: Sequence[AttemptRecord] = (),
    snapshots: Sequence[SnapshotRecord] = (),
    *,
    tell_new: bool = False,
) -> set[str]:
    """Writes a batch; what is already there stays as it is. The caller commits.

    Gives the ids of the requests that were not there, when asked (`tell_new`); else nothing.
    """
    await _insert(session, SnapshotRow, sorted((_values(one) for one in snapshots), key=itemgetter("id")))
    await _insert(session, AttemptRow, [_values(attempt) for attempt in attempts])
    new = await _insert_requests(session, records, tell_new=tell_new)
    await _insert(session, RoutingLog, [_routing_values(one, one.routing) for one in records if one.routing])
    return new


async def _insert_requests(session: AsyncSession, records: Sequence[RequestRecord], *, tell_new: bool) -> set[str]:
    rows = [_request_values(record) for record in records]
    if not rows or not tell_new:
        await _insert(session, RequestRow, rows)
        return set()
    return set(await session.scalars(_insertion(session, RequestRow).returning(col(RequestRow.request_id)), rows))


async def _insert(session: AsyncSession, table: type[SQLModel], rows: list[dict[str, Any]]) -> None:
    if rows:
        await session.execute(_insertion(session, table), rows)


def _insertion(session: AsyncSession, table: type[SQLModel]) -> postgresql.Insert | sqlite.Insert:
    postgres = session.get_bind().dialect.name == "postgresql"
    return (postgresql.insert(table) if postgres else sqlite.insert(table)).on_conflict_do_nothing()


def _values(record: AttemptRecord | RequestRecord | RoutingRecord | SnapshotRecord) -> dict[str, Any]:
    """The record's fields by name. Shallow on purpose: `asdict` copies every nested value, and rows are many."""
    return {name: getattr(record, name) for name in record.__slots__}


def _request_values(record: RequestRecord) -> dict[str, Any]:
    values = _values(record) | {"id": uuid4()}
    del values["routing"]
    return values


def _routing_values(record: RequestRecord, routing: RoutingRecord) -> dict[str, Any]:
    return _values(routing) | {
        "request_id": record.request_id,
        "org_id": record.org_id,
        "created_at": record.created_at,
    }


# Sums


@dataclass(frozen=True, slots=True)
class UsageGroup:
    """One line of a breakdown; `avg_latency_ms` counts answered requests, None when there are none."""

    key: str
    requests: int
    cost: int
    premium_cost: int
    tokens_input: int
    tokens_output: int
    avg_latency_ms: int | None

    @property
    def savings(self) -> int:
        return self.premium_cost - self.cost


@dataclass(frozen=True, slots=True)
class UsageReport:
    """An org's figures over `[start, end)`. Every breakdown's sums are the totals."""

    start: datetime
    end: datetime
    successful_requests: int
    by_model: Sequence[UsageGroup]
    by_task: Sequence[UsageGroup]
    by_day: Sequence[UsageGroup]
    total_requests: int = field(init=False)
    total_cost: int = field(init=False)
    premium_cost: int = field(init=False)
    tokens_input: int = field(init=False)
    tokens_output: int = field(init=False)

    def __post_init__(self) -> None:
        for name, column in (
            ("total_requests", "requests"),
            ("total_cost", "cost"),
            ("premium_cost", "premium_cost"),
            ("tokens_input", "tokens_input"),
            ("tokens_output", "tokens_output"),
        ):
            object.__setattr__(self, name, sum(getattr(group, column) for group in self.by_model))

    @property
    def estimated_savings(self) -> int:
        return self.premium_cost - self.total_cost


NO_MODEL = "none"
"""The breakdown's name for requests that no model answered."""
ANSWERED = "answered"


def _of_org(org_id: UUID, start: datetime, end: datetime, mode: str) -> ColumnElement[bool]:
    return and_(
        col(RequestRow.org_id) == org_id,
        col(RequestRow.key_kind) == mode,
        col(RequestRow.created_at) >= start,
        col(RequestRow.created_at) < end,
    )


async def usage(session: AsyncSession, *, org_id: UUID, start: datetime, end: datetime, mode: str) -> UsageReport:
    """The figures of `GET /v1/usage` and of the pages: `mode` is `live` or `test`."""
    by = await _grouped(
        session,
        _of_org(org_id, start, end, mode),
        {
            "model": case((col(RequestRow.model) == "", NO_MODEL), else_=col(RequestRow.model)),
            "task": col(RequestRow.task),
            "day": time_bucket(session, "day"),
            "outcome": case((col(RequestRow.success).is_(True), ANSWERED), else_="failed"),
        },
    )
    return UsageReport(
        start=start,
        end=end,
        successful_requests=sum(group.requests for group in by["outcome"] if group.key == ANSWERED),
        by_model=_dearest_first(by["model"]),
        by_task=_dearest_first(by["task"]),
        by_day=_in_order(by["day"]),
    )


async def series(
    session: AsyncSession, *, org_id: UUID, start: datetime, end: datetime, mode: str, bucket: str
) -> list[UsageGroup]:
    """Cost over time: one group per `minute`, `hour`, `day` or `month` (UTC) that has requests, oldest first."""
    scope = _of_org(org_id, start, end, mode)
    return _in_order((await _grouped(session, scope, {"time": time_bucket(session, bucket)}))["time"])


BUCKET_FORMATS: Mapping[str, tuple[str, str]] = {
    "minute": ("%Y-%m-%dT%H:%M:00Z", 'YYYY-MM-DD"T"HH24:MI:00"Z"'),
    "hour": ("%Y-%m-%dT%H:00:00Z", 'YYYY-MM-DD"T"HH24:00:00"Z"'),
    "day": ("%Y-%m-%d", "YYYY-MM-DD"),
    "month": ("%Y-%m", "YYYY-MM"),
}
"""Bucket -> the format of SQLite's strftime and of Postgres's to_char."""


def time_bucket(session: AsyncSession, bucket: str) -> ColumnElement[str]:
    """The UTC start of the bucket that a row falls into, as ISO text."""
    for_sqlite, for_postgres = BUCKET_FORMATS[bucket]
    if session.get_bind().dialect.name == "postgresql":
        return func.to_char(func.timezone("UTC", col(RequestRow.created_at)), for_postgres)
    return func.strftime(for_sqlite, col(RequestRow.created_at))


async def _grouped(
    session: AsyncSession, scope: ColumnElement[bool], keys: Mapping[str, SQLColumnExpression[str]]
) -> dict[str, list[UsageGroup]]:
    """Breakdown -> exact sums per value of its key.

    All breakdowns are one statement, so that they see the same rows while others are being written.
    """
    found: dict[str, list[UsageGroup]] = {name: [] for name in keys}
    parts = [_sums(name, key, scope) for name, key in keys.items()]
    for name, key, requests, cost, premium, tokens_in, tokens_out, latency in await session.execute(union_all(*parts)):
        group = UsageGroup(key, requests, int(cost), int(premium), int(tokens_in), int(tokens_out), _whole(latency))
        found[name].append(group)
    return found


def _sums(name: str, key: SQLColumnExpression[str], scope: ColumnElement[bool]) -> Select[Any]:
    answered_ms = case((col(RequestRow.success).is_(True), col(RequestRow.latency_ms)))
    label: Label[str] = key.label("key")
    return (
        select(
            literal(name).label("breakdown"),
            label,
            func.count(),
            func.sum(col(RequestRow.cost)),
            func.sum(col(RequestRow.premium_cost)),
            func.sum(col(RequestRow.tokens_input)),
            func.sum(col(RequestRow.tokens_output)),
            func.avg(answered_ms),
        )
        .where(scope)
        .group_by(label)
    )


def _dearest_first(groups: list[UsageGroup]) -> list[UsageGroup]:
    return sorted(groups, key=lambda group: (-group.cost, -group.requests, group.key))


def _in_order(groups: list[UsageGroup]) -> list[UsageGroup]:
    return sorted(groups, key=lambda group: group.key)


def _whole(value: Any) -> int | None:
    return None if value is None else round(value)


@dataclass(frozen=True, slots=True)
class Totals:
    """An org's headline figures over a range. Latencies are None when nothing was answered."""

    requests: int
    successful: int
    cost: int
    premium_cost: int
    rescued: int
    simulated: int
    p50_ms: int | None
    p95_ms: int | None
    premium_models: tuple[str, ...]

    @property
    def savings(self) -> int:
        return self.premium_cost - self.cost

    @property
    def error_rate(self) -> float:
        """Share of requests that no model answered, 0 to 1."""
        return (self.requests - self.successful) / self.requests if self.requests else 0.0

    @property
    def saved_share(self) -> float | None:
        """Savings over the baseline's cost; None when there is nothing to compare with."""
        return self.savings / self.premium_cost if self.premium_cost else None


async def totals(session: AsyncSession, *, org_id: UUID, start: datetime, end: datetime, mode: str) -> Totals:
    """The Overview's figures: the same rows and sums as `usage`."""
    scope = _of_org(org_id, start, end, mode)
    counted = select(
        func.count(),
        func.sum(case((col(RequestRow.success).is_(True), 1), else_=0)),
        func.sum(col(RequestRow.cost)),
        func.sum(col(RequestRow.premium_cost)),
        func.sum(case((col(RequestRow.rescued).is_(True), 1), else_=0)),
        func.sum(case((col(RequestRow.simulated).is_(True), 1), else_=0)),
    ).where(scope)
    requests, successful, cost, premium, rescued, simulated = (await session.execute(counted)).one()
    p50, p95 = await latency_percentiles(session, org_id=org_id, start=start, end=end, mode=mode)
    baselines = select(col(RequestRow.premium_model)).where(scope, col(RequestRow.premium_model) != "").distinct()
    return Totals(
        requests=requests,
        successful=int(successful or 0),
        cost=int(cost or 0),
        premium_cost=int(premium or 0),
        rescued=int(rescued or 0),
        simulated=int(simulated or 0),
        p50_ms=p50,
        p95_ms=p95,
        premium_models=tuple(sorted(await session.scalars(baselines))),
    )


async def latency_percentiles(
    session: AsyncSession,
    *,
    org_id: UUID,
    start: datetime,
    end: datetime,
    mode: str,
    model: str | None = None,
    shares: Sequence[float] = (0.5, 0.95),
) -> tuple[int | None, ...]:
    """Latencies in ms at the given shares of the answered requests (nearest rank); None each when there are none."""
    scope = and_(_of_org(org_id, start, end, mode), col(RequestRow.success).is_(True))
    if model is not None:
        scope = and_(scope, col(RequestRow.model) == model)
    count = await session.scalar(select(func.count()).where(scope)) or 0
    if not count:
        return tuple(None for _ in shares)
    ordered = select(col(RequestRow.latency_ms)).where(scope).order_by(col(RequestRow.latency_ms)).limit(1)
    ranks = [max(0, ceil(Decimal(str(share)) * count) - 1) for share in shares]
    return tuple([await session.scalar(ordered.offset(rank)) for rank in ranks])


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
        mark = select(RequestRow).where(col(RequestRow.org_id) == org_id, col(RequestRow.request_id) == after)
        last = (await session.scalars(mark)).first()
        if last is None:
            return []
        older = col(RequestRow.created_at) < last.created_at
        same = and_(col(RequestRow.created_at) == last.created_at, col(RequestRow.request_id) < after)
        query = query.where(or_(older, same))
    return [_record(row) for row in await session.scalars(query.limit(limit))]


async def request_detail(session: AsyncSession, *, org_id: UUID, request_id: str) -> RequestDetail | None:
    """One request of this org; None when there is none, or it is another org's."""
    query = (
        select(RequestRow, RoutingLog)
        .outerjoin(RoutingLog, col(RoutingLog.request_id) == col(RequestRow.request_id))
        .where(col(RequestRow.org_id) == org_id, col(RequestRow.request_id) == request_id)
    )
    found = (await session.execute(query)).first()
    if found is None:
        return None
    row, routing = found
    attempts = await attempts_of(session, request_ids=[request_id])
    return RequestDetail(request=_record(row, routing), attempts=attempts.get(request_id, []))


async def attempts_of(session: AsyncSession, *, request_ids: Sequence[str]) -> dict[str, list[AttemptRecord]]:
    """Request id -> its attempts in order; a request without one is missing."""
    found: dict[str, list[AttemptRecord]] = {}
    query = select(AttemptRow).where(col(AttemptRow.request_id).in_(request_ids)).order_by(col(AttemptRow.position))
    for row in await session.scalars(query):
        attempt = AttemptRecord(**{name: getattr(row, name) for name in AttemptRecord.__slots__})
        found.setdefault(row.request_id, []).append(attempt)
    return found


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
    """What pages open on: live as soon as there are live rows, else test."""
    live = _newest(org_id, "live").limit(1)
    return "live" if (await session.scalars(live)).first() is not None else "test"


def period_before(start: datetime, end: datetime) -> tuple[datetime, datetime]:
    """The range of the same length that ends where this one starts."""
    length: timedelta = end - start
    return start - length, start
