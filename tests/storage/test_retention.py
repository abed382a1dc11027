"""What is over goes, what is not stays, and the sums of what is gone remain."""

from dataclasses import replace
from datetime import timedelta

from sqlalchemy import select
from sqlmodel import col

from omni_app.storage import ledger, reports
from omni_app.storage.database import Database
from omni_app.storage.retention import REQUESTS_KEPT, ROUTING_LOGS_KEPT, Retention
from omni_app.storage.tables import AttemptRow, RequestRow, RoutingLog
from tests.storage.facts import NOON, ORG, attempt, record

MOMENT = timedelta(seconds=1)


async def test_requests_stay_thirteen_months_and_routing_logs_thirty_days(database: Database) -> None:
    ages = {
        "young": timedelta(),
        "log_kept": ROUTING_LOGS_KEPT - MOMENT,
        "log_over": ROUTING_LOGS_KEPT + MOMENT,
        "kept": REQUESTS_KEPT - MOMENT,
        "over": REQUESTS_KEPT + MOMENT,
    }
    async with database.session() as session:
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
