"""What is over goes, what is not stays, and the sums of what is gone remain."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event, select, text
from sqlmodel import col

from omni_app.storage import ledger, reports, retention
from omni_app.storage.database import Database
from omni_app.storage.retention import REQUESTS_KEPT, ROUTING_LOGS_KEPT, Retention
from omni_app.storage.tables import AttemptRow, Org, RequestRow, RoutingLog
from tests.storage.facts import NOON, ORG, attempt, record
from tests.storage.plans import plan_of

MOMENT = timedelta(seconds=1)


async def test_a_process_that_lives_for_minutes_lets_go_too(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    cleaned = asyncio.Event()

    class Watched(Retention):
        async def clean(self, *, now: datetime) -> None:
            await super().clean(now=now)
            cleaned.set()

    monkeypatch.setattr("omni_app.storage.retention.FIRST_S", 0.01)
    stopping = asyncio.Event()
    running = asyncio.create_task(Watched(database).run(stopping))
    await asyncio.wait_for(cleaned.wait(), 20)
    stopping.set()
    await running


async def test_requests_stay_thirteen_months_and_routing_logs_thirty_days(database: Database) -> None:
    ages = {
        "young": timedelta(),
        "log_kept": ROUTING_LOGS_KEPT - MOMENT,
        "log_over": ROUTING_LOGS_KEPT + MOMENT,
        "kept": REQUESTS_KEPT - MOMENT,
        "over": REQUESTS_KEPT + MOMENT,
    }
    async with database.session() as session:
        session.add(Org(id=ORG, name="Acme"))
        requests = [replace(record(name), created_at=NOON - age) for name, age in ages.items()]
        attempts = [replace(attempt(name), created_at=NOON - age) for name, age in ages.items()]
        await ledger.insert_records(session, requests, attempts)
        await session.commit()
    await Retention(database).clean(now=NOON)
    async with database.session() as session:
        asked = set(await session.scalars(select(col(RequestRow.request_id))))
        tried = set(await session.scalars(select(col(AttemptRow.request_id))))
        logs = set(await session.scalars(select(col(RoutingLog.request_id))))
        sums = await reports.totals(
            session, org_id=ORG, mode="live", start=NOON - timedelta(days=500), end=NOON + timedelta(days=2)
        )
    assert asked == tried == ages.keys() - {"over"}
    assert logs == {"young", "log_kept"}
    assert sums.requests == len(ages), "the sums of a whole day outlive its rows"


async def test_what_is_over_is_found_by_an_index_and_goes_in_bounded_pieces(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "AT_ONCE", 7)
    async with database.session() as session:
        session.add(Org(id=ORG, name="Acme"))
        old = [replace(record(f"old{n}"), created_at=NOON - REQUESTS_KEPT - n * MOMENT) for n in range(1, 31)]
        await ledger.insert_records(session, [*old, record("young")])
        await session.commit()
    said: list[tuple[str, Any]] = []
    event.listen(database.engine.sync_engine, "before_cursor_execute", lambda *args: said.append((args[2], args[3])))
    await Retention(database).clean(now=NOON)
    deleted = [one for one in said if one[0].startswith("DELETE FROM requests")]
    assert len(deleted) == 30 // 7 + 1 + 1  # and one look at test rows
    async with database.session() as session:
        assert list(await session.scalars(select(col(RequestRow.request_id)))) == ["young"]
        if not database.url.startswith("sqlite"):
            await session.execute(text("SET LOCAL enable_seqscan = off"))
        assert "ix_requests_org_kind_time" in await plan_of(await session.connection(), *deleted[0])
