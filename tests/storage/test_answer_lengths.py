"""What our own answers say of the next one's length: of live, unlimited, real answers only, and only of enough."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from omni_app.routing.types import Task
from omni_app.storage import ledger
from omni_app.storage.answer_lengths import ENOUGH, AnswerLengths, median_output_tokens
from omni_app.storage.database import DATABASE_ERRORS, Database
from omni_app.storage.ledger import RequestRecord
from tests.storage.facts import NOON, record

FREE = {"max_tokens": None, "choices": 1}


def answered(lengths: Sequence[int], *, name: str = "req", features: Any = None, **more: Any) -> list[RequestRecord]:
    """One live coding request for each length, a second apart."""
    made = []
    for place, tokens in enumerate(lengths):
        one = record(f"{name}_{place}")
        assert one.routing is not None
        routing = replace(one.routing, features=FREE | (features or {}))
        moment = NOON + timedelta(seconds=place)
        made.append(replace(one, tokens_output=tokens, created_at=moment, routing=routing, **more))
    return made


async def medians(database: Database, *records: RequestRecord) -> dict[Task, int]:
    async with database.session() as session:
        await ledger.insert_records(session, records)
        await session.commit()
        return await median_output_tokens(session)


async def test_the_median_is_the_middle_answer_of_its_task_to_two_digits(database: Database) -> None:
    coding = answered([10_000, *[1] * 20, *range(1_234, 1_234 + 21)][:41])
    chat = answered(range(1, ENOUGH + 1), name="chat", task="chat")
    assert await medians(database, *coding, *chat) == {Task.CODING: 1_200, Task.CHAT: ENOUGH // 2}


async def test_too_few_answers_leave_the_prior_in_force(database: Database) -> None:
    assert await medians(database, *answered([100] * (ENOUGH - 1))) == {}
    assert await medians(database, *answered([100], name="one_more")) == {Task.CODING: 100}


@pytest.mark.parametrize(
    "other",
    [
        {"key_kind": "test"},
        {"simulated": True},
        {"success": False},
        {"task": "embedding"},
        {"features": {"max_tokens": 9_000}},
        {"features": {"choices": 3}},
    ],
    ids=str,
)
async def test_other_requests_do_not_count(database: Database, other: dict[str, Any]) -> None:
    others = answered([9_000] * (2 * ENOUGH), name="other", **other)
    assert await medians(database, *others) == {}
    assert await medians(database, *answered([100] * ENOUGH)) == {Task.CODING: 100}


async def test_the_newest_answers_count(database: Database) -> None:
    old_then_new = answered([*[9_000] * 2 * ENOUGH, *[100] * ENOUGH])
    assert await medians(database, *old_then_new) == {Task.CODING: 9_000}
    async with database.session() as session:
        assert await median_output_tokens(session, newest=ENOUGH) == {Task.CODING: 100}


async def test_they_are_read_from_memory_and_kept_while_the_database_is_away(sqlite_database: Database) -> None:
    lengths = AnswerLengths(sqlite_database)
    assert lengths.medians() == {}
    await medians(sqlite_database, *answered([100] * ENOUGH))
    await lengths.refresh()
    async with sqlite_database.session() as session:
        await session.execute(text("DROP TABLE requests"))
        await session.commit()
    with pytest.raises(DATABASE_ERRORS):
        await lengths.refresh()
    assert lengths.medians() == {Task.CODING: 100}
