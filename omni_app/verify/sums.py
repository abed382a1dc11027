"""The ledger's sums against its rows: roll-ups cell by cell, and the breakdowns of every org against the whole.

The rows are added up by the database, not by the code that keeps the roll-ups.
"""

from collections import Counter
from collections.abc import AsyncIterator, Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, func, literal, or_, select, union, union_all
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from omni_app.storage import reports
from omni_app.storage.reports import (
    DIMENSIONS,
    WIDE_DIMENSIONS,
    Scope,
    Span,
    UsageGroup,
    of_org,
    row_sums,
    time_bucket,
    within,
)
from omni_app.storage.rollups import GRAINS, NO_MODEL, SUMS, WIDE, latency_bucket
from omni_app.storage.tables import LatencyRollup, RequestRow, UsageRollup
from omni_app.verify.findings import Finding
from omni_app.verify.reading import streamed

LET_GO = "the rows of its time are let go"
KEPT_GRAINS = (*GRAINS, *WIDE.values())
GRAIN_NAMES = {grain: f"{grain}s" for grain in GRAINS} | {wide: f"{grain}s, wide" for grain, wide in WIDE.items()}
"""How findings call them; wide: over all keys and tasks, latencies over all models."""
LENGTHS = {grain: grain for grain in GRAINS} | {wide: grain for grain, wide in WIDE.items()}
FIGURES = ("requests", "successful", "cost", "premium_cost", "markup", "tokens_input", "tokens_output")
"""What every breakdown has."""


async def scopes(session: AsyncSession, *, start: datetime, end: datetime) -> list[Scope]:
    """Every org and kind of key that has rows or roll-ups, over this range."""
    pairs = (select(col(table.org_id), col(table.key_kind)).distinct() for table in (RequestRow, UsageRollup))
    found = await session.execute(union(*pairs))
    return [Scope(org_id, mode, start, end) for org_id, mode in sorted(found, key=str)]


async def rollups(session: AsyncSession, scopes: Iterable[Scope]) -> list[Finding]:
    """Each cell is the sum of the rows that it covers; those that began before the scope's start cannot be checked."""
    usage = [Finding(f"a roll-up of {GRAIN_NAMES[grain]} is the sum of its rows") for grain in KEPT_GRAINS]
    latencies = [
        Finding(f"a roll-up of {GRAIN_NAMES[grain]} counts the latencies of its rows") for grain in KEPT_GRAINS
    ]
    for scope in scopes:
        for grain, sums, counts in zip(KEPT_GRAINS, usage, latencies, strict=True):
            await _count_cells(session, sums, UsageRollup, scope, grain)
            async for where, told in _usage_differences(session, scope, grain):
                _differs(sums, where, told)
            await _count_cells(session, counts, LatencyRollup, scope, grain)
            async for where, told in _latency_differences(session, scope, grain):
                _differs(counts, where, told)
    return usage + latencies


def _differs(finding: Finding, where: str, told: str) -> None:
    """A cell that is counted already."""
    finding.checked -= 1
    finding.holds(where, true=False, told=told)


async def _count_cells(
    session: AsyncSession, finding: Finding, table: type[UsageRollup | LatencyRollup], scope: Scope, grain: str
) -> None:
    begun = col(table.starts_at) >= scope.start
    query = select(begun, func.count()).where(_of_grain(table, scope, grain)).group_by(begun)
    counts = {bool(kept): count for kept, count in await session.execute(query)}
    finding.checked += counts.get(True, 0)
    finding.skip(LET_GO, count=counts.get(False, 0))


def _of_grain(table: type[UsageRollup | LatencyRollup], scope: Scope, grain: str) -> ColumnElement[bool]:
    return and_(col(table.org_id) == scope.org_id, col(table.key_kind) == scope.mode, col(table.grain) == grain)


async def _usage_differences(session: AsyncSession, scope: Scope, grain: str) -> AsyncIterator[tuple[str, str]]:
    """Rows minus roll-ups, cell by cell, where anything is left."""
    row, cell = RequestRow, UsageRollup
    names, length = WIDE_DIMENSIONS if grain in WIDE.values() else DIMENSIONS, LENGTHS[grain]
    rows = select(
        time_bucket(session, col(row.created_at), length).label("starts"),
        *(getattr(row, name).label(name) for name in names),
        *(value.label(name) for name, value in row_sums().items()),
    ).where(of_org(scope), col(row.created_at) >= scope.start)
    kept = select(
        time_bucket(session, col(cell.starts_at), length),
        *(getattr(cell, name) for name in names),
        *(-getattr(cell, name) for name in SUMS),
    ).where(_of_grain(cell, scope, grain), col(cell.starts_at) >= scope.start)
    both = union_all(rows, kept).subquery()
    place = [both.c.starts, *(both.c[name] for name in names)]
    left = [func.sum(both.c[name]) for name in SUMS]
    query = select(*place, *left).group_by(*place).having(or_(*(one != 0 for one in left)))
    async for found in streamed(session, query):
        starts, *dimensions = found[: len(place)]
        which = " ".join(str(one) for one in dimensions if one)
        figures = dict(zip(SUMS, found[len(place) :], strict=True))
        told = ", ".join(f"{name} {int(value):+d}" for name, value in figures.items() if value)
        yield f"{starts} {scope.mode} {which} of {scope.org_id}", f"rows minus roll-up: {told}"


async def _latency_differences(session: AsyncSession, scope: Scope, grain: str) -> AsyncIterator[tuple[str, str]]:
    """Which bucket a latency falls into is not asked of the database: its logarithm may round in another way."""
    row, cell = RequestRow, LatencyRollup
    answered = and_(of_org(scope), col(row.success).is_(True), col(row.created_at) >= scope.start)
    length, latency_ms = LENGTHS[grain], col(row.latency_ms)
    hour: Any = time_bucket(session, col(row.created_at), length)
    model: Any = literal(NO_MODEL) if grain in WIDE.values() else col(row.model)
    rows: Any = select(
        hour.label("starts"), model.label("model"), latency_ms.label("figure"), func.count().label("answered"),
        literal(0).label("is_bucket"),
    ).where(answered).group_by("starts", "model", latency_ms)  # fmt: skip
    kept = select(
        time_bucket(session, col(cell.starts_at), length), col(cell.model), col(cell.bucket), -col(cell.answered),
        literal(1),
    ).where(_of_grain(cell, scope, grain), col(cell.starts_at) >= scope.start)  # fmt: skip
    both = union_all(rows, kept).subquery()
    ordered = select(both).order_by(both.c.starts)
    starts, left = "", Counter[tuple[str, int]]()
    async for begins, name, figure, count, is_bucket in streamed(session, ordered):
        if begins != starts:
            for difference in _left(scope, starts, left):
                yield difference
            starts, left = begins, Counter()
        left[name, figure if is_bucket else latency_bucket(figure)] += int(count)
    for difference in _left(scope, starts, left):
        yield difference


def _left(scope: Scope, starts: str, left: Counter[tuple[str, int]]) -> Iterable[tuple[str, str]]:
    for (model, bucket), count in left.items():
        if count:
            where = f"{starts} {scope.mode} {model} bucket {bucket} of {scope.org_id}"
            yield where, f"rows minus roll-up: {count:+d}"


# Breakdowns


async def breakdowns(session: AsyncSession, scopes: Iterable[Scope]) -> Finding:
    """By model, task, day, baseline and key the reports of an org say what its rows add up to; all orgs, the whole."""
    finding = Finding("the sums by model, task, day, baseline, key and org are those of the rows")
    whole: dict[tuple[str, Span], Counter[str]] = {}
    for scope in scopes:
        span = (scope.start, scope.end)
        of_rows = await _rows_of(session, of_org(scope), span)
        for name, found in (await _reported(session, scope)).items():
            _same(finding, f"by {name}, {scope.mode} of {scope.org_id}", kept=found, computed=of_rows)
        whole.setdefault((scope.mode, span), Counter()).update(of_rows)
    for (mode, span), found in whole.items():
        computed = await _rows_of(session, col(RequestRow.key_kind) == mode, span)
        _same(finding, f"by org, {mode}", kept=found, computed=computed)
    return finding


def _same(finding: Finding, where: str, *, kept: Counter[str], computed: Counter[str]) -> None:
    differ = [name for name in FIGURES if kept[name] != computed[name]]
    told = ", ".join(f"{name} {kept[name]} is reported, {computed[name]} in the rows" for name in differ)
    finding.holds(where, true=not differ, told=told)


async def _rows_of(session: AsyncSession, which: ColumnElement[bool], span: Span) -> Counter[str]:
    sums = row_sums()
    query = select(*(func.coalesce(func.sum(sums[name]), 0) for name in FIGURES))
    found = (await session.execute(query.where(which, within(col(RequestRow.created_at), span)))).one()
    return Counter({name: int(value) for name, value in zip(FIGURES, found, strict=True)})


async def _reported(session: AsyncSession, scope: Scope) -> dict[str, Counter[str]]:
    """Breakdown -> its lines added up, as the API and the pages have them."""
    whose: dict[str, Any] = {"org_id": scope.org_id, "start": scope.start, "end": scope.end, "mode": scope.mode}
    report = await reports.usage(session, **whose)
    lines = await reports.lines(session, **whose, bucket="day", by="key")
    headline = await reports.totals(session, **whose)
    return {
        "model": _added(report.by_model),
        "task": _added(report.by_task),
        "day": _added(report.by_day),
        "baseline": _added(headline.by_baseline),
        "key": _added(line.group for line in lines),
    }


def _added(groups: Iterable[UsageGroup]) -> Counter[str]:
    sums: Counter[str] = Counter()
    for group in groups:
        sums.update({name: getattr(group, name) for name in FIGURES})
    return sums
