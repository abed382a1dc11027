"""Changing a key: settings, on and off, rotation; who is let in before and after; other orgs' keys are none."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from omni_app.errors import InvalidApiKey, InvalidRequest
from omni_app.storage import key_changes, keys
from omni_app.storage.accounts import org_named
from omni_app.storage.budgets import set_budget
from omni_app.storage.database import Database
from omni_app.storage.key_changes import GRACE_MAX, KeySettings
from omni_app.storage.keys import ApiKey, KeyCache, KeyHasher
from omni_app.storage.meta import REVOCATIONS, read_meta
from omni_app.storage.scopes import Scope
from omni_app.storage.tables import ApiKeyRow, utc_now

HASHER = KeyHasher("pepper for tests")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@asynccontextmanager
async def committed(database: Database) -> AsyncIterator[AsyncSession]:
    async with database.session() as session:
        yield session
        await session.commit()


async def new_key(database: Database, *, org: str = "Engines") -> tuple[ApiKey, str]:
    async with committed(database) as session:
        org_id = await org_named(session, org)
        return await keys.create_key(session, org_id=org_id, name="CI", kind="live", hasher=HASHER)


async def rotate(database: Database, key: ApiKey, grace: timedelta) -> str:
    async with committed(database) as session:
        secret = await key_changes.rotate_key(
            session, org_id=key.org_id, key_id=key.id, hasher=HASHER, grace=grace, now=utc_now()
        )
    assert secret is not None
    return secret


async def change(database: Database, key: ApiKey, **settings: Any) -> bool:
    async with committed(database) as session:
        return await key_changes.change_key(
            session, org_id=key.org_id, key_id=key.id, settings=KeySettings(**{"name": "CI"} | settings), now=utc_now()
        )


async def opened_by(database: Database, secret: str) -> ApiKey:
    """The key as a worker sees it that knows nothing yet."""
    return await KeyCache(database, HASHER).authenticate(secret)


async def refused(database: Database, secret: str) -> bool:
    try:
        await opened_by(database, secret)
    except InvalidApiKey:
        return True
    return False


async def test_settings_are_kept_and_every_worker_hears_of_it(database: Database) -> None:
    key, secret = await new_key(database)
    tomorrow = utc_now() + DAY
    models = frozenset({"openai/a", "groq/b"})
    async with database.session() as session:
        before = await read_meta(session, REVOCATIONS)
    assert await change(
        database, key, name=" Billing ", expires_at=tomorrow, rate_limit=7, token_limit=8, allowed_models=models
    )
    found = await opened_by(database, secret)
    assert (found.name, found.expires_at, found.rate_limit, found.token_limit) == ("Billing", tomorrow, 7, 8)
    assert found.allowed_models == models
    async with database.session() as session:
        assert await read_meta(session, REVOCATIONS) != before
    assert await change(database, key)
    found = await opened_by(database, secret)
    assert (found.expires_at, found.rate_limit, found.token_limit, found.allowed_models) == (None,) * 4


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"name": " "}, "name"),
        ({"name": "x" * 61}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"expires_at": utc_now() - DAY}, "expires"),
        ({"rate_limit": 0}, "rate_limit"),
        ({"rate_limit": -5}, "rate_limit"),
        ({"rate_limit": 10**9}, "rate_limit"),
        ({"token_limit": 0}, "token_limit"),
        ({"token_limit": 10**9 + 1}, "token_limit"),
        ({"allowed_models": frozenset()}, "models"),
    ],
)
async def test_bad_settings_are_refused_by_field_and_nothing_changes(
    sqlite_database: Database, settings: dict[str, Any], field: str
) -> None:
    key, secret = await new_key(sqlite_database)
    with pytest.raises(InvalidRequest) as told:
        await change(sqlite_database, key, **settings)
    assert told.value.param == field
    assert (await opened_by(sqlite_database, secret)).name == "CI"


async def test_a_disabled_key_is_refused_and_works_again_when_it_is_enabled(database: Database) -> None:
    key, secret = await new_key(database)
    for moment, is_refused in ((utc_now(), True), (None, False)):
        async with committed(database) as session:
            assert await key_changes.set_disabled(session, org_id=key.org_id, key_id=key.id, disabled_at=moment)
        assert await refused(database, secret) == is_refused


async def test_both_secrets_work_in_the_grace_and_stand_for_the_same_key(database: Database) -> None:
    key, old = await new_key(database)
    async with committed(database) as session:
        await set_budget(session, org_id=key.org_id, key_id=key.id, period="day", limit=5, now=utc_now())
    await change(database, key, name="Billing", rate_limit=9, token_limit=8, scopes=frozenset({Scope.USAGE}))
    new = await rotate(database, key, HOUR)
    assert new != old and new.startswith("omr_live_")
    through_old, through_new = await opened_by(database, old), await opened_by(database, new)
    for found in (through_old, through_new):
        assert (found.id, found.name, found.rate_limit, found.token_limit) == (key.id, "Billing", 9, 8)
        assert found.scopes == frozenset({Scope.USAGE}), "a rotation is no way around them"
        assert [one.key_id for one in found.budgets] == [key.id]
    assert through_new.expires_at is None
    assert through_old.expires_at is not None and HOUR - DAY / 24 / 60 < through_old.expires_at - utc_now() <= HOUR
    async with database.session() as session:
        assert [one.last4 for one in await keys.list_keys(session, org_id=key.org_id)] == [new[-4:]]
        ends = await key_changes.replaced_secrets(session, org_id=key.org_id, key_ids=[key.id], now=utc_now())
        assert ends == {key.id: through_old.expires_at}
        gone = await key_changes.replaced_secrets(session, org_id=key.org_id, key_ids=[key.id], now=utc_now() + HOUR)
        assert gone == {}


async def test_without_a_grace_the_old_secret_is_worth_nothing_at_once(database: Database) -> None:
    key, old = await new_key(database)
    new = await rotate(database, key, timedelta(0))
    assert await refused(database, old)
    assert (await opened_by(database, new)).id == key.id
    async with database.session() as session:
        rows = (await session.scalars(select(ApiKeyRow).where(col(ApiKeyRow.org_id) == key.org_id))).all()
    assert len(rows) == 1


async def test_a_worker_that_knows_the_old_secret_follows_within_its_next_poll(database: Database) -> None:
    key, old = await new_key(database)
    cache = KeyCache(database, HASHER)
    await cache.poll()
    await cache.authenticate(old)
    await rotate(database, key, timedelta(0))
    await cache.poll()
    with pytest.raises(InvalidApiKey):
        await cache.authenticate(old)


async def test_a_replaced_secret_ends_with_its_key_whatever_ends_it(database: Database) -> None:
    """Revoked, switched off, expired sooner: and a later expiry does not make the old secret live longer."""
    key, old = await new_key(database)
    new = await rotate(database, key, DAY)
    async with committed(database) as session:
        await key_changes.set_disabled(session, org_id=key.org_id, key_id=key.id, disabled_at=utc_now())
    assert await refused(database, old) and await refused(database, new)
    async with committed(database) as session:
        await key_changes.set_disabled(session, org_id=key.org_id, key_id=key.id, disabled_at=None)
    grace_ends = (await opened_by(database, old)).expires_at
    for expires_at in (utc_now() + 30 * DAY, None):
        await change(database, key, expires_at=expires_at)
        assert (await opened_by(database, old)).expires_at == grace_ends
    soon = utc_now() + HOUR
    await change(database, key, expires_at=soon)
    assert (await opened_by(database, old)).expires_at == soon
    async with committed(database) as session:
        assert await keys.revoke_key(session, org_id=key.org_id, key_id=key.id)
    assert await refused(database, old) and await refused(database, new)


async def test_a_key_that_expires_sooner_than_the_grace_takes_its_old_secret_along(database: Database) -> None:
    key, old = await new_key(database)
    soon = utc_now() + HOUR
    await change(database, key, expires_at=soon)
    await rotate(database, key, DAY)
    assert (await opened_by(database, old)).expires_at == soon


async def test_a_key_can_be_rotated_again_and_again(database: Database) -> None:
    key, first = await new_key(database)
    second = await rotate(database, key, HOUR)
    third = await rotate(database, key, DAY)
    assert {(await opened_by(database, secret)).id for secret in (first, second, third)} == {key.id}


@pytest.mark.parametrize("grace", [-HOUR, GRACE_MAX + HOUR])
async def test_a_grace_is_at_most_seven_days(sqlite_database: Database, grace: timedelta) -> None:
    key, _ = await new_key(sqlite_database)
    with pytest.raises(InvalidRequest, match="7 days"):
        await rotate(sqlite_database, key, grace)


async def test_another_org_s_key_answers_as_a_missing_one(database: Database) -> None:
    theirs, secret = await new_key(database, org="Theirs")
    mine, _ = await new_key(database, org="Mine")
    async with committed(database) as session:
        for key_id in (theirs.id, uuid4()):
            await nothing_happens(session, mine.org_id, key_id)
    found = await opened_by(database, secret)
    assert (found.name, found.disabled_at) == ("CI", None)


async def test_a_revoked_and_a_hidden_key_answer_as_missing_ones(database: Database) -> None:
    key, _ = await new_key(database)
    async with committed(database) as session:
        await keys.revoke_key(session, org_id=key.org_id, key_id=key.id)
        hidden = await keys.playground_key(session, org_id=key.org_id, kind="test", hasher=HASHER)
        for key_id in (key.id, hidden.id):
            await nothing_happens(session, key.org_id, key_id)


async def nothing_happens(session: AsyncSession, org_id: UUID, key_id: UUID) -> None:
    settings, now = KeySettings("mine now"), utc_now()
    assert not await key_changes.change_key(session, org_id=org_id, key_id=key_id, settings=settings, now=now)
    assert not await key_changes.set_disabled(session, org_id=org_id, key_id=key_id, disabled_at=now)
    rotated = await key_changes.rotate_key(session, org_id=org_id, key_id=key_id, hasher=HASHER, grace=HOUR, now=now)
    assert rotated is None
    assert await key_changes.replaced_secrets(session, org_id=org_id, key_ids=[key_id], now=now) == {}
