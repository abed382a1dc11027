"""The spool: whatever is read from it again, the ledger stays as it is."""

import shutil
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select
from sqlmodel import SQLModel

from omni_app.storage import budgets
from omni_app.storage.database import Database
from omni_app.storage.ledger import UNKNOWN_OUTCOME
from omni_app.storage.spool import Drainer, Spool
from omni_app.verify import verify_ledger
from tests.cases import batch, batches
from tests.storage.facts import KEY, NOON, ORG, admission, attempt, record

pytestmark = pytest.mark.invariants

LEDGER = ("requests", "attempts", "routing_logs", "usage_rollups", "latency_rollups", "budget_windows")


@dataclass(frozen=True)
class Life:
    """What a process wrote of one request before it died: its attempts' costs, and whether it was finished."""

    costs: tuple[int, ...]
    finished: bool
    success: bool
    at: timedelta


LIVES = st.builds(
    Life,
    st.lists(st.integers(0, 10**12), max_size=3).map(tuple),
    st.booleans(),
    st.booleans(),
    st.integers(0, 10**12).map(lambda us: timedelta(microseconds=us)),
)


def write(spool: Spool, name: str, life: Life) -> None:
    """Its lines."""
    at = NOON + life.at
    spool.admit(replace(admission(name), created_at=at))
    for place, cost in enumerate(life.costs):
        last = place == len(life.costs) - 1 and life.success
        outcome = "ok" if last else "server_error"
        spool.attempt(replace(attempt(name, place), cost=cost, outcome=outcome, created_at=at))
    if life.finished:
        spent, success = sum(life.costs), life.success and bool(life.costs)
        failed = spent - life.costs[-1] if success else spent
        row = replace(record(name), cost=spent, failed_cost=failed, attempts=len(life.costs), success=success)
        spool.finish(replace(row, created_at=at, premium_model="", premium_cost=spent if success else 0))


async def tables(database: Database) -> dict[str, list[Any]]:
    """All rows, but for the ids that are drawn when they are written."""
    found = {}
    async with database.session() as session:
        for name in LEDGER:
            columns = [one for one in SQLModel.metadata.tables[name].columns if one.name != "id"]
            found[name] = sorted((tuple(row) for row in await session.execute(select(*columns))), key=repr)
    return found


@batches()
@given(lives=batch(LIVES))
async def test_reading_a_spool_again_changes_nothing(migrated_sqlite: Path, lives: list[Life]) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copyfile(migrated_sqlite, folder / "omni.db")
        database = Database(f"sqlite:///{folder / 'omni.db'}", patience_s=None)
        async with database.session() as session:
            await budgets.set_budget(session, org_id=ORG, key_id=KEY, period="month", limit=10**15, now=NOON)
            await session.commit()
        dead = Spool(folder / "spool", segment_bytes=4_000)
        for number, life in enumerate(lives):
            write(dead, f"req_{number:02}", life)
        dead.close()
        shutil.copytree(folder / "spool", folder / "kept")
        seen = []
        for _ in range(2):
            shutil.copytree(folder / "kept", folder / "spool", dirs_exist_ok=True)
            await Drainer(Spool(folder / "spool"), database).replay()
            assert not list((folder / "spool").iterdir())
            seen.append(await tables(database))
        async with database.consistent_reading() as session:
            findings = await verify_ledger(session, now=NOON + timedelta(days=1), on_its_way=timedelta(0))
        await database.close()
    assert seen[0] == seen[1]
    assert len(seen[0]["requests"]) == len(lives)
    assert sum(UNKNOWN_OUTCOME in row for row in seen[0]["requests"]) == sum(not life.finished for life in lives)
    assert {one.invariant: one.examples for one in findings if one.violations} == {}
