"""Saved policies: versions that are only added, one in force a scope, and nobody else's."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from omni_app.errors import InvalidRequest, NotFound
from omni_app.routing.policies import DEFAULT, PRESETS, Preset, data_of
from omni_app.storage import accounts, keys
from omni_app.storage.database import Database
from omni_app.storage.meta import REVOCATIONS, read_meta
from omni_app.storage.policies import active_policies, list_policies, policies_at, roll_back, save_policy
from omni_app.storage.tables import PolicyRow

CHEAP, FAST = data_of(PRESETS[Preset.CHEAPEST]), data_of(PRESETS[Preset.FASTEST])
AUTHOR = "ada@example.com"


@asynccontextmanager
async def working(database: Database) -> AsyncIterator[AsyncSession]:
    async with database.session() as session:
        yield session
        await session.commit()


async def org_with_key(database: Database, name: str = "Engines") -> tuple[UUID, UUID]:
    async with working(database) as session:
        org_id = await accounts.org_named(session, name)
        key, _ = await keys.create_key(session, org_id=org_id, name="k", kind="live", hasher=keys.KeyHasher("pepper"))
        return org_id, key.id


async def save(database: Database, org_id: UUID, data: Any, *, key_id: UUID | None = None, note: str = "") -> Any:
    async with working(database) as session:
        return await save_policy(session, org_id=org_id, key_id=key_id, data=data, note=note, author=AUTHOR)


async def in_force(database: Database, org_id: UUID) -> dict[UUID | None, Any]:
    async with working(database) as session:
        found = await active_policies(session, org_ids=[org_id])
    return {key_id: replace(policy, version="") for (_, key_id), policy in found.items()}


def plain(preset: Preset) -> Any:
    return replace(PRESETS[preset], version="")


async def test_a_saved_policy_is_in_force_for_its_scope_and_every_worker_is_told(database: Database) -> None:
    org_id, key_id = await org_with_key(database)
    async with working(database) as session:
        before = await read_meta(session, REVOCATIONS)
    await save(database, org_id, CHEAP, note="  cheaper  ")
    await save(database, org_id, FAST, key_id=key_id)
    assert await in_force(database, org_id) == {None: plain(Preset.CHEAPEST), key_id: plain(Preset.FASTEST)}
    async with working(database) as session:
        assert await read_meta(session, REVOCATIONS) != before
        listed = await list_policies(session, org_id=org_id)
    assert [(one.number, one.key_id, one.note, one.active) for one in listed] == [
        (2, key_id, "", True),
        (1, None, "cheaper", True),
    ]


async def test_versions_are_added_and_rolled_back_by_another_one(database: Database) -> None:
    org_id, _ = await org_with_key(database)
    await save(database, org_id, CHEAP)
    await save(database, org_id, FAST)
    async with working(database) as session:
        back = await roll_back(session, org_id=org_id, number=1, author=AUTHOR)
    assert (back.number, back.note) == (3, "Back to version 1")
    assert await in_force(database, org_id) == {None: plain(Preset.CHEAPEST)}
    async with working(database) as session:
        assert [one.active for one in await list_policies(session, org_id=org_id)] == [True, False, False]


async def test_back_to_the_default_is_a_version_too(database: Database) -> None:
    org_id, key_id = await org_with_key(database)
    await save(database, org_id, CHEAP)
    await save(database, org_id, FAST, key_id=key_id)
    await save(database, org_id, None, key_id=key_id)
    assert await in_force(database, org_id) == {None: plain(Preset.CHEAPEST)}
    last = await save(database, org_id, None)
    assert last.is_default and await in_force(database, org_id) == {}


async def test_many_savers_at_once_get_a_number_each_and_one_is_in_force(database: Database) -> None:
    org_id, _ = await org_with_key(database)
    saved = await asyncio.gather(*(save(database, org_id, CHEAP if n % 2 else FAST) for n in range(6)))
    assert sorted(one.number for one in saved) == [1, 2, 3, 4, 5, 6]
    async with working(database) as session:
        assert sum(one.active for one in await list_policies(session, org_id=org_id)) == 1


@pytest.mark.parametrize("change", [{"data": {"colour": 1}}, {"note": "x" * 201}, {"note": "a\nb"}])
async def test_bad_data_or_a_bad_note_saves_nothing(database: Database, change: dict[str, Any]) -> None:
    org_id, _ = await org_with_key(database)
    with pytest.raises(InvalidRequest):
        await save(database, org_id, change.get("data", CHEAP), note=change.get("note", ""))
    assert await in_force(database, org_id) == {}


async def test_another_orgs_keys_and_versions_are_as_good_as_missing(database: Database) -> None:
    org_id, _ = await org_with_key(database)
    other, their_key = await org_with_key(database, "Elsewhere")
    await save(database, other, CHEAP)
    with pytest.raises(NotFound):
        await save(database, org_id, FAST, key_id=their_key)
    with pytest.raises(NotFound):
        async with working(database) as session:
            await roll_back(session, org_id=org_id, number=1, author=AUTHOR)
    assert await in_force(database, org_id) == {} and await in_force(database, uuid4()) == {}


async def test_a_policy_is_found_again_by_its_version_for_ever(database: Database) -> None:
    org_id, _ = await org_with_key(database)
    first = await save(database, org_id, CHEAP)
    await save(database, org_id, FAST)
    async with working(database) as session:
        found = await policies_at(session, versions=[first.version, DEFAULT.version, "nobody"])
    assert found == {first.version: replace(PRESETS[Preset.CHEAPEST], version=first.version), DEFAULT.version: DEFAULT}


async def test_a_row_that_cannot_be_read_is_left_out_and_the_default_holds(database: Database) -> None:
    org_id, _ = await org_with_key(database)
    await save(database, org_id, CHEAP)
    async with working(database) as session:
        await session.execute(update(PolicyRow).values(data={"from": "the future"}))
    assert await in_force(database, org_id) == {}
