"""Sums of the ledger over any half-open range of time: the figures of the API, the pages and the command line.

All of them add up the same cells: whole days and hours from the roll-ups, the rows themselves in the broken hours at
both ends. So a figure is exact to the last pico-dollar, costs the same at a million rows as at a thousand, and no two
of them can disagree. A saving is always `premium_cost - cost`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from math import ceil
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Select,
    SQLColumnExpression,
    Subquery,
    and_,
    case,
    func,
    literal,
    select,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from omni_app.routing.cost import TokenSums
from omni_app.storage.rollups import GRAINS, SUMS, WIDE, bucket_latency_ms, latency_bucket, start_of
from omni_app.storage.tables import ApiKeyRow, LatencyRollup, RequestRow, UsageRollup

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
DIMENSIONS = ("model", "provider", "task", "key_id", "premium_model")
WIDE_DIMENSIONS = ("model", "provider", "premium_model")
"""Those that wide cells tell apart."""
EXACT_UP_TO = 2_000
"""Percentiles of so few answered requests are read from the rows; of more, from buckets, within 2 %."""
NO_MODEL = "none"
"""The breakdown's name for requests that no model answered."""


Span = tuple[datetime, datetime]
"""A half-open range of time."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose requests, of which kind of key, in `[start, end)`."""

    org_id: UUID
    mode: str
    start: datetime
    end: datetime

    def pieces(self) -> tuple[list[Span], list[Span], Span]:
        """The range cut into rows, whole hours and whole days: `(ranges of rows, ranges of hours, range of days)`."""
        hours = (ceiling(self.start, "hour"), start_of(self.end, "hour"))
        if hours[0] >= hours[1]:
            return [(self.start, self.end)], [], (self.end, self.end)
        days = (ceiling(hours[0], "day"), start_of(hours[1], "day"))
        if days[0] >= days[1]:
            days = (hours[1], hours[1])
        rows = [(self.start, hours[0]), (hours[1], self.end)]
        whole_hours = [(hours[0], days[0]), (days[1], hours[1])]
        return kept(rows), kept(whole_hours), days


def kept(ranges: Sequence[Span]) -> list[Span]:
    """Those that are not empty."""
    return [(start, end) for start, end in ranges if start < end]


def ceiling(instant: datetime, grain: str) -> datetime:
    """The first whole hour or UTC day at or after an instant."""
    begun = start_of(instant, grain)
    return begun if begun == instant else begun + (HOUR if grain == "hour" else DAY)


def cells(scope: Scope, *, rows_only: bool = False, finest: str = "day", wide: bool = False) -> Subquery:
    """What all figures add up: `at`, the dimensions, and the sums of `rollups.SUMS`.

    `finest`: no cell is longer than this; `rows_only` reads the rows alone, for buckets of minutes; `wide`: the cells
    of all keys and tasks together, for figures that tell neither apart.
    """
    rows, hours, days = scope.pieces()
    if rows_only:
        return _rows(scope, (scope.start, scope.end)).subquery("cells")
    if finest == "hour" and days[0] < days[1]:
        hours, days = [*hours, days], (days[1], days[1])
    # One part for each range: several ranges in one condition would keep the indexes from being used.
    hourly, daily = (WIDE[grain] if wide else grain for grain in GRAINS)
    parts = [_rows(scope, span) for span in rows] + [_rolled(scope, hourly, span) for span in hours]
    parts += [_rolled(scope, daily, span) for span in kept([days])]
    return union_all(*(parts or [_rows(scope, (scope.start, scope.start))])).subquery("cells")


def _rows(scope: Scope, span: Span) -> Select[Any]:
    """Single requests as cells."""
    row = RequestRow
    dimensions = (getattr(row, name).label(name) for name in DIMENSIONS)
    return select(
        col(row.created_at).label("at"), *dimensions, *(value.label(name) for name, value in row_sums().items())
    ).where(of_org(scope), within(col(row.created_at), span))


def row_sums() -> dict[str, SQLColumnExpression[int]]:
    """What a single request adds to each of `rollups.SUMS`, in SQL."""
    row = RequestRow
    answered = col(row.success).is_(True)
    return {
        "requests": literal(1),
        "successful": case((answered, 1), else_=0),
        "rescued": case((col(row.rescued).is_(True), 1), else_=0),
        "simulated": case((col(row.simulated).is_(True), 1), else_=0),
        "cost": col(row.cost),
        "premium_cost": col(row.premium_cost),
        "tokens_input": col(row.tokens_input),
        "tokens_output": col(row.tokens_output),
        "latency_ms": case((answered, col(row.latency_ms)), else_=0),
        "failed_cost": col(row.failed_cost),
        "routed": case((col(row.routing_us) > 0, 1), else_=0),
        "routing_us": col(row.routing_us),
        "markup": col(row.markup),
    } | _text_sums()


def _text_sums() -> dict[str, SQLColumnExpression[int]]:
    """As `rollups.usage_cells` has them: of requests that have a baseline and made no image."""
    row = RequestRow
    text = and_(col(row.premium_model) != "", col(row.images) <= 0)
    cached, written = _not_negative(col(row.tokens_cached)), _not_negative(col(row.tokens_cache_write))
    billed = case((col(row.tokens_input) > cached + written, col(row.tokens_input)), else_=cached + written)
    sums: dict[str, SQLColumnExpression[int]] = {
        "text_input": billed,
        "text_cached": cached,
        "text_written": written,
        "text_output": _not_negative(col(row.tokens_output)),
        "text_premium_cost": col(row.premium_cost),
    }
    return {name: case((text, value), else_=0) for name, value in sums.items()}


def _not_negative(column: SQLColumnExpression[int]) -> ColumnElement[int]:
    return case((column > 0, column), else_=0)


def _rolled(scope: Scope, grain: str, span: Span) -> Select[Any]:
    """Roll-ups as cells."""
    table = UsageRollup
    names = (*DIMENSIONS, *SUMS)
    return select(col(table.starts_at).label("at"), *(getattr(table, name).label(name) for name in names)).where(
        col(table.org_id) == scope.org_id,
        col(table.key_kind) == scope.mode,
        col(table.grain) == grain,
        within(col(table.starts_at), span),
    )


def of_org(scope: Scope) -> ColumnElement[bool]:
    """The rows of this org and kind of key, at whatever time."""
    return and_(col(RequestRow.org_id) == scope.org_id, col(RequestRow.key_kind) == scope.mode)


def within(column: SQLColumnExpression[datetime], span: Span) -> ColumnElement[bool]:
    """Inside the half-open range."""
    return and_(column >= span[0], column < span[1])


# Breakdowns


@dataclass(frozen=True, slots=True)
class Overhead:
    """What came on top of the answers.

    `failed_cost`: pico-dollars, within the cost, of attempts that did not give the whole answer. `routing_us`:
    microseconds from the arrival of `routed` requests to their decisions, added up.
    """

    failed_cost: int = 0
    routed: int = 0
    routing_us: int = 0

    def __add__(self, other: "Overhead") -> "Overhead":
        return Overhead(
            self.failed_cost + other.failed_cost, self.routed + other.routed, self.routing_us + other.routing_us
        )

    @property
    def routing_ms(self) -> float | None:
        """The mean of a request, in milliseconds; None when none was measured."""
        return self.routing_us / self.routed / 1000 if self.routed else None


@dataclass(frozen=True, slots=True)
class Comparable:
    """The texts that another model could have written: their tokens, and what they cost at the baseline."""

    tokens: TokenSums = field(default_factory=TokenSums)
    premium_cost: int = 0

    def __add__(self, other: "Comparable") -> "Comparable":
        return Comparable(self.tokens + other.tokens, self.premium_cost + other.premium_cost)


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
    successful: int = 0
    rescued: int = 0
    simulated: int = 0
    markup: int = 0
    overhead: Overhead = field(default_factory=Overhead)
    texts: Comparable = field(default_factory=Comparable)
    model: str = ""
    """Who answered; told in the breakdown by baseline alone."""

    @property
    def savings(self) -> int:
        return self.premium_cost - self.cost

    @property
    def error_rate(self) -> float:
        """Share of its requests that no model answered, 0 to 1."""
        return (self.requests - self.successful) / self.requests if self.requests else 0.0


@dataclass(frozen=True, slots=True)
class UsageReport:
    """An org's figures over `[start, end)`. Every breakdown's sums are the totals."""

    start: datetime
    end: datetime
    by_model: Sequence[UsageGroup]
    by_task: Sequence[UsageGroup]
    by_day: Sequence[UsageGroup]
    by_baseline: Sequence[UsageGroup]
    """A line for each baseline and model that answered beside it."""
    total_requests: int = field(init=False)
    successful_requests: int = field(init=False)
    total_cost: int = field(init=False)
    markup: int = field(init=False)
    premium_cost: int = field(init=False)
    tokens_input: int = field(init=False)
    tokens_output: int = field(init=False)

    def __post_init__(self) -> None:
        for name, column in (
            ("total_requests", "requests"),
            ("successful_requests", "successful"),
            ("total_cost", "cost"),
            ("markup", "markup"),
            ("premium_cost", "premium_cost"),
            ("tokens_input", "tokens_input"),
            ("tokens_output", "tokens_output"),
        ):
            object.__setattr__(self, name, sum(getattr(group, column) for group in self.by_model))

    @property
    def estimated_savings(self) -> int:
        return self.premium_cost - self.total_cost

    @property
    def premium_models(self) -> tuple[str, ...]:
        """The baselines' names, in order."""
        return baselines(self.by_baseline)

    @property
    def overhead(self) -> Overhead:
        return sum((group.overhead for group in self.by_model), Overhead())


async def usage(session: AsyncSession, *, org_id: UUID, start: datetime, end: datetime, mode: str) -> UsageReport:
    """The figures of `GET /v1/usage` and of the pages: `mode` is `live` or `test`."""
    scope = Scope(org_id, mode, start, end)
    wide, fine = cells(scope, wide=True), cells(scope).alias("fine")
    by = await _grouped(
        session,
        {
            "model": (wide, dimension(wide, "model")),
            "task": (fine, fine.c.task),
            "day": (wide, time_bucket(session, wide.c.at, "day")),
            "baseline": (wide, baseline_and_model(wide)),
        },
    )
    return UsageReport(
        start=start,
        end=end,
        by_model=_dearest_first(by["model"]),
        by_task=_dearest_first(by["task"]),
        by_day=_in_order(by["day"]),
        by_baseline=_by_baseline(by["baseline"]),
    )


BETWEEN = " "
"""Stands in no model's id."""


def baseline_and_model(added: FromClause) -> SQLColumnExpression[str]:
    """Two dimensions as one key: what is compared with, and who answered."""
    both: ColumnElement[str] = added.c.premium_model.concat(BETWEEN).concat(added.c.model)
    return both


def _by_baseline(groups: list[UsageGroup]) -> list[UsageGroup]:
    """The groups of `baseline_and_model`, with the key taken apart."""
    pairs = ((group, group.key.partition(BETWEEN)) for group in _in_order(groups))
    return [replace(group, key=baseline, model=model) for group, (baseline, _, model) in pairs]


def baselines(groups: Iterable[UsageGroup]) -> tuple[str, ...]:
    """The names of the baselines, each once, in the groups' order."""
    return tuple(dict.fromkeys(group.key for group in groups if group.key))


async def series(
    session: AsyncSession, *, org_id: UUID, start: datetime, end: datetime, mode: str, bucket: str
) -> list[UsageGroup]:
    """Cost over time: one group per `minute`, `hour`, `day` or `month` (UTC) that has requests, oldest first."""
    scope = Scope(org_id, mode, start, end)
    added = cells(scope, rows_only=bucket == "minute", finest="hour" if bucket == "hour" else "day", wide=True)
    return _in_order((await _grouped(session, {"time": (added, time_bucket(session, added.c.at, bucket))}))["time"])


@dataclass(frozen=True, slots=True)
class Line:
    """What one model, task, key or provider used in one bucket of time."""

    at: str
    name: str
    group: UsageGroup


async def lines(
    session: AsyncSession, *, org_id: UUID, start: datetime, end: datetime, mode: str, bucket: str, by: str
) -> list[Line]:
    """Usage over time by `model`, `task`, `key` or `provider`: one line per bucket and name, oldest first.

    A key is told by its name; one that is gone, by its id.
    """
    scope = Scope(org_id, mode, start, end)
    wide, finest = by in WIDE_DIMENSIONS, "hour" if bucket == "hour" else "day"
    added = cells(scope, rows_only=bucket == "minute", finest=finest, wide=wide)
    name: SQLColumnExpression[str] = added.c.key_id if by == "key" else dimension(added, by)
    # The labels differ from the cells' own columns: else GROUP BY would take those.
    starts = time_bucket(session, added.c.at, bucket).label("starts")
    line: Any = name.label("line")
    query: Any = select(starts, line, *_sums(added)).group_by(starts, line).order_by(starts, line)
    found = [(at, str(name), _group(str(name), figures)) for at, name, *figures in await session.execute(query)]
    names = await key_names(session, org_id=org_id) if by == "key" else {}
    return [Line(at, names.get(name, name), group) for at, name, group in found]


async def key_names(session: AsyncSession, *, org_id: UUID) -> dict[str, str]:
    """Id of every key of the org, revoked and hidden ones too -> its name and last four characters."""
    rows = await session.execute(
        select(col(ApiKeyRow.id), col(ApiKeyRow.name), col(ApiKeyRow.last4), col(ApiKeyRow.hidden)).where(
            col(ApiKeyRow.org_id) == org_id
        )
    )
    return {str(key_id): name if hidden else f"{name} (…{last4})" for key_id, name, last4, hidden in rows}


BUCKET_FORMATS: Mapping[str, tuple[str, str]] = {
    "minute": ("%Y-%m-%dT%H:%M:00Z", 'YYYY-MM-DD"T"HH24:MI:00"Z"'),
    "hour": ("%Y-%m-%dT%H:00:00Z", 'YYYY-MM-DD"T"HH24:00:00"Z"'),
    "day": ("%Y-%m-%d", "YYYY-MM-DD"),
    "month": ("%Y-%m", "YYYY-MM"),
}
"""Bucket -> the format of SQLite's strftime and of Postgres's to_char."""


def time_bucket(session: AsyncSession, instant: SQLColumnExpression[datetime], bucket: str) -> ColumnElement[str]:
    """The UTC start of the bucket that an instant falls into, as ISO text."""
    for_sqlite, for_postgres = BUCKET_FORMATS[bucket]
    if session.get_bind().dialect.name == "postgresql":
        return func.to_char(func.timezone("UTC", instant), for_postgres)
    return func.strftime(for_sqlite, instant)


def dimension(added: FromClause, name: str) -> SQLColumnExpression[str]:
    """A dimension as breakdowns name it: requests that no model answered have a name of their own."""
    column: ColumnElement[str] = added.c[name]
    return case((column == "", NO_MODEL), else_=column) if name in ("model", "provider") else column


async def _grouped(
    session: AsyncSession, keys: Mapping[str, tuple[FromClause, SQLColumnExpression[str]]]
) -> dict[str, list[UsageGroup]]:
    """Breakdown -> exact sums per value of its key, over the cells beside it.

    All breakdowns are one statement, so that they see the same rows while others are being written.
    """
    found: dict[str, list[UsageGroup]] = {name: [] for name in keys}
    parts: list[Any] = [
        select(literal(name).label("breakdown"), key.label("key"), *_sums(added)).group_by("key")
        for name, (added, key) in keys.items()
    ]
    for name, key, *figures in await session.execute(union_all(*parts)):
        found[name].append(_group(key, figures))
    return found


def _sums(added: FromClause) -> list[ColumnElement[int]]:
    return [func.sum(added.c[name]) for name in SUMS]


def _group(key: str, figures: Sequence[Any]) -> UsageGroup:
    total = dict(zip(SUMS, (int(figure) for figure in figures), strict=True))
    answered = total["successful"]
    return UsageGroup(
        key=key,
        requests=total["requests"],
        cost=total["cost"],
        premium_cost=total["premium_cost"],
        tokens_input=total["tokens_input"],
        tokens_output=total["tokens_output"],
        avg_latency_ms=round(Decimal(total["latency_ms"]) / answered) if answered else None,
        successful=answered,
        rescued=total["rescued"],
        simulated=total["simulated"],
        markup=total["markup"],
        overhead=Overhead(total["failed_cost"], total["routed"], total["routing_us"]),
        texts=Comparable(
            TokenSums(total["text_input"], total["text_output"], total["text_cached"], total["text_written"]),
            total["text_premium_cost"],
        ),
    )


def _dearest_first(groups: list[UsageGroup]) -> list[UsageGroup]:
    return sorted(groups, key=lambda group: (-group.cost, -group.requests, group.key))


def _in_order(groups: list[UsageGroup]) -> list[UsageGroup]:
    return sorted(groups, key=lambda group: group.key)


# Headlines


@dataclass(frozen=True, slots=True)
class Totals:
    """An org's headline figures over a range. Latencies are None when nothing was answered."""

    requests: int
    successful: int
    cost: int
    premium_cost: int
    rescued: int
    simulated: int
    markup: int
    p50_ms: int | None
    p95_ms: int | None
    by_baseline: Sequence[UsageGroup]

    @property
    def premium_models(self) -> tuple[str, ...]:
        """The baselines' names, in order."""
        return baselines(self.by_baseline)

    @property
    def overhead(self) -> Overhead:
        return sum((group.overhead for group in self.by_baseline), Overhead())

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
    """The Overview's figures: the same cells and sums as `usage`. At most four statements."""
    scope = Scope(org_id, mode, start, end)
    added = cells(scope, wide=True)
    groups = _by_baseline((await _grouped(session, {"baseline": (added, baseline_and_model(added))}))["baseline"])
    names = ("requests", "successful", "cost", "premium_cost", "rescued", "simulated", "markup")
    sums = {name: sum(getattr(group, name) for group in groups) for name in names}
    counts = await _latencies(session, scope, answered=sums["successful"], apart=False)
    p50, p95 = percentiles(_together(counts.values()), (0.5, 0.95))
    return Totals(**sums, p50_ms=p50, p95_ms=p95, by_baseline=groups)


@dataclass(frozen=True, slots=True)
class ModelFigures:
    """One model's line: its sums, and its latencies in ms, None when it answered nothing."""

    group: UsageGroup
    p50_ms: int | None
    p95_ms: int | None


async def model_report(
    session: AsyncSession, *, org_id: UUID, start: datetime, end: datetime, mode: str
) -> list[ModelFigures]:
    """What each model was used for, the dearest first. At most four statements."""
    scope = Scope(org_id, mode, start, end)
    added = cells(scope, wide=True)
    groups = (await _grouped(session, {"model": (added, dimension(added, "model"))}))["model"]
    counts = await _latencies(session, scope, answered=sum(group.successful for group in groups))
    figures = []
    for group in _dearest_first(groups):
        p50, p95 = percentiles(counts.get(group.key, {}), (0.5, 0.95))
        figures.append(ModelFigures(group, p50, p95))
    return figures


Counts = Mapping[float, int]
"""Latency in ms -> how many answered requests had it."""


async def _latencies(session: AsyncSession, scope: Scope, *, answered: int, apart: bool = True) -> dict[str, Counts]:
    """Model -> its latencies: of the rows when they are few, else of the roll-ups' buckets and the broken hours.

    `answered`: how many there are: when rows are missing among them, which were let go after their time, the buckets
    still have them. `apart`: whether models matter, else they may be together.
    """
    if answered <= EXACT_UP_TO:
        exact = await _latencies_of_rows(session, scope, most=EXACT_UP_TO)
        if exact is not None and sum(sum(counts.values()) for counts in exact.values()) >= answered:
            return exact
    found: dict[str, dict[float, int]] = {}
    for name, bucket, count in await _latency_buckets(session, scope, apart=apart):
        latency_ms = bucket_latency_ms(bucket)
        counts = found.setdefault(name, {})
        counts[latency_ms] = counts.get(latency_ms, 0) + int(count)
    return dict(found)


async def _latencies_of_rows(session: AsyncSession, scope: Scope, *, most: int) -> dict[str, Counts] | None:
    """Model -> its latencies, from at most so many rows; None when there are more."""
    answered = and_(of_org(scope), col(RequestRow.success).is_(True))
    query = select(col(RequestRow.model), col(RequestRow.latency_ms)).where(
        answered, within(col(RequestRow.created_at), (scope.start, scope.end))
    )
    rows = (await session.execute(query.limit(most + 1))).all()
    if len(rows) > most:
        return None
    found: dict[str, dict[float, int]] = {}
    for name, latency_ms in rows:
        counts = found.setdefault(name, {})
        counts[latency_ms] = counts.get(latency_ms, 0) + 1
    return dict(found)


async def _latency_buckets(session: AsyncSession, scope: Scope, *, apart: bool) -> Sequence[tuple[str, int, int]]:
    """Model, bucket, answered requests: of the roll-ups for whole hours and days, of the rows for the broken hours."""
    hourly, daily = (grain if apart else WIDE[grain] for grain in GRAINS)
    rows, hours, days = scope.pieces()
    table = LatencyRollup
    parts = [
        select(col(table.model), col(table.bucket), col(table.answered)).where(
            col(table.org_id) == scope.org_id,
            col(table.key_kind) == scope.mode,
            col(table.grain) == grain,
            within(col(table.starts_at), span),
        )
        for grain, spans in ((hourly, hours), (daily, kept([days])))
        for span in spans
    ]
    found: list[tuple[str, int, int]] = []
    edges = [
        select(col(RequestRow.model), col(RequestRow.latency_ms)).where(
            of_org(scope),
            col(RequestRow.success).is_(True),
            within(col(RequestRow.created_at), span),
        )
        for span in rows
    ]
    if edges:
        single = await session.execute(union_all(*edges))
        found += [(name, latency_bucket(latency_ms), 1) for name, latency_ms in single]
    if parts:
        added = union_all(*parts).subquery("buckets")
        sums: Any = select(added.c.model, added.c.bucket, func.sum(added.c.answered))
        found += [
            (name, bucket, int(answered))
            for name, bucket, answered in await session.execute(sums.group_by(added.c.model, added.c.bucket))
        ]
    return found


def _together(parts: Any) -> dict[float, int]:
    counts: dict[float, int] = {}
    for part in parts:
        for latency_ms, count in part.items():
            counts[latency_ms] = counts.get(latency_ms, 0) + count
    return counts


def percentiles(counts: Counts, shares: Sequence[float]) -> tuple[int | None, ...]:
    """The latencies at the given shares, by nearest rank."""
    total = sum(counts.values())
    if not total:
        return tuple(None for _ in shares)
    ordered = sorted(counts.items())
    found = []
    for share in shares:
        rank = max(1, ceil(Decimal(str(share)) * total))
        seen = 0
        for latency_ms, count in ordered:
            seen += count
            if seen >= rank:
                found.append(round(latency_ms))
                break
    return tuple(found)


def period_before(start: datetime, end: datetime) -> tuple[datetime, datetime]:
    """The range of the same length that ends where this one starts."""
    length: timedelta = end - start
    return start - length, start
