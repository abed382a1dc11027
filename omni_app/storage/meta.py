"""Small facts that every worker polls: one row each, one text value."""

from typing import Any, cast

from sqlalchemy import CursorResult, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from omni_app.storage.tables import Meta


async def read_meta(session: AsyncSession, key: str) -> str:
    """The value; empty when it was never written."""
    value = await session.scalar(select(col(Meta.value)).where(col(Meta.key) == key))
    return value or ""


async def write_meta(session: AsyncSession, key: str, value: str) -> None:
    """Sets the value. The caller commits."""
    done = cast(CursorResult[Any], await session.execute(update(Meta).where(col(Meta.key) == key).values(value=value)))
    if done.rowcount:
        return
    try:
        async with session.begin_nested():
            session.add(Meta(key=key, value=value))
    except IntegrityError:
        # Another worker wrote the first value in between.
        await session.execute(update(Meta).where(col(Meta.key) == key).values(value=value))


async def bump(session: AsyncSession, key: str) -> None:
    """Changes the value to one that was never there before. The caller commits."""
    await write_meta(session, key, str(int(await read_meta(session, key) or 0) + 1))
