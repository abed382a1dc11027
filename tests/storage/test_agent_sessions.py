from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

from omni_app.storage import ledger
from omni_app.storage.agent_sessions import KeptStep, last_steps
from omni_app.storage.database import Database
from omni_app.storage.ledger import RequestRecord
from tests.storage.facts import NOON, ORG, record

SESSION = "s-é-1"


async def steps_of(database: Database, *records: RequestRecord, limit: int = 20) -> Sequence[KeptStep]:
    async with database.session() as session:
        await ledger.insert_records(session, records)
        await session.commit()
        return await last_steps(session, org_id=ORG, mode="live", session_id=SESSION, limit=limit)


async def test_a_step_comes_back_with_its_tokens_and_what_it_was_decided_from(database: Database) -> None:
    (step,) = await steps_of(database, record())
    assert step == KeptStep(NOON, "openai/gpt-4o", 1_200, 100, 7, False, {"tokens": 1_200, "signals": ["code fence"]})


async def test_a_step_without_its_routing_log_is_a_step(database: Database) -> None:
    (step,) = await steps_of(database, replace(record(), routing=None))
    assert step.features is None


async def test_the_newest_steps_come_oldest_first(database: Database) -> None:
    rows = [replace(record(f"req_{n}"), tokens_input=n, created_at=NOON + timedelta(seconds=n)) for n in range(5)]
    assert [step.tokens_input for step in await steps_of(database, *reversed(rows), limit=3)] == [2, 3, 4]


async def test_only_answered_steps_of_this_session_org_and_mode_are_given(database: Database) -> None:
    others = {
        "broke off": {"success": False, "error_code": "stream_interrupted"},
        "other session": {"session_id": "s-2"},
        "other org": {"org_id": uuid4()},
        "other mode": {"key_kind": "test"},
    }
    rows = [replace(record(name), **changes) for name, changes in others.items()]  # type: ignore[arg-type]
    assert await steps_of(database, *rows) == []
