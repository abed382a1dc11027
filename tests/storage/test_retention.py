"""What is over goes, what is not stays, and the sums of what is gone remain."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import event, select, text
from sqlmodel import col

from omni_app.storage import ledger, reports, retention
from omni_app.storage.database import Database
from omni_app.storage.retention import REQUESTS_KEPT, ROUTING_LOGS_KEPT, Retention
from omni_app.storage.tables import AttemptRow, Org, RequestRow, RoutingLog
from tests.storage.facts import NOON, ORG, attempt, record

MOMENT = timedelta(seconds=1)
PLAN = (
    "SELECT id FROM requests WHERE org_id = :org AND key_kind = 'live' AND created_at < :before "
    "ORDER BY created_at LIMIT 2000"
)
"""What the deletion looks its rows up by."""


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
    said: list[str] = []
    event.listen(database.engine.sync_engine, "before_cursor_execute", lambda *args: said.append(args[2]))
    await Retention(database).clean(now=NOON)
    assert sum(one.startswith("DELETE FROM requests") for one in said) == 30 // 7 + 1 + 1  # and one look at test rows
    async with database.session() as session:
        assert list(await session.scalars(select(col(RequestRow.request_id)))) == ["young"]
        (plan,) = [one for one in said if one.startswith("DELETE FROM requests")][:1]
        assert "org_id = " in plan and "ORDER BY requests.created_at" in plan
        if database.url.startswith("sqlite"):
            found = await session.execute(
                text(f"EXPLAIN QUERY PLAN {PLAN}"), {"org": ORG.hex, "before": "2020-01-01 00:00:00"}
            )
            assert any("ix_requests_org_kind_time" in str(row) for row in found)
        else:
            await session.execute(text("SET LOCAL enable_seqscan = off"))
            found = await session.execute(text(f"EXPLAIN {PLAN}"), {"org": ORG, "before": NOON})
            assert any("ix_requests_org_kind_time" in str(row) for row in found)
