"""The registry in the database: seeded once per packaged version, changed by operators, with a history."""

import asyncio
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from sqlalchemy import delete, func, select, update
from sqlmodel import col

from omni_app.errors import NotFound
from omni_app.registry import Registry, build_registry, packaged_registry
from omni_app.registry.rows import to_row
from omni_app.registry.store import VERSION_KEY, edit_model, load_registry, registry_version, seed_models
from omni_app.routing.types import Deployment
from omni_app.storage.database import Database
from omni_app.storage.tables import Meta, ModelChange, ModelRow

NAME = "openai/gpt-4.1"


async def seed(database: Database, registry: Registry) -> None:
    async with database.session() as session:
        await seed_models(session, registry)
        await session.commit()


async def loaded(database: Database) -> Registry:
    async with database.session() as session:
        return await load_registry(session)


async def polled(database: Database) -> str:
    async with database.session() as session:
        return await registry_version(session)


async def edit(database: Database, **changes: Any) -> Deployment:
    async with database.session() as session:
        edited = await edit_model(session, model_id=NAME, changes=changes, source="the operator, contract 7")
        await session.commit()
        return edited


async def changes(database: Database) -> list[ModelChange]:
    async with database.session() as session:
        rows = await session.scalars(select(ModelChange).where(col(ModelChange.field) != "added"))
        return sorted(rows, key=lambda change: (change.created_at, change.field))


def dearer(registry: Registry) -> Registry:
    """The next packaged file: one price, one window and one end have changed."""

    def next_one(one: Deployment) -> Deployment:
        if one.id != NAME:
            return one
        price = replace(one.price, input=one.price.input * 2)
        return replace(one, price=price, context_window=500_000, deprecated_on=date(2027, 6, 1))

    return build_registry(next_one(one) for one in registry.deployments)


async def test_what_is_seeded_is_what_is_loaded(database: Database) -> None:
    assert await polled(database) == ""
    await seed(database, packaged_registry())
    assert await loaded(database) == packaged_registry()
    assert await polled(database) == packaged_registry().version


async def test_seeding_the_same_file_again_changes_nothing(database: Database) -> None:
    await seed(database, packaged_registry())
    await seed(database, packaged_registry())
    async with database.session() as session:
        models = await session.scalar(select(func.count()).select_from(ModelRow))
        history = await session.scalar(select(func.count()).select_from(ModelChange))
    assert models == history == len(packaged_registry().deployments)


async def test_workers_that_start_together_seed_once(database: Database) -> None:
    await asyncio.gather(*(seed(database, packaged_registry()) for _ in range(4)))
    assert await loaded(database) == packaged_registry()


async def test_a_new_packaged_file_updates_the_table_and_leaves_a_history(database: Database) -> None:
    before, after = packaged_registry(), dearer(packaged_registry())
    await seed(database, before)
    await seed(database, after)
    assert await loaded(database) == after and await polled(database) == after.version
    old, new = (to_row(one) for one in (before.get(NAME), after.get(NAME)) if one)
    assert {(one.model_id, one.field) for one in await changes(database)} == {
        (NAME, "context_window"),
        (NAME, "deprecated_on"),
        (NAME, "price"),
    }
    for change in await changes(database):
        assert (change.old, change.new) == (old[change.field], new[change.field])
        assert after.version in change.source and change.created_at.tzinfo is not None


async def test_a_model_that_is_no_longer_listed_is_disabled_and_comes_back(database: Database) -> None:
    whole = packaged_registry()
    without = build_registry(one for one in whole.deployments if one.id != NAME)
    await seed(database, whole)
    await seed(database, without)
    assert await loaded(database) == without
    await seed(database, whole)
    assert await loaded(database) == whole
    assert [(one.field, one.old, one.new) for one in await changes(database)] == [
        ("enabled", True, False),
        ("enabled", False, True),
    ]


async def test_an_operators_change_is_published_recorded_and_never_overwritten(database: Database) -> None:
    await seed(database, packaged_registry())
    price = to_row(packaged_registry().deployments[0])["price"] | {"input": 7, "output": 9}
    edited = await edit(database, price=price, context_window=1234)
    assert (edited.price.input, edited.price.output, edited.context_window) == (7, 9, 1234)
    assert await polled(database) == (await loaded(database)).version != packaged_registry().version
    assert {one.field for one in await changes(database)} == {"price", "context_window"}
    assert {one.source for one in await changes(database)} == {"the operator, contract 7"}
    await seed(database, dearer(packaged_registry()))
    assert (await loaded(database)).get(NAME) == edited


async def test_a_model_that_an_operator_disabled_stays_so(database: Database) -> None:
    await seed(database, packaged_registry())
    await edit(database, enabled=False)
    await seed(database, dearer(packaged_registry()))
    assert (await loaded(database)).get(NAME) is None


async def test_an_edit_that_makes_no_deployment_changes_nothing(database: Database) -> None:
    await seed(database, packaged_registry())
    slips = (
        *({"context_window": -1}, {"price": {"input": 1}}, {"colour": "red"}, {"provider": "groq"}, {"id": "a/b"}),
        {"max_output_tokens": 0},
    )
    for slip in slips:
        with pytest.raises((KeyError, TypeError, ValueError)):
            await edit(database, **slip)
    assert await loaded(database) == packaged_registry()


async def test_an_edit_of_an_unknown_model_is_not_found(database: Database) -> None:
    with pytest.raises(NotFound, match=NAME):
        await edit(database, context_window=1)


async def test_a_price_changed_in_plain_sql_counts_once_the_version_is_deleted(database: Database) -> None:
    await seed(database, packaged_registry())
    async with database.session() as session:
        mine = col(ModelRow.model_id) == NAME
        await session.execute(update(ModelRow).where(mine).values(cost_input=123, edited_by_operator=True))
        await session.execute(delete(Meta).where(col(Meta.key) == VERSION_KEY))
        await session.commit()
    changed = (await loaded(database)).get(NAME)
    assert changed is not None and changed.price.input == 123
    assert await polled(database) == (await loaded(database)).version != packaged_registry().version
    await seed(database, dearer(packaged_registry()))
    assert (await loaded(database)).get(NAME) == changed


async def test_a_row_that_cannot_be_read_is_left_out_and_the_others_serve(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    await seed(database, packaged_registry())
    async with database.session() as session:
        await session.execute(update(ModelRow).where(col(ModelRow.model_id) == NAME).values(data={"id": NAME}))
        await session.commit()
    registry = await loaded(database)
    assert registry.get(NAME) is None and len(registry.deployments) == len(packaged_registry().deployments) - 1
    assert NAME in caplog.text
