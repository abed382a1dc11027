"""Prices that changed, or wait to, and what that means for an org: its last 30 days' tokens at both prices."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from omni_app.registry.rows import price_of
from omni_app.registry.sync import DROPPED, HELD
from omni_app.routing.cost import TokenSums, actual_cost
from omni_app.storage.rollups import WIDE, start_of
from omni_app.storage.tables import ModelChange, UsageRollup

MONTH = timedelta(days=30)
PRICE, PRICE_HELD, PRICE_DROPPED = "price", "price" + HELD, "price" + DROPPED


@dataclass(frozen=True, slots=True)
class PriceChange:
    """A model's price before and after; `is_held`: it waits for an operator's word."""

    id: UUID
    model_id: str
    old: Mapping[str, Any]
    new: Mapping[str, Any]
    at: datetime
    is_held: bool


async def price_changes(session: AsyncSession, *, since: datetime) -> list[PriceChange]:
    """The newest change of each model's price from an instant on, oldest first; none that its catalogue took back."""
    query = (
        select(ModelChange)
        .where(col(ModelChange.created_at) >= since, col(ModelChange.field).in_((PRICE, PRICE_HELD, PRICE_DROPPED)))
        .order_by(col(ModelChange.created_at))
    )
    newest = {row.model_id: row for row in await session.scalars(query)}
    found = (_change_of(row) for row in newest.values() if row.field != PRICE_DROPPED)
    return sorted(found, key=lambda one: (one.at, one.model_id))


def _change_of(row: ModelChange) -> PriceChange:
    is_held = row.field == PRICE_HELD
    return PriceChange(row.id, row.model_id, row.old, row.new["price"] if is_held else row.new, row.created_at, is_held)


@dataclass(frozen=True, slots=True)
class Effect:
    """What an org's texts of 30 days cost at the old price and at the new one, in pico-dollars; images left out."""

    org_id: UUID
    change: PriceChange
    tokens: TokenSums
    before: int
    after: int

    @property
    def difference(self) -> int:
        """A month's more, or less when negative."""
        return self.after - self.before


async def effects(
    session: AsyncSession, changes: Sequence[PriceChange], *, now: datetime, org_id: UUID | None = None
) -> list[Effect]:
    """For each org that used such a model (or for one org alone) and each change that moves its costs.

    From the roll-ups by day: what the model answered, with live keys. One statement, none when nothing changed.
    """
    used = await _used(session, {one.model_id for one in changes}, now=now, org_id=org_id) if changes else {}
    by_model = {one.model_id: one for one in changes}
    found = []
    for (org, model), tokens in sorted(used.items()):
        change = by_model[model]
        before, after = (actual_cost(price_of(price), tokens) for price in (change.old, change.new))
        if before != after:
            found.append(Effect(org, change, tokens, before, after))
    return found


async def _used(
    session: AsyncSession, models: Collection[str], *, now: datetime, org_id: UUID | None
) -> dict[tuple[UUID, str], TokenSums]:
    """(org, model) -> the tokens of its last 30 days."""
    table = UsageRollup
    summed = (table.tokens_input, table.tokens_output, table.text_cached, table.text_written)
    query: Any = select(col(table.org_id), col(table.model), *(func.sum(column) for column in summed)).where(
        col(table.key_kind) == "live",
        col(table.grain) == WIDE["day"],
        col(table.starts_at) >= start_of(now - MONTH, "day"),
        col(table.model).in_(models),
    )
    if org_id is not None:
        query = query.where(col(table.org_id) == org_id)
    rows = await session.execute(query.group_by(col(table.org_id), col(table.model)))
    return {(org, model): TokenSums(*(int(sum_) for sum_ in sums)) for org, model, *sums in rows}
