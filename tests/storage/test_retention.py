"""What is over goes, what is not stays, and the sums of what is gone remain."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from sqlalchemy import event, select, text
from sqlmodel import col

from omni_app.storage import ledger, reports, retention
from omni_app.storage.database import Database
from omni_app.storage.retention import DELETED_ORGS_KEPT, REQUESTS_KEPT, ROUTING_LOGS_KEPT, Retention
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


async def deleted_org(database: Database, org_id: UUID, *, requests: int) -> None:
    """An org that was deleted long ago, with so many requests."""
    async with database.session() as session:
        session.add(Org(id=org_id, name="Gone", deleted_at=NOON - DELETED_ORGS_KEPT - MOMENT))
        names = [f"{org_id.hex[:8]}_{number}" for number in range(requests)]
        rows = [replace(record(name), org_id=org_id, created_at=NOON - n * MOMENT) for n, name in enumerate(names)]
        tries = [replace(attempt(row.request_id), created_at=row.created_at) for row in rows]
        await ledger.insert_records(session, rows, tries)
        await session.commit()


async def test_a_large_org_goes_in_bounded_pieces(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "AT_ONCE", 7)
    await deleted_org(database, uuid4(), requests=30)
    done: list[str] = []
    engine = database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", lambda *args: done.append(args[2].split(" WHERE ")[0]))
    event.listen(engine, "commit", lambda *_: done.append("commit"))
    await Retention(database).clean(now=NOON)
    piece = ["DELETE FROM attempts", "DELETE FROM routing_logs", "DELETE FROM requests", "commit"]
    assert sum(done[place : place + 4] == piece for place in range(len(done))) == 30 // 7 + 1
    async with database.session() as session:
        for table in (RequestRow, AttemptRow, RoutingLog, Org):
            assert (await session.scalars(select(table))).first() is None


async def test_an_org_that_cannot_be_purged_holds_up_no_other(
    postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    database = Database(postgres_url, patience_s=1.0)
    stuck, other = UUID(int=1), UUID(int=2)
    for org_id in (stuck, other):
        await deleted_org(database, org_id, requests=3)
    with psycopg.connect(postgres_url) as holder:
        holder.execute("SELECT 1 FROM requests WHERE org_id = %s FOR UPDATE", [stuck])
        await Retention(database).clean(now=NOON)
    async with database.session() as session:
        assert set(await session.scalars(select(col(Org.id)))) == {stuck}
    assert "not gone yet (TimeoutError)" in caplog.text
    await Retention(database).clean(now=NOON)
    async with database.session() as session:
        assert not list(await session.scalars(select(col(Org.id))))
    await database.close()


async def test_latencies_of_rows_that_are_gone_are_told_from_their_sums(database: Database) -> None:
    day = timedelta(days=1)
    over, young = REQUESTS_KEPT + 3 * day, REQUESTS_KEPT - 3 * day
    made = {over: (100, 110, 120), young: (100, 200, 300, 900)}
    async with database.session() as session:
        session.add(Org(id=ORG, name="Acme"))
        rows = [
            replace(record(f"{age.days}_{ms}"), latency_ms=ms, created_at=NOON - age)
            for age, latencies in made.items()
            for ms in latencies
        ]
        await ledger.insert_records(session, rows, [])
        await session.commit()
    await Retention(database).clean(now=NOON)
    old = {"org_id": ORG, "mode": "live", "start": NOON - timedelta(days=500)}
    async with database.session() as session:
        gone = await reports.totals(session, **old, end=NOON - REQUESTS_KEPT - day)  # type: ignore[arg-type]
        partly = await reports.totals(session, **old, end=NOON)  # type: ignore[arg-type]
        (model,) = await reports.model_report(session, **old, end=NOON - REQUESTS_KEPT - day)  # type: ignore[arg-type]
        kept = await reports.totals(session, **old | {"start": NOON - REQUESTS_KEPT}, end=NOON)  # type: ignore[arg-type]
    assert (gone.requests, gone.p50_ms, gone.p95_ms) == (3, approx(110), approx(120))
    assert (model.p50_ms, model.p95_ms) == (gone.p50_ms, gone.p95_ms)
    assert (partly.requests, partly.p50_ms) == (7, approx(120)), "200 without those that are gone"
    assert (kept.p50_ms, kept.p95_ms) == (200, 900), "exact, where all rows are there"


def approx(latency_ms: int) -> Any:
    """As buckets tell it."""
    return pytest.approx(latency_ms, rel=0.02)


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
