"""The ledger's large tables by month, on Postgres: a month is made before it begins, and dropped when it is over.

What has no month of its own lies in a table's default partition, or in what the table held before it was divided
(migration 0024). On SQLite a table is one. What differs between the two is here; the reasons are in
docs/decisions/0059-partitions-by-month.md.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

from sqlalchemy import Connection, MetaData, Table, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import SQLModel

from omni_app.storage.database import DATABASE_ERRORS, Database, is_sqlite
from omni_app.storage.tables import AttemptRow, RequestRow, RoutingLog

log = logging.getLogger(__name__)

BY_MONTH: tuple[type[SQLModel], ...] = (RequestRow, AttemptRow, RoutingLog)
AHEAD = 3
"""Months that are there before they begin: so long may nobody make any."""
MOST_MOVED = 50_000
"""More rows than these stay in the default partition, and their month with them: moving them would hold up the drainer
for longer than some seconds."""
LOCK_TIMEOUT_MS = 2_000
"""Who waits for a table holds up everybody behind him: the next round tries again."""
TURN = 0x6F6D6E69
"""The number of the advisory lock: one process at a time changes partitions."""

PARTITIONS = "SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r'"
PARTS = r"""
    SELECT part.relname AS name,
        CAST((regexp_match(bound, 'FROM \(''([^'']+)''\)'))[1] AS timestamptz) AS starts_at,
        CAST((regexp_match(bound, 'TO \(''([^'']+)''\)'))[1] AS timestamptz) AS ends_at
    FROM pg_inherits JOIN pg_class part ON part.oid = inhrelid,
        LATERAL (SELECT pg_get_expr(part.relpartbound, part.oid) AS bound) AS bounds
    WHERE inhparent = to_regclass(:parent) ORDER BY part.relname
"""
CHECK_VIOLATION = "23514"
MAKE = "SELECT omni_make_month(:parent, :start, :most)"
DROP = "SELECT omni_drop_months(:parent, :before)"
"""Functions of the tables' owner: the role that serves may be another one (docs/decisions/0068-two-roles.md)."""


@dataclass(frozen=True, slots=True)
class Part:
    """A partition, of `[starts_at, ends_at)`. The default one has neither bound, what was there before no beginning."""

    name: str
    starts_at: datetime | None
    ends_at: datetime | None

    def begins_before(self, moment: datetime) -> bool:
        return self.starts_at is None or self.starts_at < moment

    def meets(self, start: datetime, end: datetime) -> bool:
        """Whether rows of that range may lie in it because of its bounds."""
        if self.ends_at is None:
            return False
        return start < self.ends_at and self.begins_before(end)


def next_month(instant: datetime) -> datetime:
    """The beginning of the UTC month after the one that an instant is in."""
    at = instant.astimezone(UTC)
    return datetime(at.year + at.month // 12, at.month % 12 + 1, 1, tzinfo=UTC)


def months_from(now: datetime) -> Iterator[tuple[datetime, datetime]]:
    """The current UTC month and the `AHEAD` that follow: `[start, end)`."""
    start = now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    for _ in range(1 + AHEAD):
        end = next_month(start)
        yield start, end
        start = end


async def make_months(database: Database, *, now: datetime) -> None:
    """Makes what is missing of this month and the next ones. A table that stays in use waits for the next round."""
    if is_sqlite(database.url):
        return
    for one in BY_MONTH:
        with _left_for_later(f"months of {one.__tablename__}"):
            async with database.session() as session:
                await _make_missing(session, str(one.__tablename__), now)
                await session.commit()


async def drop_months(database: Database, of: type[SQLModel], *, before: datetime) -> None:
    """Drops the partitions that ended before this moment. A table that stays in use waits for the next round."""
    if is_sqlite(database.url) or of not in BY_MONTH:
        return
    name = str(of.__tablename__)
    with _left_for_later(f"old months of {name}"):
        async with database.session() as session:
            dropped = await _drop_ended(session, name, before)
            await session.commit()
        for one in dropped:
            log.info("%s was over and is dropped", one)


async def reached(database: Database, of: type[SQLModel], *, before: datetime) -> Sequence[Table]:
    """Where rows of before this moment may lie: on SQLite the table itself, on Postgres partitions that begin earlier.

    Rows go from there in pieces, each at its time; a month that is over has none left and is dropped.
    """
    rows = cast(Table, of.__table__)  # type: ignore[attr-defined]
    if is_sqlite(database.url) or of not in BY_MONTH:
        return [rows]
    async with database.session() as session:
        found = await parts(session, rows.name)
    return [rows.to_metadata(MetaData(), name=one.name) for one in found if one.begins_before(before)]


async def parts(session: AsyncSession, parent: str) -> Sequence[Part]:
    """The partitions of a table; none when it is not divided. Postgres only."""
    return [Part(*row) for row in await session.execute(text(PARTS), {"parent": parent})]


def partition_names(connection: Connection) -> set[str]:
    """All partitions of a database: no tables of their own to whoever compares it with the code."""
    return set(connection.scalars(text(PARTITIONS))) if connection.dialect.name == "postgresql" else set()


def is_made_meanwhile(error: Exception) -> bool:
    """Whether a row was on its way to the default partition while its month was made: the next try finds the month.

    No table has a check of another kind.
    """
    return getattr(getattr(error, "orig", None), "sqlstate", None) == CHECK_VIOLATION


@contextmanager
def _left_for_later(what: str) -> Iterator[None]:
    try:
        yield
    except DATABASE_ERRORS as error:
        reason = type(getattr(error, "orig", None) or error).__name__
        log.warning("%s wait for the next round: %s", what, reason)


async def _has_the_turn(session: AsyncSession) -> bool:
    """Until this transaction ends; when not, another process is about the same."""
    await session.execute(text(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}"))
    return bool(await session.scalar(text(f"SELECT pg_try_advisory_xact_lock({TURN})")))


async def _make_missing(session: AsyncSession, parent: str, now: datetime) -> None:
    if not await _has_the_turn(session):
        return
    found = await parts(session, parent)
    for start, end in months_from(now):
        if not any(one.meets(start, end) for one in found):
            await _make(session, parent, start)


async def _make(session: AsyncSession, parent: str, start: datetime) -> None:
    """A month, with what the default partition holds of it. The tables' owner makes it, whoever asks."""
    name = f"{parent}_{start:%Y_%m}"
    if await session.scalar(text(MAKE), {"parent": parent, "start": start, "most": MOST_MOVED}):
        log.info("%s is made", name)
    else:
        log.warning(
            "%s_default holds more rows of %s than are moved at once: they stay, and go in pieces", parent, name
        )


async def _drop_ended(session: AsyncSession, parent: str, before: datetime) -> list[str]:
    if not await _has_the_turn(session):
        return []
    return list(await session.scalars(text(DROP), {"parent": parent, "before": before}))
