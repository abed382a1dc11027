"""What an org sets for itself: it holds at once, for every worker, and no two changes lose each other."""

import asyncio
from uuid import UUID, uuid4

import pytest

from omni_app.errors import NotFound
from omni_app.storage.database import Database
from omni_app.storage.keys import KeyCache, KeyHasher, create_key
from omni_app.storage.meta import REVOCATIONS, read_meta
from omni_app.storage.org_settings import comparisons, disabled_models, set_comparisons, set_model_enabled
from omni_app.storage.tables import Org, utc_now


async def org(database: Database, *, deleted: bool = False) -> UUID:
    """A new org."""
    async with database.session() as session:
        row = Org(name="Engines", deleted_at=utc_now() if deleted else None)
        session.add(row)
        await session.commit()
        return row.id


async def switch(database: Database, org_id: UUID, model: str, *, enabled: bool) -> frozenset[str]:
    async with database.session() as session:
        left = await set_model_enabled(session, org_id=org_id, model_id=model, enabled=enabled)
        await session.commit()
        return left


async def off(database: Database, org_id: UUID) -> frozenset[str]:
    async with database.session() as session:
        return await disabled_models(session, org_id=org_id)


async def test_a_model_is_switched_off_and_on_for_one_org_alone(database: Database) -> None:
    mine, theirs = await org(database), await org(database)
    assert await switch(database, mine, "openai/x", enabled=False) == {"openai/x"}
    assert await switch(database, mine, "openai/x", enabled=False) == {"openai/x"}
    assert await switch(database, mine, "groq/y", enabled=False) == {"openai/x", "groq/y"}
    assert await switch(database, mine, "openai/x", enabled=True) == {"groq/y"}
    assert await off(database, mine) == {"groq/y"}
    assert await off(database, theirs) == frozenset()


async def test_changes_at_the_same_moment_all_hold(database: Database) -> None:
    org_id = await org(database)
    models = {f"openai/{n}" for n in range(6)}
    await asyncio.gather(*(switch(database, org_id, model, enabled=False) for model in models))
    assert await off(database, org_id) == models


async def test_every_worker_s_keys_know_it_with_their_next_poll(database: Database) -> None:
    org_id, hasher = await org(database), KeyHasher("pepper")
    async with database.session() as session:
        _, secret = await create_key(session, org_id=org_id, name="k", kind="test", hasher=hasher)
        await session.commit()
    cache = KeyCache(database, hasher)
    await cache.poll()
    assert (await cache.authenticate(secret)).org.disabled_models == frozenset()
    await switch(database, org_id, "openai/x", enabled=False)
    await cache.poll()
    assert (await cache.authenticate(secret)).org.disabled_models == {"openai/x"}


@pytest.mark.parametrize("gone", ["deleted", "never there"])
async def test_an_org_that_is_not_there_is_not_changed_and_nobody_is_told(database: Database, gone: str) -> None:
    org_id = await org(database, deleted=True) if gone == "deleted" else uuid4()
    with pytest.raises(NotFound):
        await switch(database, org_id, "openai/x", enabled=False)
    async with database.session() as session:
        assert await read_meta(session, REVOCATIONS) == ""


async def test_what_an_org_compares_with_is_its_own_and_keeps_its_order(database: Database) -> None:
    mine, theirs, gone = await org(database), await org(database), await org(database, deleted=True)
    async with database.session() as session:
        await set_comparisons(session, org_id=mine, models=["b/two", "a/one"])
        with pytest.raises(NotFound):
            await set_comparisons(session, org_id=gone, models=["a/one"])
        await session.commit()
    async with database.session() as session:
        found = [await comparisons(session, org_id=one) for one in (mine, theirs, gone, uuid4())]
    assert found == [("b/two", "a/one"), (), (), ()]
