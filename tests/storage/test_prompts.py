"""Kept prompts: only for those who opted in, sealed, for as long as they chose, and never in anybody's way."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from omni_app.errors import InvalidRequest, NotFound
from omni_app.storage import accounts, keys, org_settings, prompts
from omni_app.storage.database import Database
from omni_app.storage.prompts import MAX_BYTES, MOST_WAITING, KeptExchange, PromptKeeper, read_prompt
from omni_app.storage.sealing import Sealer
from omni_app.storage.tables import KeptPrompt, utc_now

SEALER = Sealer("a secret of at least thirty-two characters", purpose=prompts.PURPOSE)
SECRET = "the canary sings at noon"
EXCHANGE = KeptExchange(messages=[{"role": "user", "content": SECRET}], params={"temperature": 0.5}, answer="La la.")


@asynccontextmanager
async def working(database: Database) -> AsyncIterator[AsyncSession]:
    async with database.session() as session:
        yield session
        await session.commit()


async def test_what_was_kept_comes_back_for_its_own_org_only(database: Database) -> None:
    keeper, org = PromptKeeper(database, SEALER), uuid4()
    keeper.offer(org_id=org, request_id="req_1", days=7, exchange=EXCHANGE)
    keeper.offer(org_id=org, request_id="req_1", days=7, exchange=EXCHANGE)
    await keeper.flush()
    async with working(database) as session:
        assert await read_prompt(session, org_id=org, request_id="req_1", sealer=SEALER) == EXCHANGE
        assert await read_prompt(session, org_id=uuid4(), request_id="req_1", sealer=SEALER) is None
        assert await read_prompt(session, org_id=org, request_id="req_2", sealer=SEALER) is None
        (row,) = await session.scalars(select(KeptPrompt))
        assert SECRET.encode() not in row.sealed and b"user" not in row.sealed


async def test_a_row_that_was_moved_to_another_org_or_sealed_elsewhere_does_not_open(database: Database) -> None:
    keeper, org, thief = PromptKeeper(database, SEALER), uuid4(), uuid4()
    keeper.offer(org_id=org, request_id="req_1", days=7, exchange=EXCHANGE)
    await keeper.flush()
    async with working(database) as session:
        other = Sealer("another secret of thirty-two characters..", purpose=prompts.PURPOSE)
        assert await read_prompt(session, org_id=org, request_id="req_1", sealer=other) is None
        await session.execute(update(KeptPrompt).values(org_id=thief))
        assert await read_prompt(session, org_id=thief, request_id="req_1", sealer=SEALER) is None


async def test_its_days_over_a_prompt_is_gone(database: Database) -> None:
    keeper, org = PromptKeeper(database, SEALER), uuid4()
    keeper.offer(org_id=org, request_id="req_1", days=7, exchange=EXCHANGE)
    await keeper.flush()
    async with working(database) as session:
        await session.execute(update(KeptPrompt).values(expires_at=utc_now() - timedelta(seconds=1)))
        assert await read_prompt(session, org_id=org, request_id="req_1", sealer=SEALER) is None
        await prompts.forget_expired(session)
        assert (await session.scalars(select(KeptPrompt))).first() is None


async def test_offering_never_waits_and_never_grows_without_end(sqlite_database: Database) -> None:
    keeper = PromptKeeper(sqlite_database, SEALER)
    for number in range(MOST_WAITING + 10):
        keeper.offer(org_id=uuid4(), request_id=f"req_{number}", days=7, exchange=EXCHANGE)
    keeper.offer(org_id=uuid4(), request_id="huge", days=7, exchange=KeptExchange([], {}, "x" * (MAX_BYTES + 1)))
    await keeper.flush()
    async with working(sqlite_database) as session:
        found = {row.request_id for row in await session.scalars(select(KeptPrompt))}
    assert len(found) == MOST_WAITING and "req_0" not in found and "huge" not in found


async def test_with_the_database_away_they_wait_for_it(sqlite_database: Database) -> None:
    keeper, sessions, org = PromptKeeper(sqlite_database, SEALER), sqlite_database._sessions, uuid4()
    keeper.offer(org_id=org, request_id="req_1", days=7, exchange=EXCHANGE)
    sqlite_database._sessions = _away  # type: ignore[assignment]
    stopping = asyncio.Event()
    running = asyncio.create_task(keeper.run(stopping))
    await asyncio.sleep(0.7)
    sqlite_database._sessions = sessions
    await asyncio.sleep(0.7)
    stopping.set()
    await running
    async with working(sqlite_database) as session:
        assert await read_prompt(session, org_id=org, request_id="req_1", sealer=SEALER) == EXCHANGE


def _away() -> object:
    raise ConnectionError("the database is away")


# The org's own settings


async def test_an_orgs_settings_are_kept_and_come_with_its_keys(database: Database) -> None:
    hasher = keys.KeyHasher("pepper")
    async with working(database) as session:
        org_id = await accounts.org_named(session, "Engines")
        _, secret = await keys.create_key(session, org_id=org_id, name="k", kind="live", hasher=hasher)
    cache = keys.KeyCache(database, hasher)
    await cache.poll()
    assert (await cache.authenticate(secret)).org.keep_prompts_days == 0, "nothing is kept unless somebody asks for it"
    async with working(database) as session:
        await org_settings.rename_org(session, org_id=org_id, name="  Steam  ")
        await org_settings.set_baseline(session, org_id=org_id, model_id="a/b")
        await org_settings.set_prompt_days(session, org_id=org_id, days=30)
    await cache.poll()
    terms = (await cache.authenticate(secret)).org
    assert (terms.premium_model, terms.keep_prompts_days) == ("a/b", 30)
    async with working(database) as session:
        now = await org_settings.read_settings(session, org_id=org_id)
    assert now == org_settings.OrgSettings("Steam", "a/b", 30)


async def test_switching_the_storage_off_deletes_what_is_there(database: Database) -> None:
    async with working(database) as session:
        org_id = await accounts.org_named(session, "Engines")
    keeper = PromptKeeper(database, SEALER)
    for org in (org_id, uuid4()):
        keeper.offer(org_id=org, request_id=f"req_{org}", days=7, exchange=EXCHANGE)
    await keeper.flush()
    async with working(database) as session:
        await org_settings.set_prompt_days(session, org_id=org_id, days=0)
        assert org_id not in {row.org_id for row in await session.scalars(select(KeptPrompt))}
        assert len(list(await session.scalars(select(col(KeptPrompt.request_id))))) == 1


@pytest.mark.parametrize("name", ["", "   ", "x" * 61, "a\nb"])
async def test_a_bad_name_changes_nothing(sqlite_database: Database, name: str) -> None:
    async with working(sqlite_database) as session:
        org_id = await accounts.org_named(session, "Engines")
        with pytest.raises(InvalidRequest):
            await org_settings.rename_org(session, org_id=org_id, name=name)
        with pytest.raises(InvalidRequest):
            await org_settings.set_prompt_days(session, org_id=org_id, days=8)
        with pytest.raises(NotFound):
            await org_settings.rename_org(session, org_id=uuid4(), name="Steam")
        assert (await org_settings.read_settings(session, org_id=org_id)).name == "Engines"
