"""Providers' keys of an org's own: sealed, bound to where they may go, never shown again.

What is sealed opens only for the org, the provider and the base URL that it was entered for: a row that is copied to
another org, or a server that is pointed elsewhere, has nothing but bytes.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Select, delete, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from omni_app.errors import InvalidRequest, NotFound
from omni_app.storage.meta import REVOCATIONS, bump
from omni_app.storage.sealing import Sealer
from omni_app.storage.tables import ProviderKeyRow, utc_now

PURPOSE = "provider keys"
LENGTHS = range(8, 513)


@dataclass(frozen=True, slots=True)
class OwnKey:
    """A provider's key as a request carries it: still sealed."""

    provider: str
    base_url: str
    """Where it may go, and nowhere else."""
    sealed: bytes


@dataclass(frozen=True, slots=True)
class ShownKey:
    """What may be seen of one."""

    provider: str
    base_url: str
    last4: str
    entered_by: str
    created_at: datetime


def about(org_id: UUID, provider: str, base_url: str) -> str:
    """What a sealed key belongs to."""
    return f"{org_id} {provider} {base_url}"


async def set_provider_key(
    session: AsyncSession, *, org_id: UUID, provider: str, base_url: str, secret: str, entered_by: str, sealer: Sealer
) -> None:
    """Keeps a key in place of the one there was. Every worker follows within a second. The caller commits.

    Raises `InvalidRequest` for what cannot be a key.
    """
    if len(secret) not in LENGTHS or not secret.isascii() or not secret.isprintable() or " " in secret:
        raise InvalidRequest("key: must be 8 to 512 printable ASCII characters without a space", param="key")
    await bump(session, REVOCATIONS)
    await _delete(session, org_id, provider)
    session.add(
        ProviderKeyRow(
            org_id=org_id,
            provider=provider,
            base_url=base_url,
            sealed=sealer.seal(secret.encode(), about=about(org_id, provider, base_url)),
            last4=secret[-4:],
            entered_by=entered_by,
            created_at=utc_now(),
        )
    )
    await session.flush()


async def forget_provider_key(session: AsyncSession, *, org_id: UUID, provider: str) -> None:
    """Deletes it. The caller commits. Raises `NotFound` when there is none."""
    await bump(session, REVOCATIONS)
    if not await _delete(session, org_id, provider):
        raise NotFound(f"there is no key of your own for {provider}")


async def _delete(session: AsyncSession, org_id: UUID, provider: str) -> bool:
    which = (col(ProviderKeyRow.org_id) == org_id, col(ProviderKeyRow.provider) == provider)
    gone = await session.scalars(delete(ProviderKeyRow).where(*which).returning(col(ProviderKeyRow.provider)))
    return gone.first() is not None


async def shown_keys(session: AsyncSession, *, org_id: UUID) -> list[ShownKey]:
    """What may be seen of an org's keys, by provider."""
    return [
        ShownKey(row.provider, row.base_url, row.last4, row.entered_by, row.created_at)
        for row in await session.scalars(_of_org(org_id))
    ]


async def own_keys(session: AsyncSession, *, org_id: UUID) -> tuple[OwnKey, ...]:
    """An org's keys as requests carry them, by provider."""
    return tuple(map(own_key, await session.scalars(_of_org(org_id))))


def _of_org(org_id: UUID) -> Select[ProviderKeyRow]:
    return select(ProviderKeyRow).where(col(ProviderKeyRow.org_id) == org_id).order_by(col(ProviderKeyRow.provider))


def own_key(row: ProviderKeyRow) -> OwnKey:
    """A row as requests carry it."""
    return OwnKey(row.provider, row.base_url, row.sealed)


async def reseal(session: AsyncSession, sealer: Sealer) -> int:
    """Seals all keys anew, with the key that is sealed with now; gives how many. The caller commits.

    Raises `CannotOpen` for one that neither of the server's keys opens.
    """
    rows = (await session.scalars(select(ProviderKeyRow))).all()
    for row in rows:
        belongs = about(row.org_id, row.provider, row.base_url)
        row.sealed = sealer.seal(sealer.open(row.sealed, about=belongs), about=belongs)
    await bump(session, REVOCATIONS)
    await session.flush()
    return len(rows)
