"""A person's signed-in browsers, listed and ended one by one. Plain functions; the caller commits."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import CursorResult, delete, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from omni_app.storage.accounts import ABSOLUTE, IDLE, normalised_email
from omni_app.storage.tables import Session, User, utc_now


@dataclass(frozen=True, slots=True)
class OpenSession:
    """A living session as its own person sees it."""

    id: UUID
    browser: str
    address: str
    created_at: datetime
    last_seen_at: datetime


async def open_sessions(session: AsyncSession, *, user_id: UUID) -> list[OpenSession]:
    """A user's living sessions, the last used first."""
    now = utc_now()
    query = select(Session).where(
        col(Session.user_id) == user_id,
        col(Session.last_seen_at) >= now - IDLE,
        col(Session.created_at) >= now - ABSOLUTE,
    )
    rows = await session.scalars(query.order_by(col(Session.last_seen_at).desc(), col(Session.id)))
    return [OpenSession(row.id, row.browser, row.address, row.created_at, row.last_seen_at) for row in rows]


async def place_of(session: AsyncSession, *, session_id: UUID | None) -> tuple[str, str]:
    """A session's browser and address; empty when it is gone."""
    row = await session.get(Session, session_id) if session_id else None
    return (row.browser, row.address) if row else ("", "")


async def end_session(session: AsyncSession, *, user_id: UUID, session_id: UUID) -> bool:
    """Ends one session of the user's own. False when they have none such."""
    gone = delete(Session).where(col(Session.id) == session_id, col(Session.user_id) == user_id)
    return bool(cast(CursorResult[Any], await session.execute(gone)).rowcount)


async def end_others(session: AsyncSession, *, user_id: UUID, but: UUID | None) -> None:
    """Ends every session of the user but this one."""
    await session.execute(delete(Session).where(col(Session.user_id) == user_id, col(Session.id) != but))


async def end_all_of(session: AsyncSession, *, email: str) -> int | None:
    """For the operator: ends every session of the account; how many there were, None without such an account."""
    user_id = await session.scalar(select(col(User.id)).where(col(User.email) == normalised_email(email)))
    if user_id is None:
        return None
    gone = delete(Session).where(col(Session.user_id) == user_id)
    return cast(CursorResult[Any], await session.execute(gone)).rowcount
