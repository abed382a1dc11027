"""What the registry's history says: since when a price holds here."""

from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from omni_app.storage.tables import ModelChange

PRICED = ("added", "price")
"""The changes that set a price."""


async def priced_since(session: AsyncSession) -> dict[str, datetime]:
    """Deployment id -> when its present price came into the registry; the price's own source is `price_source`."""
    model = col(ModelChange.model_id)
    newest = func.max(col(ModelChange.created_at))
    query = select(model, newest).where(col(ModelChange.field).in_(PRICED)).group_by(model)
    return {row[0]: row[1] for row in await session.execute(query)}
