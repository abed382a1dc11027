"""Answers kept for a day under the caller's `Idempotency-Key`: a request that is sent again is not served again.

A request claims its key by one insert; whoever comes second reads what the first one left. A claim without an answer
lapses once its request must have ended (its process died): then the next one takes it over. Answers are sealed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import delete, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from omni_app.storage.sealing import CannotOpen, Sealer
from omni_app.storage.tables import IdempotentAnswer, utc_now

KEPT = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Claim:
    """The right, and the duty, to serve the request: end it with `keep` or `release`."""

    org_id: UUID
    key: str
    id: UUID


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """The answer that the first request got."""

    headers: Mapping[str, str]
    body: bytes


class OtherRequest(Exception):
    """The key was used with another path or body."""


class InFlight(Exception):
    """The first request with this key is still being served."""


async def claim(
    session: AsyncSession, *, org_id: UUID, key: str, fingerprint: str, lapses_after: timedelta, sealer: Sealer
) -> Claim | KeptAnswer:
    """The claim, or the answer that is there already. The caller commits. Raises `OtherRequest` or `InFlight`."""
    mine = Claim(org_id, key, uuid4())
    if await _insert(session, mine, fingerprint) or await _take_over(session, mine, fingerprint, lapses_after):
        return mine
    row = await session.scalar(select(IdempotentAnswer).where(*_is(mine)))
    if row is None:  # released in between: as good as in flight, the caller tries again
        raise InFlight
    if row.fingerprint != fingerprint:
        raise OtherRequest
    if row.sealed is None:
        raise InFlight
    try:
        return KeptAnswer(row.headers or {}, sealer.open(row.sealed, about=_about(mine)))
    except CannotOpen:  # the secret key was changed since
        raise InFlight from None


async def keep(session: AsyncSession, claim: Claim, answer: KeptAnswer, *, sealer: Sealer) -> None:
    """Keeps the whole answer. The caller commits."""
    sealed = sealer.seal(answer.body, about=_about(claim))
    mine = update(IdempotentAnswer).where(*_is(claim), col(IdempotentAnswer.claim_id) == claim.id)
    await session.execute(mine.values(headers=dict(answer.headers), sealed=sealed, expires_at=utc_now() + KEPT))


async def release(session: AsyncSession, claim: Claim) -> None:
    """Gives the key back: the request was not answered, so it may be sent again. The caller commits."""
    await session.execute(delete(IdempotentAnswer).where(*_is(claim), col(IdempotentAnswer.claim_id) == claim.id))


async def forget_expired(session: AsyncSession) -> None:
    """Deletes what is older than a day. The caller commits."""
    await session.execute(delete(IdempotentAnswer).where(col(IdempotentAnswer.expires_at) < utc_now()))


async def _insert(session: AsyncSession, mine: Claim, fingerprint: str) -> bool:
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    now = utc_now()
    row = insert(IdempotentAnswer).values(
        org_id=mine.org_id,
        key=mine.key,
        fingerprint=fingerprint,
        claim_id=mine.id,
        created_at=now,
        expires_at=now + KEPT,
    )
    made = row.on_conflict_do_nothing().returning(col(IdempotentAnswer.claim_id))
    return await session.scalar(made) is not None


async def _take_over(session: AsyncSession, mine: Claim, fingerprint: str, lapses_after: timedelta) -> bool:
    """Whether the row there was of a claim that has lapsed, or of an answer that has expired; it is this one's now."""
    now = utc_now()
    lapsed = col(IdempotentAnswer.sealed).is_(None) & (col(IdempotentAnswer.created_at) < now - lapses_after)
    over = update(IdempotentAnswer).where(*_is(mine), or_(lapsed, col(IdempotentAnswer.expires_at) < now))
    values = {
        "fingerprint": fingerprint, "claim_id": mine.id, "headers": None, "sealed": None,
        "created_at": now, "expires_at": now + KEPT,
    }  # fmt: skip
    taken = over.values(**values).returning(col(IdempotentAnswer.claim_id))
    return await session.scalar(taken) is not None


def _is(claim: Claim) -> tuple[Any, Any]:
    return col(IdempotentAnswer.org_id) == claim.org_id, col(IdempotentAnswer.key) == claim.key


def _about(claim: Claim) -> str:
    return f"{claim.org_id} {claim.key}"
