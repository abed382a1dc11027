"""Small facts that every worker reads."""

import asyncio

from omni_app.storage.database import Database
from omni_app.storage.meta import first_meta, read_meta


async def test_the_first_to_write_wins_and_everyone_gets_the_same(database: Database) -> None:
    async def choose(value: str) -> str:
        async with database.session() as session:
            chosen = await first_meta(session, "model", value)
            await session.commit()
        return chosen

    answers = await asyncio.gather(*(choose(f"m{number}") for number in range(8)))
    assert len(set(answers)) == 1 and answers[0] in {f"m{number}" for number in range(8)}
    assert await choose("later") == answers[0]
    async with database.session() as session:
        assert await read_meta(session, "model") == answers[0] and await read_meta(session, "other") == ""
