"""The tables. The same classes and migrations serve SQLite and Postgres.

Money is pico-dollars in BIGINT (see `omni_app.money`), times are UTC `timestamptz`, ids are UUIDs.
Never bind a request's body to one of these: a SQLModel table skips validation.
"""

import uuid
from datetime import UTC, datetime
from typing import Any, ClassVar

from sqlalchemy import JSON, BigInteger, Column, DateTime, Index, String, Text, UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeDecorator
from sqlmodel import Field, SQLModel

Json = JSON().with_variant(JSONB(), "postgresql")


class UtcDateTime(TypeDecorator[datetime]):
    """`timestamptz` that always gives back an aware UTC datetime, on SQLite too."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:
        if value is not None and value.tzinfo is None:
            raise ValueError("a naive datetime has no place in the database")
        return value.astimezone(UTC) if value is not None else None

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def utc_now() -> datetime:
    """Now, aware, UTC."""
    return datetime.now(UTC)


def _id() -> Any:
    return Field(default_factory=uuid.uuid4, primary_key=True)


def _time(*, index: bool = False, nullable: bool = False) -> Any:
    return Field(
        default_factory=None if nullable else utc_now,
        default=None if nullable else ...,
        sa_column=Column(UtcDateTime, nullable=nullable, index=index),
    )
