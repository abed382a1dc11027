"""Many rows with one prepared text: what the drainer writes every request with.

SQLAlchemy makes each statement, and the conversion of each column's values, once. Then a batch costs what the driver
takes for it: to build a statement of thirty columns anew took longer than to insert twenty rows
(docs/decisions/0033-ledger-in-bulk.md).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import Dialect, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import SQLModel

Row = Mapping[str, Any]
Convert = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Statement:
    """An insertion as its driver takes it: the text, and each column's name and conversion (None: as it is)."""

    text: str
    columns: tuple[tuple[str, Convert | None], ...]
    by_name: bool
    """Whether the driver takes values by their names."""

    def values(self, row: Row) -> Any:
        """One row's values."""
        if self.by_name:
            return {name: row[name] if convert is None else convert(row[name]) for name, convert in self.columns}
        return tuple([row[name] if convert is None else convert(row[name]) for name, convert in self.columns])


async def insert_new(session: AsyncSession, table: type[SQLModel], rows: Sequence[Row]) -> int:
    """Inserts the rows that are not there yet, of the same columns all; gives how many were not. The caller commits."""
    return await _execute(session, table, rows, added=())


async def insert_or_add(
    session: AsyncSession, table: type[SQLModel], rows: Sequence[Row], *, sums: tuple[str, ...]
) -> None:
    """Inserts the rows, or adds their `sums` to those that are there. The caller commits."""
    await _execute(session, table, rows, added=sums)


async def _execute(session: AsyncSession, table: type[SQLModel], rows: Sequence[Row], *, added: tuple[str, ...]) -> int:
    if not rows:
        return 0
    connection = await session.connection()
    statement = _statement(table, connection.dialect, tuple(rows[0]), added)
    done = await connection.exec_driver_sql(statement.text, [statement.values(row) for row in rows])
    return done.rowcount


@lru_cache(maxsize=64)
def _statement(table: type[SQLModel], dialect: Dialect, names: tuple[str, ...], added: tuple[str, ...]) -> Statement:
    target: Table = table.__table__  # type: ignore[attr-defined]
    new = (postgresql.insert if dialect.name == "postgresql" else sqlite.insert)(target)
    if added:
        keys = [column.name for column in target.primary_key]
        changes = {name: target.c[name] + new.excluded[name] for name in added}
        new = new.on_conflict_do_update(index_elements=keys, set_=changes)
    else:
        new = new.on_conflict_do_nothing()
    compiled = new.compile(dialect=dialect, column_keys=list(names))
    positions = compiled.positiontup if compiled.positional else None
    columns = tuple((name, _conversion(target, name, dialect)) for name in positions or names)
    if set(compiled.params) != set(names):
        raise TypeError(f"rows of {target.name} must name every column that has a default: {set(compiled.params)}")
    return Statement(str(compiled), columns, by_name=positions is None)


def _conversion(table: Table, name: str, dialect: Dialect) -> Convert | None:
    """A column's values as the driver wants them."""
    convert: Convert | None = table.c[name].type.dialect_impl(dialect).bind_processor(dialect)
    return convert
