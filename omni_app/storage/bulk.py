"""Many rows with one prepared text: what the drainer writes every request with.

SQLAlchemy makes each statement, and the conversion of each column's values, once: to build a statement of thirty
columns anew took longer than to insert twenty rows (docs/decisions/0033-ledger-in-bulk.md). SQLite's driver then takes
a tuple for each row. Postgres takes the whole batch as one JSON text and makes the rows of it itself, in one statement
(docs/decisions/0051-drain.md).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from operator import itemgetter
from typing import Any

import orjson
from sqlalchemy import Dialect, Table, bindparam, cast, column, func, select
from sqlalchemy import Text as TextType
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import SQLModel

from omni_app.storage.tables import UtcDateTime

Row = Mapping[str, Any]
Convert = Callable[[Any], Any]
ROWS = "rows"
"""The one parameter of a statement for Postgres."""


@dataclass(frozen=True, slots=True)
class Tuples:
    """An insertion as SQLite's driver takes it: the text, the columns in order, and which values are converted."""

    text: str
    names: tuple[str, ...]
    converted: tuple[tuple[int, Convert], ...]

    def parameters(self, rows: Sequence[Row]) -> Any:
        """The rows' values."""
        columns: list[Sequence[Any]] = list(zip(*map(itemgetter(*self.names), rows), strict=True))
        for place, convert in self.converted:
            columns[place] = _converted(columns[place], convert)
        return list(zip(*columns, strict=True))


def _converted(values: Sequence[Any], convert: Convert) -> Sequence[Any]:
    """A column, each object once: an org's id and an hour's start are the same in many rows."""
    done = {key: convert(value) for key, value in {id(value): value for value in values}.items()}
    return [done[id(value)] for value in values]


@dataclass(frozen=True, slots=True)
class OneText:
    """An insertion as Postgres takes it: all rows in one JSON text."""

    text: str

    def parameters(self, rows: Sequence[Row]) -> Any:
        """Raises `OverflowError` for a number that no column holds."""
        try:
            return {ROWS: orjson.dumps(rows).decode()}
        except orjson.JSONEncodeError as error:
            raise OverflowError(str(error)) from error


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
    done = await connection.exec_driver_sql(statement.text, statement.parameters(rows))
    return done.rowcount


@lru_cache(maxsize=64)
def _statement(
    table: type[SQLModel], dialect: Dialect, names: tuple[str, ...], added: tuple[str, ...]
) -> Tuples | OneText:
    target: Table = table.__table__  # type: ignore[attr-defined]
    lacking = {one.name for one in target.columns if one.default is not None} - set(names)
    if lacking:
        raise TypeError(f"rows of {target.name} must name every column that has a default: {lacking}")
    if dialect.name == "postgresql":
        from_text = postgresql.insert(target).from_select(list(names), _rows_of_text(target, names))
        return OneText(str(_on_conflict(from_text, target, added).compile(dialect=dialect)))
    compiled = _on_conflict(sqlite.insert(target), target, added).compile(dialect=dialect, column_keys=list(names))
    order = tuple(compiled.positiontup or ())
    conversions = ((place, _conversion(target, name, dialect)) for place, name in enumerate(order))
    return Tuples(str(compiled), order, tuple((place, convert) for place, convert in conversions if convert))


def _on_conflict(new: Any, target: Table, added: tuple[str, ...]) -> Any:
    """A row that is there stays as it is, or the sums are added to its own."""
    if not added:
        return new.on_conflict_do_nothing()
    changes = {name: target.c[name] + new.excluded[name] for name in added}
    return new.on_conflict_do_update(index_elements=[one.name for one in target.primary_key], set_=changes)


def _rows_of_text(target: Table, names: tuple[str, ...]) -> Any:
    """What Postgres reads the JSON text as: each name with its column's type."""
    columns = [column(name, target.c[name].type) for name in names]
    given = func.json_to_recordset(cast(bindparam(ROWS, type_=TextType()), postgresql.JSON))
    rows = given.table_valued(*columns, name="given").render_derived(with_types=True)
    return select(*(rows.c[name] for name in names))


def sqlite_text(instant: datetime) -> str:
    """What SQLAlchemy writes for an instant (`2026-11-30 12:00:00.000000`, UTC), in a fifth of its time. Raises
    `ValueError` for a naive one.
    """
    if instant.tzinfo is None:
        raise ValueError("a naive datetime has no place in the database")
    utc = instant if instant.tzinfo is UTC else instant.astimezone(UTC)
    return utc.replace(tzinfo=None).isoformat(" ", "microseconds")


def _conversion(table: Table, name: str, dialect: Dialect) -> Convert | None:
    """A column's values as the driver wants them."""
    if dialect.name == "sqlite" and isinstance(table.c[name].type, UtcDateTime):
        return sqlite_text
    convert: Convert | None = table.c[name].type.dialect_impl(dialect).bind_processor(dialect)
    return convert
