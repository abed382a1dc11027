"""What the registry's history says: since when a price holds here, and what a model cost at a moment of the past."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from omni_app.registry.store import registries_at
from omni_app.routing.types import Price
from omni_app.storage.tables import ModelChange

PRICED = ("added", "price")
"""The changes that set a price."""
NOT_KEPT = "the list of models of that time is not kept"
NOT_LISTED = "the model is not in the list of that time"


async def priced_since(session: AsyncSession) -> dict[str, datetime]:
    """Deployment id -> when its present price came into the registry; the price's own source is `price_source`."""
    model = col(ModelChange.model_id)
    newest = func.max(col(ModelChange.created_at))
    query = select(model, newest).where(col(ModelChange.field).in_(PRICED)).group_by(model)
    return {row[0]: row[1] for row in await session.execute(query)}


async def model_history(session: AsyncSession, model_id: str) -> list[ModelChange]:
    """Every change of a model, oldest first; empty for an unknown one."""
    query = select(ModelChange).where(col(ModelChange.model_id) == model_id).order_by(col(ModelChange.created_at))
    return list(await session.scalars(query))


@dataclass(frozen=True, slots=True)
class Priced:
    """A price and the half-open time in which it held here; `until` None = it holds."""

    price: Mapping[str, Any]
    since: datetime
    until: datetime | None
    source: str


def price_versions(changes: Sequence[ModelChange]) -> list[Priced]:
    """The prices that a model's history tells, oldest first, one after the other without a gap."""
    rows = [one for one in changes if one.field in PRICED]
    ends = [*(one.created_at for one in rows[1:]), None]
    return [
        Priced(row.new["price"] if row.field == "added" else row.new, row.created_at, end, row.source)
        for row, end in zip(rows, ends, strict=False)
    ]


def price_at(changes: Sequence[ModelChange], instant: datetime) -> Priced | None:
    """The price that held at an instant; None before the model came."""
    found = (one for one in price_versions(changes) if one.since <= instant)
    return next((one for one in found if one.until is None or instant < one.until), None)


@dataclass(frozen=True, slots=True)
class Listed:
    """A deployment's price in one version of the registry."""

    price: Price
    price_version: str

    @property
    def is_flat(self) -> bool:
        """Whether input and output tokens alone tell a cost: the cache has no tariff of its own, images none at all."""
        price = self.price
        return (
            price.cached_input in (None, price.input) and price.cache_write in (None, price.input) and not price.image
        )


@dataclass(slots=True)
class PastPrices:
    """Prices by version of the registry; each version is read once."""

    _versions: dict[str, Mapping[str, Listed]] = field(default_factory=dict)

    async def read(self, session: AsyncSession, versions: Collection[str]) -> None:
        """Reads the versions that are not known yet. One that is gone, or cannot be read, lists nothing."""
        for version in set(versions) - self._versions.keys():
            try:
                found = await registries_at(session, [version])
            except (KeyError, TypeError, ValueError, AttributeError):
                found = {}
            models = found[version].deployments if version in found else ()
            self._versions[version] = {one.id: Listed(one.price, one.price_version) for one in models}

    def of(self, version: str, model: str) -> Listed | str:
        """The model's price, or why it is not known."""
        models = self._versions.get(version)
        if not models:
            return NOT_KEPT
        return models.get(model) or NOT_LISTED
