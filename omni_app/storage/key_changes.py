"""What may be changed of a key after it was made: its settings, whether it works, its secret.

Every change reaches every worker within half a second. A rotation changes the secret and not the key: the key keeps its
id, and with it its settings, budgets, policy and history; the old secret gets a row of its own that points to the key
and ends with the grace period.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

from sqlalchemy import ColumnElement, CursorResult, and_, case, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from omni_app.errors import InvalidRequest
from omni_app.storage.keys import KeyHasher, generate_key
from omni_app.storage.meta import REVOCATIONS, bump
from omni_app.storage.scopes import Scope
from omni_app.storage.tables import ApiKeyRow

MAX_NAME = 60
MAX_RATE = 1_000_000
MAX_TOKENS = 1_000_000_000
MAX_MODELS = 1_000
GRACE_MAX = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class KeySettings:
    """What can be set of a key. None: never expires; no limit but the org's; every model of its kind."""

    name: str
    expires_at: datetime | None = None
    rate_limit: int | None = None
    """Requests per window of the server's rate limit."""
    allowed_models: frozenset[str] | None = None
    token_limit: int | None = None
    """Tokens per window."""
    scopes: frozenset[Scope] | None = None
    """None: may be used for everything."""


def checked(settings: KeySettings, *, now: datetime) -> KeySettings:
    """The settings as they may be stored. Raises `InvalidRequest` that names the field."""
    name = checked_name(settings.name)
    if settings.expires_at is not None and settings.expires_at <= now:
        raise InvalidRequest("expires: must lie in the future; to stop the key now, disable it", param="expires")
    _check_limit("rate_limit", settings.rate_limit, MAX_RATE)
    _check_limit("token_limit", settings.token_limit, MAX_TOKENS)
    if settings.allowed_models is not None and not 1 <= len(settings.allowed_models) <= MAX_MODELS:
        raise InvalidRequest("models: tick at least one, or allow all of them", param="models")
    return replace(settings, name=name)


def _check_limit(field: str, value: int | None, most: int) -> None:
    if value is not None and not 1 <= value <= most:
        raise InvalidRequest(f"{field}: must be a whole number from 1 to {most:,}", param=field)


def checked_name(name: object) -> str:
    """A key's name, without the blanks around it. Raises `InvalidRequest`."""
    if isinstance(name, str) and 0 < len(name.strip()) <= MAX_NAME and name.isprintable():
        return name.strip()
    raise InvalidRequest(f"name: must be 1 to {MAX_NAME} printable characters", param="name")


async def change_key(
    session: AsyncSession, *, org_id: UUID, key_id: UUID, settings: KeySettings, now: datetime
) -> bool:
    """Gives a key of the org these settings. False when there is none. The caller commits.

    Raises `InvalidRequest`. A replaced secret that still works gets them too, but lives no longer for it.
    """
    kept = checked(settings, now=now)
    allowed = None if kept.allowed_models is None else sorted(kept.allowed_models)
    expires_at: Any = kept.expires_at
    if kept.expires_at is None:
        expires_at = case((col(ApiKeyRow.replaced_by).is_(None), None), else_=col(ApiKeyRow.expires_at))
    else:
        sooner = and_(col(ApiKeyRow.replaced_by).is_not(None), col(ApiKeyRow.expires_at) < kept.expires_at)
        expires_at = case((sooner, col(ApiKeyRow.expires_at)), else_=kept.expires_at)
    values = {
        "name": kept.name,
        "expires_at": expires_at,
        "rate_limit": kept.rate_limit,
        "token_limit": kept.token_limit,
        "allowed_models": allowed,
        "scopes": None if kept.scopes is None else sorted(kept.scopes),
    }
    return await _change(session, _secrets_of(org_id, key_id), values)


async def set_disabled(session: AsyncSession, *, org_id: UUID, key_id: UUID, disabled_at: datetime | None) -> bool:
    """Switches a key of the org off, or on again (None). False when there is none. The caller commits."""
    return await _change(session, _secrets_of(org_id, key_id), {"disabled_at": disabled_at})


async def rotate_key(
    session: AsyncSession, *, org_id: UUID, key_id: UUID, hasher: KeyHasher, grace: timedelta, now: datetime
) -> str | None:
    """A new secret for a key of the org, which is not to be had again; None when there is no such key.

    The old secret works until `now + grace` (at once no longer with a grace of zero), and never longer than the key.
    Raises `InvalidRequest` for a grace outside zero to seven days. The caller commits.
    """
    if not timedelta(0) <= grace <= GRACE_MAX:
        raise InvalidRequest("grace: must be from 0 to 7 days", param="grace")
    query = select(ApiKeyRow).where(_secrets_of(org_id, key_id), col(ApiKeyRow.replaced_by).is_(None))
    row = (await session.scalars(query.with_for_update())).first()
    if row is None:
        return None
    old = _replaced(row, ends_at=now + grace) if grace else None
    secret = generate_key("live" if row.kind == "live" else "test")
    row.digest, row.prefix, row.last4 = hasher.digest(secret), secret[:9], secret[-4:]
    await session.flush()  # the digest is free before the old secret's row takes it
    if old is not None:
        session.add(old)
    await bump(session, REVOCATIONS)
    return secret


def _replaced(row: ApiKeyRow, *, ends_at: datetime) -> ApiKeyRow:
    """A row for the secret that the key has now."""
    return ApiKeyRow(
        org_id=row.org_id,
        name=row.name,
        kind=row.kind,
        digest=row.digest,
        prefix=row.prefix,
        last4=row.last4,
        allowed_models=row.allowed_models,
        created_at=row.created_at,
        expires_at=ends_at if row.expires_at is None else min(ends_at, row.expires_at),
        disabled_at=row.disabled_at,
        rate_limit=row.rate_limit,
        token_limit=row.token_limit,
        scopes=row.scopes,
        replaced_by=row.id,
    )


async def replaced_secrets(
    session: AsyncSession, *, org_id: UUID, key_ids: Collection[UUID], now: datetime
) -> dict[UUID, datetime]:
    """Key -> when the last of its replaced secrets ends; keys without one that still works are missing."""
    query = select(col(ApiKeyRow.replaced_by), col(ApiKeyRow.expires_at)).where(
        col(ApiKeyRow.org_id) == org_id,
        col(ApiKeyRow.replaced_by).in_(key_ids),
        col(ApiKeyRow.revoked_at).is_(None),
        col(ApiKeyRow.expires_at) > now,
    )
    rows = await session.execute(query.order_by(col(ApiKeyRow.expires_at)))
    return {key_id: ends_at for key_id, ends_at in rows if key_id and ends_at}


def _secrets_of(org_id: UUID, key_id: UUID) -> ColumnElement[bool]:
    """The row of a visible key that is not revoked, and those of its replaced secrets."""
    return and_(
        col(ApiKeyRow.org_id) == org_id,
        or_(col(ApiKeyRow.id) == key_id, col(ApiKeyRow.replaced_by) == key_id),
        col(ApiKeyRow.revoked_at).is_(None),
        col(ApiKeyRow.hidden).is_(False),
    )


async def _change(session: AsyncSession, rows: ColumnElement[bool], values: dict[str, Any]) -> bool:
    statement = update(ApiKeyRow).where(rows).values(**values).execution_options(synchronize_session=False)
    done = cast(CursorResult[Any], await session.execute(statement))
    if not done.rowcount:
        return False
    await bump(session, REVOCATIONS)
    return True
