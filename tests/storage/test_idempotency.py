"""Claims and kept answers, on both databases."""

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from omni_app.storage import idempotency
from omni_app.storage.database import Database
from omni_app.storage.idempotency import Claim, InFlight, KeptAnswer, OtherRequest
from omni_app.storage.sealing import Sealer

SEALER = Sealer("a secret of at least thirty-two characters", purpose="idempotent answers")
ANSWER = KeptAnswer({"content-type": "application/json"}, b'{"output": "fine"}')
ORG = uuid4()


async def claim(
    database: Database, *, org_id: UUID = ORG, mark: str = "a", sealer: Sealer = SEALER, lapses_s: float = 60
) -> Claim | KeptAnswer:
    async with database.session() as session:
        found = await idempotency.claim(
            session, org_id=org_id, key="k", fingerprint=mark, lapses_after=timedelta(seconds=lapses_s), sealer=sealer
        )
        await session.commit()
        return found


async def keep(database: Database, claim: Claim) -> None:
    async with database.session() as session:
        await idempotency.keep(session, claim, ANSWER, sealer=SEALER)
        await session.commit()


async def test_of_many_at_once_exactly_one_gets_the_claim(database: Database) -> None:
    found = await asyncio.gather(*(claim(database) for _ in range(12)), return_exceptions=True)
    assert sum(isinstance(one, Claim) for one in found) == 1
    assert sum(isinstance(one, InFlight) for one in found) == 11


async def test_a_kept_answer_comes_back_and_only_for_the_same_request(database: Database) -> None:
    mine = await claim(database)
    assert isinstance(mine, Claim)
    await keep(database, mine)
    assert await claim(database) == ANSWER
    with pytest.raises(OtherRequest):
        await claim(database, mark="b")
    assert isinstance(await claim(database, org_id=uuid4()), Claim)


async def test_a_released_key_is_free_at_once(database: Database) -> None:
    mine = await claim(database)
    assert isinstance(mine, Claim)
    async with database.session() as session:
        await idempotency.release(session, mine)
        await session.commit()
    assert isinstance(await claim(database, mark="b"), Claim)


async def test_a_lapsed_claim_is_taken_over_once_and_its_old_owner_writes_nothing_any_more(database: Database) -> None:
    old = await claim(database)
    assert isinstance(old, Claim)
    found = await asyncio.gather(*(claim(database, lapses_s=-1) for _ in range(2)), return_exceptions=True)
    assert any(isinstance(one, Claim) for one in found)
    await keep(database, old)
    with pytest.raises(InFlight):
        await claim(database)


async def test_an_answer_sealed_under_another_secret_is_not_given_out(database: Database) -> None:
    mine = await claim(database)
    assert isinstance(mine, Claim)
    await keep(database, mine)
    with pytest.raises(InFlight):
        await claim(database, sealer=Sealer("another secret of thirty-two characters", purpose="idempotent answers"))
