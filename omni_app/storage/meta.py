"""Small facts that every worker polls: one row each, one text value."""

from typing import Any, cast

from sqlalchemy import BigInteger, CursorResult, Text, select, update
from sqlalchemy import cast as sql_cast
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from omni_app.storage.tables import Meta

REVOCATIONS = "key_revocations"
"""The row that grows with every revocation and every change of a key's or an org's terms; every worker polls it."""


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


async def first_meta(session: AsyncSession, key: str, value: str) -> str:
    """The value that the key has; when it has none, `value` from now on.

    Whoever writes first wins: several workers at once all get the same. It writes before it reads, so that SQLite
    makes them wait for each other. The caller commits.
    """
    dialect = session.get_bind().dialect.name
    insert = postgresql.insert(Meta) if dialect == "postgresql" else sqlite.insert(Meta)
    await session.execute(insert.values(key=key, value=value).on_conflict_do_nothing())
    return await read_meta(session, key)


async def bump(session: AsyncSession, key: str) -> None:
    """Raises the value by one, in one statement: two at once raise it twice, so no poll misses either.

    The caller commits.
    """
    dialect = session.get_bind().dialect.name
    insert = postgresql.insert(Meta) if dialect == "postgresql" else sqlite.insert(Meta)
    raised = sql_cast(sql_cast(col(Meta.value), BigInteger) + 1, Text)
    first = insert.values(key=key, value="1")
    await session.execute(first.on_conflict_do_update(index_elements=["key"], set_={"value": raised}))
