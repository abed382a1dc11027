"""The registry in the database: the packaged file seeds the `models` table, from then on the table rules.

A row belongs to the packaged file until an operator changes it; then `edited_by_operator` is set and no later file
touches it. `edit_model` does all of it. In plain SQL it takes three steps (docs/decisions/0003-registry-from-facts.md):
change the row, set `edited_by_operator`, delete `registry_version` from `meta`. Every changed field leaves a row in
`model_changes`.

The columns `cost_input`, `cost_output` and `enabled` stand above the same things in `data`, so that a price can be
changed without editing JSON.
"""

import logging
from collections.abc import Callable, Collection, Mapping
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import SQLModel, col

from omni_app.errors import NotFound
from omni_app.registry.registry import Registry, build_registry
from omni_app.registry.rows import from_row, to_row
from omni_app.routing.types import Deployment
from omni_app.storage.meta import read_meta, write_meta
from omni_app.storage.tables import Meta, ModelChange, ModelRow, RegistryVersion, utc_now

log = logging.getLogger(__name__)

VERSION_KEY = "registry_version"
"""In `meta`: what workers poll. Missing = worked out from the rows each time."""
SEEDED_KEY = "registry_seeded"
"""In `meta`: the version of the packaged registry that seeded the table last."""
SYNCED_KEY = "catalog_synced"
"""In `meta`: the day of the public catalogues that the table followed last, as ISO text (`omni_app.registry.sync`)."""
SYNCED = (
    "price",
    "price_source",
    "price_version",
    "context_window",
    "max_output_tokens",
    "supports_functions",
    "supports_vision",
    "supports_response_schema",
    "sees_temperature",
    "refuses",
    "deprecated_on",
)
"""The fields that follow the public catalogues: a packaged file older than what they said does not set them back."""
INSERTS: Mapping[str, Callable[[type[SQLModel]], sqlite.Insert | postgresql.Insert]] = {
    "sqlite": sqlite.insert,
    "postgresql": postgresql.insert,
}


async def seed_models(session: AsyncSession, registry: Registry, *, as_of: str = "") -> None:
    """Brings the table up to the packaged registry, once per version of it. The caller commits.

    New models are added, changed ones updated, those no longer listed disabled; rows that an operator changed stay as
    they are. Several workers may call it at once: one does it, the others wait for its commit. `as_of`: the packaged
    file's day; where the table followed the public catalogues after it, what they told (`SYNCED`) stays.
    """
    await wait_for_turn(session)
    if await read_meta(session, SEEDED_KEY) != registry.version:
        known = {row.model_id: row for row in await session.scalars(select(ModelRow))}
        source = f"packaged registry {registry.version}"
        kept = SYNCED if await read_meta(session, SYNCED_KEY) > as_of else ()
        for deployment in registry.deployments:
            _seed(session, known.get(deployment.id), deployment, source=source, kept=kept)
        for row in known.values():
            if registry.get(row.model_id) is None and row.enabled and not row.edited_by_operator:
                change_row(session, row, {"enabled": False}, source=source)
        await write_meta(session, SEEDED_KEY, registry.version)
    await publish(session)


async def edit_model(session: AsyncSession, *, model_id: str, changes: Mapping[str, Any], source: str) -> Deployment:
    """An operator's change, which no later packaged file overwrites. The caller commits.

    `changes`: fields of the row as in models.json (`price`, `context_window`, …) or `enabled`. Gives the deployment as
    it is now. Raises `NotFound` for an unknown model, and `KeyError`, `TypeError` or `ValueError` when the row would
    no longer be a deployment.
    """
    row = await session.scalar(select(ModelRow).where(col(ModelRow.model_id) == model_id))
    if row is None:
        raise NotFound(f"no model {model_id!r}", param="model")
    identity = {"id", "provider", "model_name"}
    if unknown := set(changes) - (set(row.data) - identity) - {"enabled"}:
        raise ValueError(f"not fields of a model: {', '.join(sorted(unknown))}")
    deployment = from_row(current_row(row) | {name: changes[name] for name in changes if name != "enabled"})
    change_row(session, row, changes, source=source)
    row.edited_by_operator = True
    await publish(session)
    return deployment


async def load_registry(session: AsyncSession) -> Registry:
    """The registry as the table has it: enabled rows only. A row that is no deployment is left out and logged."""
    rows = await session.scalars(select(ModelRow).where(col(ModelRow.enabled)))
    return build_registry(found for row in rows if (found := _deployment(row)) is not None)


async def registry_version(session: AsyncSession) -> str:
    """The version of what `load_registry` would give, by one look-up; empty before the first seeding."""
    version = await read_meta(session, VERSION_KEY)
    if version or not await session.scalar(select(func.count()).select_from(ModelRow)):
        return version
    return (await load_registry(session)).version


async def record_registry(session: AsyncSession, registry: Registry) -> None:
    """Keeps this version: decisions made under it can be replayed when the table has moved on. The caller commits."""
    insert = INSERTS[session.get_bind().dialect.name]
    rows = [to_row(one) for one in registry.deployments]
    kept = insert(RegistryVersion).values(version=registry.version, deployments=rows, created_at=utc_now())
    await session.execute(kept.on_conflict_do_nothing())


async def registries_at(session: AsyncSession, versions: Collection[str]) -> dict[str, Registry]:
    """Version -> the registry as it was; a version that was never kept is missing."""
    rows = await session.scalars(select(RegistryVersion).where(col(RegistryVersion.version).in_(versions)))
    return {row.version: build_registry(from_row(one) for one in row.deployments) for row in rows}


async def publish(session: AsyncSession) -> None:
    """Tells every worker's next poll that the rows have changed. The caller commits."""
    await session.flush()
    await write_meta(session, VERSION_KEY, (await load_registry(session)).version)


async def wait_for_turn(session: AsyncSession) -> None:
    """Locks one row of `meta` until the commit, so that two workers do not insert the same models."""
    insert = INSERTS[session.get_bind().dialect.name]
    await session.execute(insert(Meta).values(key=SEEDED_KEY, value="").on_conflict_do_nothing())
    await session.execute(select(Meta).where(col(Meta.key) == SEEDED_KEY).with_for_update())


def _seed(
    session: AsyncSession, row: ModelRow | None, deployment: Deployment, *, source: str, kept: Collection[str]
) -> None:
    data = to_row(deployment)
    if row is None:
        session.add(
            ModelRow(
                model_id=deployment.id,
                provider=deployment.provider,
                model_name=deployment.model_name,
                data=data,
                cost_input=deployment.price.input,
                cost_output=deployment.price.output,
            )
        )
        session.add(ModelChange(model_id=deployment.id, field="added", old=None, new=data, source=source))
    elif not row.edited_by_operator:
        new = {name: value for name, value in data.items() if name not in kept}
        change_row(session, row, new | {"enabled": True}, source=source)


def change_row(session: AsyncSession, row: ModelRow, changes: Mapping[str, Any], *, source: str) -> None:
    """Sets what differs, and leaves a history row for each field of it."""
    before = current_row(row) | {"enabled": row.enabled}
    changed = {name: value for name, value in changes.items() if before.get(name) != value}
    if not changed:
        return
    for name, value in changed.items():
        session.add(ModelChange(model_id=row.model_id, field=name, old=before.get(name), new=value, source=source))
    row.enabled = changed.pop("enabled", row.enabled)
    row.data = current_row(row) | changed
    row.cost_input, row.cost_output = row.data["price"]["input"], row.data["price"]["output"]
    row.updated_at = utc_now()


def current_row(row: ModelRow) -> dict[str, Any]:
    """The row's data with the columns that stand above it."""
    price = row.data.get("price") or {}
    return row.data | {"price": price | {"input": row.cost_input, "output": row.cost_output}}


def _deployment(row: ModelRow) -> Deployment | None:
    try:
        return from_row(current_row(row))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        log.warning("model %s is left out: its row cannot be read (%r)", row.model_id, error)
        return None
