"""A row in every table of the code, so that no table can be forgotten by what must hold for all of them."""

import uuid
from typing import Any

from sqlalchemy import JSON, BigInteger, Boolean, Column, Float, Integer, LargeBinary, Table, insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import SQLModel

from omni_app.storage.tables import UtcDateTime, utc_now


async def fill_every_table(session: AsyncSession, given: dict[str, Any]) -> None:
    """Adds a row to each table but those of accounts; `given` has the values of columns that must be of somebody.

    The caller commits.
    """
    for table in SQLModel.metadata.sorted_tables:
        if table.name not in ("orgs", "users", "memberships"):
            await session.execute(insert(table).values(row_of(table, given)))


def row_of(table: Table, given: dict[str, Any]) -> dict[str, Any]:
    """Something for every column that must not be empty, and for those given."""
    wanted = [column for column in table.columns if column.name in given or not column.nullable]
    return {column.name: given.get(column.name, something(column)) for column in wanted}


def something(column: Column[Any]) -> Any:
    """A value of the column's type, another one each time where it is text."""
    kind = column.type
    if isinstance(kind, UtcDateTime):
        return utc_now()
    if isinstance(kind, Boolean):
        return True
    if isinstance(kind, BigInteger | Integer | Float):
        return 1
    if isinstance(kind, LargeBinary):
        return b"1"
    if isinstance(kind, JSON):
        return {}
    if kind.python_type is uuid.UUID:
        return uuid.uuid4()
    return uuid.uuid4().hex[: getattr(kind, "length", None) or 32]
