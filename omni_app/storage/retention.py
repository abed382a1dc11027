"""How long things are kept, and the task that lets them go.

Requests and their attempts 13 months, routing logs and the states they need 30 days, kept prompts and idempotent
answers until their own end, the data of a deleted org for a week. Rows go in small pieces, so that nobody waits for it;
on Postgres a month that is over as a whole goes at once, with its room.
"""

import asyncio
import logging
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

from sqlalchemy import ColumnElement, CursorResult, Table, delete, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import SQLModel, col

from omni_app.storage import idempotency, prompts
from omni_app.storage.database import DATABASE_ERRORS, Database
from omni_app.storage.partitions import drop_months, make_months, reached
from omni_app.storage.pause import pause
from omni_app.storage.tables import AttemptRow, Org, RequestRow, RoutingLog, SnapshotRow, utc_now

log = logging.getLogger(__name__)

FIRST_S, EVERY_S = 60.0, 3_600.0
DELETED_ORGS_KEPT = timedelta(days=7)
REQUESTS_KEPT = timedelta(days=396)
ROUTING_LOGS_KEPT = timedelta(days=30)
AT_ONCE = 2_000
KEPT: tuple[tuple[type[SQLModel], timedelta], ...] = (
    (RoutingLog, ROUTING_LOGS_KEPT),
    (SnapshotRow, ROUTING_LOGS_KEPT + timedelta(days=1)),
    (AttemptRow, REQUESTS_KEPT),
    (RequestRow, REQUESTS_KEPT),
)


class Retention:
    """Lets go of what is over, once an hour."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def run(self, stopping: asyncio.Event) -> None:
        """Until it is to stop. The months are looked at first: nobody may have made any for long. The first round is
        soon: a process may never live for an hour.
        """
        wait_s = FIRST_S
        while not stopping.is_set():
            await make_months(self._database, now=utc_now())
            await pause(stopping, wait_s)
            wait_s = EVERY_S
            with suppress(*DATABASE_ERRORS):
                if not stopping.is_set():
                    await self.clean(now=utc_now())

    async def clean(self, *, now: datetime) -> None:
        """One round. Raises what the database raises; an org that cannot be purged is logged and delays no other."""
        async with self._database.session() as session:
            await idempotency.forget_expired(session)
            await prompts.forget_expired(session)
            await session.commit()
        for table, kept in KEPT:
            await drop_months(self._database, table, before=now - kept)
            for rows in await reached(self._database, table, before=now - kept):
                await self._delete_old(rows, before=now - kept)
        for org_id in await self._orgs_to_purge(now=now):
            try:
                await self._purge(org_id)
            except DATABASE_ERRORS as error:
                log.warning("the data of a deleted org is not gone yet (%s); tried again later", type(error).__name__)

    async def _delete_old(self, rows: Table, *, before: datetime) -> None:
        """Requests have no index of their times alone, but one by org, so they go org by org: an index more would cost
        every request, and without one each round would read the whole table to find nothing.
        """
        if "key_kind" not in rows.c:
            await self._delete_all(rows, before=before)
            return
        async with self._database.session() as session:
            orgs = list(await session.scalars(select(col(Org.id))))
        for org_id in orgs:
            for kind in ("live", "test"):
                await self._delete_all(rows, rows.c.org_id == org_id, rows.c.key_kind == kind, before=before)

    async def _delete_all(self, rows: Table, *of: ColumnElement[bool], before: datetime) -> None:
        while await self._delete_some(rows, *of, before=before):
            pass

    async def _delete_some(self, rows: Table, *of: ColumnElement[bool], before: datetime) -> bool:
        """Whether there may be more. A transaction of its own: it holds the rows that it deletes, and nothing else."""
        name = rows.c.request_id if "request_id" in rows.c else rows.c.id
        old = select(name).where(*of, rows.c.created_at < before).order_by(rows.c.created_at).limit(AT_ONCE)
        async with self._database.session() as session:
            done = await session.execute(delete(rows).where(name.in_(old.scalar_subquery())))
            await session.commit()
        return cast(CursorResult[Any], done).rowcount >= AT_ONCE

    async def _orgs_to_purge(self, *, now: datetime) -> list[UUID]:
        async with self._database.session() as session:
            query = select(col(Org.id)).where(col(Org.deleted_at) < now - DELETED_ORGS_KEPT)
            return list(await session.scalars(query))

    async def _purge(self, org_id: UUID) -> None:
        """Its requests first, in pieces: the rest is little enough for one transaction."""
        for kind in ("live", "test"):
            while await self._purge_some(org_id, kind):
                pass
        async with self._database.session() as session:
            await purge_org(session, org_id=org_id)
            await session.commit()
        log.info("the data of a deleted org is gone")

    async def _purge_some(self, org_id: UUID, kind: str) -> bool:
        """Whether there may be more. The oldest requests of the org, with their attempts and logs."""
        row = RequestRow
        query = select(col(row.request_id), col(row.created_at)).where(col(row.org_id) == org_id)
        query = query.where(col(row.key_kind) == kind).order_by(col(row.created_at)).limit(AT_ONCE)
        async with self._database.session() as session:
            found = (await session.execute(query)).all()
            if not found:
                return False
            first, last, ids = found[0].created_at, found[-1].created_at, [one.request_id for one in found]
            for table in (AttemptRow, RoutingLog, RequestRow):
                these = delete(table).where(col(table.request_id).in_(ids), col(table.created_at).between(first, last))
                await session.execute(these.execution_options(synchronize_session=False))
            await session.commit()
        return len(found) >= AT_ONCE


async def purge_org(session: AsyncSession, *, org_id: UUID) -> None:
    """Deletes every row of an org, whatever the table. The caller commits.

    Attempts and budgets' periods have no org of their own: they go with the requests and budgets that they are of.
    """
    tables = SQLModel.metadata.tables
    requests = select(tables["requests"].c.request_id).where(tables["requests"].c.org_id == org_id)
    budgets = select(tables["budgets"].c.id).where(tables["budgets"].c.org_id == org_id)
    await session.execute(delete(tables["attempts"]).where(tables["attempts"].c.request_id.in_(requests)))
    for name in ("budget_windows", "budget_leases"):
        await session.execute(delete(tables[name]).where(tables[name].c.budget_id.in_(budgets)))
    for table in reversed(SQLModel.metadata.sorted_tables):
        if "org_id" in table.columns:
            await session.execute(delete(table).where(table.c.org_id == org_id))
    await session.execute(delete(tables["orgs"]).where(tables["orgs"].c.id == org_id))
